"""What the rules of core.rollout compare: two versions' measures over one block."""

from __future__ import annotations

from deepclean.core import reasons
from deepclean.core.block import CleanedBlock, Estimate
from deepclean.core.output.state_vector import not_ready
from deepclean.core.rollout.rules import TrialBlock, number


def does_count(block: CleanedBlock) -> bool:
    """Return whether a block counts: it is ready for analysis, and no witness is at fault."""
    return not not_ready(block.source) and all(f.reason == reasons.ZERO for f in block.faults)


def trial_block(block: CleanedBlock, candidate: Estimate, other: Estimate) -> TrialBlock | None:
    """Return the measures of two versions; None where those of either are not complete."""
    if not all(is_valid(e) and not e.unsettled and e.quality for e in (candidate, other)):
        return None
    assert candidate.quality is not None
    assert other.quality is not None
    return TrialBlock(
        block.span.duration,
        number(candidate.quality.in_band),
        is_open(candidate),
        number(other.quality.in_band),
        is_open(other),
    )


def is_open(estimate: Estimate) -> bool:
    """Return whether a version's gate is open throughout. Where there is none, it is."""
    return estimate.gate is None or bool((estimate.gate == 1).all())


def is_valid(estimate: Estimate) -> bool:
    """Return whether an estimate rests on good data throughout."""
    valid = estimate.gain if estimate.valid is None else estimate.valid
    return bool((valid == 1).all())
