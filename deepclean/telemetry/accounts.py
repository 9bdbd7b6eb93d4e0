"""What a run keeps account of, as one value that its parts share."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepclean.core.accounting import Ledger
from deepclean.telemetry.counters import Counters
from deepclean.telemetry.timings import Timings


@dataclass(frozen=True, slots=True, eq=False)
class Accounts:
    """The accounts of one run.

    Args:
        ledger: of every frame.
        counters: of what happened beside the ledger.
        timings: of how long things take.
    """

    ledger: Ledger = field(default_factory=Ledger)
    counters: Counters = field(default_factory=Counters)
    timings: Timings = field(default_factory=Timings)
