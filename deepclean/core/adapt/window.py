"""What the seconds of a window say about the gains, for windows of several lengths at once.

One moment of several couplings is computed together: every array has the couplings along its first
axis, `C` of them, with as many groups and seconds each. No number of one coupling enters another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.fit import fit, moments, plain_fit
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.adapt.spectra import (
    LOUD,
    OVERLAP,
    as_reals,
    inverse,
    inverse_root,
    less,
    powers,
    products,
    squared,
    unexplained,
    whitening,
)
from deepclean.core.block import Float64
from deepclean.core.spectra import median

_LEVER = 10.0
"""Times the median energy of a group from which on a second counts less."""

_FEWEST = 4
"""Seconds that a window must hold."""

_FEWEST_SLOPE = 8
"""Seconds that a window must hold to fit a slope."""

_BEYOND = 4.0
"""Standard errors by which another member must be better than home."""


_RECENT = 8
"""Seconds, the newest, in which learnt gains are compared with none."""

_TRUSTED = 0.5
"""Weight of a second by itself from which on it says whether gains do harm."""

_HARM = 0.95
"""Part of what the band is worth to a search that learnt gains must keep, or they are not used."""


class Window(NamedTuple):
    """The usable seconds of one coupling's window, oldest first.

    Args:
        spectra: of the groups and of what the anchors leave, shape `(n, G + 1, B)`.
        times: middle of each second's transform, in whole seconds from the knot, shape `(n,)`.
        inner: inner products of the rows of `spectra` in units of the floor's power in a bin, shape
            `(n, G + 1, G + 1)`.
        whole: the same of the model's whole estimate and of what the anchors leave, shape
            `(n, 2, 2)`; None where each second has bins enough for gains of its own.
    """

    spectra: Complex
    times: Float64
    inner: Complex
    whole: Complex | None


@dataclass(frozen=True, slots=False, eq=False)
class Evidence:
    """What the usable seconds of windows say, in units of the floor's power in a bin.

    Args:
        products: inner products of the groups and of what the anchors leave, shape
            `(C, n, G + 1, G + 1)`.
        trust: the weight of each second by itself, shape `(C, n)`.
        times: middle of each second's transform, in whole seconds from the knot, shape `(C, n)`.
        freedom: bins of a transform less those that the groups take, shape `(C,)`.
        noise: variance by chance of a direction of unit energy, shape `(C,)`.
    """

    products: Complex
    trust: Float64
    times: Float64
    freedom: Float64
    noise: Float64

    @cached_property
    def energy(self) -> Complex:
        """The inner products of the groups, summed over the window, shape `(C, G, G)`."""
        summed = self.trust[:, None] @ as_reals(self.products)
        size = self.products.shape[-1]
        return np.asarray(summed.view(np.complex128).reshape(-1, size, size)[:, :-1, :-1])

    def onto(self, anchors: Float64) -> Complex:
        """Return the inner products of the model's whole estimate with each group.

        Args:
            anchors: shape `(C, G)`; so is the result.
        """
        return np.asarray((anchors[:, :, None] * self.energy).sum(axis=1))

    def significance(self, deviations: Complex) -> Float64:
        """Return the energy of what each group's change of gain subtracts, in units of chance's.

        Args:
            deviations: of the gains from the anchors, shape `(C, G)`; so is the result.
        """
        energy = self.energy.diagonal(axis1=1, axis2=2).real
        return np.asarray(squared(deviations) * energy / self.noise[:, None])

    def whole(self, gains: Complex, anchors: Float64) -> Complex:
        """Return the gains of the estimates as wholes: `<e, sum_g gain_g e_g> / <e, e>`.

        Here `e` is the model's estimate, the sum of the groups under their anchors.

        Args:
            gains: shape `(C, G)`.
            anchors: shape `(C, G)`.

        Returns:
            Shape `(C,)`; 1 where the estimate is silent.
        """
        onto = self.onto(anchors)
        energy = (onto * anchors).sum(axis=1).real
        some = energy > 0
        return np.where(some, (onto * gains).sum(axis=1) / np.where(some, energy, 1.0), 1.0)


def window(spectra: Complex, times: Float64, anchors: Float64, unit: int) -> Window | None:
    """Return the inner products of a window's seconds; None where it says nothing.

    Where a second has too few bins for gains of its own it has one, on the whole estimate.

    Args:
        spectra: as of Window.
        times: as of Window.
        anchors: of the groups, shape `(G,)`.
        unit: transforms that share their own best gains; the oldest that fill no unit are left out.
    """
    spectra, times = spectra[len(spectra) % unit :], times[len(times) % unit :]
    if len(spectra) < _FEWEST:
        return None
    whole = None
    if spectra.shape[2] <= 3 * spectra.shape[1]:
        whole = np.stack([anchors @ spectra[:, :-1], spectra[:, -1]], axis=1)
    weights = whitening(spectra, unit, whole)
    if weights is None:
        return None
    inner = products(spectra, weights)
    return Window(spectra, times, inner, None if whole is None else products(whole, weights))


def evidence(windows: Sequence[Window], unit: int) -> Evidence:
    """Return what windows say that hold as many seconds and groups each.

    A second is trusted by what it holds itself: less where even its own best gains leave much (a
    glitch in the strain does that, a drift does not), and where a group is far louder than usual (a
    glitch in a witness).

    Args:
        windows: of the couplings, all with `whole` or all without.
        unit: as of `window`.
    """
    inner = np.array([one.inner for one in windows])
    size = inner.shape[-1]
    seen, share = inner, 1
    if windows[0].whole is not None:
        seen, share = np.stack([one.whole for one in windows if one.whole is not None]), unit
    rest = unexplained(seen.reshape(-1, *seen.shape[2:])).reshape(inner.shape[:2])
    usual = median(rest.T)
    energy = inner.diagonal(axis1=2, axis2=3)[:, :, :-1].real
    lever = (energy * inverse(median(energy.swapaxes(0, 1)))[:, None]).max(axis=2)
    trust = (less(rest, LOUD * usual[:, None]) * less(lever, _LEVER)) ** 2
    freedom = np.array([one.spectra.shape[2] for one in windows]) - (size - 1) / share
    times = np.array([one.times for one in windows])
    return Evidence(inner, trust, times, freedom, OVERLAP * usual / freedom)


def members(said: Evidence, settings: AdaptSettings) -> tuple[Complex, Complex]:
    """Return each member's deviation from the anchors at the knot, and its change in a second.

    Both have the shape `(C, M, G)`.

    A second counts less where the window's own fit leaves much of it. So the few seconds after a
    step count less than their number, and when they are many, those before it do.
    """
    couplings, count = said.times.shape
    newest, size = settings.newest, said.products.shape[-1]
    # The first second of each member's window, by coupling.
    inside = said.times[:, None] > (newest - settings.lengths)[:, None]
    counts = inside.sum(axis=2)
    sloped = settings.sloped * (counts >= _FEWEST_SLOPE)
    times = said.times / settings.window
    trust = said.trust[:, None] * inside

    sums = moments(said.products, trust, times)
    level, slope = plain_fit(sums.reshape(-1, *sums.shape[2:]), sloped.ravel())
    shape = (couplings, len(settings.members), size - 1)
    level, slope = level.reshape(shape), slope.reshape(shape)
    left = _remains(said.products, level, slope, times)
    # The median of each window: seconds outside are sorted to the front.
    middle = np.minimum(count - counts + counts // 2, count - 1)[:, :, None]
    left = np.where(inside, np.maximum(left, 0.0), -1.0)
    usual = np.maximum(np.take_along_axis(np.sort(left, axis=2), middle, axis=2), 0.0)
    sums = moments(said.products, trust * less(left, LOUD * usual) ** 2, times)
    noise = OVERLAP * usual[:, :, 0] / said.freedom[:, None]
    level, slope = fit(sums.reshape(-1, *sums.shape[2:]), sloped.ravel(), noise.ravel())
    level, slope = level.reshape(shape), slope.reshape(shape)
    # Where the newest seconds say nothing the gains hold: no slope is followed further than usual.
    last = np.minimum(0.0, (said.times[:, -1] - newest) / settings.window)
    found = level + last[:, None, None] * slope
    # A window that is nearly empty says what home says.
    empty = (counts < _FEWEST)[:, :, None]
    found, slope = (np.where(empty, one[:, :1], one) for one in (found, slope))
    return np.asarray(found), np.asarray(slope / settings.window)


def _remains(inner: Complex, level: Complex, slope: Complex, times: Float64) -> Float64:
    """Return the power that gains along a line leave in each second: `|s - E (l + m t)|^2`.

    Args:
        inner: shape `(C, n, G + 1, G + 1)`.
        level: `l` of the deviations from the anchors, shape `(C, M, G)`.
        slope: `m`, likewise.
        times: `t` of the seconds, shape `(C, n)`.

    Returns:
        Shape `(C, M, n)`.
    """
    # With a = (-l, 1) and b = (-m, 0) this is (a + t b)^H A (a + t b).
    couplings, size, groups = level.shape
    lines = np.zeros((couplings, 2, size, groups + 1), dtype=np.complex128)
    lines[:, 0, :, :-1], lines[:, 1, :, :-1] = -level, -slope
    lines[:, 0, :, -1] = 1.0
    pairs = as_reals(lines[:, :, None, ..., None] * lines[:, None, :, :, None].conj())
    terms = pairs.reshape(couplings, 4 * size, -1) @ as_reals(inner).swapaxes(1, 2)
    both, start_along, along_start, along = terms.reshape(couplings, 4, size, -1).swapaxes(0, 1)
    time = times[:, None]
    return np.asarray(both + time * (start_along + along_start + time * along))


def choose(said: Evidence, past: Complex, settings: AdaptSettings) -> NDArray[np.intp]:
    """Return the member that left least in the last seconds; home, 0, unless beyond chance.

    Each second is judged by the gains that the member gave for it from what was before it. With the
    noise `n` a change of the gains by `D` changes what is left by `2 Re(D^H E^H n)` by chance, of
    variance `2 D^H R D` times the noise's.

    Args:
        said: of the windows.
        past: the members' deviations at the knots before this one, one each second, newest first,
            shape `(C, K, M, G)`.
        settings: of the trackers.

    Returns:
        Shape `(C,)`.
    """
    # All seconds that may be judged are among the last so many.
    last = min(settings.judged, said.times.shape[1])
    times, inner = said.times[:, -last:], as_reals(said.products[:, -last:])
    trust = said.trust[:, -last:] * (times > settings.newest - settings.judged)
    # The middle of a transform is a knot; `past` begins with the knot of 1 s ago.
    ago = np.minimum((-times).astype(np.intp) - 1, past.shape[1] - 1)
    deviations = past[np.arange(len(past))[:, None], ago]
    couplings, _, size, groups = deviations.shape
    # What is left of a second, and what is between a member and home.
    vectors = np.zeros((2, couplings, size, last, groups + 1), dtype=np.complex128)
    vectors[0, ..., :-1] = -deviations.swapaxes(1, 2)
    vectors[0, ..., -1] = 1.0
    vectors[1, ..., :-1] = vectors[0, :, :1, :, :-1] - vectors[0, ..., :-1]
    weighted = inner * np.array([trust, trust**2])[..., None]
    forms = powers(vectors).reshape(2, couplings, size, -1)
    left, between = (forms @ weighted.reshape(2, couplings, -1, 1))[..., 0]
    better = left[:, :1] - left
    chance = np.sqrt(2 * said.noise[:, None] * between)
    return np.asarray(np.argmax(np.where(better > _BEYOND * chance, better, 0.0), axis=1))


def does_harm(one: Window, trust: Float64, deviation: Complex, slope: Complex) -> bool:
    """Return whether a change of the gains leaves plainly more of the newest seconds than none.

    The fit takes away as much power as it can, and nearly all power may be in one line: a line that
    some other source adds to the strain beside the coupling's own can draw a gain that is right for
    it and wrong for all other bins. A search weighs the bins by what they are worth to it, the
    inverse of their power, so a bin with a line in it hardly counts.

    Args:
        one: of the coupling.
        trust: the weight of each second by itself, shape `(n,)`.
        deviation: of the gains from the anchors at the knot, shape `(G,)`.
        slope: its change in a second, shape `(G,)`.
    """
    if not deviation.any():
        return False
    # A glitch says nothing of the gains, so only seconds count that are trusted.
    newest = np.flatnonzero(trust[-_RECENT:] > _TRUSTED) - min(_RECENT, len(trust))
    if len(newest) < _FEWEST:
        return False
    rows, changes = one.spectra[newest], deviation + one.times[newest, None] * slope
    fixed = rows[:, -1]
    adapted = fixed - (changes[:, None] @ rows[:, :-1])[:, 0]
    left = squared(np.array([fixed, adapted])).sum(axis=1)
    before, after = inverse(left).sum(axis=1)
    return bool(after < _HARM * before)


def limited(said: Evidence, deviations: Complex, anchors: Float64, bound: float) -> Complex:
    """Return deviations cut back, all groups by one factor, until no group's part is too loud.

    What the fit leaves is convex in the gains, so along the straight line from the anchors to the
    fit it only falls, and to stop on the way is never worse than to stay. To cut one group alone
    can be worse, where two nearly cancel.

    Args:
        said: of the windows.
        deviations: shape `(C, M, G)`.
        anchors: shape `(C, G)`.
        bound: how many times louder than the model's whole estimate a group's part may be.
    """
    whole = np.maximum((said.onto(anchors) * anchors).sum(axis=1).real, 0.0)[:, None]
    loud = inverse_root(said.energy.diagonal(axis1=1, axis2=2))
    limit = (bound * np.maximum(np.sqrt(whole) * loud, anchors))[:, None]
    anchors = anchors[:, None]
    # |a + f d|^2 = a^2 + 2 f Re(a d) + f^2 |d|^2, which is not to exceed the limit's square.
    size, along, room = squared(deviations), anchors * deviations.real, limit**2 - anchors**2
    over = size + 2 * along > room
    if not over.any():
        return deviations
    root = np.sqrt(along**2 + size * room) - along
    factor = np.where(over, root / np.where(over, size, 1.0), 1.0).min(axis=2)
    return np.asarray(deviations * factor[:, :, None])
