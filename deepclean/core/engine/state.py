"""All that changes while an engine runs, as one value that can be copied."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from deepclean.core.block import Block, Float64, Version, WitnessFault
from deepclean.core.buffer import StreamBuffer
from deepclean.core.gain import InvalidSpans
from deepclean.core.gate.state import MonitorState
from deepclean.core.witness_checks import ConstantRun

Role = Literal["production", "canary"]
"""Of a version: what is subtracted from the strain, and what is tried beside it."""


class Overlap(NamedTuple):
    """What a hop that did not wait thought of the start of the next one.

    Args:
        given: what it would have subtracted, at the model rate, up to the next hop's first sample.
        gain: at that sample.
    """

    given: Float64
    gain: float


class CouplingState:
    """The streams between the stages of one version, and where its estimate is not valid.

    Where nothing waits there are no streams before the bandpass, and the gain is a stream.
    """

    def __init__(self, witnesses: int) -> None:
        self.standardised = StreamBuffer(witnesses, np.float32)
        self.predicted = StreamBuffer(1)
        self.bandpassed = StreamBuffer(1)
        self.noise = StreamBuffer(1)
        self.valid = StreamBuffer(1)
        self.overlap: Overlap | None = None
        self.invalid = InvalidSpans()

    def copy(self) -> CouplingState:
        """Return an independent copy; the samples are shared, for nobody changes them."""
        twin = CouplingState(self.standardised.rows)
        twin.standardised, twin.predicted = self.standardised.copy(), self.predicted.copy()
        twin.bandpassed, twin.noise = self.bandpassed.copy(), self.noise.copy()
        twin.valid, twin.overlap = self.valid.copy(), self.overlap
        twin.invalid = self.invalid.copy()
        return twin


class Switch(NamedTuple):
    """A version takes over from another.

    Args:
        instant: GPS nanoseconds, between two blocks.
        coupling: whose.
        role: of the two.
        before: None where there was no canary.
        after: likewise.
    """

    instant: int
    coupling: str
    role: Role
    before: Version | None
    after: Version | None


@dataclass(slots=True)
class EngineState:
    """Input not yet used up, streams between stages, blocks not yet out.

    Args:
        frontier: where the input ends, GPS nanoseconds.
        step: the next hop to compute, counted from GPS 0.
        paths: each version's streams.
        inputs: by witness and rate.
        rates: each witness's last rate.
        gates: of what the couplings do to the strain, where there are gates.
        held: what each witness's samples ended with.
        sound: since when each witness's samples are all good, GPS nanoseconds.
        slowed: fast witnesses at the model rate, where they are forecast at that.
        pending: blocks taken in and not given out, with the faults of their witnesses.
        switches: of versions, as far as blocks inside still depend on them, in order.
    """

    frontier: int
    step: int
    paths: dict[Version, CouplingState]
    inputs: dict[tuple[str, int], StreamBuffer] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    gates: MonitorState | None = None
    constant: dict[str, ConstantRun] = field(default_factory=dict)
    good_since: dict[str, int] = field(default_factory=dict)
    decimated: dict[tuple[str, int], StreamBuffer] = field(default_factory=dict)
    pending: deque[tuple[Block, tuple[WitnessFault, ...]]] = field(default_factory=deque)
    switches: list[Switch] = field(default_factory=list)

    def copy(self) -> EngineState:
        """Return an independent copy; the samples are shared, for nobody changes them."""
        return EngineState(
            self.frontier,
            self.step,
            {name: path.copy() for name, path in self.paths.items()},
            {key: track.copy() for key, track in self.inputs.items()},
            self.rates.copy(),
            None if self.gates is None else self.gates.copy(),
            self.constant.copy(),
            self.good_since.copy(),
            {key: track.copy() for key, track in self.decimated.items()},
            self.pending.copy(),
            self.switches.copy(),
        )
