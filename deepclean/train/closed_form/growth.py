"""A fit that grows: by features that correlate with what it leaves, and by their reach.

In rounds: what correlates with the residual beyond chance is added, the whole is fitted again, what
the evidence finds needless is dropped, and the reach of what is there is extended to lags that
still correlate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from deepclean.train.closed_form.classes import Kind
from deepclean.train.closed_form.fitting import Fit, Fitter, Group
from deepclean.train.closed_form.lags import farthest, range_lags, range_of
from deepclean.train.closed_form.scan import scan
from deepclean.train.closed_form.streams import Complex, Feature

CHANCE = 0.01
"""Probability that anything at all is added by chance in a scan."""

_FAIR = 2.0
"""Odds at which one more feature of a class is given to the evidence, see `Growth.add_likely`."""

_ROUNDS = 8
"""Scans of one class at most."""

_ALIKE = 0.5
"""Coherence of two candidates above which only the better one is added in a round."""

_MOST = 400
"""Parameters at most."""


class Growth:
    """A fit and what makes it grow.

    Args:
        fitter: of the data.

    Attributes:
        fit: the best so far; it may be set back to an earlier one.
    """

    def __init__(self, fitter: Fitter) -> None:
        self._fitter, self._layout = fitter, fitter.bank.layout
        self.fit: Fit = fitter.nothing()

    def grow_class(self, kind: Kind, chance: float = CHANCE) -> bool:
        """Add what a class of products offers beyond chance; return whether there was any."""
        grown = False
        for _ in range(_ROUNDS):
            if not self.grow(self._offered(kind, chance), chance, rounds=1, extend=False):
                break
            grown = True
        if grown:
            self.add_likely(self._offered(kind, None), kind.members)
            self._extend()
        return grown

    def _offered(self, kind: Kind, beyond: float | None) -> list[Feature]:
        return kind.offer(self._fitter.bank, self._weighted(), self.fit, beyond=beyond)

    def add_likely(self, candidates: Sequence[Feature], members: Collection[Feature]) -> None:
        """Add candidates from a class of which some members are in the fit already.

        Where a share `s` of a class belongs, a member whose statistic is reached by chance with
        probability `p` belongs with odds of about `s / ((1 - s) p)`, to a factor that depends on
        how strong members are. The evidence decides; a needless one costs little.
        """
        share = len(set(self.fit.features) & set(members)) / max(len(members), 1)
        if share:
            limit = min(1.0, share / max(1 - share, 1e-9) / _FAIR)
            self.grow(candidates, limit, single=True, rounds=3, extend=False)

    def grow(
        self,
        candidates: Sequence[Feature],
        chance: float = CHANCE,
        *,
        single: bool = False,
        rounds: int = _ROUNDS,
        extend: bool = True,
    ) -> bool:
        """Add the candidates that correlate with what is left; return whether any was kept.

        Args:
            candidates: features.
            chance: probability at which a candidate is added.
            single: whether that is each candidate's own, rather than that of all together.
            rounds: scans at most.
            extend: whether the reach is extended after each.
        """
        before = set(self.fit.features)
        tried = set(before)
        for _ in range(rounds):
            fresh = [feature for feature in candidates if feature not in tried]
            limit = chance if single else chance / max(len(fresh), 1)
            found = scan(self._fitter.bank, fresh, self._weighted(), farthest(self._layout))
            likely = sorted(
                (one for one in found if one.chance < limit), key=lambda one: -one.statistic
            )
            distinct = self._distinct([one.feature for one in likely])
            if not distinct:
                break
            tried.update(distinct)
            self._refit([*self.fit.groups, *((feature, 0) for feature in distinct)])
            if extend:
                self._extend()
        self._fitter.keep(self.fit.features)
        return bool(set(self.fit.features) - before)

    def _distinct(self, features: Sequence[Feature]) -> list[Feature]:
        """Return those features that no better one resembles; the best comes first."""
        white = np.sqrt(self._fitter.value / self.fit.solution.residual)
        room = (_MOST - self.fit.parameters) // 3
        chosen: list[Feature] = []
        taken: list[Complex] = []
        for feature in features:
            if len(chosen) >= room:
                break
            columns = self._fitter.columns((feature, 0))[:, 1] * white[:, None]
            part = np.asarray(columns.ravel() / np.linalg.norm(columns), dtype=np.complex128)
            if all(abs(np.vdot(part, other)) ** 2 < _ALIKE for other in taken):
                chosen.append(feature)
                taken.append(part)
        return chosen

    def _extend(self) -> None:
        """Give features the ranges of lags at which they still correlate with what is left.

        A response that dies away slowly correlates beyond chance at none of the far lags and yet
        is there: what was extended is given one range more, as long as the evidence uses it.
        """
        for _ in range(_ROUNDS):
            if not self._lengthen(self._correlating(), prune=False):
                break
        self._refit(self.fit.groups)
        for _ in range(_ROUNDS):
            last = {feature: numbers[0] for feature, numbers in self._ranges().items()}
            onward = [(feature, number - 1) for feature, number in last.items() if number < -1]
            if not self._lengthen(onward, prune=True):
                break

    def _ranges(self) -> dict[Feature, list[int]]:
        """Return the ranges of lags of each feature, in order."""
        held: dict[Feature, list[int]] = {}
        for feature, number in self.fit.groups:
            held.setdefault(feature, []).append(number)
        return {feature: sorted(numbers) for feature, numbers in held.items()}

    def _correlating(self) -> list[Group]:
        """Return the ranges up to the lag at which each feature correlates beyond chance."""
        held, layout = self._ranges(), self._layout
        known = {}
        for feature, numbers in held.items():
            lags = [lag for n in (0, *numbers) for lag in range_lags(layout, n)]
            known[feature] = (min(lags) - layout.spacing // 2, max(lags) + layout.spacing // 2)
        found = scan(self._fitter.bank, list(held), self._weighted(), farthest(layout), known)
        groups: list[Group] = []
        for one in found:
            if one.chance < CHANCE / len(held):
                far = range_of(layout, one.lag)
                step = 1 if far > 0 else -1
                groups += [(one.feature, number) for number in range(step, far + step, step)]
        return groups

    def _lengthen(self, groups: Sequence[Group], *, prune: bool) -> bool:
        """Add ranges of lags and fit again; return whether any was new, and kept."""
        held = set(self.fit.groups)
        fresh = [g for g in groups if g not in held and range_lags(self._layout, g[1])]
        size = sum(len(range_lags(self._layout, number)) for _, number in fresh)
        if not fresh or self.fit.parameters + size > _MOST:
            return False
        self._refit([*self.fit.groups, *fresh], prune=prune)
        return any(group in fresh for group in self.fit.groups)

    def _refit(self, groups: Iterable[Group], *, prune: bool = True) -> None:
        """Fit a set, and without what the evidence finds needless again."""
        self.fit = self._fitter.fit(groups, self.fit)
        needed = self._fitter.needed(self.fit)
        if prune and len(needed) < len(self.fit.groups):
            self.fit = self._fitter.fit(needed, self.fit)

    def _weighted(self) -> Complex:
        """Return the whitened residual with the segments' weights in it."""
        fit = self.fit
        white = self._fitter.value / fit.solution.residual
        return np.asarray(white[:, None] * fit.weights * fit.left, dtype=np.complex128)
