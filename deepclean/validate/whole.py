"""A cleaned second as one block, where a channel that begins or ends within it divided it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from deepclean.core.align import whole
from deepclean.core.block import Block, CleanedBlock, Estimate, StrainProducts
from deepclean.core.frame import CleanedFrame
from deepclean.core.time import Span


def one_block(frame: CleanedFrame) -> CleanedBlock:
    """Return the blocks of a frame as one; most frames have only one.

    A channel that has no samples in a part of the frame is a gap throughout.
    """
    blocks = frame.blocks
    if len(blocks) == 1:
        return blocks[0]
    sources, span = [block.source for block in blocks], frame.span
    states = [source.state for source in sources if source.state is not None]
    source = Block(
        span,
        whole([each.strain for each in sources], span),
        {name: _whole(sources, name, span) for name in sources[0].witnesses},
        whole(states, span) if len(states) == len(sources) else None,
    )
    products = [block.products for block in blocks if block.products is not None]
    if len(products) < len(blocks):
        return CleanedBlock(source, None, {})
    return CleanedBlock(
        source,
        StrainProducts(
            *(
                np.concatenate([getattr(each, field.name) for each in products])
                for field in fields(StrainProducts)
            )
        ),
        {name: _joined([b.estimates[name] for b in blocks]) for name in blocks[0].estimates},
        tuple(fault for block in blocks for fault in block.faults),
    )


def _whole(sources: Sequence[Block], name: str, span: Span) -> Any:
    return whole([source.witnesses[name] for source in sources], span)


def _joined(estimates: Sequence[Estimate]) -> Estimate:
    """Return the estimates of consecutive blocks as one: what is told of an end is the last one's.

    The versions of a crossfade are left out: the products are there already.
    """
    made: dict[str, Any] = {}
    for field in fields(Estimate):
        values = [getattr(estimate, field.name) for estimate in estimates]
        if any(isinstance(value, np.ndarray) for value in values):
            # A gain that is not there is 1.
            arrays = [
                np.ones(len(estimate.noise)) if value is None else value
                for estimate, value in zip(estimates, values, strict=True)
            ]
            made[field.name] = np.concatenate(arrays)
        elif field.name == "parts":
            made[field.name] = ()
        elif field.name != "knots" and isinstance(values[-1], tuple):
            made[field.name] = tuple(dict.fromkeys(each for value in values for each in value))
        else:
            made[field.name] = values[-1]
    return Estimate(**made)
