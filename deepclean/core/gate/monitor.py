"""Watch what every coupling's estimate does to the strain, and say where its gate is closed.

The monitor runs behind the bandpass, as far ahead of the gain as the gain's ramp is long. It only
decides what is due when (core.gate.cadence):

    every slot      level of each estimate                 -> a jump, if there is one
    every look      powers of the last second              -> a verdict on everything seen
    every second    spectra of the last 2 s, and before it the usual level

The measures are pure functions (levels, band_power, quality), so are the verdicts, and the table
turns a verdict into the gate's state and the times at which it is closed. The powers and the
spectra of all couplings are measured together, each by itself (runs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Float64, Version
from deepclean.core.buffer import StreamBuffer
from deepclean.core.filters.bandpass import Band
from deepclean.core.gain import gain_over, is_one
from deepclean.core.gate.band_power import BandPower, LastSecond, band_powers, with_lowest_floor
from deepclean.core.gate.cadence import FAST_SEGMENT, FAST_STEP, SLOT, STEP, next_multiple
from deepclean.core.gate.levels import (
    has_jumped,
    has_vanished,
    highest_level,
    last_level,
    slot_levels,
    usual_level,
)
from deepclean.core.gate.measures import GateFinding, Quality
from deepclean.core.gate.quality import measure
from deepclean.core.gate.settings import GateSettings
from deepclean.core.gate.state import BEGINNING, CouplingMonitor, EstimateStream, MonitorState
from deepclean.core.gate.table import Verdict, step
from deepclean.core.gate.verdicts import Conclusion, conclude, improves_significantly
from deepclean.core.spectra import SEGMENT, Bins, Complex, density, transform
from deepclean.core.strain import StrainSpectra, StrainState
from deepclean.core.time import NS, Span


def highest_seen(strain_rate: int, model_rate: int) -> float:
    """Return the Hz up to which a gate looks."""
    # Just below half of the lower rate. What is above is the roll-off and the images of the filters
    # that change rates, where a ratio of densities says nothing of the estimate.
    return 0.45 * min(strain_rate, model_rate)


def objection(bands: Sequence[Band], strain_rate: int, model_rate: int) -> str | None:
    """Return why a gate cannot judge these bands; None where it can.

    >>> objection([(230.0, 240.0)], strain_rate=4096, model_rate=512)
    '230-240 Hz reaches above 230.4 Hz, up to which gates see; use a higher rate, or no gates'
    """
    stop = highest_seen(strain_rate, model_rate)
    for low, high in bands:
        if high > stop:
            return (
                f"{low:g}-{high:g} Hz reaches above {stop:g} Hz, up to which gates see; use a "
                "higher rate, or no gates"
            )
    return None


class GateMonitor:
    """Watches the couplings of one engine.

    Args:
        settings: of the gates.
        bands: of each coupling, Hz.
        strain: gives the strain's spectra.
        model_rate: Hz, a multiple of 16.
        delay: nanoseconds by which a gate acts later: the gain's ramp, where nobody looks ahead by
            that and so the ramp follows what it is for.
    """

    def __init__(
        self,
        settings: GateSettings,
        bands: Mapping[str, Sequence[Band]],
        strain: StrainSpectra,
        model_rate: int,
        delay: int = 0,
    ) -> None:
        self.settings = settings
        self._delay = delay
        self._strain, self._model_rate = strain, model_rate
        self._stop = highest_seen(strain.rate, model_rate)
        self._slow, self._fast = (
            {name: Bins(band, settings.guard, self._stop, length) for name, band in bands.items()}
            for length in (SEGMENT, FAST_SEGMENT)
        )

    def start(self, start: int) -> MonitorState:
        """Return the state of a stream that begins at `start` (GPS nanoseconds), of no version."""
        first = next_multiple(start, FAST_STEP)
        return MonitorState(first // SLOT, first + FAST_STEP)

    def add(self, state: MonitorState, version: Version, loudest: float = 0.0) -> None:
        """Watch one more version from here on, its gate closed.

        Args:
            state: of the stream.
            version: of the model.
            loudest: level of a slot that was right when the model was judged; 0 where unknown.
        """
        first = next_multiple(state.slot * SLOT, FAST_STEP)
        bins = self._slow[version.coupling]
        watched = CouplingMonitor.start(first, bins, self.settings.window, self.settings.memory)
        watched.loudest = loudest
        watched.closed.add(BEGINNING, first + FAST_STEP, reasons.UNSETTLED)
        watched.unsettled.add(BEGINNING, next_multiple(first, STEP) + STEP)
        state.couplings[version] = watched

    def advance(
        self,
        state: MonitorState,
        strain: StrainState,
        streams: Mapping[Version, EstimateStream],
        until: int,
    ) -> None:
        """Look at every slot that ends by `until` (GPS nanoseconds).

        A look that is due at the last one's end is left to `look`: it closes no gate before that.
        """
        first, last = state.slot, until // SLOT
        if last <= first:
            return
        levels = {v: self._levels(s.bandpassed, first, last) for v, s in streams.items()}
        while state.slot < last:
            self.look(state, strain, streams)
            # All slots up to the next look are judged by what the looks before them found.
            start = state.slot * SLOT
            end = min(next_multiple(start + SLOT, FAST_STEP), last * SLOT)
            slots = range(start, end, SLOT)
            jumps = [self._limits(state, instant).jump for instant in slots]
            for version, watched in state.couplings.items():
                if start % STEP == 0:
                    watched.usual = usual_level(watched.levels, self.settings.window // SLOT)
                some = levels[version][start // SLOT - first : end // SLOT - first].tolist()
                self._look_at_slots(watched, streams[version], slots, some, jumps)
            state.slot = end // SLOT

    def look(
        self,
        state: MonitorState,
        strain: StrainState,
        streams: Mapping[Version, EstimateStream],
    ) -> None:
        """Make the look that is due at the end of the slots so far; nothing where it is made."""
        if state.look <= state.slot * SLOT:
            self._look(state, strain, streams, state.look)
            state.look += FAST_STEP

    def trim(self, state: MonitorState, oldest: int) -> int:
        """Drop what nobody needs; return from where on strain and estimates are needed (GPS ns).

        Args:
            state: of the stream.
            oldest: start of the oldest block that is still to be given out, less its ramp.
        """
        needed = state.slot * SLOT - SEGMENT
        for watched in state.couplings.values():
            watched.closed.drop_before(oldest - self.settings.fade)
            watched.faded.drop_before(oldest - self.settings.fade)
            watched.unsettled.drop_before(oldest)
        return needed

    def gain(
        self, watched: CouplingMonitor, span: Span, ramp: int
    ) -> tuple[Float64, tuple[str, ...]]:
        """Return the gate's gain over a span, and why it is below 1 somewhere.

        Args:
            watched: of the coupling.
            span: that has been looked at, to a ramp beyond its end.
            ramp: nanoseconds of the gain's ramp where something is urgent.

        Returns:
            Shape `(n,)` at the strain's rate, and the reasons in the order of `reasons.OF_GATES`.
        """
        rate, fade = self._strain.rate, self.settings.fade
        slow, fast = (time * rate // NS for time in (fade, ramp))
        gain = gain_over(span, rate, watched.closed, fast, slow)
        faded = gain_over(span, rate, watched.faded, slow)
        if not is_one(faded):
            gain = np.minimum(gain, faded)
        if is_one(gain):
            return gain, ()
        why = watched.closed.reasons(span.start - fade, span.end + ramp)
        why += watched.faded.reasons(span.start - fade, span.end + fade)
        return gain, tuple(reason for reason in reasons.OF_GATES if reason in why)

    def _levels(self, bandpassed: StreamBuffer, first: int, last: int) -> Float64:
        """Return an estimate's level in each of the slots `[first, last)`."""
        count = self._model_rate * SLOT // NS
        return slot_levels(bandpassed.view(first * count, last * count)[0], count)

    def _look_at_slots(
        self,
        watched: CouplingMonitor,
        stream: EstimateStream,
        slots: range,
        levels: Sequence[float],
        jumps: Sequence[float],
    ) -> None:
        """Keep the levels of slots; close the gate until the next look where one has jumped."""
        if stream.invalid.overlapping(slots.start, slots.stop):
            levels = [
                np.nan if stream.invalid.overlapping(start, start + SLOT) else level
                for start, level in zip(slots, levels, strict=True)
            ]
        watched.levels.extend(levels)
        if watched.usual is None or watched.strain is None:
            return
        known = max(watched.usual, *watched.proven_levels, watched.loudest)
        for start, level, jump in zip(slots, levels, jumps, strict=True):
            if has_jumped(level, known, watched.strain.rms, jump):
                factor = level / known if known else np.inf
                found = Conclusion(Verdict.JUMP, GateFinding("jump", factor, jump))
                self._decide(watched, found, start)

    def _look(
        self,
        state: MonitorState,
        seen: StrainState,
        streams: Mapping[Version, EstimateStream],
        instant: int,
    ) -> None:
        """Measure every estimate at an instant, and decide on its gate."""
        whole, settings = instant % STEP == 0, self._limits(state, instant)
        qualities = self._measure(state, seen, streams, instant) if whole else {}
        powers = self._band_powers(state, seen, streams, instant)
        for version, watched in state.couplings.items():
            power = powers.get(version)
            peak = highest_level(watched.levels) if improves_significantly(power) else 0.0
            watched.proven_levels.append(peak)
            watched.fast_history.append(power)
            vanished = has_vanished(last_level(watched.levels), watched.usual, settings.jump)
            quality = qualities.get(version)
            found = conclude(quality, watched.fast_history, settings, vanished=vanished)
            self._decide(watched, found, instant)
            # Without a measure, at half seconds, what was found last stands.
            if whole or found.finding is not None:
                watched.obstacle = found.finding

    def _limits(self, state: MonitorState, instant: int) -> GateSettings:
        """Return the settings that hold at an instant, GPS nanoseconds."""
        found = self.settings
        for start, settings in state.limits:
            if start <= instant:
                found = settings
        return found

    def _decide(self, watched: CouplingMonitor, found: Conclusion, instant: int) -> None:
        """Hand a verdict to the table, and keep what follows from it."""
        verdict, finding = found
        watched.gate, closures = step(watched.gate, verdict, instant, self.settings, finding)
        for start, end, reason, gentle in closures:
            spans = watched.faded if gentle else watched.closed
            spans.add(start + self._delay, end + self._delay, reason)

    def _measure(
        self,
        state: MonitorState,
        seen: StrainState,
        streams: Mapping[Version, EstimateStream],
        instant: int,
    ) -> dict[Version, Quality]:
        """Bring the running spectra up to a whole second; return the measures that there are."""
        start = instant - SEGMENT
        strain = self._strain.of_second(seen, start // NS)
        for watched in state.couplings.values():
            watched.spectra.drop_before(instant)
            if strain is None:
                # What the strain was before it was lost says nothing of what comes.
                watched.spectra.clear()
                watched.floors.clear()
        if strain is not None:
            raw = self._looked_at(strain, SEGMENT)
            before = density(raw, SEGMENT)
            for version, estimate in self._spectra(streams, instant, SEGMENT).items():
                state.couplings[version].spectra.add(start, raw, before, estimate)
        for watched in state.couplings.values():
            if not watched.spectra.full:
                watched.unsettled.add(instant, instant + STEP)
            if not watched.spectra.enough:
                watched.strain = None
        enough = {v: watched for v, watched in state.couplings.items() if watched.spectra.enough}
        measured = measure([watched.spectra for watched in enough.values()])
        oldest = instant - 2 * self.settings.window
        for watched, (quality, level) in zip(enough.values(), measured, strict=True):
            watched.floors.append((instant, level.floor))
            while watched.floors[0][0] <= oldest:
                watched.floors.popleft()
            watched.quality = quality
            watched.strain = with_lowest_floor(level, [floor for _, floor in watched.floors])
        return {version: quality for version, (quality, _) in zip(enough, measured, strict=True)}

    def _band_powers(
        self,
        state: MonitorState,
        seen: StrainState,
        streams: Mapping[Version, EstimateStream],
        instant: int,
    ) -> dict[Version, BandPower]:
        """Return the powers of the last second, where strain and estimate are fit."""
        strain = self._strain.before(seen, instant, FAST_SEGMENT)
        if strain is None:
            return {}
        known = {v: streams[v] for v, one in state.couplings.items() if one.strain is not None}
        seconds = {}
        for version, estimate in self._spectra(known, instant, FAST_SEGMENT).items():
            watched, bins = state.couplings[version], self._fast[version.coupling]
            assert watched.strain is not None
            seconds[version] = LastSecond(
                estimate, bins, watched.spectra.bins, watched.strain, watched.fast_history
            )
        if not seconds:
            return {}
        found = band_powers(self._looked_at(strain, FAST_SEGMENT), list(seconds.values()))
        return dict(zip(seconds, found, strict=True))

    def _looked_at(self, strain: Complex, duration: int) -> Complex:
        """Return the part of a transform of the strain that a gate looks at."""
        return strain[: int(self._stop * duration / NS) + 1]

    def _spectra(
        self, streams: Mapping[Version, EstimateStream], instant: int, duration: int
    ) -> dict[Version, Complex]:
        """Return the transforms of the estimates before an instant that are valid throughout."""
        start, rate = instant - duration, self._model_rate
        valid = [v for v, one in streams.items() if not one.invalid.overlapping(start, instant)]
        if not valid:
            return {}
        indices = start * rate // NS, instant * rate // NS
        samples = [streams[version].bandpassed.view(*indices) for version in valid]
        spectra = transform(np.concatenate(samples), rate, self._stop, overwrite=True)
        return dict(zip(valid, spectra, strict=True))
