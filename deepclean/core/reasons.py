"""Why a frame is not fully cleaned: one word each, in counts, logs and metrics."""

from __future__ import annotations

CLEANED = "cleaned"
"""No reason at all: every coupling's gain is 1 throughout."""

MISSING = "missing"
"""A witness has no samples."""

INVALID = "invalid"
"""A witness is flagged invalid by who wrote it."""

CORRUPT = "corrupt"
"""A witness's file is damaged."""

BAD_RATE = "witness_rate"
"""A witness is too slow, or changed its rate."""

NONFINITE_WITNESS = "witness_nonfinite"
"""A witness has samples that are no numbers."""

FROZEN = "witness_frozen"
"""A witness keeps repeating one value that is not zero."""

CLIPPED = "witness_clipped"
"""A witness is at the end of its range."""

NONFINITE = "prediction_nonfinite"
"""The network gave samples that are no numbers."""

NO_INPUT = "no_input"
"""No block was given over a stretch."""

NO_HISTORY = "no_history"
"""The input began too short a time ago."""

NO_LOOKAHEAD = "no_lookahead"
"""The block was given out before what comes after it was there."""

NO_FORECAST = "no_forecast"
"""A witness came back too short a time ago to be forecast."""

LATE = "late"
"""The daemon was too far behind and let the frame pass through."""

MODEL_ERROR = "model_error"
"""The network failed."""

ENGINE_ERROR = "engine_error"
"""The computation failed; the strain was let through."""

UNSETTLED = "gate_unsettled"
"""The gate has not seen enough to open, or nothing good for too long."""

OUT_OF_SPEC = "gate_out_of_spec"
"""The gate is closed: with this estimate the strain was worse than without."""

JUMP = "gate_jump"
"""The estimate left its usual level at once."""

ALL = (
    CLEANED,
    MISSING,
    INVALID,
    CORRUPT,
    BAD_RATE,
    NONFINITE_WITNESS,
    FROZEN,
    CLIPPED,
    NONFINITE,
    NO_INPUT,
    NO_HISTORY,
    NO_LOOKAHEAD,
    NO_FORECAST,
    LATE,
    MODEL_ERROR,
    ENGINE_ERROR,
    UNSETTLED,
    OUT_OF_SPEC,
    JUMP,
)

OF_GATES = (JUMP, OUT_OF_SPEC, UNSETTLED)
"""Why a gate is closed."""

ZERO = "witness_zero"
"""A witness is zero throughout. Zeros are data and change no gain; they are counted."""

OF_WITNESSES = (
    MISSING,
    INVALID,
    CORRUPT,
    BAD_RATE,
    NONFINITE_WITNESS,
    FROZEN,
    CLIPPED,
    LATE,
    ENGINE_ERROR,
    ZERO,
)
"""What may be wrong with a witness."""
