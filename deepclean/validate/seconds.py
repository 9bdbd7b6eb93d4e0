"""The seconds that count, and what each of them holds: strain before and after, witnesses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deepclean.core.block import Block, CleanedBlock, Float64, Gap, Series
from deepclean.core.output.state_vector import not_ready
from deepclean.core.spectra import Complex, transform

PRODUCTS = ("RAW", "OUT_DQ", "PRODUCTION")


@dataclass(frozen=True, slots=True)
class Second:
    """A second of which the strain exists.

    Args:
        products: the strain before and after, by product.
        witnesses: the witnesses as the source gave them.
        whole: the couplings whose estimate is valid throughout the second.
    """

    products: Mapping[str, Float64]
    witnesses: Mapping[str, Series | Gap]
    whole: frozenset[str]

    @classmethod
    def of(cls, block: CleanedBlock) -> Second:
        """Return the content of a block of one second that has cleaned strain."""
        strain = block.source.strain
        assert isinstance(strain, Series)
        assert block.products is not None
        raw = np.asarray(strain.samples, dtype=np.float64)
        cleaned = block.products
        valid = {name: one.ungated().gain for name, one in block.estimates.items()}
        return cls(
            {"RAW": raw, "OUT_DQ": cleaned.out_dq, "PRODUCTION": cleaned.production},
            block.source.witnesses,
            frozenset(name for name, gain in valid.items() if (gain == 1).all()),
        )


class WitnessSpectra:
    """Transforms of the witnesses over two seconds. Each is computed once.

    Args:
        before: witnesses of the first second.
        now: witnesses of the second one.
        stop: frequency of the highest bin in Hz.
    """

    def __init__(
        self, before: Mapping[str, Series | Gap], now: Mapping[str, Series | Gap], stop: float
    ) -> None:
        self._before, self._now, self._stop = before, now, stop
        self._known: dict[str, Complex | None] = {}

    def spectrum(self, witness: str) -> Complex | None:
        """Return a witness's transform up to 0.45 of its rate, or None if samples are missing."""
        if witness not in self._known:
            self._known[witness] = self._transform(
                self._before.get(witness), self._now.get(witness)
            )
        return self._known[witness]

    def _transform(self, first: Series | Gap | None, second: Series | Gap | None) -> Complex | None:
        if not (isinstance(first, Series) and isinstance(second, Series)):
            return None
        samples = np.concatenate([first.samples, second.samples]).astype(np.float64)
        if first.rate != second.rate or not np.isfinite(samples).all():
            return None
        # The offset of a witness is large, and the window leaks some of it into the lowest bins.
        return transform(samples - samples.mean(), first.rate, min(self._stop, 0.45 * first.rate))


def unfit(block: Block) -> str | None:
    """Return the reason why a second does not count, or None if it counts."""
    if isinstance(block.strain, Gap):
        return f"strain_{block.strain.reason}"
    if not np.isfinite(block.strain.samples).all():
        return "strain_nonfinite"
    return "not_ready" if not_ready(block) else None
