"""Watch what every coupling does to the strain, sixteenth by sixteenth, and close its gate in time.

Runs behind the bandpass, as far ahead of the gain as the gain's ramp is long. Slots of 1/16 s are
compared with the estimate's usual level, every half second the last one is compared with the
raw strain, every second the window's spectra are. All of that is anchored to GPS 0, so a gate
is where it is however the stream was cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from deepclean.core import reasons
from deepclean.core.bandpass import Band
from deepclean.core.block import Block, Float64, Gap, Quality, Version
from deepclean.core.buffer import StreamBuffer
from deepclean.core.gain import InvalidSpans, gain_over
from deepclean.core.gate.quality import (
    FAST_SEGMENT,
    FAST_STEP,
    SEGMENT,
    STEP,
    BandPower,
    Bins,
    Complex,
    RunningSpectra,
    band_power,
    transform,
)
from deepclean.core.gate.state import BEGINNING, SLOT, CouplingMonitor, EstimateStream, MonitorState
from deepclean.core.gate.table import (
    Gate,
    GateSettings,
    GateState,
    Verdict,
    conclude,
    improves_significantly,
    is_urgent,
)
from deepclean.core.nonfinite import finite
from deepclean.core.state_vector import not_ready
from deepclean.core.time import NS, Span


class GateMonitor:
    """Watches the couplings of one engine.

    Args:
        settings: of the gates.
        bands: of each coupling, Hz.
        strain_rate: Hz.
        model_rate: Hz, a multiple of 16.
        delay: nanoseconds by which a gate acts later: the gain's ramp, where nobody looks ahead by
            that and so the ramp follows what it is for.
    """

    def __init__(
        self,
        settings: GateSettings,
        bands: Mapping[str, Sequence[Band]],
        strain_rate: int,
        model_rate: int,
        delay: int = 0,
    ) -> None:
        self.settings = settings
        self._delay = delay
        self._strain_rate, self._model_rate = strain_rate, model_rate
        # Just below half of either rate, where nothing has images.
        self._stop = 0.45 * min(strain_rate, model_rate)
        self._slow = {n: Bins(b, settings.guard, self._stop, SEGMENT) for n, b in bands.items()}
        self._fast = {
            n: Bins(b, settings.guard, self._stop, FAST_SEGMENT) for n, b in bands.items()
        }

    def start(self, start: int) -> MonitorState:
        """Return the watch of a stream that begins at `start` (GPS nanoseconds), of no version."""
        watch = MonitorState(-(-start // FAST_STEP) * FAST_STEP // SLOT)
        watch.unfit.add(BEGINNING, start)
        return watch

    def add(self, watch: MonitorState, version: Version) -> None:
        """Watch one more version from here on, its gate closed."""
        first = -(-watch.slot * SLOT // FAST_STEP) * FAST_STEP
        window = RunningSpectra(self._slow[version.coupling], self.settings.window)
        watched = CouplingMonitor(Gate(first), window, InvalidSpans(), InvalidSpans())
        watched.closed.add(BEGINNING, first + FAST_STEP, reasons.UNSETTLED)
        watched.unsettled.add(BEGINNING, -(-first // STEP) * STEP + STEP)
        watch.couplings[version] = watched

    def push(self, watch: MonitorState, block: Block) -> None:
        """Take the strain and the source's state of the next block."""
        span = block.span
        if isinstance(block.strain, Gap):
            watch.unfit.add(span.start, span.end)
            return
        first, _ = span.indices(self._strain_rate)
        samples, bad = finite(np.asarray(block.strain.samples, dtype=np.float64))
        if bad:
            watch.unfit.add(span.start, span.end)
        for start, end in not_ready(block):
            watch.unfit.add(start, end)
        watch.strain.append(first, samples[None])

    def advance(
        self, watch: MonitorState, streams: Mapping[Version, EstimateStream], until: int
    ) -> None:
        """Look at every slot that ends by `until` (GPS nanoseconds)."""
        last = until // SLOT
        if last <= watch.slot:
            return
        levels = {v: self._levels(s.bandpassed, watch.slot, last) for v, s in streams.items()}
        first = watch.slot
        while watch.slot < last:
            start = watch.slot * SLOT
            for version, watched in watch.couplings.items():
                level = float(levels[version][watch.slot - first])
                self._see_slot(watched, streams[version], start, level)
            watch.slot += 1
            if (start + SLOT) % FAST_STEP == 0:
                self._tick(watch, streams, start + SLOT)

    def trim(self, watch: MonitorState, oldest: int) -> int:
        """Drop what nobody needs; return from where on the estimates are needed (GPS ns).

        Args:
            watch: of the stream.
            oldest: start of the oldest block that is still to be given out, less its ramp.
        """
        needed = watch.slot * SLOT - SEGMENT
        watch.strain.drop_before(needed * self._strain_rate // NS)
        watch.unfit.drop_before(needed)
        for watched in watch.couplings.values():
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
            ramp: nanoseconds of the gain's ramp where something presses.
        """
        rate, fade = self._strain_rate, self.settings.fade
        slow, fast = (time * rate // NS for time in (fade, ramp))
        at_once = gain_over(span, rate, watched.closed, fast, slow)
        gain = np.minimum(at_once, gain_over(span, rate, watched.faded, slow))
        if (gain == 1).all():
            return gain, ()
        why = watched.closed.reasons(span.start - fade, span.end + ramp)
        return gain, tuple({*why, *watched.faded.reasons(span.start - fade, span.end + fade)})

    def _levels(self, bandpassed: StreamBuffer, first: int, last: int) -> Float64:
        """Return the root mean square of each slot."""
        count = self._model_rate // 16
        samples = bandpassed.read(first * count, last * count)[0].reshape(-1, count)
        return np.asarray(np.sqrt(np.mean(samples**2, axis=1)))

    def _see_slot(
        self, watched: CouplingMonitor, stream: EstimateStream, start: int, level: float
    ) -> None:
        """Close the gate where the estimate has jumped, until it has been looked at closely."""
        end = start + SLOT
        if start % STEP == 0:
            self._learn_usual(watched)
        valid = not stream.invalid.overlapping(start, end)
        watched.levels.append(level if valid else np.nan)
        usual, strain = watched.usual, watched.level
        if not valid or usual is None or strain is None:
            return
        # Below the strain's own level in the band, an estimate does little harm.
        known = max(usual, *watched.proven_levels)
        if level > max(self.settings.jump * known, strain.rms):
            watched.closed.add(start + self._delay, end + FAST_STEP + self._delay, reasons.JUMP)

    def _learn_usual(self, watched: CouplingMonitor) -> None:
        count = self.settings.window // SLOT
        while len(watched.levels) > count:
            watched.levels.popleft()
        levels = np.array(watched.levels)
        levels = levels[np.isfinite(levels)]
        watched.usual = float(np.median(levels)) if 2 * len(levels) > count else None

    def _tick(
        self, watch: MonitorState, streams: Mapping[Version, EstimateStream], instant: int
    ) -> None:
        """Measure, judge and step the gates at a multiple of the tick."""
        slow = self._transform(watch, instant, SEGMENT) if instant % STEP == 0 else None
        fast = self._transform(watch, instant, FAST_SEGMENT)
        for version, watched in watch.couplings.items():
            stream, measured = streams[version], None
            if instant % STEP == 0:
                measured = self._measure(watched, stream, instant, slow)
            latest = self._brief(version.coupling, watched, stream, instant, fast)
            level = self._last(watched)
            watched.fast_history.append(latest)
            watched.proven_levels.append(
                level if improves_significantly(latest, self.settings) else 0.0
            )
            while len(watched.fast_history) > self.settings.window // FAST_STEP:
                watched.fast_history.popleft()
                watched.proven_levels.popleft()
            vanished = watched.usual is not None and level * self.settings.jump < watched.usual
            verdict = conclude(measured, watched.fast_history, self.settings, vanished=vanished)
            pressing = verdict is Verdict.BAD and is_urgent(latest, self.settings)
            self._step(watched, instant, verdict, pressing=pressing)

    def _step(
        self, watched: CouplingMonitor, instant: int, verdict: Verdict, *, pressing: bool
    ) -> None:
        """Step the gate; where it is closed, say from when on: at once, or when it has faded."""
        was, acts = watched.gate.state, instant + self._delay
        if watched.gate.step(instant, verdict, self.settings) is GateState.ON:
            return
        reason = watched.gate.reason
        if pressing:
            watched.closes = acts
        elif was is GateState.ON:
            # No longer than it rests, so that it is closed before it can open again.
            watched.closes = acts + min(self.settings.fade, self.settings.dwell)
            watched.faded.add(watched.closes, watched.closes + FAST_STEP, reason)
        if acts >= watched.closes:
            watched.closed.add(acts, acts + FAST_STEP, reason)

    def _last(self, watched: CouplingMonitor) -> float:
        """Return the root mean square of the last second's levels; NaN where one is not valid."""
        levels, count = watched.levels, FAST_SEGMENT // SLOT
        last = [levels[-1 - i] for i in range(min(count, len(levels)))]
        return math.sqrt(sum(level * level for level in last) / count)

    def _measure(
        self, watched: CouplingMonitor, stream: EstimateStream, instant: int, strain: Complex | None
    ) -> Quality | None:
        """Bring the running spectra up to a whole second; return the measure, if there is one."""
        window = watched.window
        window.drop_before(instant)
        if strain is None:
            # What the strain was before it was lost says nothing of what comes.
            window.clear()
            watched.floors.clear()
        else:
            estimate = self._estimate(stream, instant, SEGMENT)
            if estimate is not None:
                window.add(instant - SEGMENT, strain, estimate)
        if not window.full:
            watched.unsettled.add(instant, instant + STEP)
        if not window.enough:
            watched.level = None
            return None
        watched.quality, watched.level = window.measure()
        watched.floors.append((instant, watched.level.floor))
        while watched.floors[0][0] <= instant - 2 * self.settings.window:
            watched.floors.popleft()
        return watched.quality

    def _brief(
        self,
        name: str,
        watched: CouplingMonitor,
        stream: EstimateStream,
        instant: int,
        strain: Complex | None,
    ) -> BandPower | None:
        if strain is None or watched.level is None:
            return None
        estimate = self._estimate(stream, instant, FAST_SEGMENT)
        if estimate is None:
            return None
        # The lowest of late: an estimate that goes bad slowly must not count as the floor.
        floor = np.min([floor for _, floor in watched.floors], axis=0)
        level = replace(watched.level, usual=np.maximum(watched.level.usual, floor), floor=floor)
        # The last second's is what is judged.
        earlier = [
            b.noise
            for b in list(watched.fast_history)[: -(FAST_SEGMENT // FAST_STEP)]
            if b is not None
        ]
        highest = np.max(earlier, axis=0) if earlier else 0.0
        return band_power(strain, estimate, self._fast[name], self._slow[name], level, highest)

    def _transform(self, watch: MonitorState, instant: int, duration: int) -> Complex | None:
        """Return the transform of the strain before an instant; None where it is not fit."""
        if watch.unfit.overlapping(instant - duration, instant):
            return None
        low, high = ((t * self._strain_rate) // NS for t in (instant - duration, instant))
        return transform(watch.strain.read(low, high)[0], self._strain_rate, self._stop)

    def _estimate(self, stream: EstimateStream, instant: int, duration: int) -> Complex | None:
        """Return the transform of an estimate before an instant; None where it is not valid."""
        if stream.invalid.overlapping(instant - duration, instant):
            return None
        low, high = ((t * self._model_rate) // NS for t in (instant - duration, instant))
        return transform(stream.bandpassed.read(low, high)[0], self._model_rate, self._stop)
