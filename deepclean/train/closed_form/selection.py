"""Which features a coupling needs, found from the data alone.

In rounds: what correlates with the residual beyond chance is added, the whole is fitted again, what
the evidence finds needless is dropped, and the reach of what is there is extended to lags that
still correlate. First the witnesses themselves; then products of those of them that can be carriers
with slow witnesses. Classes of features that most couplings do not need (products of any two
witnesses, of a carrier and two slow ones, powers) are tried last, and each is kept only where the
likelihood of held-out data gains more than three standard errors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepclean.train.closed_form import classes
from deepclean.train.closed_form.fitting import Fit, Fitter, Group, predicted
from deepclean.train.closed_form.judge import Gain, HeldOutScore, compare, hold_out
from deepclean.train.closed_form.lags import farthest, range_lags, range_of
from deepclean.train.closed_form.scan import scan
from deepclean.train.closed_form.solve import ROUNDS
from deepclean.train.closed_form.streams import Complex, Feature

CHANCE = 0.01
"""Probability that anything at all is added by chance in a scan."""

_FAIR = 2.0
"""Odds at which one more feature of a class is given to the evidence, see `Search._likely`."""

SIGNIFICANT = 3.0
"""Standard errors of held-out likelihood that an optional class must gain."""

_ROUNDS = 8
"""Scans of one class at most."""

_ALIKE = 0.5
"""Coherence of two candidates above which only the better one is added in a round."""

_MOST = 400
"""Parameters at most."""


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
class Trial:
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
        fit: the best so far.
        linear: the best of witnesses by themselves.
        trials: of optional classes.
    """

    def __init__(self, fitter: Fitter, choice: Choice) -> None:
        self._fitter, self._choice = fitter, choice
        self._layout = fitter.bank.layout
        self.fit = self.linear = fitter.nothing()
        self.trials: list[Trial] = []

    def run(self) -> Fit:
        """Find the features and return their fit."""
        channels = len(self._fitter.bank.stretches[0].wide)
        everyone = range(channels)
        witnesses = [((c, "wide", 0),) for c in self._choice.linear or everyone]
        slow = list(self._choice.slow or everyone)
        self._grow(witnesses)
        self.linear = self.fit
        for _ in range(2):
            carriers = self._carriers()
            if not self._grow_found(classes.carried(carriers, slow)):
                break
            self._grow(witnesses)
        self._add_likely(witnesses, witnesses)
        self._try_classes(slow)
        self._shorten()
        for _ in range(2):
            needed = self._fitter.needed(self.fit)
            self.fit = self._fitter.fit(needed, self.fit, rounds=ROUNDS)
        return self.fit

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
        fit, shares = self.fit, {}
        place = 0
        parts: dict[Feature, Complex] = {}
        for group in fit.groups:
            count = len(range_lags(self._layout, group[1]))
            coefficients = fit.solution.coefficients[place : place + count]
            part = predicted(self._fitter.columns(group), coefficients)
            parts[group[0]] = parts[group[0]] + part if group[0] in parts else part
            place += count
        white = self._fitter.value / fit.solution.residual
        for feature, part in parts.items():
            shares[feature] = float(white @ np.mean(np.abs(part) ** 2, axis=1))
        return shares

    def _grow_found(self, kind: classes.Kind) -> bool:
        """Add what a class of products offers beyond chance; return whether there was any."""
        grown = False
        for _ in range(_ROUNDS):
            if not self._grow(self._offered(kind, CHANCE), rounds=1, extend=False):
                break
            grown = True
        if grown:
            self._add_likely(self._offered(kind, None), kind.members)
            self._extend()
        return grown

    def _offered(self, kind: classes.Kind, beyond: float | None) -> list[Feature]:
        return kind.offer(self._fitter.bank, self._gradient(), self.fit, beyond=beyond)

    def _add_likely(self, candidates: Sequence[Feature], members: Collection[Feature]) -> None:
        """Add candidates from a class of which some members are in the fit already.

        Where a share `s` of a class belongs, a member whose statistic is reached by chance with
        probability `p` belongs with odds of about `s / ((1 - s) p)`, to a factor that depends on
        how strong members are. The evidence decides; a needless one costs little.
        """
        share = len(set(self.fit.features) & set(members)) / max(len(members), 1)
        if share:
            limit = min(1.0, share / max(1 - share, 1e-9) / _FAIR)
            self._grow(candidates, limit, single=True, rounds=3, extend=False)

    def _grow(
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
            found = scan(self._fitter.bank, fresh, self._gradient(), farthest(self._layout))
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
        found = scan(self._fitter.bank, list(held), self._gradient(), farthest(layout), known)
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

    def _try_classes(self, slow: Sequence[int]) -> None:
        """Try the optional classes; while any gains enough, keep the best and try the others."""
        left = list(self._choice.classes)
        while left:
            before, carriers = self.fit, self._carriers()
            tried: list[tuple[Trial, Fit]] = []
            for name in left:
                kind = classes.OPTIONAL[name](self._fitter, before, carriers, slow)
                tried.append((self._try(name, kind, before), self.fit))
                self.fit = before
            best, fit = max(tried, key=lambda one: one[0].significance)
            if best.significance <= SIGNIFICANT:
                self.trials += [trial for trial, _ in tried]
                return
            self.trials.append(replace(best, kept=True))
            self.fit = fit
            left.remove(best.name)

    def _try(self, name: str, kind: classes.Kind, before: Fit) -> Trial:
        """Add what an optional class offers beyond chance, and judge it."""
        if kind.members:
            self._grow_found(kind)
        added = len(set(self.fit.features) - set(before.features))
        return Trial(name, added, self._gain(self.fit, before) if added else None)

    def _shorten(self) -> None:
        """Drop the lags ahead of time where held-out data does not miss them: they cost latency."""
        short = [group for group in self.fit.groups if group[1] <= 0]
        if len(short) < len(self.fit.groups):
            without = self._fitter.fit(short, self.fit)
            if self._gain(self.fit, without).significance < SIGNIFICANT:
                self.fit = without

    def _gain(self, better: Fit, worse: Fit) -> Gain:
        return compare(self._held(better), self._held(worse))

    def _held(self, fit: Fit) -> HeldOutScore:
        return hold_out(self._fitter, fit)

    def _gradient(self) -> list[Complex]:
        fit = self.fit
        white = self._fitter.value / fit.solution.residual
        return self._fitter.bank.gradient(white[:, None] * fit.weights * fit.left)
