"""Whether a candidate may become production, and whether what became it may stay: the rules.

Only time counts in which the strain is ready for analysis, every witness is good and both
versions' estimates and statistics are complete. Both rules see ratios of the running spectra
(core.gate.quality) and the gates, once a block, so equal frames lead to equal decisions at equal
instants.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from math import isfinite

from deepclean.core.time import NS


class TrialVerdict(Enum):
    """What a rule says of the version that it watches."""

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
    """Two versions over one block that counts.

    Args:
        duration: of the block, nanoseconds.
        candidate: mean ASD ratio in the band, of the version that is judged.
        candidate_in_spec: whether its gate is open throughout.
        other: that of the version that it is compared with.
        other_in_spec: likewise.
    """

    duration: int
    candidate: float
    candidate_in_spec: bool
    other: float
    other_in_spec: bool


@dataclass(frozen=True, slots=True)
class TrialFigures:
    """What a rule rests on.

    Args:
        counted: nanoseconds that counted in all.
        in_spec: of those in the last `validation_time`, in which the candidate was in spec.
        candidate: its mean ASD ratio over them.
        other: that of what it is compared with; where that was out of spec, 1 stands for it.
    """

    counted: int
    in_spec: int
    candidate: float
    other: float


class Trial:
    """A canary beside production.

    Args:
        settings: of the rule.
    """

    def __init__(self, settings: TrialSettings) -> None:
        self._settings = settings
        self._seen: deque[TrialBlock] = deque()
        self._held = 0
        self._counted = 0

    def step(self, sight: TrialBlock) -> TrialVerdict:
        """Take the next block that counts; return GOOD to promote, BAD to reject."""
        settings = self._settings
        self._seen.append(sight)
        self._held += sight.duration
        self._counted += sight.duration
        while self._held - self._seen[0].duration >= settings.validation_time:
            self._held -= self._seen.popleft().duration
        figures = self.figures()
        # `not above`, so that no number fails.
        if (
            self._held >= settings.validation_time
            and figures.in_spec == self._held
            and figures.candidate <= (1 + settings.margin) * figures.other
        ):
            return TrialVerdict.GOOD
        return TrialVerdict.BAD if self._counted >= settings.patience else TrialVerdict.WAIT

    def figures(self) -> TrialFigures:
        """Return what it rests on as things stand."""
        return TrialFigures(
            self._counted,
            sum(one.duration for one in self._seen if one.candidate_in_spec),
            self._mean([(one.duration, one.candidate) for one in self._seen]),
            self._mean(
                [(one.duration, one.other if one.other_in_spec else 1.0) for one in self._seen]
            ),
        )

    def why(self) -> str:
        """Return why it is not good, for people."""
        figures, settings = self.figures(), self._settings
        if figures.in_spec < self._held:
            return (
                f"in spec for {figures.in_spec / NS:.0f} of the last {self._held / NS:.0f} s "
                f"(ASD ratio {figures.candidate:.3f})"
            )
        limit = (1 + settings.margin) * figures.other
        return f"ASD ratio {figures.candidate:.4f}, above {limit:.4f} that production allows"

    def _mean(self, values: list[tuple[int, float]]) -> float:
        return sum(duration * value for duration, value in values) / max(self._held, 1)


class Probation:
    """New production beside the former.

    Args:
        settings: of the rule.
    """

    def __init__(self, settings: TrialSettings) -> None:
        self._settings = settings
        self._counted = 0
        self._out = 0

    def step(self, sight: TrialBlock) -> TrialVerdict:
        """Take the next block that counts; return BAD to roll back, GOOD to let the former go.

        A block in which both or neither are out of spec ends a run of bad ones: then going back
        would not help.
        """
        self._counted += sight.duration
        worse = not sight.candidate_in_spec and sight.other_in_spec
        self._out = self._out + sight.duration if worse else 0
        if self._out >= self._settings.rollback_after:
            return TrialVerdict.BAD
        return TrialVerdict.GOOD if self._counted >= self._settings.probation else TrialVerdict.WAIT

    def figures(self) -> dict[str, float]:
        """Return what it rests on as things stand, nanoseconds."""
        return {"counted": self._counted, "out_of_spec": self._out}

    def why(self) -> str:
        """Return why it is not good, for people."""
        return f"out of spec for {self._out / NS:.0f} s in which the former version was not"


def number(value: float) -> float:
    """Return a ratio as it is counted: what is no number is worse than any."""
    return value if isfinite(value) else float("inf")
