"""Counts and states of a running daemon beside its ledger, as plain values.

The part of the daemon that knows a value puts it here; telemetry.metrics reads it at every scrape.
"""

from __future__ import annotations

import logging
from cmath import phase
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, Protocol

import numpy as np

from deepclean.core import channels, reasons
from deepclean.core.adapt.knot import Knot
from deepclean.core.block import Estimate, Quality, Series
from deepclean.core.frame import CleanedFrame
from deepclean.core.time import Span, format_gps

_log = logging.getLogger(__name__)

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
        witness_faults: cleaned frames in which something was wrong with a witness, by channel
            and reason.
        reloads: models offered to the running daemon, by result.
        state: bits of the state vector that were set throughout the last cleaned frame.
        gains: lowest gain in the last cleaned frame, by coupling.
        qualities: the gate's last measure of the strain with each coupling's estimate subtracted.
        adaptations: the last gains that adapt each coupling's estimate.
        closings: closings of the gates, by coupling and reason.
        model_events: events of models, by coupling and event (core.rollout.rollout).
        archived: archive files written, by product.
        archive_failures: archive files that could not be written, by the error's name.
    """

    models: Mapping[str, IdentifiesModel] = field(default_factory=dict)
    inputs: Counter[tuple[Stream, Result]] = field(default_factory=Counter)
    witness_faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    reloads: Counter[Reload] = field(default_factory=Counter)
    state: int = 0
    gains: Mapping[str, float] = field(default_factory=dict)
    qualities: dict[str, Quality] = field(default_factory=dict)
    adaptations: dict[str, Knot] = field(default_factory=dict)
    closings: Counter[tuple[str, str]] = field(default_factory=Counter)
    model_events: Counter[tuple[str, str]] = field(default_factory=Counter)
    archived: Counter[str] = field(default_factory=Counter)
    archive_failures: Counter[str] = field(default_factory=Counter)
    _closed: dict[str, bool] = field(default_factory=dict)

    def cleaned(self, frame: CleanedFrame, rendered: Mapping[str, Series]) -> None:
        """Note a cleaned frame.

        Args:
            frame: the frame as it left the engine.
            rendered: its channels (core.products.render).
        """
        interferometer = next(iter(rendered)).split(":", maxsplit=1)[0]
        bits = rendered[channels.state_vector(interferometer)].samples
        self.state = int(np.bitwise_and.reduce(bits))
        self.gains = {
            coupling: float(rendered[channels.gain(interferometer, coupling)].samples.min())
            for coupling in frame.blocks[0].estimates
        }
        faults = {(fault.witness, fault.reason) for b in frame.blocks for fault in b.faults}
        self.witness_faults.update(faults)
        for block in frame.blocks:
            for coupling, estimate in block.estimates.items():
                self._note_gate(coupling, estimate, block.span)
                if estimate.knots:
                    self.adaptations[coupling] = estimate.knots[-1]

    def by_coupling(self) -> dict[str, dict[str, float | None]]:
        """Return what a person wants to know of each coupling, for JSON.

        Each has `gain`, the lowest of the last frame, `asd_ratio`, in the band as the gate measured
        it last, and of the gain that adapts the estimate `amplitude` and `phase` in radians. What
        is not known is None.
        """
        found: dict[str, dict[str, float | None]] = {}
        for coupling, gain in self.gains.items():
            quality, knot = self.qualities.get(coupling), self.adaptations.get(coupling)
            ratio = None if quality is None else quality.in_band
            found[coupling] = {
                "gain": gain,
                "asd_ratio": ratio if ratio is not None and isfinite(ratio) else None,
                "amplitude": None if knot is None else abs(knot.whole),
                "phase": None if knot is None else phase(knot.whole),
            }
        return found

    def _note_gate(self, coupling: str, estimate: Estimate, span: Span) -> None:
        """Note the state of a gate, and log when it opens and closes."""
        if estimate.quality is not None:
            self.qualities[coupling] = estimate.quality
        if estimate.gate is None:
            return
        closed = estimate.gate == 0
        before = self._closed.get(coupling, True)
        self._closed[coupling] = bool(closed[-1])
        step = span.duration // len(closed)
        for index in np.flatnonzero(np.diff(closed, prepend=before)):
            instant = format_gps(span.start + int(index) * step)
            if not closed[index]:
                _log.info("GPS %s: the gate of %s opens", instant, coupling)
                continue
            reason = next((r for r in estimate.reasons if r in reasons.OF_GATES), "")
            self.closings[coupling, reason] += 1
            quality = estimate.quality
            ratio = "unknown" if quality is None else f"{quality.in_band:.3f}"
            _log.warning(
                "GPS %s: the gate of %s closes: %s, ASD ratio in the band %s",
                instant,
                coupling,
                reason,
                ratio,
            )
