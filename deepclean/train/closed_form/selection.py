"""Which features a coupling needs, found from the data alone.

First the witnesses themselves; then products of those of them that can be carriers with slow
witnesses. Classes of features that most couplings do not need (products of any two
witnesses, of a carrier and two slow ones, powers) are tried last, and each is kept only where the
likelihood of held-out data gains more than three standard errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepclean.train.closed_form import classes
from deepclean.train.closed_form.fitting import Fit, Fitter
from deepclean.train.closed_form.growth import Growth
from deepclean.train.closed_form.judge import Gain, compare, hold_out
from deepclean.train.closed_form.solve import ROUNDS
from deepclean.train.closed_form.streams import Feature

RARELY = 0.001
"""Probability that anything of an optional class is added by chance: most couplings have none."""

SIGNIFICANT = 3.0
"""Standard errors of held-out likelihood that an optional class must gain."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What may be named rather than found.

    Args:
        linear: witnesses that may enter by themselves; None for all.
        carriers: witnesses that slow ones may multiply; None: found.
        slow: witnesses that may multiply a carrier; None for all.
        classes: optional classes that are tried, names of `classes.OPTIONAL`.
    """

    linear: Sequence[int] | None = None
    carriers: Sequence[int] | None = None
    slow: Sequence[int] | None = None
    classes: Sequence[str] = tuple(classes.OPTIONAL)


@dataclass(frozen=True, slots=True)
class ClassTrial:
    """An optional class that was tried.

    Args:
        name: of the class.
        added: how many features beyond chance it gave.
        gain: in held-out likelihood over the fit without them; None where there were none.
        kept: whether they were kept.
    """

    name: str
    added: int
    gain: Gain | None
    kept: bool = False

    @property
    def significance(self) -> float:
        """The gain in standard errors; 0 where nothing was added."""
        return 0.0 if self.gain is None else self.gain.significance


class Search:
    """The search for a coupling's features.

    Args:
        fitter: of the data.
        choice: what is named.

    Attributes:
        linear: the best of witnesses by themselves.
        trials: of optional classes.
    """

    def __init__(self, fitter: Fitter, choice: Choice) -> None:
        self._fitter, self._choice = fitter, choice
        self._growth = Growth(fitter)
        self.linear = self._growth.fit
        self.trials: list[ClassTrial] = []

    def run(self) -> Fit:
        """Find the features and return their fit."""
        everyone = range(len(self._fitter.bank.stretches[0].wide))
        linear, slow = self._choice.linear, self._choice.slow
        witnesses = [((c, "wide", 0),) for c in (everyone if linear is None else linear)]
        slow = everyone if slow is None else slow
        growth = self._growth
        growth.grow(witnesses)
        self.linear = growth.fit
        self._grow_carried(witnesses, slow)
        growth.add_likely(witnesses, witnesses)
        self._try_classes(slow)
        # Sidebands that are louder than their line hide it until they are explained.
        if growth.grow(witnesses):
            self._grow_carried(witnesses, slow)
        self._shorten()
        for _ in range(2):
            needed = self._fitter.needed(growth.fit)
            growth.fit = self._fitter.fit(needed, growth.fit, rounds=ROUNDS)
        return growth.fit

    def _grow_carried(self, witnesses: Sequence[Feature], slow: Sequence[int]) -> None:
        """Add the products of carriers and slow witnesses, and the witnesses that these reveal."""
        for _ in range(2):
            if not self._growth.grow_class(classes.carried(self._carriers(), slow)):
                break
            self._growth.grow(witnesses)

    def _carriers(self) -> list[int]:
        """Return the witnesses that can be carriers, the strongest in the strain first."""
        if self._choice.carriers is not None:
            return list(self._choice.carriers)
        shares: dict[int, float] = {}
        for feature, share in self._shares().items():
            if len(feature) == 1 and feature[0][1] == "wide":
                shares[feature[0][0]] = share
        return sorted(shares, key=lambda channel: -shares[channel])[: classes.MOST_CARRIERS]

    def _shares(self) -> dict[Feature, float]:
        """Return the whitened power of each feature's part of the estimate."""
        fit = self._growth.fit
        white = self._fitter.value / fit.solution.residual
        parts = self._fitter.parts(fit, fit.solution.coefficients)
        return {f: float(white @ np.mean(np.abs(part) ** 2, axis=1)) for f, part in parts.items()}

    def _try_classes(self, slow: Sequence[int]) -> None:
        """Try the optional classes; while any gains enough, keep the best and try the others."""
        growth, left = self._growth, list(self._choice.classes)
        while left:
            before, carriers = growth.fit, self._carriers()
            tried: list[tuple[ClassTrial, Fit]] = []
            for name in left:
                kind = classes.OPTIONAL[name](self._fitter, before, carriers, slow)
                tried.append((self._try(name, kind, before), growth.fit))
                growth.fit = before
            best, fit = max(tried, key=lambda one: one[0].significance)
            if best.significance <= SIGNIFICANT:
                self.trials += [trial for trial, _ in tried]
                return
            self.trials.append(replace(best, kept=True))
            growth.fit = fit
            left.remove(best.name)

    def _try(self, name: str, kind: classes.Kind, before: Fit) -> ClassTrial:
        """Add what an optional class offers beyond chance, and judge it."""
        growth = self._growth
        if kind.members:
            growth.grow_class(kind, RARELY)
        added = len(set(growth.fit.features) - set(before.features))
        return ClassTrial(name, added, self._gain(growth.fit, before) if added else None)

    def _shorten(self) -> None:
        """Drop the lags ahead of time where held-out data does not miss them: they cost latency."""
        growth = self._growth
        short = [group for group in growth.fit.groups if group[1] <= 0]
        if len(short) < len(growth.fit.groups):
            without = self._fitter.fit(short, growth.fit)
            if self._gain(growth.fit, without).significance < SIGNIFICANT:
                growth.fit = without

    def _gain(self, better: Fit, worse: Fit) -> Gain:
        return compare(hold_out(self._fitter, better), hold_out(self._fitter, worse))
