"""The numbers of a day, from its cleaned frames.

Spectra are those of a validation (`validate.measure`): Hann-windowed transforms of 2 s, one for
each second. A second counts if both strains are finite in it and the source says that it is ready
for analysis; where the site has no state vector, all finite seconds do.

The raw strain is `OUT_DQ` plus the noise that was subtracted, where the frames hold that, else what
the source's frames hold. These also say why there is no cleaned frame of a second, as long as they
are there themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from deepclean import __version__
from deepclean.config import Config
from deepclean.core import channels
from deepclean.core.block import Float64, Samples, Series
from deepclean.core.channels import STATE_RATE
from deepclean.core.output.products import State
from deepclean.core.output.segments import difference, intersection, total_seconds
from deepclean.core.spectra import FFT_SECONDS, SEGMENT, Bins, density, median_bias, transform
from deepclean.core.time import NS, Span, format_gps
from deepclean.io.channels import filled
from deepclean.io.segments.formats import StateSegments, segments_of
from deepclean.summary.coherence import SECONDS, WitnessCoherence, WitnessedBand
from deepclean.summary.gaps import ReadsPieces, gap_reasons
from deepclean.validate.json_numbers import listed, rounded, seconds
from deepclean.validate.ranges import sensemon

if TYPE_CHECKING:
    from deepclean.core.rollout.rollout import Event

SCHEMA = 1
"""Version of the JSON's layout."""

MINUTE, HOUR = 60, 3600
"""Seconds over which a range is taken, and over which everything else is."""

_HIGHEST = 0.45
"""Highest frequency of the spectra over the strain's rate."""

_LONGEST = 20
"""Stretches that are listed of each kind, the longest."""


@dataclass(slots=True)
class _Hour:
    """What is gathered of an hour.

    Args:
        raw: power spectral densities of its minutes, before.
        cleaned: the same, after.
        ranges: start of a minute, range before and after, Mpc.
        rows: samples at 16 Hz by channel.
    """

    raw: list[Float64] = field(default_factory=list)
    cleaned: list[Float64] = field(default_factory=list)
    ranges: list[tuple[int, float, float]] = field(default_factory=list)
    rows: dict[str, list[Samples]] = field(default_factory=dict)


class DayMeter:
    """Measures a day.

    Args:
        config: what the frames were made with, or a configuration with the same channels.
        cleaned: the cleaned frames; None where there are none.
        source: the source's frames with the raw strain; None where there are none.
        witnesses: the source's frames with the witnesses; None where there are none.
    """

    def __init__(
        self,
        config: Config,
        cleaned: ReadsPieces | None,
        source: ReadsPieces | None,
        witnesses: ReadsPieces | None = None,
    ) -> None:
        self._config, self._cleaned, self._source = config, cleaned, source
        self._witnesses = witnesses
        strain, ifo = config.strain.channel, config.interferometer
        self._rate, self._strain = config.strain.rate, strain
        self._out_dq = channels.product_names(strain, ["OUT_DQ"])["OUT_DQ"]
        self._subtracted = channels.subtracted(strain)
        self._state = channels.state_vector(ifo)
        couplings = config.enabled_couplings
        self._bins = {
            name: Bins(coupling.bands, config.gate.guard, _HIGHEST * self._rate, SEGMENT)
            for name, coupling in couplings.items()
        }
        self._gain = {name: channels.gain(ifo, name) for name in couplings}
        self._version = {name: channels.model_version(ifo, name) for name in couplings}
        self._adapted = {name: channels.adaptation(ifo, name)[:2] for name in couplings}
        rows = [*self._gain.values(), *self._version.values()]
        self._rows = [*rows, *(name for pair in self._adapted.values() for name in pair)]
        asked = {n: WitnessedBand(one.bands, one.witnesses) for n, one in couplings.items()}
        self._coherence = WitnessCoherence(asked, self._rate)
        self._segments = StateSegments()
        self._versions: dict[str, list[tuple[int, int]]] = {name: [] for name in couplings}

    def measure(
        self,
        day: Span,
        events: Sequence[Event],
        progress: Callable[[int], None] = lambda seconds: None,
    ) -> dict[str, Any]:
        """Return the numbers of a day, as the JSON has them.

        Args:
            day: whole seconds.
            events: what the run recorded of its models.
            progress: told the seconds of each hour that is measured.
        """
        first, last = seconds(day)
        hours = []
        for start in range(first, last, HOUR):
            hour = Span(start * NS, min(start + HOUR, last) * NS)
            hours.append(self._hour(hour))
            progress(hour.duration // NS)
        known = self._segments.known
        absent = difference([day], known)
        return {
            "schema": SCHEMA,
            "software": __version__,
            "interferometer": self._config.interferometer,
            "strain": self._strain,
            "span": seconds(day),
            "seconds": total_seconds(known),
            "good": total_seconds(self._good(day)),
            "good_bits": list(self._config.output.segments.state),
            "couplings": {
                name: {
                    "bands": [list(band) for band in coupling.bands],
                    "coherence": self._coherence.results(name),
                }
                for name, coupling in self._config.enabled_couplings.items()
            },
            "hours": hours,
            "gaps": _longest(absent),
            "gap_reasons": gap_reasons(absent, self._source, self._strain),
            "not_set": {
                str(bit.name): self._not_set(known, self._segments.active.get(str(bit.name), []))
                for bit in State
            },
            "versions": self._switches(),
            "events": [_told(event) for event in events if day.start <= event.instant < day.end],
        }

    def _good(self, span: Span) -> list[Span]:
        return self._segments.within(span).all_of(self._config.output.segments.state)

    def _not_set(self, known: Sequence[Span], active: Sequence[Span]) -> dict[str, Any]:
        spans = difference(known, active)
        return {"seconds": total_seconds(spans), "longest": _longest(spans)}

    def _switches(self) -> list[dict[str, Any]]:
        """Return the changes of version that the frames show, in order."""
        return [
            {"gps": second, "coupling": name, "from": before, "to": after}
            for name, seen in self._versions.items()
            for (_, before), (second, after) in pairwise(seen)
        ]

    def _hour(self, span: Span) -> dict[str, Any]:
        hour = _Hour()
        first, last = seconds(span)
        for start in range(first, last, MINUTE):
            self._minute(hour, Span(start * NS, min(start + MINUTE, last) * NS))
        known = intersection(self._segments.known, [span])
        rows = {name: np.concatenate(parts) for name, parts in hour.rows.items()}
        typical = [
            np.sqrt(np.median(powers, axis=0)) if powers else None
            for powers in (hour.raw, hour.cleaned)
        ]
        return {
            "start": first,
            "seconds": total_seconds(known),
            "good": total_seconds(self._good(span)),
            "range": {
                "start": [start for start, _, _ in hour.ranges],
                "raw": listed(np.array([before for _, before, _ in hour.ranges])),
                "out_dq": listed(np.array([after for _, _, after in hour.ranges])),
                "median_raw": rounded(_median([before for _, before, _ in hour.ranges])),
                "median_out_dq": rounded(_median([after for _, _, after in hour.ranges])),
            },
            "couplings": {name: self._coupling(name, rows, *typical) for name in self._bins},
        }

    def _coupling(
        self,
        name: str,
        rows: Mapping[str, Samples],
        raw: Float64 | None,
        cleaned: Float64 | None,
    ) -> dict[str, Any]:
        """Return the numbers of a coupling over an hour, from the typical densities."""
        ratio = np.nan
        if raw is not None and cleaned is not None:
            inside = self._bins[name].inside
            ratio = float(np.mean(cleaned[inside] / raw[inside]))
        gain = rows.get(self._gain[name], np.zeros(0))
        amplitude, phase = (rows.get(channel, np.zeros(0)) for channel in self._adapted[name])
        return {
            "asd_ratio": rounded(ratio),
            "full": rounded(float(np.mean(gain == 1)) if len(gain) else np.nan),
            "none": rounded(float(np.mean(gain == 0)) if len(gain) else np.nan),
            "versions": [int(one) for one in np.unique(rows.get(self._version[name], []))],
            "amplitude": [rounded(level) for level in _levels(amplitude)],
            "phase": [rounded(level) for level in _levels(phase)],
        }

    def _minute(self, hour: _Hour, span: Span) -> None:
        """Add a minute to its hour."""
        if self._cleaned is None:
            return
        wanted = [self._out_dq, self._subtracted, self._state, *self._rows]
        pieces = {
            name: [piece for piece in found if isinstance(piece, Series)]
            for name, found in self._cleaned.pieces(wanted, span).pieces.items()
        }
        for state in pieces[self._state]:
            if not (state.span.start % NS or state.span.end % NS):
                self._segments.add(segments_of(state))
        for name in self._rows:
            hour.rows.setdefault(name, [np.zeros(0)]).extend(one.samples for one in pieces[name])
        for name, channel in self._version.items():
            for series in pieces[channel]:
                self._note_versions(name, series)
        cleaned = filled(pieces[self._out_dq], span, self._rate)
        if pieces[self._subtracted]:
            raw = cleaned + filled(pieces[self._subtracted], span, self._rate)
        elif self._source is not None:
            read = self._source.pieces([self._strain], span).pieces[self._strain]
            raw = filled([one for one in read if isinstance(one, Series)], span, self._rate)
        else:
            raw = np.full(len(cleaned), np.nan)
        counts = self._counting(span, raw, cleaned)
        self._cohere(span, counts, raw, cleaned)
        before, after = (_power(samples, counts, self._rate) for samples in (raw, cleaned))
        if before is not None and after is not None:
            hour.raw.append(before)
            hour.cleaned.append(after)
            hour.ranges.append((span.start // NS, sensemon(before), sensemon(after)))

    def _cohere(self, span: Span, counts: Samples, raw: Float64, cleaned: Float64) -> None:
        """Add the first seconds of a minute to the coherence with the witnesses."""
        if self._witnesses is None or not (counts[: SECONDS - 1] & counts[1:SECONDS]).any():
            return
        part = Span(span.start, min(span.start + SECONDS * NS, span.end))
        witnesses = {}
        for name, pieces in self._witnesses.pieces(
            self._config.witness_channels, part
        ).pieces.items():
            there = [piece for piece in pieces if isinstance(piece, Series)]
            if there:
                witnesses[name] = there[0].rate, filled(there, part, there[0].rate)
        length = part.samples(self._rate)
        self._coherence.add(counts[:SECONDS], raw[:length], cleaned[:length], witnesses)

    def _note_versions(self, name: str, series: Series) -> None:
        """Note where the version of a coupling changes."""
        seen, samples = self._versions[name], series.samples
        places = np.flatnonzero(np.diff(samples)) + 1
        for place in [0, *places.tolist()]:
            if not seen or seen[-1][1] != samples[place]:
                instant = series.span.start + place * NS // STATE_RATE
                seen.append((instant // NS, int(samples[place])))

    def _counting(self, span: Span, raw: Float64, cleaned: Float64) -> Samples:
        """Return which seconds of a minute count, booleans of shape `(seconds,)`."""
        finite = np.isfinite(raw) & np.isfinite(cleaned)
        counts: Samples = np.all(finite.reshape(-1, self._rate), axis=1)
        if self._config.strain.state_vector is not None:
            ready: Samples = np.zeros(len(counts), dtype=bool)
            spans = self._segments.active.get(str(State.ANALYSIS_READY.name), [])
            for one in intersection(spans, [span]):
                low, high = ((edge - span.start) // NS for edge in (one.start, one.end))
                ready[low:high] = True
            return counts & ready
        return counts


def _power(samples: Float64, counts: Samples, rate: int) -> Float64 | None:
    """Return the power spectral density of a minute; None where less than half of it counts."""
    starts = np.flatnonzero(counts[:-1] & counts[1:])
    if 2 * len(starts) < len(counts):
        return None
    spectra = [
        transform(samples[start * rate : (start + FFT_SECONDS) * rate], rate, _HIGHEST * rate)
        for start in starts.tolist()
    ]
    powers = [density(spectrum, SEGMENT) for spectrum in spectra]
    return np.asarray(np.median(powers, axis=0) / median_bias(len(powers)))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else np.nan


def _levels(values: Samples) -> list[float]:
    """Return the lowest value, the median and the highest; NaN where there are none."""
    if not len(values):
        return [np.nan] * 3
    return [float(values.min()), float(np.median(values)), float(values.max())]


def _longest(spans: Sequence[Span]) -> list[list[int]]:
    """Return the longest of some spans, in order of time."""
    longest = sorted(spans, key=lambda span: (-span.duration, span.start))[:_LONGEST]
    return [seconds(span) for span in sorted(longest)]


def _told(event: Event) -> dict[str, Any]:
    return {
        "gps": format_gps(event.instant),
        "coupling": event.version.coupling,
        "version": event.version.number,
        "role": event.role,
        "what": event.what,
        "former": event.former,
        "why": event.why,
    }
