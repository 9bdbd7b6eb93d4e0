"""A small coupling that is adapted as its streams come in, at 64 Hz and in strain's own units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepclean.core.adapt.analytic import AnalyticBandpass, Complex
from deepclean.core.adapt.apply import adapted
from deepclean.core.adapt.knot import Knot
from deepclean.core.adapt.settings import AdaptSettings, Member
from deepclean.core.adapt.spectra import SECONDS, band_bins, transform
from deepclean.core.adapt.tracker import Tracker, TrackerState
from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import BandpassSettings, make_bandpass

RATE = 64
BAND = (10.0, 16.0)
START = 1_400_000_000
"""GPS second at which records begin."""
FLOOR = 1e-21

SMALL = AdaptSettings(members=(Member(16, slope=True), Member(8), Member(4)), judged=8)
ALONE = AdaptSettings(members=(Member(16, slope=True),))


@dataclass(frozen=True)
class Streams:
    """Strain, and the groups' analytic signals.

    Args:
        strain: shape `(n,)`.
        groups: shape `(G, n)`.
        anchors: of the groups.
        unusable: seconds from the record's start.
    """

    strain: Float64
    groups: Complex
    anchors: tuple[float, ...]
    unusable: frozenset[int] = frozenset()

    @property
    def seconds(self) -> int:
        """Length of the record."""
        return len(self.strain) // RATE


@dataclass(frozen=True)
class Result:
    """The adapted estimate and every knot."""

    estimate: Complex
    knots: dict[int, Knot]

    def gains(self, group: int = 0) -> Complex:
        """Return a group's gain at each knot, in order."""
        return np.array([knot.gains[group] for knot in self.knots.values()])


def tracker(streams: Streams, settings: AdaptSettings) -> Tracker:
    """Return the tracker of these groups, with a response of 1."""
    bins = band_bins([BAND], RATE)
    return Tracker(settings, bins, np.ones(len(bins)), streams.anchors)


def run(
    streams: Streams,
    settings: AdaptSettings = SMALL,
    cuts: Iterable[int] | None = None,
    first: int = 0,
) -> Result:
    """Adapt the streams piece by piece: learn what each piece completes, then apply the gains.

    Args:
        streams: whole.
        settings: of the tracker.
        cuts: samples at which pieces end; None: all at once, second by second.
        first: second of the record at which the input begins.
    """
    learner = tracker(streams, settings)
    state, second = TrackerState(START + first), first
    knots: dict[int, Knot] = {}
    pieces, last = [], first * RATE
    steps = range((first + 1) * RATE, len(streams.strain) + 1, RATE) if cuts is None else cuts
    for stop in sorted({*(cut for cut in steps if cut > last), len(streams.strain)}):
        while (second + SECONDS) * RATE <= stop:
            part = slice(second * RATE, (second + SECONDS) * RATE)
            state = learner.push(
                state,
                START + second,
                transform(streams.strain[part], RATE, learner.bins),
                transform(streams.groups.real[:, part], RATE, learner.bins),
                not streams.unusable & {second, second + 1},
            )
            knots.update({knot.second: knot for knot in state.knots})
            second += 1
        pieces.append(
            adapted(
                streams.groups[:, last:stop],
                START * RATE + last,
                RATE,
                state.knots,
                learner.anchors,
                settings,
            )
        )
        last = stop
    return Result(np.concatenate(pieces), knots)


def line(seconds: int, seed: int = 0, frequency: float = 13.0) -> Complex:
    """Return an analytic line whose amplitude and phase wander."""
    time = np.arange(seconds * RATE) / RATE
    random = np.random.default_rng([seed, 1])
    phase = random.uniform(0, 2 * np.pi, 2)
    size = 1 + 0.2 * np.sin(2 * np.pi * time / 11 + phase[0])
    return np.asarray(size * np.exp(2j * np.pi * frequency * time + 1j * phase[1]))


def broadband(seconds: int, seed: int = 0) -> Complex:
    """Return analytic noise in the band."""
    bandpass = AnalyticBandpass(
        make_bandpass(BandpassSettings("fir", 8, 4.0, 1e-3, None), [BAND], RATE), RATE
    )
    noise = np.random.default_rng([seed, 2]).standard_normal(seconds * RATE)
    return bandpass.apply(np.pad(noise, bandpass.settle_in))


def floor(seconds: int, seed: int = 0) -> Float64:
    """Return the strain without a coupling: white noise."""
    return FLOOR * np.random.default_rng([seed, 3]).standard_normal(seconds * RATE)


def coupled(
    gain: Complex | complex, seconds: int = 60, seed: int = 0, loud: float = 4.0
) -> Streams:
    """Return a broadband coupling and its estimate, the true gain being a number or a record."""
    estimate = loud * FLOOR * broadband(seconds, seed)
    strain = floor(seconds, seed) + (gain * estimate).real
    return Streams(strain, estimate[None], (1.0,))


def two_groups(seconds: int = 60, seed: int = 0) -> Streams:
    """Return an estimate with a carrier beside it, both drifting, the witness in its own units."""
    carrier, rest = line(seconds, seed), broadband(seconds, seed)
    along = np.arange(seconds * RATE) / (seconds * RATE)
    estimate = 3 * FLOOR * (2 * carrier + rest)
    strain = 3 * FLOOR * (2 * (1 + 0.5j * along) * carrier + (1 - 0.3 * along) * rest).real
    return Streams(strain + floor(seconds, seed), np.stack([estimate, 1e3 * carrier]), (1.0, 0.0))


def same(left: NDArray[np.generic], right: NDArray[np.generic]) -> bool:
    """Return whether two arrays are the same bit for bit."""
    return left.shape == right.shape and left.tobytes() == right.tobytes()
