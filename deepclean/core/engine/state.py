"""The state of a running engine, as one value that can be copied."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from deepclean.core.adapt.held import HeldGains, HeldKey
from deepclean.core.adapt.knot import Knot
from deepclean.core.adapt.tracker import TrackerState
from deepclean.core.block import Block, Float64, Version, WitnessFault
from deepclean.core.buffer import StreamBuffer
from deepclean.core.control import Control, Freeze
from deepclean.core.engine.missing import Losses
from deepclean.core.filters.forecast import LinearPredictor
from deepclean.core.gain import InvalidSpans
from deepclean.core.gate.state import MonitorState
from deepclean.core.strain import StrainState
from deepclean.core.time import NS
from deepclean.core.witness_checks import ConstantRun

Role = Literal["production", "canary"]
"""The role of a version: it is subtracted from the strain, or it is tried beside that."""


class Overlap(NamedTuple):
    """The start of a hop as the hop before it computed it from forecasts.

    Args:
        given: gain times noise at the model rate, shape `(back,)`, in strain units. The last sample
            is the first of the next hop.
        gain: the gain at that sample.
    """

    given: Float64
    gain: float


@dataclass(slots=True)
class AdaptationState:
    """What a version's gains are learnt from.

    Args:
        groups: the bandpassed groups at the model rate, one row each, from the oldest second on
            that is not learnt from yet.
        tracker: the spectra of the last seconds, and the gains.
        features: the same of the gains of the model's features; None where they have none.
        freezes: the stretches in which the gains are not to change.
        held: the gains that they hold, by the GPS second at which the stretch begins.
    """

    groups: StreamBuffer
    tracker: TrackerState
    features: AdaptationState | None = None
    freezes: tuple[Freeze, ...] = ()
    held: dict[int, Knot] = field(default_factory=dict)

    @property
    def unlearnt(self) -> int:
        """The start of the oldest second that is not learnt from yet, GPS nanoseconds."""
        own = self.tracker.next * NS
        return own if self.features is None else min(own, self.features.unlearnt)


@dataclass(slots=True)
class CouplingState:
    """The streams between the stages of one version, and the spans where its estimate is invalid.

    Where nothing waits there are no streams before the bandpass, and the gain is a stream.

    Args:
        standardised: the standardised witnesses at the model rate, one row each, float32.
        predicted: the prediction at the model rate, in strain units; one row, or one for each part
            that the network gives.
        bandpassed: the bandpassed prediction at the model rate, in strain units.
        noise: the bandpassed prediction at the strain's rate, in strain units.
        valid: the gain at the strain's rate, where nothing waits.
        overlap: the start of the next hop as the last one computed it, where nothing waits.
        invalid: the spans in which the estimate is invalid, with the reasons.
        losses: the predictions that have to do without a witness.
        reduced: the spans in which the estimate goes on without a witness, with its name.
        uncertain: the witnesses, by number, that cannot be forecast for the next hop.
        adaptation: what the gains are learnt from; None where they are fixed.
        error: the last error that the network raised; None if it never did.
    """

    standardised: StreamBuffer
    predicted: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    bandpassed: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    noise: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    valid: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    overlap: Overlap | None = None
    invalid: InvalidSpans = field(default_factory=InvalidSpans)
    losses: Losses = field(default_factory=dict)
    reduced: InvalidSpans = field(default_factory=InvalidSpans)
    uncertain: list[int] = field(default_factory=list)
    adaptation: AdaptationState | None = None
    error: Exception | None = None


class Switch(NamedTuple):
    """The change of a role from one version to another.

    Args:
        instant: the switch between two blocks, GPS nanoseconds.
        coupling: the coupling's name.
        role: the role that changes hands.
        before: the version that had the role; None where there was no canary.
        after: the version that has the role now; None where there is no canary any more.
    """

    instant: int
    coupling: str
    role: Role
    before: Version | None
    after: Version | None


class FittedPredictor(NamedTuple):
    """The prediction of a witness, with the samples to which it was fitted.

    Args:
        predictor: the prediction.
        begin: index of the first of these samples.
        stop: index after the last.
    """

    predictor: LinearPredictor
    begin: int
    stop: int


@dataclass(slots=True)
class WitnessInputs:
    """The samples of all witnesses that came at one rate.

    Args:
        rows: the row of each witness.
        samples: the witnesses at that rate; the row of one that is missing is zero.
        slow: the same at the model rate, where they are forecast at that rate.
        predictors: the prediction of each witness that was fitted last.
        last: the last sample of each row; zero, which is never frozen, of one that is missing.
        stop: absolute index after the last sample, at that rate.
    """

    rows: dict[str, int]
    samples: StreamBuffer
    slow: StreamBuffer
    predictors: dict[str, FittedPredictor] = field(default_factory=dict)
    last: Float64 = field(default_factory=lambda: np.zeros(0))
    stop: int = 0


@dataclass(slots=True)
class StreamState:
    """The state of an engine's stream: input, streams between stages, blocks not yet out.

    Args:
        frontier: the end of the input, GPS nanoseconds.
        step: the number of the next hop to compute, counted from GPS 0.
        prepared: the number of the hop for which all is done that the hops before have left to it.
        trimmed: the number of the hop before which what is not needed any more was dropped last.
        couplings: the streams of each version at work.
        inputs: the samples of the witnesses, by rate in Hz.
        rates: the last rate of each witness, Hz.
        strain: the raw strain of the last seconds, for gates and gains.
        gates: the state of the gates; None where there are none.
        constant: the run of equal samples with which each witness ended that stood still.
        good_since: the instant since which every sample of a witness is usable, GPS nanoseconds.
        pending: the blocks that went in and have not come out, with the faults of their witnesses.
        switches: the switches on which blocks inside depend, in order.
    """

    frontier: int
    step: int
    prepared: int = 0
    trimmed: int = 0
    couplings: dict[Version, CouplingState] = field(default_factory=dict)
    inputs: dict[int, WitnessInputs] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    strain: StrainState = field(default_factory=StrainState)
    gates: MonitorState | None = None
    constant: dict[str, ConstantRun] = field(default_factory=dict)
    good_since: dict[str, int] = field(default_factory=dict)
    pending: deque[tuple[Block, tuple[WitnessFault, ...]]] = field(default_factory=deque)
    switches: list[Switch] = field(default_factory=list)

    @property
    def oldest(self) -> int:
        """The start of the oldest block inside, GPS ns; the frontier where there is none."""
        return self.pending[0][0].span.start if self.pending else self.frontier


@dataclass(slots=True)
class EngineState:
    """The state of a running engine.

    Args:
        roles: the version of each coupling and role, in force from the next block on.
        leaving: the instant up to which a version that was let go is needed, GPS nanoseconds.
        errors: the last error that the network of a version raised.
        controls: the operator's settings, in the order in which they came.
        held: the gains that freezes of adaptation hold, as far as they are known.
        fresh: those of them that nobody was told of.
        stream: the state of the stream; None before the first block.
    """

    roles: dict[tuple[str, Role], Version]
    leaving: dict[Version, int] = field(default_factory=dict)
    errors: dict[Version, Exception] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()
    held: dict[HeldKey, HeldGains] = field(default_factory=dict)
    fresh: list[HeldGains] = field(default_factory=list)
    stream: StreamState | None = None
