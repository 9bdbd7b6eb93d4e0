"""All that changes while an engine runs, as one value that can be copied."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

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

    Attributes:
        error: what the network raised last; None if it never did.
    """

    def __init__(self, witnesses: int) -> None:
        self.standardised = StreamBuffer(witnesses, np.float32)
        self.predicted = StreamBuffer(1)
        self.bandpassed = StreamBuffer(1)
        self.noise = StreamBuffer(1)
        self.valid = StreamBuffer(1)
        self.overlap: Overlap | None = None
        self.invalid = InvalidSpans()
        self.error: Exception | None = None

    def copy(self) -> CouplingState:
        """Return an independent copy; the samples are shared, for nobody changes them."""
        twin = CouplingState(0)
        for name, value in vars(self).items():
            setattr(twin, name, _copied(value))
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

    def copy(self) -> StreamState:
        """Return an independent copy; the samples are shared, for nobody changes them."""
        twin = replace(self)
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, dict):
                value = {key: _copied(one) for key, one in value.items()}
            setattr(twin, name, _copied(value))
        return twin


def _copied(value: Any) -> Any:
    """Return a copy of what can change; numbers and frozen values are shared."""
    return value.copy() if hasattr(value, "copy") else value


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
