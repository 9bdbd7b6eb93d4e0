"""Mergers in the strain of a site, and how well a matched filter finds them again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import signal

from deepclean.core.block import Float64
from deepclean.core.spectra import asd
from deepclean.core.time import NS, Span
from deepclean.simulate.injection import Injection
from deepclean.simulate.simulator import Simulator
from deepclean.simulate.variants import on_background
from tests.helpers.adversary import (
    MAINS,
    RATE,
    START,
    Scene,
    configuration,
    demo_site,
    engine,
    placed,
    scene,
    steady,
)
from tests.helpers.builders import raw_of, same_bits, strain_of

LOW, HIGH = 20.0, 1000.0
"""Hz between which is filtered."""


FAR = (50.0, 1500.0)
NEAR = (5.0, 50.0)
"""Mpc between which mergers are drawn; most of the near ones are louder than any detected."""


def drawn(
    count: int, span: tuple[float, float], seed: int = 0, distance: tuple[float, float] = FAR
) -> list[Injection]:
    """Return mergers of random masses and distances, one after another in a span (GPS seconds)."""
    rng = np.random.default_rng(seed)
    heavy = rng.uniform(10, 60, count)
    light = heavy * rng.uniform(0.5, 1, count)
    distances = rng.uniform(*distance, count)
    step = (span[1] - span[0]) / count
    instants = span[0] + step * (np.arange(count) + rng.uniform(0.0, 0.2, count))
    return [
        Injection(round(t * NS), float(m1), float(m2), float(d))
        for t, m1, m2, d in zip(instants, heavy, light, distances, strict=True)
    ]


@dataclass(frozen=True)
class Whitened:
    """A power spectral density to filter with, at every bin of a stretch."""

    density: Float64
    rate: int

    @classmethod
    def of(cls, samples: Float64, rate: int, count: int) -> Whitened:
        """Return the median density of a long stretch, for filtering `count` samples."""
        frequencies, power = signal.welch(samples, rate, nperseg=4 * rate, average="median")
        axis = np.fft.rfftfreq(count, 1 / rate)
        return cls(np.interp(axis, frequencies, power), rate)

    def inner(self, one: Float64, other: Float64) -> float:
        """Return the noise-weighted inner product of two stretches (Allen et al. 2012, eq. 4.3)."""
        count = len(one)
        axis = np.fft.rfftfreq(count, 1 / self.rate)
        used = (axis >= LOW) & (axis <= HIGH)
        a, b = (np.fft.rfft(x)[used] / self.rate for x in (one, other))
        return float(4 * self.rate / count * np.sum((a * b.conj()).real / self.density[used]))

    def snr(self, data: Float64, template: Float64) -> float:
        """Return the optimal filter's output at the template's own time and phase."""
        return self.inner(data, template) / float(np.sqrt(self.inner(template, template)))


@dataclass(frozen=True)
class Recovered:
    """What cleaning did to mergers.

    Args:
        ratios: each one's signal-to-noise ratio in the cleaned strain over that in the raw one.
        moved: seconds in which the gain is another one without them.
        seconds: of all.
    """

    ratios: Float64
    moved: int
    seconds: int


def recovered(
    count: int,
    every: float,
    strength: float = 1.0,
    seed: int = 0,
    distance: tuple[float, float] = FAR,
    adapt: bool = False,
) -> Recovered:
    """Return what cleaning does to mergers, all in one stream, one after another.

    The estimate of a fixed model must be what it is without them, bit for bit; where the gain is
    not, or gains are learnt, what is left of each is compared as it is.

    Args:
        count: of mergers.
        every: seconds between two, on average.
        strength: of the site's coupling; 0: nothing to clean, and nothing in the mains monitor.
        seed: of the mergers and of the site's noise.
        distance: Mpc between which they are drawn.
        adapt: whether gains are learnt.
    """
    seconds = int(count * every) + 60
    quiet = scene(seconds, seed=7 + seed, strength=strength)
    if strength == 0:
        quiet = quiet.seen(MAINS, lambda t, x: 1e-3 * x)
    injections = drawn(count, (START + 30, START + seconds - 20), seed, distance)
    waves = np.zeros_like(quiet.strain)
    for injection in injections:
        waves += placed(injection, START, len(waves), RATE)
    without, loud = (
        [one for block in s.blocks() for one in made.push(block)]
        for s, made in (
            (quiet, engine(adapt=adapt)),
            (quiet.plus(waves), engine(adapt=adapt)),
        )
    )
    moved = 0
    for one, other in zip(without, loud, strict=True):
        a, b = one.estimates["60Hz"], other.estimates["60Hz"]
        assert adapt or same_bits(a.noise, b.noise)
        moved += not same_bits(a.gain, b.gain)
    left = strain_of(loud) - strain_of(without) - waves[: len(strain_of(loud))]
    raw, cleaned = raw_of(without), strain_of(without)
    length = 16 * RATE
    settled = slice(20 * RATE, None)
    filters = [Whitened.of(x[settled], RATE, length) for x in (raw, cleaned)]
    found = []
    for injection in injections:
        start = injection.coalescence // NS - START - 12
        part = slice(start * RATE, start * RATE + length)
        wave = placed(injection, START + start, length, RATE)
        before, after = (
            f.snr(x, wave) for f, x in zip(filters, (wave, wave + left[part]), strict=True)
        )
        found.append(after / before)
    return Recovered(np.array(found), moved, len(loud))


def matched_filter(
    strain: Float64, rate: int, density: Float64, frequencies: Float64, like: Injection
) -> float:
    """Return the largest signal-to-noise ratio of a merger's template, 30 to 1000 Hz.

    Allen et al. 2012, Phys. Rev. D 85, 122006, eq. 4.2 with the complex template of eq. 3.15.

    Args:
        strain: to be searched, some seconds.
        rate: samples per second.
        density: amplitude spectral density to filter with.
        frequencies: of that, Hz.
        like: the merger; its time does not matter.
    """
    import lal
    import lalsimulation

    count = len(strain)
    step = rate / count
    template, _ = lalsimulation.SimInspiralChooseFDWaveform(
        like.mass1 * lal.MSUN_SI, like.mass2 * lal.MSUN_SI, *[0.0] * 6,
        like.distance * 1e6 * lal.PC_SI, *[0.0] * 5,
        step, 20.0, rate / 2, 20.0, None, lalsimulation.IMRPhenomD,
    )  # fmt: skip
    wave = np.zeros(count // 2 + 1, dtype=complex)
    wave[: template.data.length] = template.data.data[: len(wave)]
    axis = np.arange(len(wave)) * step
    used = (axis >= 30) & (axis <= 1000)
    power = np.interp(axis, frequencies, density) ** 2
    window = np.ones(count)
    taper = rate // 2
    window[:taper] = np.sin(np.linspace(0, np.pi / 2, taper)) ** 2
    window[-taper:] = window[:taper][::-1]
    data = np.fft.rfft(strain * window) / rate
    product = np.zeros(count, dtype=complex)
    product[: len(wave)][used] = (data * wave.conj() / power)[used]
    series = 4 * step * count * np.fft.ifft(product)
    norm = np.sqrt(4 * step * np.sum((np.abs(wave) ** 2 / power)[used]))
    return float(np.abs(series).max() / norm)


def replayed(path: Path, like: Injection, strength: float) -> dict[str, float]:
    """Return the signal-to-noise ratios of a real merger: untouched, with a coupling, cleaned.

    And the least gain around it.

    Args:
        path: of the 32 s of real strain.
        like: the template.
        strength: times the demo's coupling; Hanford's floor was higher than the curve's.
    """
    site = on_background(demo_site(5, strength), path)
    simulator = Simulator(site)
    config = configuration()
    start = int(path.stem.split("-")[2])
    names = [config.strain.channel, "H1:TRUTH-BACKGROUND", *config.witness_channels]
    read = simulator.read(names, Span.of_seconds(start, 32))
    strain, real, *witnesses = (read[name].samples for name in names)
    factor = steady(32, max(strength, 1.0))
    named = dict(zip(names[2:], witnesses, strict=True))
    data = Scene(strain, strain - real, named, factor, start)
    made = engine()
    cleaned = [one for block in data.blocks() for one in made.push(block)]
    # The gate must have seen the coupling for a while; the merger is after that.
    first, stop = 12 * RATE, len(strain_of(cleaned)) - RATE
    strains = {"real": real, "raw": strain, "cleaned": strain_of(cleaned)}
    frequencies, density = asd(real[first:stop], RATE)
    found = {
        name: matched_filter(one[first:stop], RATE, density, frequencies, like)
        for name, one in strains.items()
    }
    # Both mergers are 16 to 17 s into their files. From 28 s on the Hanford strain's own line
    # of 60 Hz cancels the simulated one, so that cleaning raises the band's power fourfold: there
    # a gate has to close.
    gain = min(float(block.estimates["60Hz"].gain.min()) for block in cleaned[14:26])
    return {**found, "gain": gain}
