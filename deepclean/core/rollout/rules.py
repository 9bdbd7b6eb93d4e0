"""The rules by which a canary becomes production, and by which new production is rolled back.

Only that time counts in which the strain is ready for analysis, every witness is good and both
versions' estimates and statistics are complete. Both rules see ratios of the running spectra
(core.gate.quality) and the gates, once a block, so equal frames lead to equal decisions at equal
instants.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import NamedTuple

from deepclean.core.time import NS


class TrialVerdict(Enum):
    """The verdict of a rule on the version that it judges."""

    WAIT = "wait"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """Configured by `models.trial`; durations in nanoseconds."""

    validation_time: int
    patience: int
    margin: float
    rollback_after: int
    probation: int


@dataclass(frozen=True, slots=True)
class TrialBlock:
    """The measures of two versions over one block that counts.

    Args:
        duration: the length of the block, nanoseconds.
        candidate: the mean ASD ratio in the band of the version that is judged.
        candidate_in_spec: whether that version's gate is open throughout.
        other: the mean ASD ratio in the band of the version that it is compared with.
        other_in_spec: whether the other version's gate is open throughout.
    """

    duration: int
    candidate: float
    candidate_in_spec: bool
    other: float
    other_in_spec: bool


@dataclass(frozen=True, slots=True)
class TrialFigures:
    """The measures on which a rule decides.

    Args:
        counted: the nanoseconds that counted in all.
        in_spec: the nanoseconds of the last `validation_time` in which the candidate was in spec.
        candidate: the candidate's mean ASD ratio over the last `validation_time`.
        other: the other version's mean ASD ratio over that time, with 1 where it was out of spec.
    """

    counted: int
    in_spec: int
    candidate: float
    other: float


class CanaryProgress(NamedTuple):
    """How far a canary's trial is.

    Args:
        version: the number of the canary.
        wanted: the nanoseconds in spec that it needs (`validation_time`).
        figures: the measures so far.
    """

    version: int
    wanted: int
    figures: TrialFigures


class Trial:
    """The trial of a canary beside production.

    >>> settings = TrialSettings(
    ...     validation_time=2, patience=9, margin=0.01, rollback_after=1, probation=1
    ... )
    >>> trial, block = Trial(settings), TrialBlock(1, 0.5, True, 0.5, True)
    >>> trial.step(block).name, trial.step(block).name
    ('WAIT', 'GOOD')

    Args:
        settings: the settings of the rule.
    """

    def __init__(self, settings: TrialSettings) -> None:
        self._settings = settings
        self._seen: deque[TrialBlock] = deque()
        self._held = 0
        self._counted = 0

    def step(self, block: TrialBlock) -> TrialVerdict:
        """Take the next block that counts and return GOOD to promote, BAD to reject."""
        settings = self._settings
        self._seen.append(block)
        self._held += block.duration
        self._counted += block.duration
        # The window is the fewest last blocks that together last the validation time at least.
        while self._held - self._seen[0].duration >= settings.validation_time:
            self._held -= self._seen.popleft().duration
        figures = self.figures()
        # All of the window in spec, and no worse than production by more than the margin. The
        # comparison is written such that NaN fails it.
        if (
            self._held >= settings.validation_time
            and figures.in_spec == self._held
            and figures.candidate <= (1 + settings.margin) * figures.other
        ):
            return TrialVerdict.GOOD
        return TrialVerdict.BAD if self._counted >= settings.patience else TrialVerdict.WAIT

    def figures(self) -> TrialFigures:
        """Return the measures so far."""
        return TrialFigures(
            self._counted,
            sum(one.duration for one in self._seen if one.candidate_in_spec),
            self._mean([(one.duration, one.candidate) for one in self._seen]),
            self._mean(
                [(one.duration, one.other if one.other_in_spec else 1.0) for one in self._seen]
            ),
        )

    def why(self) -> str:
        """Return the reason, for people, for which the canary is not good."""
        figures, settings = self.figures(), self._settings
        if figures.in_spec < self._held:
            return (
                f"in spec for {figures.in_spec / NS:.0f} of the last {self._held / NS:.0f} s "
                f"(ASD ratio {figures.candidate:.3f})"
            )
        limit = (1 + settings.margin) * figures.other
        return f"ASD ratio {figures.candidate:.4f}, above {limit:.4f} that production allows"

    def _mean(self, values: list[tuple[int, float]]) -> float:
        """Return the mean of values over the window, each weighted with its duration."""
        return sum(duration * value for duration, value in values) / max(self._held, 1)


class Probation:
    """The probation of new production beside the former version.

    >>> settings = TrialSettings(
    ...     validation_time=1, patience=1, margin=0.0, rollback_after=2, probation=9
    ... )
    >>> probation = Probation(settings)
    >>> worse = TrialBlock(1, 1.2, False, 0.5, True)
    >>> probation.step(worse).name, probation.step(worse).name
    ('WAIT', 'BAD')

    Args:
        settings: the settings of the rule.
    """

    def __init__(self, settings: TrialSettings) -> None:
        self._settings = settings
        self._counted = 0
        self._out = 0

    def step(self, block: TrialBlock) -> TrialVerdict:
        """Take the next block that counts and return BAD to roll back, GOOD to drop the former.

        A block in which both or neither are out of spec ends a run of bad ones, because a return to
        the former version would not help then.
        """
        self._counted += block.duration
        worse = not block.candidate_in_spec and block.other_in_spec
        self._out = self._out + block.duration if worse else 0
        if self._out >= self._settings.rollback_after:
            return TrialVerdict.BAD
        return TrialVerdict.GOOD if self._counted >= self._settings.probation else TrialVerdict.WAIT

    def figures(self) -> dict[str, float]:
        """Return the measures so far, in nanoseconds."""
        return {"counted": self._counted, "out_of_spec": self._out}

    def why(self) -> str:
        """Return the reason, for people, for which the new version is not good."""
        return f"out of spec for {self._out / NS:.0f} s in which the former version was not"


def number(value: float) -> float:
    """Return a ratio, or infinity for one that is not finite, which is worse than any.

    >>> number(0.5), number(float("nan"))
    (0.5, inf)
    """
    return value if isfinite(value) else float("inf")
