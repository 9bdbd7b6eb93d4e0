"""What the seconds of a window say about the gains, for windows of several lengths at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.fit import fit, moments, plain_fit
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.adapt.spectra import (
    LOUD,
    OVERLAP,
    inverse_root,
    less,
    median,
    products,
    unexplained,
    whitening,
)
from deepclean.core.block import Float64

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


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the usable seconds of a window say, in units of the floor's power in a bin.

    Args:
        products: inner products of the groups and of what the anchors leave, shape
            `(n, G + 1, G + 1)`.
        trust: the weight of each second by itself, shape `(n,)`.
        times: middle of each second's transform, in whole seconds from the knot, shape `(n,)`.
        freedom: bins of a transform less those that the groups take.
        noise: variance by chance of a direction of unit energy.
    """

    products: Complex
    trust: Float64
    times: Float64
    freedom: float
    noise: float

    def significance(self, deviation: Complex) -> Float64:
        """Return the energy of what each group's change of gain subtracts, in units of chance's."""
        energy = self.trust @ self.products.diagonal(axis1=1, axis2=2).real[:, :-1]
        return np.asarray(np.abs(deviation) ** 2 * energy / self.noise)

    def whole(self, gains: Complex, anchors: Float64) -> complex:
        """Return the gain of the estimate as a whole: `<e, sum_g gain_g e_g> / <e, e>`.

        Here `e` is the model's estimate, the sum of the groups under their anchors.
        """
        onto = anchors @ np.einsum("k,kgh->gh", self.trust, self.products)[:-1, :-1]
        energy = (onto @ anchors).real
        return complex(onto @ gains / energy) if energy > 0 else 1.0


def evidence(spectra: Complex, times: Float64, anchors: Float64, unit: int) -> Evidence | None:
    """Return what a window says; None where it says nothing.

    A second is trusted by what it holds itself: less where even its own best gains leave much (a
    glitch in the strain does that, a drift does not), and where a group is far louder than usual (a
    glitch in a witness). Where a second has too few bins for gains of its own it has one, on the
    whole estimate.

    Args:
        spectra: of the groups and of what the anchors leave, shape `(n, G + 1, B)`.
        times: as of Evidence.
        anchors: of the groups, shape `(G,)`.
        unit: transforms that share their own best gains; the oldest that fill no unit are left out.
    """
    spectra, times = spectra[len(spectra) % unit :], times[len(times) % unit :]
    if len(spectra) < _FEWEST:
        return None
    size, bins = spectra.shape[1:]
    whole = None
    if bins <= 3 * size:
        whole = np.stack([anchors @ spectra[:, :-1], spectra[:, -1]], axis=1)
    weights = whitening(spectra, unit, whole)
    if weights is None:
        return None
    inner = products(spectra, weights)
    own = unexplained(inner if whole is None else products(whole, weights))
    energy = inner.diagonal(axis1=1, axis2=2).real[:, :-1]
    lever = (energy * inverse_root(median(energy)) ** 2).max(axis=1)
    trust = (less(own, LOUD * median(own)) * less(lever, _LEVER)) ** 2
    freedom = bins - (size - 1) / (1 if whole is None else unit)
    return Evidence(inner, trust, times, freedom, OVERLAP * float(median(own)) / freedom)


def members(said: Evidence, settings: AdaptSettings) -> tuple[Complex, Complex]:
    """Return each member's deviation from the anchors at the knot, and its change in a second.

    Both have the shape `(M, G)`.

    A second counts less where the window's own fit leaves much of it. So the few seconds after a
    step count less than their number, and when they are many, those before it do.
    """
    count, newest = len(said.times), settings.newest
    starts = said.times.searchsorted([newest + 1 - one.seconds for one in settings.members])
    counts = count - starts
    sloped = settings.sloped * (counts >= _FEWEST_SLOPE)
    times = said.times / settings.window
    inside = np.arange(count) >= starts[:, None]
    trust = said.trust * inside
    level, slope = plain_fit(moments(said.products, trust, times), sloped)
    left = remains(said.products, level[:, None] + times[:, None] * slope[:, None])
    # The median of each window: seconds outside are sorted to the front.
    middle = np.minimum(starts + counts // 2, count - 1)[:, None]
    usual = np.take_along_axis(np.sort(np.where(inside, left, -1.0), axis=1), middle, axis=1)
    sums = moments(said.products, trust * less(left, LOUD * usual) ** 2, times)
    level, slope = fit(sums, sloped, OVERLAP * usual[:, 0] / said.freedom)
    # Where the newest seconds say nothing the gains hold: no slope is followed further than usual.
    found = level + min(0.0, (said.times[-1] - newest) / settings.window) * slope
    # A window that is nearly empty says what home says.
    found[counts < _FEWEST], slope[counts < _FEWEST] = found[0], slope[0]
    return np.asarray(found), np.asarray(slope / settings.window)


def remains(inner: Complex, deviations: Complex) -> Float64:
    """Return the power that gains leave in each second: `|s - E d|^2`.

    Args:
        inner: shape `(n, G + 1, G + 1)`.
        deviations: of the gains from the anchors, shape `(M, n, G)`.

    Returns:
        Shape `(M, n)`.
    """
    ones = np.ones((*deviations.shape[:2], 1))
    return _energy(inner, np.concatenate([-deviations, ones], axis=2))


def _energy(inner: Complex, columns: Complex) -> Float64:
    """Return `x^H A x` for each `x` of shape `(M, n, G)`, with `A` of shape `(n, G, G)`."""
    turned = (inner @ columns.transpose(1, 2, 0)).transpose(2, 0, 1)
    return np.asarray((columns.conj() * turned).sum(axis=2).real)


def choose(said: Evidence, past: Complex, settings: AdaptSettings) -> int:
    """Return the member that left least in the last seconds; home, 0, unless beyond chance.

    Each second is judged by the gains that the member gave for it from what was before it. With the
    noise `n` a change of the gains by `D` changes what is left by `2 Re(D^H E^H n)` by chance, of
    variance `2 D^H R D` times the noise's.

    Args:
        said: of the window.
        past: the members' deviations at the knots before this one, one each second, newest first,
            shape `(K, M, G)`.
        settings: of the tracker.
    """
    last = np.flatnonzero(said.times > settings.newest - settings.judged)
    if not len(last):
        return 0
    # The middle of a transform is a knot; `past` begins with the knot of 1 s ago.
    ago = (-said.times[last]).astype(np.intp) - 1
    inner, trust = said.products[last], said.trust[last]
    deviations = past[ago].swapaxes(0, 1)
    left = remains(inner, deviations)
    better = ((left[0] - left) * trust).sum(axis=1)
    between = _energy(inner[:, :-1, :-1], deviations - deviations[0])
    chance = np.sqrt(2 * said.noise * (between * trust**2).sum(axis=1))
    return int(np.argmax(np.where(better > _BEYOND * chance, better, 0.0)))


def does_harm(said: Evidence, spectra: Complex, deviation: Complex, slope: Complex) -> bool:
    """Return whether a change of the gains leaves plainly more of the newest seconds than none.

    The fit takes away as much power as it can, and nearly all power may be in one line: a line that
    some other source adds to the strain beside the coupling's own can draw a gain that is right for
    it and wrong for all other bins. A search weighs the bins by what they are worth to it, the
    inverse of their power, so a bin with a line in it hardly counts.

    Args:
        said: of the window.
        spectra: as of `evidence`.
        deviation: of the gains from the anchors at the knot, shape `(G,)`.
        slope: its change in a second, shape `(G,)`.
    """
    if not deviation.any():
        return False
    # A glitch says nothing of the gains, so only seconds count that are trusted.
    newest = np.flatnonzero(said.trust[-_RECENT:] > _TRUSTED) - min(_RECENT, len(said.trust))
    if len(newest) < _FEWEST:
        return False
    rows, changes = spectra[newest], deviation + said.times[newest, None] * slope
    fixed = rows[:, -1]
    adapted = fixed - (changes[:, None] @ rows[:, :-1])[:, 0]
    powers = (np.sum(np.abs(one) ** 2, axis=0) for one in (fixed, adapted))
    before, after = (float(np.sum(inverse_root(power) ** 2)) for power in powers)
    return after < _HARM * before


def limited(said: Evidence, deviations: Complex, anchors: Float64, bound: float) -> Complex:
    """Return deviations cut back, all groups by one factor, until no group's part is too loud.

    What the fit leaves is convex in the gains, so along the straight line from the anchors to the
    fit it only falls, and to stop on the way is never worse than to stay. To cut one group alone
    can be worse, where two nearly cancel.

    Args:
        said: of the window.
        deviations: shape `(M, G)`.
        anchors: shape `(G,)`.
        bound: how many times louder than the model's whole estimate a group's part may be.
    """
    inner = np.einsum("k,kgh->gh", said.trust, said.products)[:-1, :-1]
    whole = max(float((anchors @ inner @ anchors).real), 0.0)
    limit = bound * np.maximum(np.sqrt(whole) * inverse_root(inner.diagonal().real), anchors)
    # |a + f d| = limit, solved for the factor f.
    size, along = np.abs(deviations) ** 2, anchors * deviations.real
    root = np.sqrt(along**2 + size * (limit**2 - anchors**2)) - along
    over = np.abs(anchors + deviations) > limit
    factor = np.where(over, root / np.where(over, size, 1.0), 1.0).min(axis=1)
    return np.asarray(deviations * factor[:, None])
