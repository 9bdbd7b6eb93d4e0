"""Counts and states of a running daemon beside its ledger, as plain values.

The part of the daemon that knows a value puts it here; telemetry.metrics reads it at every scrape.
"""

from __future__ import annotations

import logging
from cmath import phase
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deepclean.core import channels, reasons
from deepclean.core.adapt.knot import Knot
from deepclean.core.block import Estimate, Series
from deepclean.core.frame import CleanedFrame
from deepclean.core.gain import is_one
from deepclean.core.gate.measures import GateFinding, Quality
from deepclean.core.time import NS, Span, format_gps

_log = logging.getLogger(__name__)

# A good estimate opens its gate within a window and a rest, 16 s by default, of its start or of the
# last bad second.
UNOPENED = 60 * NS
"""Nanoseconds after which a gate that is still closed is reported, once."""

Stream = Literal["strain", "witnesses"]
Result = Literal["missing", "taken", "unreadable"]
Reload = Literal["accepted", "rejected"]


class IdentifiesModel(Protocol):
    """The version and the hash of a model; `models.model.Model` has them."""

    @property
    def version(self) -> int:
        """The version's number."""
        ...

    @property
    def hash(self) -> str:
        """The sha256 of the manifest."""
        ...


@dataclass(slots=True)
class Counters:
    """Counts since the start, and states as they are now.

    Args:
        models: the models in force, by coupling; replaced as a whole when one changes.
        inputs: files by stream and result, when their time has come: read, given up as absent, or
            given up as unreadable. Strain that was taken is counted in the ledger instead.
        waiting: seconds for which a stream has been waited for beyond its time, by stream.
        history_read: while the history is read, how much of it is and will be
            (io.live.run.LiveRun).
        streamed: blocks of an Arrakis server, and connections, by result (io.arrakis.feed).
        ages: seconds from a block's end to its arrival, of the last blocks with samples.
        witness_faults: cleaned frames in which something was wrong with a witness, by channel
            and reason.
        witness_last: end of the last frame in which that was so, GPS nanoseconds.
        reloads: models offered to the running daemon, by result.
        state: bits of the state vector that were set throughout the last cleaned frame.
        gains: lowest gain in the last cleaned frame, by coupling.
        reasons: why the gain was below 1 in the last cleaned frame, by coupling.
        without: the witnesses without which each coupling went on in the last cleaned frame.
        frames_without: cleaned frames in which a coupling went on without a witness, by coupling
            and channel.
        qualities: the gate's last measure of the strain with each coupling's estimate subtracted.
        adaptations: the last gains that adapt each coupling's estimate.
        closings: closings of the gates, by coupling and reason.
        closed_since: GPS nanoseconds from which on a gate is closed, by coupling; none where it is
            open or there is none.
        obstacles: what keeps a closed gate from opening, by coupling; none where nothing is
            measured.
        model_events: events of models, by coupling and event (core.rollout.rollout).
        controls: orders of operators, by result: taken or refused.
        allowed: lowest gain that an operator allowed in the last cleaned frame, by coupling.
        frozen: the couplings whose adaptation an operator froze in the last cleaned frame.
        configurations: configurations that were read again, by result: taken or refused.
        archived: archive files written, by product.
        archive_failures: archive files that could not be written, by the error's name.
        segment_failures: failed attempts to write files of segments, by the error's name.
        status_failures: failed attempts to write the status file, by the error's name.
        published: blocks for Arrakis, `published` or by the reason why not (io.arrakis.publisher).
    """

    models: Mapping[str, IdentifiesModel] = field(default_factory=dict)
    inputs: Counter[tuple[Stream, Result]] = field(default_factory=Counter)
    waiting: dict[Stream, float] = field(default_factory=dict)
    history_read: dict[str, float] = field(default_factory=dict)
    streamed: Counter[str] = field(default_factory=Counter)
    ages: deque[float] = field(default_factory=lambda: deque(maxlen=256))
    witness_faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    witness_last: dict[tuple[str, str], int] = field(default_factory=dict)
    reloads: Counter[Reload] = field(default_factory=Counter)
    state: int = 0
    gains: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: Mapping[str, frozenset[str]] = field(default_factory=dict)
    frames_without: Counter[tuple[str, str]] = field(default_factory=Counter)
    qualities: dict[str, Quality] = field(default_factory=dict)
    adaptations: dict[str, Knot] = field(default_factory=dict)
    closings: Counter[tuple[str, str]] = field(default_factory=Counter)
    closed_since: dict[str, int] = field(default_factory=dict)
    obstacles: dict[str, GateFinding] = field(default_factory=dict)
    model_events: Counter[tuple[str, str]] = field(default_factory=Counter)
    controls: Counter[str] = field(default_factory=Counter)
    allowed: Mapping[str, float] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()
    configurations: Counter[str] = field(default_factory=Counter)
    archived: Counter[str] = field(default_factory=Counter)
    archive_failures: Counter[str] = field(default_factory=Counter)
    segment_failures: Counter[str] = field(default_factory=Counter)
    status_failures: Counter[str] = field(default_factory=Counter)
    published: Counter[str] = field(default_factory=Counter)
    _gates: dict[str, int] = field(default_factory=dict)
    _reported: set[str] = field(default_factory=set)

    def cleaned(self, frame: CleanedFrame, rendered: Mapping[str, Series]) -> None:
        """Note a cleaned frame.

        Args:
            frame: the frame as it left the engine.
            rendered: its channels (core.output.products.render).
        """
        interferometer = next(iter(rendered)).split(":", maxsplit=1)[0]
        bits = rendered[channels.state_vector(interferometer)].samples
        self.state = int(np.bitwise_and.reduce(bits))
        self.gains = {
            coupling: float(rendered[channels.gain(interferometer, coupling)].samples.min())
            for coupling in frame.blocks[0].estimates
        }
        faults = {(fault.witness, fault.reason) for b in frame.blocks for fault in b.faults}
        if faults:
            self.witness_faults.update(faults)
            self.witness_last.update(dict.fromkeys(faults, frame.span.end))
        self.reasons = {
            coupling: tuple(
                dict.fromkeys(r for b in frame.blocks for r in b.estimates[coupling].reasons)
            )
            for coupling in self.gains
        }
        self._note_missing(frame)
        self._note_controls(frame)
        for block in frame.blocks:
            for coupling, estimate in block.estimates.items():
                self.note_gate(coupling, estimate, block.span)
                if estimate.knots:
                    self.adaptations[coupling] = estimate.knots[-1]

    def waited(self) -> dict[str, float]:
        """Return the seconds of `waiting`, to a tenth."""
        return {name: round(seconds, 1) for name, seconds in self.waiting.items()}

    def by_coupling(self) -> dict[str, dict[str, float | str | None]]:
        """Return what a person wants to know of each coupling, for JSON.

        Each has `gain`, the lowest of the last frame, `asd_ratio`, in the band as the gate measured
        it last, `gate`, in words how the gate is, and of the gain that adapts the estimate
        `amplitude` and `phase` in radians. What is not known is None.
        """
        found: dict[str, dict[str, float | str | None]] = {}
        for coupling, gain in self.gains.items():
            quality, knot = self.qualities.get(coupling), self.adaptations.get(coupling)
            ratio = None if quality is None else quality.in_band
            found[coupling] = {
                "gain": gain,
                "gate": self.gate(coupling),
                "asd_ratio": ratio if ratio is not None and isfinite(ratio) else None,
                "amplitude": None if knot is None else abs(knot.whole),
                "phase": None if knot is None else phase(knot.whole),
            }
        return found

    def _note_missing(self, frame: CleanedFrame) -> None:
        """Note without which witnesses the couplings went on, and log when that changes."""
        before = self.without
        missing: dict[str, frozenset[str]] = {}
        for coupling in frame.blocks[0].estimates:
            estimates = [block.estimates[coupling] for block in frame.blocks]
            now = frozenset(one.witness for each in estimates for one in each.without)
            missing[coupling] = now
            was = before.get(coupling, frozenset())
            if now:
                self.frames_without.update((coupling, witness) for witness in now)
            if now == was:
                continue
            start = format_gps(frame.span.start)
            if now - was:
                _log.warning("GPS %s: %s goes on without %s", start, coupling, _listed(now - was))
            if was - now:
                _log.info("GPS %s: %s has %s again", start, coupling, _listed(was - now))
        self.without = missing

    def _note_controls(self, frame: CleanedFrame) -> None:
        """Note what operators set."""
        allowed: dict[str, float] = {}
        frozen = set()
        for block in frame.blocks:
            for coupling, estimate in block.estimates.items():
                gain = 1.0 if estimate.control is None else float(estimate.control.min())
                allowed[coupling] = min(gain, allowed.get(coupling, 1.0))
                if estimate.frozen:
                    frozen.add(coupling)
        self.allowed, self.frozen = allowed, frozenset(frozen)

    def note_gate(self, coupling: str, estimate: Estimate, span: Span) -> None:
        """Note the state of a gate, and log when it opens and closes."""
        if estimate.quality is not None:
            self.qualities[coupling] = estimate.quality
        if estimate.gate is None:
            return
        if coupling not in self._gates:
            self.closed_since[coupling] = span.start
        if coupling in self.closed_since or not is_one(estimate.gate):
            self._note_changes(coupling, estimate, estimate.gate == 0, span)
        self._gates[coupling] = span.end
        self.obstacles.pop(coupling, None)
        if coupling in self.closed_since:
            self._note_closed(coupling, estimate, span.end)

    def _note_changes(
        self, coupling: str, estimate: Estimate, closed: NDArray[np.bool_], span: Span
    ) -> None:
        """Note where a gate opens and closes, from whether it is closed at each sample."""
        before = coupling in self.closed_since
        step = span.duration // len(closed)
        changes = np.diff(closed, prepend=before) if before or closed.any() else closed
        for index in changes.nonzero()[0]:
            instant = span.start + int(index) * step
            if closed[index]:
                self.closed_since[coupling] = instant
                self._note_closing(coupling, estimate, instant)
            else:
                del self.closed_since[coupling]
                self._reported.discard(coupling)
                _log.info("GPS %s: the gate of %s opens", format_gps(instant), coupling)

    def _note_closing(self, coupling: str, estimate: Estimate, instant: int) -> None:
        """Count and log that a gate closes, with what was measured."""
        reason = next((r for r in estimate.reasons if r in reasons.OF_GATES), "")
        self.closings[coupling, reason] += 1
        _log.warning(
            "GPS %s: the gate of %s closes: %s, %s",
            format_gps(instant),
            coupling,
            reason,
            estimate.closed_by or "nothing was measured",
        )

    def _note_closed(self, coupling: str, estimate: Estimate, instant: int) -> None:
        """Note why a gate does not open, and log it once when that has lasted."""
        if estimate.obstacle is not None:
            self.obstacles[coupling] = estimate.obstacle
        seconds = (instant - self.closed_since[coupling]) // NS
        if seconds >= UNOPENED // NS and coupling not in self._reported:
            self._reported.add(coupling)
            _log.warning(
                "GPS %s: the gate of %s has been closed for %d s: %s",
                format_gps(instant),
                coupling,
                seconds,
                estimate.obstacle or "nothing was measured",
            )

    def closed_seconds(self, coupling: str) -> float:
        """Return for how long a gate has been closed; 0 where it is open or there is none."""
        since = self.closed_since.get(coupling)
        return 0.0 if since is None else (self._gates[coupling] - since) / NS

    def gate(self, coupling: str) -> str | None:
        """Return in words how a gate is; None where there is none."""
        if coupling not in self._gates:
            return None
        if coupling not in self.closed_since:
            return "open"
        why = self.obstacles.get(coupling, "nothing was measured")
        return f"closed for {self.closed_seconds(coupling):.0f} s: {why}"


def _listed(channels: frozenset[str]) -> str:
    return ", ".join(sorted(channels))
