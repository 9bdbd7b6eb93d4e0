"""What a run keeps account of, as one value that its parts share."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from deepclean.core.accounting import Ledger
from deepclean.telemetry.counters import Counters
from deepclean.telemetry.live_spectra import LiveSpectra
from deepclean.telemetry.timings import Timings


@dataclass(frozen=True, slots=True, eq=False)
class Accounts:
    """The accounts of one run.

    Args:
        ledger: of every frame.
        counters: of what happened beside the ledger.
        timings: of how long things take.
        latencies: seconds from a strain frame's arrival to its cleaned frame, the last ones.
        spectra: of the stream as it is now; None where nobody looks at them.
    """

    ledger: Ledger = field(default_factory=Ledger)
    counters: Counters = field(default_factory=Counters)
    timings: Timings = field(default_factory=Timings)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=4096))
    spectra: LiveSpectra | None = None
