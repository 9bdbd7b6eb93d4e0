"""The words that say why something was not as it should be: each of them, in one place.

Every counter that has reasons is exported from the start with all of them at 0 (edge.metrics):
an alert sees a counter rise only where it stood before.
"""

from __future__ import annotations

from deepclean.core.align import MISSING

STRAIN_GAPS = ("invalid", "strain_missing", "strain_rate", "strain_unreadable")
"""Why there is no strain: flagged by its source, absent, at another rate, not readable in time."""

WITNESS_FAULTS = ("invalid", "nonfinite", MISSING)
"""Why a witness is of no use: flagged by its source, samples that are no numbers, absent."""

REDUCED = ("neighbour", *WITNESS_FAULTS)
"""Why a frame is not fully cleaned (core.products.outcome)."""

IGNORED = ("duplicate", "late")
"""Why an input file is passed over: its second was there already, or was given up before."""
