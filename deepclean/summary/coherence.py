"""The coherence of the strain with each witness, before and after cleaning, over a day.

    C(f) = |<X* Y>|^2 / (<|X|^2> <|Y|^2>)

is the share of the strain's power at a frequency that one witness explains linearly. Averages are
over Hann-windowed transforms of 2 s (`core.spectra`) from the first seconds of every minute: a day
has thousands of them, and a witness that is unrelated a coherence of one over their number. What
couples as a product of witnesses shows in none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepclean.core.block import Float64, Samples
from deepclean.core.filters.bandpass import Band
from deepclean.core.spectra import FFT_SECONDS, SEGMENT, Bins, CrossSpectra, transform
from deepclean.validate.json_numbers import rounded

SECONDS = 4
"""Seconds of every minute that are read."""

_RAW, _CLEANED, _WITNESS = range(3)

_HIGHEST = 0.45
"""Highest frequency that is looked at, over a rate."""


@dataclass(frozen=True, slots=True, eq=False)
class WitnessedBand:
    """What is asked of a coupling.

    Args:
        bands: `(low, high)` in Hz.
        witnesses: full names.
    """

    bands: Sequence[Band]
    witnesses: Sequence[str]


class WitnessCoherence:
    """Sums of a day's transforms.

    Args:
        couplings: what is asked, by name.
        rate: samples per second of the strain.
    """

    def __init__(self, couplings: Mapping[str, WitnessedBand], rate: int) -> None:
        self._rate, self._couplings = rate, couplings
        self._bins = {
            name: Bins(one.bands, 0.0, _HIGHEST * rate, SEGMENT).inside
            for name, one in couplings.items()
        }
        self._sums = {
            (name, witness): CrossSpectra.empty(3, len(self._bins[name]))
            for name, one in couplings.items()
            for witness in one.witnesses
        }

    def add(
        self,
        counts: Samples,
        raw: Float64,
        cleaned: Float64,
        witnesses: Mapping[str, tuple[int, Float64]],
    ) -> None:
        """Add a stretch of whole seconds.

        Args:
            counts: which seconds count, booleans of shape `(seconds,)`.
            raw: the strain before.
            cleaned: the strain after.
            witnesses: rate and samples over the stretch by full name, NaN where there are none.
        """
        for start in np.flatnonzero(counts[:-1] & counts[1:]).tolist():
            two = slice(start * self._rate, (start + FFT_SECONDS) * self._rate)
            strains = [
                transform(samples[two], self._rate, _HIGHEST * self._rate)
                for samples in (raw, cleaned)
            ]
            spectra = {}
            for witness, (rate, samples) in witnesses.items():
                part = samples[start * rate : (start + FFT_SECONDS) * rate]
                if np.isfinite(part).all():
                    # The window leaks a large offset into the lowest bins.
                    spectra[witness] = transform(part - part.mean(), rate, _HIGHEST * rate)
            for (name, witness), sums in self._sums.items():
                bins, spectrum = self._bins[name], spectra.get(witness)
                if spectrum is None or bins[-1] >= len(spectrum):
                    continue  # a witness that is too slow for the band has no coherence there
                streams = (*strains, spectrum)
                sums.add(np.stack([stream[bins] for stream in streams], axis=-1)[None])

    def results(self, name: str) -> dict[str, Any]:
        """Return what was found of a coupling by witness, for JSON; nothing of unread ones.

        It is the number of transforms, the mean coherence over the bands before and after, and the
        frequency in Hz of the highest one before.
        """
        found = {}
        for witness in self._couplings[name].witnesses:
            sums = self._sums[name, witness]
            if sums.count < 2:
                continue
            before, after = (sums.coherence(_WITNESS)[strain] for strain in (_RAW, _CLEANED))
            known = np.isfinite(before)
            at = self._bins[name][np.argmax(np.where(known, before, -1.0))] / FFT_SECONDS
            found[witness] = {
                "transforms": sums.count,
                "raw": rounded(float(np.mean(before))),
                "out_dq": rounded(float(np.mean(after))),
                "peak": float(at) if known.any() else None,
            }
        return found
