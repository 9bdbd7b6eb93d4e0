"""What a running daemon knows of itself beside the ledger, as plain values.

Whoever knows a thing puts it here; edge.metrics reads it whenever it is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from deepclean.core import channels
from deepclean.core.assemble import CleanedFrame
from deepclean.core.block import Series

Stream = Literal["strain", "witnesses"]
Result = Literal["missing", "taken", "unreadable"]
Reload = Literal["accepted", "rejected"]


class Version(Protocol):
    """What identifies a model; `edge.models.Model` does."""

    @property
    def version(self) -> int:
        """Its number."""
        ...

    @property
    def hash(self) -> str:
        """Sha256 of its manifest."""
        ...


@dataclass(slots=True)
class Figures:
    """Counts since the start, and how things stand now.

    Args:
        models: in force, by coupling; replaced as a whole when one changes.
        inputs: files by stream and result, when their time has come: read, given up as absent, or
            given up as unreadable. Strain that was taken stands in the ledger instead.
        witness_faults: cleaned frames in which something was wrong with a witness, by channel
            and reason.
        reloads: models offered to the running daemon, by what became of them.
        state: bits of the state vector that were set throughout the last cleaned frame.
        gains: lowest gain in the last cleaned frame, by coupling.
    """

    models: Mapping[str, Version] = field(default_factory=dict)
    inputs: Counter[tuple[Stream, Result]] = field(default_factory=Counter)
    witness_faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    reloads: Counter[Reload] = field(default_factory=Counter)
    state: int = 0
    gains: Mapping[str, float] = field(default_factory=dict)

    def cleaned(self, frame: CleanedFrame, rendered: Mapping[str, Series]) -> None:
        """Note a cleaned frame.

        Args:
            frame: as it left the engine.
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
