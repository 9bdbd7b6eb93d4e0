"""When the gate looks at the stream: at multiples of these steps, counted from GPS 0.

Every instant follows from GPS time alone, so the gate decides the same at the same time however
the stream was cut into blocks and whenever the engine was started. All are whole nanoseconds.

| what is looked at | over | every |
|---|---|---|
| the level of an estimate (core.gate.levels) | `SLOT` | `SLOT` |
| the power in the band (core.gate.band_power), with a verdict | `FAST_SEGMENT` | `FAST_STEP` |
| the spectra of a window (core.gate.quality) | `SEGMENT` (core.spectra) | `STEP` |
"""

from __future__ import annotations

from deepclean.core.time import NS

# A sixteenth of a second is a whole number of samples at every rate that is a multiple of 16 Hz.
# It is no longer than the 0.1 s in which noise of a band of 10 Hz changes its amplitude.
SLOT = NS // 16
"""Nanoseconds over which an estimate's level is taken."""

# One second resolves 1 Hz. Half of it is the reaction time that a sudden fault leaves.
FAST_SEGMENT = NS
"""Nanoseconds of a fast transform."""

# Hann windows that overlap by half use the data almost fully: their powers correlate by 1/36 only
# (core.gate.verdicts). A shorter step would add looks, and with them false alarms, but no data.
FAST_STEP = FAST_SEGMENT // 2
"""Nanoseconds from one fast transform, and from one verdict, to the next."""

STEP = NS
"""Nanoseconds from one slow transform to the next: transforms of 2 s overlap by half too."""


def next_multiple(instant: int, step: int) -> int:
    """Return the first multiple of `step` at or after `instant`, both in nanoseconds.

    >>> next_multiple(1_200_000_000, FAST_STEP)
    1500000000
    >>> next_multiple(1_500_000_000, FAST_STEP)
    1500000000
    """
    return -(-instant // step) * step
