"""Which seconds count, and what one that does holds: the strain before and after, witnesses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deepclean.core.block import Block, CleanedBlock, Float64, Gap, Series
from deepclean.core.gate.quality import Complex, transform
from deepclean.core.state_vector import not_ready

PRODUCTS = ("RAW", "OUT_DQ", "PRODUCTION")


@dataclass(frozen=True, slots=True)
class Second:
    """A second that counts.

    Args:
        products: the strain before and after.
        witnesses: as they came.
        whole: couplings whose estimate is valid throughout.
    """

    products: Mapping[str, Float64]
    witnesses: Mapping[str, Series | Gap]
    whole: frozenset[str]

    @classmethod
    def of(cls, block: CleanedBlock) -> Second:
        """Return what a block of one second holds, of which `unfit` says nothing."""
        strain = block.source.strain
        assert isinstance(strain, Series)
        assert block.products is not None
        raw = np.asarray(strain.samples, dtype=np.float64)
        made = block.products
        valid = {name: one.ungated().gain for name, one in block.estimates.items()}
        return cls(
            {"RAW": raw, "OUT_DQ": made.out_dq, "PRODUCTION": made.production},
            block.source.witnesses,
            frozenset(name for name, gain in valid.items() if (gain == 1).all()),
        )


class WitnessSpectra:
    """Transforms of the witnesses over two seconds, each made once.

    Args:
        before: the first second's.
        now: the second's.
        stop: Hz of the highest bin.
    """

    def __init__(
        self, before: Mapping[str, Series | Gap], now: Mapping[str, Series | Gap], stop: float
    ) -> None:
        self._before, self._now, self._stop = before, now, stop
        self._made: dict[str, Complex | None] = {}

    def spectrum(self, witness: str) -> Complex | None:
        """Return it up to just below half the witness's rate; None where samples are missing."""
        if witness not in self._made:
            self._made[witness] = self._make(self._before.get(witness), self._now.get(witness))
        return self._made[witness]

    def _make(self, first: Series | Gap | None, second: Series | Gap | None) -> Complex | None:
        if not (isinstance(first, Series) and isinstance(second, Series)):
            return None
        samples = np.concatenate([first.samples, second.samples]).astype(np.float64)
        if first.rate != second.rate or not np.isfinite(samples).all():
            return None
        # A witness's offset is large; the window alone leaves some of it in the lowest bins.
        return transform(samples - samples.mean(), first.rate, min(self._stop, 0.45 * first.rate))


def unfit(block: Block) -> str | None:
    """Return why a second does not count, or None where it does."""
    if isinstance(block.strain, Gap):
        return f"strain_{block.strain.reason}"
    if not np.isfinite(block.strain.samples).all():
        return "strain_nonfinite"
    return "not_ready" if not_ready(block) else None
