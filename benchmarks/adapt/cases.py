"""The cases: what drifts, steps, glitches or is injected, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from benchmarks.adapt.measure import (
    Tracked,
    eaten,
    excess,
    optimal_snr,
    recovery,
    settled,
    track,
)
from benchmarks.adapt.signals import chirp, continuous, sine_gaussian
from benchmarks.adapt.sites import (
    DENSITY,
    RATE,
    BroadbandSite,
    Factor,
    Filters,
    LineSite,
    fit,
    predict,
    ramps,
    slow_noise,
    times,
    wander,
)
from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.settings import FEATURES
from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Band

MINUTES_10 = 600.0
STEP = 1.5 * np.exp(1j * np.pi / 3)

Row = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Model:
    """A site's record with what a model makes of it.

    Args:
        site: simulated.
        filters: of its band.
        parts: the prediction of each feature, before the bandpass.
    """

    site: LineSite
    filters: Filters
    parts: Float64

    @property
    def estimate(self) -> Complex:
        """The model's estimate, analytic."""
        return self.filters.analytic(self.parts.sum(axis=0))

    @property
    def groups(self) -> Complex:
        """The estimate, and the carrier as the witness has it."""
        return np.stack([self.estimate, self.filters.analytic(self.site.carrier.real)])


@lru_cache(maxsize=4)
def weights(sidebands: float) -> Float64:
    """Return the weights of a closed form that was fitted to 1024 s."""
    site = LineSite(1024, sidebands, seed=10)
    return fit(site, Filters(site.band))


def modelled(sidebands: float, seconds: int, seed: int = 11) -> Model:
    """Return a record of a line site and its model's prediction."""
    site = LineSite(seconds, sidebands, seed)
    return Model(site, Filters(site.band), predict(site.features(), weights(sidebands)))


def _row(name: str, fixed: Float64, after: Float64, cost: float, accept: str, note: str) -> Row:
    mean, worst = f"{after.mean():.4f}", f"{after.max():.3f}"
    return name, f"{fixed.mean():.4f}", mean, worst, f"{1e3 * cost:.2f}", accept, note


def _left(model: Model, coupling: Float64, estimate: Complex, piece: int = 8) -> Float64:
    left = model.filters.real(coupling) - estimate.real
    return excess(left, model.site.floor, model.filters, piece)


def drifts() -> Iterator[Row]:
    """Yield the rows of a line and its sidebands that drift."""
    for kind, sidebands in (("strong", 3.5), ("weak", 0.7)):
        model = modelled(sidebands, 3600)
        estimate = model.estimate
        groups = model.groups
        coupling = model.site.coupling()
        found = track(coupling + model.site.floor, groups, model.filters, [1, 0])
        fixed, after = (settled(_left(model, coupling, one)) for one in (estimate, found.estimate))
        growth = f"grows by {after.mean() - fixed.mean():+.4f}"
        yield _row(f"{kind}: nothing, 1 h", fixed, after, found.cost, "grows <= 0.001", growth)

        model = modelled(sidebands, 1500)
        estimate, groups = model.estimate, model.groups
        one, other = (ramps(1500, MINUTES_10 / rate, 0.3) for rate in (1.0, 1.3))
        still = np.zeros(len(one))
        both = wander(one, one), wander(other, -other)
        cases: list[tuple[str, Factor, Factor]] = [
            ("amplitude, all alike", wander(one, still), wander(one, still)),
            ("phase, all alike", wander(still, one), wander(still, one)),
            ("the line alone", wander(one, one), 1),
            ("line and sidebands", *both),
        ]
        for name, line, sides in cases:
            coupling = model.site.coupling(line, sides)
            found = track(coupling + model.site.floor, groups, model.filters, [1, 0])
            fixed, after = (settled(_left(model, coupling, x)) for x in (estimate, found.estimate))
            accept = "<= 1.03, worst <= 1.15"
            yield _row(f"{kind}: {name}", fixed, after, found.cost, accept, "")


def broadband() -> Iterator[Row]:
    """Yield the rows of a broadband coupling."""
    for loud in (5.0, 1.0):
        site = BroadbandSite(1500, loud, seed=3)
        filters = Filters(site.band)
        still = site.coupling()
        groups = np.stack([filters.analytic(still), filters.delayed(still)])
        along = ramps(1500, MINUTES_10, 0.3)
        delay = 1e-3 * (1 + ramps(1500, MINUTES_10))
        cases = [
            ("nothing", still, "grows <= 0.001"),
            ("+-50 %, +-60 deg", site.coupling(wander(along, along)), "<= 1.02"),
            ("delay of 0 to 2 ms", site.delayed(delay), "<= 1.03"),
        ]
        for name, coupling, accept in cases:
            for count, label in ((1, "gain"), (2, "gain and delay")):
                found = track(coupling + site.floor, groups[:count], filters, [1, 0][:count])
                fixed, after = (
                    settled(excess(filters.real(coupling) - x.real, site.floor, filters))
                    for x in (groups[0], found.estimate)
                )
                text = f"broadband x{loud:g}: {name}"
                yield _row(text, fixed, after, found.cost, accept, label)


def steps() -> Iterator[Row]:
    """Yield the rows of couplings that change at once, and seconds until they are followed."""
    for kind, sidebands in (("strong", 3.5), ("weak", 0.7)):
        model = modelled(sidebands, 900)
        estimate, groups = model.estimate, model.groups
        inside = (times(900) > 300.3) & (times(900) < 600.6)
        cases: list[tuple[str, Factor, Factor]] = [
            ("x1.5 and 60 deg", np.where(inside, STEP, 1), np.where(inside, STEP, 1)),
            ("line off, on", np.where(inside, 0, 1), 1),
        ]
        for name, line, sides in cases:
            coupling = model.site.coupling(line, sides)
            found = track(coupling + model.site.floor, groups, model.filters, [1, 0])
            fixed, after = (settled(_left(model, coupling, x)) for x in (estimate, found.estimate))
            fine = _left(model, coupling, found.estimate, piece=2)
            there, back = (recovery(fine, 2, at, at + 290, 1.1) for at in (300.3, 600.6))
            note = f"above 1.1 for {there:.0f} s, {back:.0f} s"
            yield _row(f"{kind}: {name}", fixed, after, found.cost, "< 1.1 in 20 s", note)


def cascade(model: Model, strain: Float64) -> tuple[Tracked, Tracked]:
    """Return what gains on the features give, and what the fast gains make of that."""
    ones = [1.0] * len(model.parts)
    slow = track(strain, model.parts, model.filters, ones, FEATURES)
    groups = np.stack([slow.estimate, model.groups[1]])
    return slow, track(strain, groups, model.filters, [1, 0])


def independent() -> Iterator[Row]:
    """Yield the rows of coefficients that drift each by itself, with a gain for each feature."""
    seconds = 3000
    time = times(seconds)
    random = np.random.default_rng(5)
    periods, starts = random.uniform(2400, 4800, 21), random.uniform(0, 2 * np.pi, (2, 21))

    def alone(index: int) -> Complex:
        phase = 2 * np.pi * time / periods[index]
        return wander(np.sin(phase + starts[0, index]), np.sin(phase + starts[1, index]), 0.5, 40.0)

    along = ramps(seconds, MINUTES_10, 0.3)
    fast = wander(along, along)
    hits = _glitch(seconds, 60.4, LineSite.band)
    glitches = sum(300 * np.roll(hits, 20 * RATE * i) for i in range(seconds // 20))
    for kind, sidebands in (("strong", 3.5), ("weak", 0.7)):
        model = modelled(sidebands, seconds)
        own, together = (alone(0), alone), (alone(0) * fast, lambda i: alone(i) * fast)
        cases: list[tuple[str, Factor, Callable[[int], Factor], Float64 | float, str]] = [
            ("nothing", 1, lambda _: 1, 0.0, "grows <= 0.001"),
            ("each coefficient by itself", *own, 0.0, "<= 1.03"),
            ("the same, SNR 300 every 20 s", *own, glitches, ""),
            ("the same, and all alike in 10 min", *together, 0.0, ""),
        ]
        for name, line, sides, more, accept in cases:
            coupling = model.site.coupling(line, sides)
            strain = coupling + model.site.floor + more
            slow, both = cascade(model, strain)
            gain = track(strain, model.groups, model.filters, [1, 0])
            fixed, one, after = (
                _left(model, coupling, x)[50:-1]
                for x in (model.estimate, gain.estimate, both.estimate)
            )
            cost, note = slow.cost + both.cost, f"fast gains alone {one.mean():.3f}"
            yield _row(f"{kind}: {name}", fixed, after, cost, accept, note)


def _glitch(seconds: int, at: float, band: Band) -> Float64:
    """Return a glitch on the line, of a signal-to-noise ratio of 1."""
    glitch = sine_gaussian(seconds, at, 60.0, 9.0)
    return glitch / optimal_snr(glitch, DENSITY, *band)


def glitches() -> Iterator[Row]:
    """Yield the rows of what glitches leave behind, over the 64 s from 2 s after each."""
    seconds, at = 600, 300.4
    model = modelled(3.5, seconds)
    coupling = model.site.coupling()
    floor, groups = model.site.floor, model.groups
    one = _glitch(seconds, at, model.site.band)
    five = sum(np.roll(one, int(12.3 * RATE * i)) for i in range(5))

    def witnesses(channels: slice, start: float, length: float, factor: float) -> Complex:
        """Return the groups where witnesses are wrong for a while."""
        features = model.site.features()
        features[channels, int(start * RATE) : int((start + length) * RATE)] *= factor
        estimate = model.filters.analytic(predict(features, weights(3.5)).sum(axis=0))
        return np.stack([estimate, model.filters.analytic(features[0])])

    dead = frozenset(range(300, 321))
    cases: list[tuple[str, Float64 | float, Complex, frozenset[int], float]] = [
        ("strain, SNR 1000 at 60 Hz", 1000 * one, groups, frozenset(), at + 2),
        ("strain, five of SNR 300 in 50 s", 300 * five, groups, frozenset(), at + 2),
        ("mains x50 for 0.1 s", 0.0, witnesses(slice(None), at, 0.1, 50), frozenset(), at + 2),
        ("one slow x300 for 1 s", 0.0, witnesses(slice(7, 8), at, 1, 300), frozenset(), at + 3),
        ("mains dead for 20 s, told", 0.0, witnesses(slice(None), 300, 20, 0), dead, 322),
        ("the same, not told", 0.0, witnesses(slice(None), 300, 20, 0), frozenset(), 322),
    ]
    along = ramps(seconds, MINUTES_10, 0.3)
    drifting = model.site.coupling(wander(along, along), wander(along, -along))
    for name, glitch, seen, unusable, start in cases:
        for moving, true in (("", coupling), (", in the drift", drifting)):
            strain = true + floor
            clean, hit = (
                track(strain + more, these, model.filters, [1, 0], unusable=bad)
                for more, these, bad in ((0.0, groups, frozenset()), (glitch, seen, unusable))
            )
            part = slice(int(start) * RATE, (int(start) + 64) * RATE)
            left = model.filters.real(true)[part]
            fixed, before, after = (
                excess(left - x.real[part], floor[part], model.filters)
                for x in (groups[0], clean.estimate, hit.estimate)
            )
            grows = f"{after.mean() - before.mean():+.4f} by the glitch"
            accept = "" if moving else "<= 1.003"
            yield _row(name + moving, fixed, after, hit.cost, accept, grows)


def signals() -> Iterator[Row]:
    """Yield the rows of signals: what is taken of them, and what else they change."""
    seconds, at = 700, 400.37
    band = LineSite.band
    transients = {
        "merger of 28, SNR 30": (chirp(seconds, at, 28), 30),
        "merger of 28, SNR 300": (chirp(seconds, at, 28), 300),
        "merger of 1.2, SNR 30": (chirp(seconds, at, 1.2), 30),
        "sine-Gaussian, 61 Hz, Q 9, SNR 300": (sine_gaussian(seconds, at, 61, 9), 300),
        "sine-Gaussian, 60 Hz, Q 9, SNR 100": (sine_gaussian(seconds, at, 60, 9), 100),
        "sine-Gaussian, 60 Hz, Q 100, SNR 300": (sine_gaussian(seconds, at, 60, 100), 300),
        "sine-Gaussian, 60.7 Hz, Q 500, SNR 30": (sine_gaussian(seconds, at, 60.7, 500), 30),
    }
    injected = {
        name: (wave * snr / optimal_snr(wave, DENSITY, *band), "< 0.01 %, < 2 %")
        for name, (wave, snr) in transients.items()
    }
    height = DENSITY * np.sqrt(2 * 0.75)
    for distance in (1.3, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02):
        accept = "< 0.1 %" if distance > 1 else "< 3 %" if distance >= 0.1 else "taken as drift"
        wave = continuous(seconds, 60 + distance, height)
        injected[f"continuous, {60 + distance:g} Hz, as loud as the floor"] = wave, accept
    model = modelled(3.5, seconds)
    one, other = (ramps(seconds, MINUTES_10 / rate, 0.3) for rate in (1.0, 1.3))
    moving = model.site.coupling(wander(one, one), wander(other, -other))
    for text, coupling in (("", model.site.coupling()), (", in the drift", moving)):
        strain, groups = coupling + model.site.floor, model.groups
        before = track(strain, groups, model.filters, [1, 0]).estimate.real
        for name, (wave, accept) in injected.items():
            found = track(strain + wave, groups, model.filters, [1, 0]).estimate.real
            part, rest = eaten(found - before, model.filters.real(wave))
            yield name + text, f"{100 * part:+.4f} %", f"{100 * rest:.2f} %", "" if text else accept


def floors() -> Iterator[Row]:
    """Yield the rows of floors that are neither white nor steady, with and without a drift."""
    seconds = 900
    model = modelled(3.5, seconds)
    site, groups = model.site, model.groups
    one, other = (ramps(seconds, MINUTES_10 / rate, 0.3) for rate in (1.0, 1.3))
    white = np.fft.rfft(site.floor)
    frequencies = np.fft.rfftfreq(seconds * RATE, 1 / RATE)
    steep = np.fft.irfft(white * (60 / np.maximum(frequencies, 45)) ** 20, seconds * RATE)
    wall = 1e5 * DENSITY * np.sqrt(8) * slow_noise([9], seconds, 0.1, 8.0)
    levels = np.repeat(np.random.default_rng(9).lognormal(0, 0.6, seconds), RATE)
    foreign = continuous(seconds, 57.3, 30 * DENSITY * np.sqrt(2 * 0.75))
    cases = {
        "falls by 28 over the band": (steep, 0.0),
        "another line in the band, 30 floors": (site.floor, foreign),
        "1e5 floors below 8 Hz": (site.floor, wall),
        "from second to second x0.5 to x2": (site.floor * levels, 0.0),
    }
    for name, (floor, more) in cases.items():
        for drift in (False, True):
            factors = (wander(one, one), wander(other, -other)) if drift else (1, 1)
            coupling = site.coupling(*factors)
            found = track(coupling + floor + more, groups, model.filters, [1, 0])
            fixed, after = (
                settled(excess(model.filters.real(coupling) - x.real, floor, model.filters))
                for x in (groups[0], found.estimate)
            )
            text = f"{name}: {'line and sidebands drift' if drift else 'nothing'}"
            yield _row(text, fixed, after, found.cost, "", "")


LEFT = ("case", "fixed", "adapted", "worst 8 s", "ms/s", "accept", "")
TAKEN = ("signal", "taken", "all else", "accept")

TABLES: dict[str, tuple[Row, Callable[[], Iterator[Row]]]] = {
    "drifts": (LEFT, drifts),
    "broadband": (LEFT, broadband),
    "steps": (LEFT, steps),
    "features": (LEFT, independent),
    "floors": (LEFT, floors),
    "glitches": (LEFT, glitches),
    "signals": (TAKEN, signals),
}
