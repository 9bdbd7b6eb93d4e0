"""What is kept while couplings are watched (core.gate.monitor), as values that can be copied."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from deepclean.core.block import Float64, Version
from deepclean.core.buffer import StreamBuffer
from deepclean.core.copying import copy_state
from deepclean.core.gain import InvalidSpans
from deepclean.core.gate.band_power import BandPower
from deepclean.core.gate.cadence import FAST_STEP, SLOT
from deepclean.core.gate.measures import GateFinding, Quality
from deepclean.core.gate.quality import RunningSpectra, StrainLevel
from deepclean.core.gate.settings import GateSettings
from deepclean.core.gate.table import Gate
from deepclean.core.spectra import Bins

BEGINNING = -(1 << 62)
"""Before all time, GPS nanoseconds."""


@dataclass(slots=True)
class CouplingMonitor:
    """One version of a coupling's model under watch.

    Args:
        gate: its gate.
        spectra: the slow transforms of a window.
        levels: of the slots of a window, strain; NaN where the estimate is not valid.
        fast_history: the fast measures of a window, one for each look; None where there was none.
        proven_levels: for the looks of `memory` the highest level, where cleaning was better than
            raw; else 0.
        loudest: level of a slot that was right when the model was judged; 0 where unknown.
        floors: of the strain in the band, with their instants, over two windows.
        closed: where the gate is closed, and why.
        faded: where it begins to be closed after it has faded.
        unsettled: where the window is not full.
        quality: the last slow measure, kept while there is none.
        strain: the strain in the band; None where there is no measure in force.
        obstacle: what keeps the gate from opening; None where it may open, or nothing is measured.
        usual: median of the levels, as of the last whole second; None where too few are valid.
    """

    gate: Gate
    spectra: RunningSpectra
    levels: deque[float]
    fast_history: deque[BandPower | None]
    proven_levels: deque[float]
    loudest: float = 0.0
    floors: deque[tuple[int, Float64]] = field(default_factory=deque)
    closed: InvalidSpans = field(default_factory=InvalidSpans)
    faded: InvalidSpans = field(default_factory=InvalidSpans)
    unsettled: InvalidSpans = field(default_factory=InvalidSpans)
    quality: Quality | None = None
    strain: StrainLevel | None = None
    obstacle: GateFinding | None = None
    usual: float | None = None

    @classmethod
    def start(cls, instant: int, bins: Bins, window: int, memory: int) -> CouplingMonitor:
        """Return what has seen nothing yet.

        Args:
            instant: from which on it watches, GPS nanoseconds, a multiple of FAST_STEP.
            bins: the coupling's, of the slow transform.
            window: nanoseconds over which an estimate is judged.
            memory: nanoseconds for which a level counts as proven.
        """
        return cls(
            Gate.start(instant),
            RunningSpectra(bins, window),
            deque(maxlen=window // SLOT),
            deque(maxlen=window // FAST_STEP),
            deque(maxlen=memory // FAST_STEP),
        )


@dataclass(slots=True)
class MonitorState:
    """All that changes while the couplings of an engine are watched.

    Args:
        slot: the next to look at, counted from GPS 0.
        look: when the next look is due, GPS nanoseconds.
        couplings: by version.
        limits: the settings of the gates from each instant on at which they change, GPS ns.
    """

    slot: int
    look: int
    couplings: dict[Version, CouplingMonitor] = field(default_factory=dict)
    limits: tuple[tuple[int, GateSettings], ...] = ()

    def copy(self) -> MonitorState:
        """Return an independent copy."""
        return copy_state(self)


@dataclass(frozen=True, slots=True)
class EstimateStream:
    """What there is to see of one coupling.

    Args:
        bandpassed: its estimate at the model rate.
        invalid: where that is not valid.
    """

    bandpassed: StreamBuffer
    invalid: InvalidSpans
