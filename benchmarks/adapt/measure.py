"""The tracker over whole records, and the figures of what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import process_time

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from benchmarks.adapt.sites import RATE, Filters
from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.apply import adapted
from deepclean.core.adapt.knot import Knot
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.adapt.spectra import SECONDS, band_bins, transform
from deepclean.core.adapt.tracker import Tracker, TrackerState
from deepclean.core.block import Float64

START_UP = 104
"""Seconds that no figure counts: the tracker's memory fills."""

_PIECE = 8


@dataclass(frozen=True)
class Tracked:
    """What a tracker made of a record.

    Args:
        estimate: the adapted estimate, analytic.
        knots: all of them.
        cost: processor seconds a second of data, without the filters.
    """

    estimate: Complex
    knots: list[Knot]
    cost: float


def track(
    strain: Float64,
    groups: Complex | Float64,
    filters: Filters,
    anchors: Sequence[float],
    settings: AdaptSettings | None = None,
    unusable: frozenset[int] = frozenset(),
) -> Tracked:
    """Run a tracker over a record.

    Args:
        strain: raw.
        groups: analytic signals, or real features before the bandpass, shape `(G, n)`.
        filters: of the coupling.
        anchors: of the groups.
        settings: of the tracker.
        unusable: seconds that are not.
    """
    settings = settings or AdaptSettings()
    bins = band_bins([filters.band], RATE)
    response = filters.bandpass.response(bins / SECONDS)
    tracker = Tracker(settings, bins, response, anchors)
    state, knots = TrackerState(0), list[Knot]()
    began = process_time()
    for second in range(len(strain) // RATE - 1):
        part = slice(second * RATE, (second + SECONDS) * RATE)
        spectra = transform(groups[:, part].real, RATE, bins)
        if not np.iscomplexobj(groups):
            spectra = spectra * response
        usable = not unusable & {second, second + 1}
        state = tracker.push(state, second, transform(strain[part], RATE, bins), spectra, usable)
        if state.knots and (not knots or state.knots[-1].second > knots[-1].second):
            knots.append(state.knots[-1])
    cost = (process_time() - began) / (len(strain) / RATE)
    found = adapted(groups, 0, RATE, knots, tracker.anchors, settings)
    estimate = np.asarray(found, dtype=np.complex128)
    if not np.iscomplexobj(groups):
        estimate = filters.analytic(estimate.real) + 1j * filters.analytic(estimate.imag)
    return Tracked(estimate, knots, cost)


def excess(left: Float64, floor: Float64, filters: Filters, piece: int = _PIECE) -> Float64:
    """Return the mean over the band's bins of `sqrt(1 + P_left / P_floor)`, for each piece.

    This is the ratio of two densities, that of the floor with what is left to the floor's, on
    average over the phase between the two.

    Args:
        left: what is left of the coupling.
        floor: the truth.
        filters: of the coupling.
        piece: seconds.
    """
    bins = band_bins([filters.band], RATE)
    usual = _power(floor)[bins]
    pieces = left[: len(left) // (piece * RATE) * piece * RATE].reshape(-1, piece * RATE)
    return np.asarray(np.sqrt(1 + np.array([_power(one)[bins] for one in pieces]) / usual).mean(1))


def _power(samples: Float64) -> Float64:
    return np.asarray(signal.welch(samples, RATE, nperseg=SECONDS * RATE, detrend=False)[1])


def settled(values: Float64, piece: int = _PIECE) -> Float64:
    """Return the pieces after the start-up, without the last, which rests on what is missing."""
    return values[START_UP // piece : -1]


def recovery(values: Float64, piece: int, change: float, until: float, limit: float) -> float:
    """Return the seconds from a change to the end of the last piece above the limit."""
    starts = np.arange(len(values)) * piece
    over = starts[(values > limit) & (starts + piece > change) & (starts + piece < until)]
    return float(over[-1] + piece - change) if len(over) else 0.0


def optimal_snr(samples: Float64, density: float, low: float, high: float) -> float:
    """Return a signal's optimal signal-to-noise ratio in a band with a white floor."""
    spectrum = np.fft.rfft(samples) / RATE
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    inside: NDArray[np.bool_] = (frequencies >= low) & (frequencies <= high)
    power = np.sum(np.abs(spectrum[inside]) ** 2) * RATE / len(samples)
    return float(np.sqrt(4 * power) / density)


def eaten(change: Float64, injected: Float64) -> tuple[float, float]:
    """Return which part of a signal was taken, and the norm of all else that changed, over its own.

    Args:
        change: of what is subtracted, by the signal.
        injected: the signal in the band.
    """
    energy = float(injected @ injected)
    part = float(change @ injected) / energy
    return part, float(np.linalg.norm(change - part * injected)) / energy**0.5
