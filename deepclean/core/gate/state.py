"""What is kept while couplings are watched (core.gate.monitor), as values that can be copied."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from deepclean.core.block import Float64, Quality, Version
from deepclean.core.buffer import StreamBuffer
from deepclean.core.gain import InvalidSpans
from deepclean.core.gate.quality import BandPower, RunningSpectra, StrainLevel
from deepclean.core.gate.table import Gate
from deepclean.core.time import NS

SLOT = NS // 16
"""Nanoseconds over which an estimate's level is taken."""

BEGINNING = -(1 << 62)
"""Before all time, GPS nanoseconds."""


@dataclass(slots=True)
class CouplingMonitor:
    """One version of a coupling's model under watch.

    Args:
        gate: its gate.
        window: its running spectra.
        closed: where the gate is closed, and why.
        faded: where it begins to be closed after it has faded.
        closes: when it has.
        unsettled: where the window is not full.
        quality: the last measure, kept while there is none.
        level: of the strain in the band; None where there is no measure in force.
        levels: root mean square of the last slots, NaN where the estimate is not valid.
        usual: median of those of a window, as of the last whole second.
        proofs: root mean square of each last second, tick by tick over a window, where cleaning was
            better than raw; else 0.
        briefs: the fast measures of a window.
        floors: of the strain in the band, with their instants, over two windows.
    """

    gate: Gate
    window: RunningSpectra
    closed: InvalidSpans
    unsettled: InvalidSpans
    faded: InvalidSpans = field(default_factory=InvalidSpans)
    closes: int = BEGINNING
    quality: Quality | None = None
    level: StrainLevel | None = None
    levels: deque[float] = field(default_factory=deque)
    usual: float | None = None
    proven_levels: deque[float] = field(default_factory=deque)
    fast_history: deque[BandPower | None] = field(default_factory=deque)
    floors: deque[tuple[int, Float64]] = field(default_factory=deque)

    def copy(self) -> CouplingMonitor:
        """Return an independent copy."""
        return CouplingMonitor(
            self.gate.copy(),
            self.window.copy(),
            self.closed.copy(),
            self.unsettled.copy(),
            self.faded.copy(),
            self.closes,
            self.quality,
            self.level,
            self.levels.copy(),
            self.usual,
            self.proven_levels.copy(),
            self.fast_history.copy(),
            self.floors.copy(),
        )


@dataclass(slots=True)
class MonitorState:
    """All that changes while the couplings of an engine are watched.

    Args:
        slot: the next to look at, counted from GPS 0.
        couplings: by version.
        strain: the last seconds of it.
        unfit: where it is missing, not finite or not ready for analysis.
    """

    slot: int
    couplings: dict[Version, CouplingMonitor] = field(default_factory=dict)
    strain: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    unfit: InvalidSpans = field(default_factory=InvalidSpans)

    def copy(self) -> MonitorState:
        """Return an independent copy."""
        couplings = {name: watched.copy() for name, watched in self.couplings.items()}
        return MonitorState(self.slot, couplings, self.strain.copy(), self.unfit.copy())


@dataclass(frozen=True, slots=True)
class EstimateStream:
    """What there is to see of one coupling.

    Args:
        bandpassed: its estimate at the model rate.
        invalid: where that is not valid.
    """

    bandpassed: StreamBuffer
    invalid: InvalidSpans
