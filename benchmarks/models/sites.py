"""Sites of known truth: at least one for every kind of coupling that is known to matter.

A site is a function of a *hardware* seed, which draws what couples how strongly, and of a *data*
seed, which draws everything that moves. Training and test data share the first and differ in the
second. The floor has a density of 1 per root Hz in the middle of the band; strengths are root mean
squares in those units, or densities. The strain leaves in its own units, 1e-23 of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.scene import Scene, floor_density, resonance
from deepclean.core.block import Float64
from deepclean.core.resample import Resampler

STRAIN = 1e-23
"""Strain per root Hz of the floor in the middle of a band."""

SENSOR = 1e-3
"""Density of a witness's own noise per root Hz, relative to the rms of what it sees."""

Channels = list[Float64]
Made = tuple[Channels, Float64]
Maker = Callable[[np.random.Generator, Scene], Made]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A stretch of a site's data at the model rate.

    Args:
        rate: samples per second.
        witnesses: in counts, shape `(channels, n)`, float32.
        strain: floor and noise, shape `(n,)`.
        noise: what couples into the strain, shape `(n,)`.
    """

    rate: int
    witnesses: NDArray[np.float32]
    strain: Float64
    noise: Float64

    @property
    def floor(self) -> Float64:
        """The strain without what couples into it."""
        return self.strain - self.noise


@dataclass(frozen=True, slots=True)
class Site:
    """One kind of coupling.

    Args:
        name: of the kind.
        band: in Hz.
        accept: the excess that a filter from 1024 s of data is to reach.
        maker: makes witnesses and noise.
        glitches: whether the data has them, in training.
    """

    name: str
    band: tuple[float, float]
    accept: float
    maker: Maker
    glitches: bool = False

    def record(
        self, hardware: int, data: int, seconds: int, rate: int = 4096, *, clean: bool = False
    ) -> Recording:
        """Return a stretch of data.

        Args:
            hardware: seed of the couplings.
            data: seed of all that moves.
            seconds: length.
            rate: samples per second.
            clean: leave out the glitches.
        """
        key = [ord(letter) for letter in self.name]
        drawn = np.random.default_rng([hardware, 1, *key])
        scene = Scene(np.random.default_rng([hardware, data, 2, *key]), seconds, rate)
        channels, noise = self.maker(drawn, scene)
        middle = np.array([sum(self.band) / 2])
        floor = scene.noise(lambda f: floor_density(f) / floor_density(middle))
        witnesses = np.stack([scene.cut(channel) for channel in channels])
        strain = scene.cut(floor + noise)
        if self.glitches and not clean:
            _glitch(scene, witnesses, strain)
        gains = 10 ** drawn.uniform(-3, 3, len(channels))
        offsets = drawn.uniform(-3, 3, len(channels)) * gains
        counts = witnesses * gains[:, None] + offsets[:, None]
        return Recording(
            rate, counts.astype(np.float32), STRAIN * strain, STRAIN * scene.cut(noise)
        )


def _glitch(scene: Scene, witnesses: Float64, strain: Float64) -> None:
    """Add six glitches to witnesses and four to the strain, a tenth of a second long."""
    length = scene.rate // 10
    for number in range(10):
        start = int(scene.random.integers(scene.count // 20, strain.size - length))
        burst = scene.random.standard_normal(length) * np.hanning(length)
        if number < 6:
            row = witnesses[number % len(witnesses)]
            row[start : start + length] += 100 * row.std() * burst
        else:
            strain[start : start + length] += 3000 * burst


def _motions(scene: Scene, drawn: np.random.Generator, count: int) -> Channels:
    return [scene.motion(drawn.uniform(0.2, 2.5), drawn.uniform(0.08, 0.25)) for _ in range(count)]


def _angular(scene: Scene, drawn: np.random.Generator, motions: Channels) -> Channels:
    """Return one witness for each motion, which sees some of the others too, and its own noise."""
    seen = []
    for number, motion in enumerate(motions):
        leaks = 0.2 * drawn.uniform(-1, 1, len(motions))
        leaks[number] = 0.0
        mixed = motion + sum(leak * other for leak, other in zip(leaks, motions, strict=True))
        seen.append(mixed + scene.white(SENSOR))
    return seen


def _turned(carrier: NDArray[np.complex128], drawn: np.random.Generator) -> Float64:
    return np.asarray((carrier * np.exp(1j * drawn.uniform(-np.pi, np.pi))).real)


def _witness_of(scene: Scene, carrier: NDArray[np.complex128]) -> Float64:
    return carrier.real + scene.white(SENSOR)


def _sidebands(
    scene: Scene,
    drawn: np.random.Generator,
    carrier: NDArray[np.complex128],
    motions: Sequence[Float64],
    strength: float,
) -> Float64:
    """Return a carrier multiplied by motions, each by its own path, of a total strength."""
    sizes = 10 ** drawn.uniform(-0.5, 0.5, len(motions))
    sizes *= strength / np.sqrt(np.sum(sizes**2))
    total = np.zeros(scene.count)
    for size, motion in zip(sizes, motions, strict=True):
        total += size * motion * _turned(carrier, drawn)
    return total


def _line_site(line: float, sidebands: float, motions: int, delay: float = 0.002) -> Maker:
    def make(drawn: np.random.Generator, scene: Scene) -> Made:
        carrier, moving = scene.line(60), _motions(scene, drawn, motions)
        noise = line * _turned(carrier, drawn)
        noise += _sidebands(scene, drawn, carrier, moving, sidebands)
        channels = [_witness_of(scene, carrier), *_angular(scene, drawn, moving)]
        return channels, scene.delayed(noise, delay)

    return make


def _weak(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make weak sidebands, and a broadband coupling beside them."""
    channels, noise = _line_site(15.0, 2.0, 19)(drawn, scene)
    shaking = scene.broad(50, 70)
    noise += scene.delayed(1.5 * shaking, drawn.uniform(0.001, 0.005))
    return [*channels, shaking + scene.white(0.03)], noise


def _irrelevant(drawn: np.random.Generator, scene: Scene) -> Made:
    channels, noise = _line_site(15.0, 7.0, 8)(drawn, scene)
    others = [*_motions(scene, drawn, 25), *(scene.white(1.0) for _ in range(25))]
    return [*channels, *others], noise


def _two_phases(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make two phases of the mains, which wander a little apart, and four motions for both."""
    carriers = [scene.line(60), scene.line(60) * np.exp(2j * np.pi / 3)]
    moving = _motions(scene, drawn, 4)
    noise = np.zeros(scene.count)
    for carrier in carriers:
        noise += 7 * _turned(carrier, drawn)
        noise += _sidebands(scene, drawn, carrier, moving, 3.0)
    seen = [_witness_of(scene, carrier) for carrier in carriers]
    return [*seen, *_angular(scene, drawn, moving)], scene.delayed(noise, 0.002)


def _sampled_slowly(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make angular witnesses of 16 samples a second, brought up by the engine's own filter."""
    channels, noise = _line_site(15.0, 5.0, 4)(drawn, scene)
    up = Resampler(16, scene.rate, zeros=16, max_delay=Fraction(1, 4), attenuation=80.0)
    step, count = scene.rate // 16, scene.count // 16 // 8 * 8
    slow = []
    for channel in channels[1:]:
        first, stop = up.needs(0, scene.count)
        # The ends are inside the margins, where nothing is compared.
        low = np.resize(channel[::step], count)
        padded = np.take(low, np.arange(first, stop), mode="clip")
        slow.append(up.apply(padded[None], 0, scene.count)[0])
    return [channels[0], *slow], noise


def _saturating_sidebands(drawn: np.random.Generator, scene: Scene) -> Made:
    carrier, moving = scene.line(60), _motions(scene, drawn, 4)
    weights = drawn.uniform(0.5, 1.0, 4) * drawn.choice([-1, 1], 4)
    noise = 10 * _turned(carrier, drawn)
    noise += 7 * np.tanh(np.tensordot(weights, np.stack(moving), 1)) * _turned(carrier, drawn)
    channels = [_witness_of(scene, carrier), *_angular(scene, drawn, moving)]
    return channels, scene.delayed(noise, 0.002)


def _trilinear(drawn: np.random.Generator, scene: Scene) -> Made:
    carrier, (first, second) = scene.line(60), _motions(scene, drawn, 2)
    noise = 10 * _turned(carrier, drawn) + 3 * first * _turned(carrier, drawn)
    noise += 4 * first * second * _turned(carrier, drawn)
    noise += 3 * (first**2 - 1) * _turned(carrier, drawn)
    channels = [_witness_of(scene, carrier), *_angular(scene, drawn, [first, second])]
    return channels, scene.delayed(noise, 0.002)


def _saturation(drawn: np.random.Generator, scene: Scene) -> Made:
    shaking = [scene.broad(20, 40) for _ in range(2)]
    force = sum(
        scene.delayed(part, drawn.uniform(0.001, 0.008)) * drawn.uniform(0.5, 1) for part in shaking
    )
    assert isinstance(force, np.ndarray)
    driven = 1.2 * force / force.std()
    channels = [part + scene.white(0.01) for part in shaking]
    return channels, 25 * np.tanh(driven)


def _quadratic(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make the square of a motion between 4 and 11 Hz: scattered light's weak limit."""
    motion = scene.broad(4, 11)
    motion /= motion.std()
    other = scene.broad(8, 24)
    noise = scene.delayed(7 * motion**2, drawn.uniform(0.001, 0.01))
    return [motion + scene.white(1e-3), other + scene.white(0.03)], noise


def _product(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make the product of two motions, by two paths of different delay, and a third witness."""
    first, second, third = scene.broad(0.5, 6), scene.broad(9, 15), scene.broad(5, 25)
    both = first * second / 2
    noise = scene.delayed(both, 0.005) + drawn.uniform(0.5, 1) * scene.delayed(both, 0.03)
    channels = [channel + scene.white(0.01) for channel in (first, second, third)]
    return channels, 3.0 * noise


def _driven(
    band: tuple[float, float],
    modes: Sequence[Sequence[tuple[float, float, float]]],
    strength: float,
    useless: int = 0,
) -> Maker:
    """Return the maker of witnesses that drive resonances.

    Args:
        band: in Hz; the witnesses see twice as much.
        modes: for each witness, its (frequency, quality, delay in seconds).
        strength: density at the resonance.
        useless: witnesses that drive nothing.
    """
    low, high = band
    wide = (high - low) / 2

    def make(drawn: np.random.Generator, scene: Scene) -> Made:
        noise = np.zeros(scene.count)
        channels = []
        for coupled in modes:
            shaking = scene.broad(max(low - wide, 1.0), high + wide)
            for frequency, quality, delay in coupled:
                size = strength * drawn.uniform(0.7, 1.3) * drawn.choice([-1, 1])
                late = scene.delayed(shaking, delay)
                noise += size * scene.filtered(late, resonance(frequency, quality))
            channels.append(shaking + scene.white(0.003))
        channels += [scene.broad(low, high) for _ in range(useless)]
        return channels, noise

    return make


def _collinear(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make eight witnesses of one motion that differ by a hundredth."""
    shaking = scene.broad(100, 140)
    channels = [shaking + 0.01 * scene.broad(100, 140) for _ in range(8)]
    return channels, 6 * scene.delayed(shaking, drawn.uniform(0.001, 0.004))


SITES: tuple[Site, ...] = (
    Site("strong sidebands", (55.0, 65.0), 1.005, _line_site(15.0, 7.0, 20)),
    Site("weak sidebands", (55.0, 65.0), 1.005, _weak),
    Site("saturation", (20.0, 40.0), 1.02, _saturation),
    Site("quadratic", (10.0, 20.0), 1.01, _quadratic),
    Site("product", (10.0, 20.0), 1.01, _product),
    Site("two mains phases", (55.0, 65.0), 1.01, _two_phases),
    Site("delay of 40 ms", (55.0, 65.0), 1.01, _line_site(15.0, 5.0, 4, delay=0.04)),
    Site("witnesses at 16 Hz", (55.0, 65.0), 1.01, _sampled_slowly),
    Site("collinear", (110.0, 130.0), 1.005, _collinear),
    Site("50 irrelevant", (55.0, 65.0), 1.005, _irrelevant),
    Site("glitches", (55.0, 65.0), 1.003, _line_site(15.0, 5.0, 6), glitches=True),
    Site("saturating sidebands", (55.0, 65.0), 1.03, _saturating_sidebands),
    Site("trilinear", (55.0, 65.0), 1.01, _trilinear),
    Site(
        "resonance at 105 Hz, Q 100",
        (100.0, 110.0),
        1.008,
        _driven((100.0, 110.0), [[(105.0, 100.0, 0.002)]], 12.0),
    ),
    Site(
        "resonances, 10-20 Hz",
        (10.0, 20.0),
        1.008,
        _driven((10.0, 20.0), [[(12.0, 10.0, 0.005), (16.0, 10.0, 0.01)], [(14.0, 10.0, 0.0)]], 8),
    ),
    Site(
        "resonances, 10-13 Hz",
        (10.0, 13.0),
        1.008,
        _driven(
            (10.0, 13.0), [[(11.0, 10.0, 0.03)], [(12.0, 10.0, 0.03)], [(10.5, 10.0, 0.03)]], 8.0
        ),
    ),
    Site(
        "resonances, 104-109 Hz",
        (104.0, 109.0),
        1.008,
        _driven((104.0, 109.0), [[(106.0, 100.0, 0.002)], [(107.5, 100.0, 0.005)]], 12.0),
    ),
    Site(
        "resonances, 110-130 Hz",
        (110.0, 130.0),
        1.008,
        _driven(
            (110.0, 130.0),
            [[(115.0, 8.0, 0.01)], [(120.0, 8.0, 0.004)], [(126.0, 8.0, 0.02)]],
            6.0,
            useless=1,
        ),
    ),
)
"""The kinds, by the order of the table."""


def site_named(name: str) -> Site:
    """Return a site by its name.

    Raises:
        KeyError: there is none.
    """
    return {site.name: site for site in SITES}[name]
