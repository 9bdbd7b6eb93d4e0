"""The reasons for which a frame is not fully cleaned: one word each in counts, logs and metrics."""

from __future__ import annotations

RECORD = "reason "
"""How the name of a frame's history record begins that holds the reasons of a coupling."""

CLEANED = "cleaned"
"""The frame is fully cleaned: every coupling's gain is 1 throughout."""

MISSING = "missing"
"""A witness has no samples."""

INVALID = "invalid"
"""A witness is flagged invalid by the program that wrote it."""

CORRUPT = "corrupt"
"""A witness's file is damaged."""

BAD_RATE = "witness_rate"
"""A witness is too slow, or changed its rate."""

NONFINITE_WITNESS = "witness_nonfinite"
"""A witness has samples that are not finite."""

FROZEN = "witness_frozen"
"""A witness keeps repeating one value that is not zero."""

CLIPPED = "witness_clipped"
"""A witness is at the end of its range, as configured."""

NONFINITE = "prediction_nonfinite"
"""The network's output has samples that are not finite."""

NONFINITE_STRAIN = "strain_nonfinite"
"""The strain itself has samples that are not finite, and so has the output."""

NO_INPUT = "no_input"
"""The engine was given no block over a stretch of time."""

NO_HISTORY = "no_history"
"""The input began too recently for the filters to be full."""

NO_LOOKAHEAD = "no_lookahead"
"""The block was released before the input after it had come."""

NO_FORECAST = "no_forecast"
"""A witness came back too recently to be forecast."""

LATE = "late"
"""The daemon was too far behind and let the frame pass through raw."""

MODEL_ERROR = "model_error"
"""The network raised an error."""

ENGINE_ERROR = "engine_error"
"""The computation raised an error, and the strain was passed through raw."""

UNSETTLED = "gate_unsettled"
"""The gate has not seen enough to open, or nothing good for as long as it remembers."""

OUT_OF_SPEC = "gate_out_of_spec"
"""The gate is closed because the strain was worse with this estimate than without it."""

JUMP = "gate_jump"
"""The gate is closed because the estimate suddenly left its usual level."""

OPERATOR = "operator"
"""An operator keeps the gain below 1."""

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
    NONFINITE_STRAIN,
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
    OPERATOR,
)
"""Every reason that a frame may have."""

OF_ENDS = (NO_INPUT, NO_HISTORY, NO_LOOKAHEAD)
"""The reasons that only a live run has, at the ends of its input."""

OF_GATES = (JUMP, OUT_OF_SPEC, UNSETTLED)
"""The reasons for which a gate is closed."""

ZERO = "witness_zero"
"""A witness is zero throughout a block. Zeros are data and change no gain. They are counted."""

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
"""The faults of a witness."""
