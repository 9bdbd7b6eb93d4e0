"""Kinds of coupling: what moves, what sees it, and how it gets into the strain.

Each is a function of a generator of what the hardware is and of a scene, and returns the witnesses
and the noise in the strain. The floor has a density of 1 per root Hz in the middle of the band;
strengths are root mean squares in those units, or densities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.scene import Scene, resonance
from deepclean.core.block import Float64
from deepclean.core.filters.resample import Resampler

SENSOR = 1e-3
"""Density of a witness's own noise per root Hz, relative to the rms of what it sees."""

Channels = list[Float64]
Made = tuple[Channels, Float64]
Maker = Callable[[np.random.Generator, Scene], Made]


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


def line_with_sidebands(line: float, sidebands: float, motions: int, delay: float = 0.002) -> Maker:
    """Return the maker of a line and of sidebands by motions, late by seconds.

    Args:
        line: strength of the line.
        sidebands: strength of all sidebands together.
        motions: how many there are, each with a witness.
        delay: from witnesses to strain, in seconds.
    """

    def make(drawn: np.random.Generator, scene: Scene) -> Made:
        carrier, moving = scene.line(60), _motions(scene, drawn, motions)
        noise = line * _turned(carrier, drawn)
        noise += _sidebands(scene, drawn, carrier, moving, sidebands)
        channels = [_witness_of(scene, carrier), *_angular(scene, drawn, moving)]
        return channels, scene.delayed(noise, delay)

    return make


def weak_sidebands(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make weak sidebands, and a broadband coupling beside them."""
    channels, noise = line_with_sidebands(15.0, 2.0, 19)(drawn, scene)
    shaking = scene.broad(50, 70)
    noise += scene.delayed(1.5 * shaking, drawn.uniform(0.001, 0.005))
    return [*channels, shaking + scene.white(0.03)], noise


def irrelevant(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make a line, eight motions, and fifty witnesses of nothing, half of them slow."""
    channels, noise = line_with_sidebands(15.0, 7.0, 8)(drawn, scene)
    others = [*_motions(scene, drawn, 25), *(scene.white(1.0) for _ in range(25))]
    return [*channels, *others], noise


def two_phases(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make two phases of the mains, which wander a little apart, and four motions for both."""
    carriers = [scene.line(60), scene.line(60) * np.exp(2j * np.pi / 3)]
    moving = _motions(scene, drawn, 4)
    noise = np.zeros(scene.count)
    for carrier in carriers:
        noise += 7 * _turned(carrier, drawn)
        noise += _sidebands(scene, drawn, carrier, moving, 3.0)
    seen = [_witness_of(scene, carrier) for carrier in carriers]
    return [*seen, *_angular(scene, drawn, moving)], scene.delayed(noise, 0.002)


def sampled_slowly(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make angular witnesses of 16 samples a second, brought up by the engine's own filter."""
    channels, noise = line_with_sidebands(15.0, 5.0, 4)(drawn, scene)
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


def saturating_sidebands(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make sidebands by the hyperbolic tangent of all motions together."""
    carrier, moving = scene.line(60), _motions(scene, drawn, 4)
    weights = drawn.uniform(0.5, 1.0, 4) * drawn.choice([-1, 1], 4)
    noise = 10 * _turned(carrier, drawn)
    noise += 7 * np.tanh(np.tensordot(weights, np.stack(moving), 1)) * _turned(carrier, drawn)
    channels = [_witness_of(scene, carrier), *_angular(scene, drawn, moving)]
    return channels, scene.delayed(noise, 0.002)


def rectified_sidebands(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make sidebands by the magnitude of all motions together, which is no power of them."""
    carrier, moving = scene.line(60), _motions(scene, drawn, 4)
    weights = drawn.uniform(0.5, 1.0, 4) * drawn.choice([-1, 1], 4)
    noise = 10 * _turned(carrier, drawn)
    noise += 7 * np.abs(np.tensordot(weights, np.stack(moving), 1)) * _turned(carrier, drawn)
    channels = [_witness_of(scene, carrier), *_angular(scene, drawn, moving)]
    return channels, scene.delayed(noise, 0.002)


def trilinear(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make sidebands by one motion, by the product of two, and by a square."""
    carrier, (first, second) = scene.line(60), _motions(scene, drawn, 2)
    noise = 10 * _turned(carrier, drawn) + 3 * first * _turned(carrier, drawn)
    noise += 4 * first * second * _turned(carrier, drawn)
    noise += 3 * (first**2 - 1) * _turned(carrier, drawn)
    channels = [_witness_of(scene, carrier), *_angular(scene, drawn, [first, second])]
    return channels, scene.delayed(noise, 0.002)


def saturation(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make the hyperbolic tangent of a force that two witnesses make together."""
    shaking = [scene.broad(20, 40) for _ in range(2)]
    force = sum(
        scene.delayed(part, drawn.uniform(0.001, 0.008)) * drawn.uniform(0.5, 1) for part in shaking
    )
    assert isinstance(force, np.ndarray)
    driven = 1.2 * force / force.std()
    channels = [part + scene.white(0.01) for part in shaking]
    return channels, 25 * np.tanh(driven)


def quadratic(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make the square of a motion between 4 and 11 Hz: scattered light's weak limit."""
    motion = scene.broad(4, 11)
    motion /= motion.std()
    other = scene.broad(8, 24)
    noise = scene.delayed(7 * motion**2, drawn.uniform(0.001, 0.01))
    return [motion + scene.white(1e-3), other + scene.white(0.03)], noise


def product(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make the product of two motions, by two paths of different delay, and a third witness."""
    first, second, third = scene.broad(0.5, 6), scene.broad(9, 15), scene.broad(5, 25)
    both = first * second / 2
    noise = scene.delayed(both, 0.005) + drawn.uniform(0.5, 1) * scene.delayed(both, 0.03)
    channels = [channel + scene.white(0.01) for channel in (first, second, third)]
    return channels, 3.0 * noise


def driven(
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


def collinear(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make eight witnesses of one motion that differ by a hundredth."""
    shaking = scene.broad(100, 140)
    channels = [shaking + 0.01 * scene.broad(100, 140) for _ in range(8)]
    return channels, 6 * scene.delayed(shaking, drawn.uniform(0.001, 0.004))


def noisy_motions(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make angular witnesses with noise where a carrier would fold it into the band."""
    channels, noise = line_with_sidebands(15.0, 5.0, 4)(drawn, scene)
    loud = [scene.broad(100, 140) for _ in channels[1:]]
    seen = [
        channel + size * extra / extra.std()
        for channel, extra, size in zip(channels[1:], loud, (0.3, 1, 3, 10), strict=True)
    ]
    return [channels[0], *seen], noise


def suppressed_carrier(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make sidebands of a carrier that is not in the strain itself."""
    carrier, moving = scene.line(60), _motions(scene, drawn, 3)
    noise = _sidebands(scene, drawn, carrier, moving, 8.0)
    channels = [_witness_of(scene, carrier), *_angular(scene, drawn, moving)]
    return channels, scene.delayed(noise, 0.002)


def late_motions(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make motions that reach the beam 150 ms after their witnesses."""
    carrier, moving = scene.line(60), _motions(scene, drawn, 3)
    late = [scene.delayed(motion, 0.15) for motion in moving]
    noise = 10 * _turned(carrier, drawn) + _sidebands(scene, drawn, carrier, late, 8.0)
    channels = [_witness_of(scene, carrier), *_angular(scene, drawn, moving)]
    return channels, scene.delayed(noise, 0.002)


def hum(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make band-limited noise, multiplied by motions, with two witnesses of different noise."""
    shaking, moving = scene.motion(60, 2.0), _motions(scene, drawn, 4)
    factor = 1 + sum(0.2 * drawn.uniform(0.5, 1) * motion for motion in moving)
    channels = [shaking + scene.white(SENSOR), *_angular(scene, drawn, moving)]
    return [*channels, 0.5 * shaking + scene.white(0.01)], scene.delayed(
        12 * shaking * factor, 0.002
    )


def another_grid(drawn: np.random.Generator, scene: Scene) -> Made:
    """Make the mains and a witness of another grid's, 40 mHz away."""
    channels, noise = line_with_sidebands(12.0, 5.0, 4)(drawn, scene)
    other = scene.line(60) * np.exp(2j * np.pi * 0.04 * scene.time)
    return [_witness_of(scene, other), *channels], noise
