"""Sites of known truth: at least one for every kind of coupling that is known to matter.

A site is a function of a *hardware* seed, which draws what couples how strongly, and of a *data*
seed, which draws everything that moves. Training and test data share the first and differ in the
second. The floor has a density of 1 per root Hz in the middle of the band; strengths are root mean
squares in those units, or densities. The strain leaves in its own units, 1e-23 of that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import couplings
from benchmarks.models.couplings import line_with_sidebands
from benchmarks.models.scene import Scene, floor_density
from deepclean.core.block import Float64

STRAIN = 1e-23
"""Strain per root Hz of the floor in the middle of a band."""


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
    maker: couplings.Maker
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


LINE = (55.0, 65.0)
"""The band of a line at 60 Hz."""

SITES: tuple[Site, ...] = (
    Site("strong sidebands", LINE, 1.005, line_with_sidebands(15.0, 7.0, 20)),
    Site("weak sidebands", LINE, 1.005, couplings.weak_sidebands),
    Site("saturation", (20.0, 40.0), 1.02, couplings.saturation),
    Site("quadratic", (10.0, 20.0), 1.01, couplings.quadratic),
    Site("product", (10.0, 20.0), 1.01, couplings.product),
    Site("two mains phases", LINE, 1.01, couplings.two_phases),
    Site(
        "delay of 40 ms",
        LINE,
        1.01,
        line_with_sidebands(15.0, 5.0, 4, delay=0.04),
    ),
    Site("witnesses at 16 Hz", LINE, 1.01, couplings.sampled_slowly),
    Site("collinear", (110.0, 130.0), 1.005, couplings.collinear),
    Site("50 irrelevant", LINE, 1.005, couplings.irrelevant),
    Site("glitches", LINE, 1.003, line_with_sidebands(15.0, 5.0, 6), glitches=True),
    Site("saturating sidebands", LINE, 1.03, couplings.saturating_sidebands),
    Site("trilinear", LINE, 1.01, couplings.trilinear),
    Site(
        "resonance at 105 Hz, Q 100",
        (100.0, 110.0),
        1.008,
        couplings.driven((100.0, 110.0), [[(105.0, 100.0, 0.002)]], 12.0),
    ),
    Site(
        "resonances, 10-20 Hz",
        (10.0, 20.0),
        1.008,
        couplings.driven(
            (10.0, 20.0), [[(12.0, 10.0, 0.005), (16.0, 10.0, 0.01)], [(14.0, 10.0, 0.0)]], 8
        ),
    ),
    Site(
        "resonances, 10-13 Hz",
        (10.0, 13.0),
        1.008,
        couplings.driven(
            (10.0, 13.0), [[(11.0, 10.0, 0.03)], [(12.0, 10.0, 0.03)], [(10.5, 10.0, 0.03)]], 8.0
        ),
    ),
    Site(
        "resonances, 104-109 Hz",
        (104.0, 109.0),
        1.008,
        couplings.driven((104.0, 109.0), [[(106.0, 100.0, 0.002)], [(107.5, 100.0, 0.005)]], 12.0),
    ),
    Site(
        "resonances, 110-130 Hz",
        (110.0, 130.0),
        1.008,
        couplings.driven(
            (110.0, 130.0),
            [[(115.0, 8.0, 0.01)], [(120.0, 8.0, 0.004)], [(126.0, 8.0, 0.02)]],
            6.0,
            useless=1,
        ),
    ),
    Site("noisy motions", LINE, 1.005, couplings.noisy_motions),
    Site("suppressed carrier", LINE, 1.005, couplings.suppressed_carrier),
    Site("late motions", LINE, 1.005, couplings.late_motions),
    Site("hum", LINE, 1.005, couplings.hum),
    Site("another grid", LINE, 1.005, couplings.another_grid),
    Site("rectified sidebands", LINE, 1.1, couplings.rectified_sidebands),
    Site("few sidebands", LINE, 1.005, line_with_sidebands(15.0, 5.0, 2)),
)
"""The kinds, by the order of the table."""


def site_named(name: str) -> Site:
    """Return a site by its name.

    Raises:
        KeyError: there is none.
    """
    return {site.name: site for site in SITES}[name]
