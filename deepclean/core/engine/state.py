"""All that changes while an engine runs, as one value that can be copied."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

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


@dataclass(slots=True)
class CouplingState:
    """The streams between the stages of one version, and where its estimate is not valid.

    Where nothing waits there are no streams before the bandpass, and the gain is a stream.

    Args:
        standardised: witnesses at the model rate, one row each, float32.
        predicted: output of the network at the model rate, in strain units.
        bandpassed: the prediction, confined to the bands.
        noise: the estimate at the strain's rate.
        valid: gain by what the estimate rests on; only where nothing waits.
        overlap: what the last hop thought of the start of the next; only where nothing waits.
        invalid: where the estimate is not valid, and why.
        error: what the network raised last; None if it never did.
    """

    standardised: StreamBuffer
    predicted: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    bandpassed: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    noise: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    valid: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    overlap: Overlap | None = None
    invalid: InvalidSpans = field(default_factory=InvalidSpans)
    error: Exception | None = None


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
class StreamState:
    """What an engine holds of its stream: input, streams between stages, blocks not yet out.

    Args:
        frontier: where the input ends, GPS nanoseconds.
        step: the next hop to compute, counted from GPS 0.
        couplings: the streams of each version at work.
        inputs: samples of each witness, by witness and rate.
        rates: the last rate of each witness, Hz.
        gates: the state of the gates; None where there are none.
        constant: the run of equal samples with which each witness ended.
        good_since: since when every sample of a witness is usable, GPS nanoseconds.
        decimated: fast witnesses at the model rate, where they are forecast at that rate.
        pending: blocks that went in and have not come out, with the faults of their witnesses.
        switches: from version to version, as far as blocks inside depend on them, in order.
    """

    frontier: int
    step: int
    couplings: dict[Version, CouplingState] = field(default_factory=dict)
    inputs: dict[tuple[str, int], StreamBuffer] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    gates: MonitorState | None = None
    constant: dict[str, ConstantRun] = field(default_factory=dict)
    good_since: dict[str, int] = field(default_factory=dict)
    decimated: dict[tuple[str, int], StreamBuffer] = field(default_factory=dict)
    pending: deque[tuple[Block, tuple[WitnessFault, ...]]] = field(default_factory=deque)
    switches: list[Switch] = field(default_factory=list)

    @property
    def oldest(self) -> int:
        """Start of the oldest block inside, GPS nanoseconds; the frontier where there is none."""
        return self.pending[0][0].span.start if self.pending else self.frontier


@dataclass(slots=True)
class EngineState:
    """All that changes while an engine runs.

    Args:
        roles: which version has which role from the next block on.
        leaving: until when a version that was let go is needed, GPS nanoseconds.
        errors: what the network of a version raised last.
        stream: None before the first block.
    """

    roles: dict[tuple[str, Role], Version]
    leaving: dict[Version, int] = field(default_factory=dict)
    errors: dict[Version, Exception] = field(default_factory=dict)
    stream: StreamState | None = None
