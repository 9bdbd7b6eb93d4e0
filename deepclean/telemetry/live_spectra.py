"""Spectra of the running stream for the page, computed beside the work loop.

The work loop only keeps the arrays of the frames that it has written, which nothing changes. Every
few seconds a stretch of them is handed over, and the exporter's thread transforms it.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from deepclean.core.block import CleanedBlock, Float64, Series
from deepclean.core.filters.bandpass import Band
from deepclean.core.frame import CleanedFrame
from deepclean.core.recent_spectra import RecentSpectra, RecentStretch, Spectrum
from deepclean.core.spectra import SEGMENT
from deepclean.core.time import NS, Span

_log = logging.getLogger(__name__)

PERIOD = 4 * NS
"""Nanoseconds of data from one stretch to the next."""


class LiveSpectra:
    """Takes frames in the work loop, and gives spectra in the exporter's thread.

    Args:
        bands: of each coupling, Hz.
        rate: samples per second of the strain.
    """

    def __init__(self, bands: Mapping[str, Sequence[Band]], rate: int) -> None:
        self._couplings, self._rate = tuple(bands), rate
        self._spectra = RecentSpectra(bands, rate)
        self._last: deque[CleanedBlock] = deque()
        self._number: int | None = None
        self._waiting: tuple[CleanedBlock, ...] = ()
        self._content, self._failing = b"", False

    def push(self, frame: CleanedFrame) -> None:
        """Take a frame that was written. Nothing is computed and nothing is copied.

        A fault is logged once and does not reach the stream.
        """
        try:
            self._push(frame)
        except Exception:  # noqa: BLE001  (whatever it is, cleaning goes on)
            if not self._failing:
                _log.exception("the page has no spectra; cleaning goes on")
            self._failing = True

    def _push(self, frame: CleanedFrame) -> None:
        for block in frame.blocks:
            if self._last and self._last[-1].span.end != block.span.start:
                self._last.clear()
            self._last.append(block)
        end = frame.span.end
        while self._last and self._last[0].span.end <= end - SEGMENT:
            self._last.popleft()
        number = end // PERIOD
        if number == self._number or self._last[0].span.start > end - SEGMENT:
            return
        self._number, self._waiting = number, tuple(self._last)

    def step(self) -> None:
        """Transform the stretch that was handed over last, if there is a new one."""
        blocks, self._waiting = self._waiting, ()
        if not blocks or any(block.cleaned is None for block in blocks):
            return
        end = blocks[-1].span.end
        self._spectra.add(self._cut(blocks, Span(end - SEGMENT, end)))
        self._content = b""

    def content(self) -> bytes:
        """Return the spectra as JSON (docs/page.md)."""
        if not self._content:
            self._content = self._encoded()
        return self._content

    def _cut(self, blocks: Sequence[CleanedBlock], span: Span) -> RecentStretch:
        """Return the stretch of some blocks over a span at their end."""

        def joined(parts: Sequence[Float64]) -> Float64:
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
            return whole[-span.samples(self._rate) :]

        raw = [b.source.strain.samples for b in blocks if isinstance(b.source.strain, Series)]
        names = [n for n in self._couplings if all(n in block.estimates for block in blocks)]
        return RecentStretch(
            span,
            joined([np.asarray(samples, dtype=np.float64) for samples in raw]),
            joined([block.cleaned for block in blocks if block.cleaned is not None]),
            {name: joined([block.estimates[name].noise for block in blocks]) for name in names},
        )

    def _encoded(self) -> bytes:
        """Return the spectra as JSON. Each is encoded by itself: no call takes long."""
        spectra, end = self._spectra, self._spectra.end
        if end is None:
            return b'{"gps": null, "averaged": 0, "whole": null, "couplings": {}}'
        parts = (
            json.dumps(name).encode() + b": " + _points(spectra.near(name))
            for name in self._couplings
        )
        return (
            b'{"gps": %.3f, "averaged": %d, "whole": ' % (end / NS, spectra.count)
            + _points(spectra.whole())
            + b', "couplings": {'
            + b", ".join(parts)
            + b"}}"
        )


def _points(spectrum: Spectrum) -> bytes:
    """Return a spectrum as JSON, its densities as decimal logarithms to a thousandth.

    >>> flat = np.array([1e-23, 0.0])
    >>> _points(Spectrum(np.array([59.5, 60.0]), flat, flat, None)).decode()[:55]
    '{"frequency": [59.5, 60.0], "raw": [-23.0, null], "clea'
    """
    curves = {"raw": spectrum.raw, "cleaned": spectrum.cleaned, "estimate": spectrum.estimate}
    made = {"frequency": spectrum.frequencies.round(2).tolist()}
    made |= {name: None if curve is None else _logarithms(curve) for name, curve in curves.items()}
    return json.dumps(made).encode()


def _logarithms(curve: Float64) -> list[float | None]:
    with np.errstate(divide="ignore"):
        values = np.log10(curve).round(3)
    return [value if value > -np.inf else None for value in values.tolist()]
