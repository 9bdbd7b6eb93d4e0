"""The pictures of a cleaned span, as figures of matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deepclean.core.channels import frame_part
from deepclean.plots.measure import SpanFigures
from deepclean.system.utc import utc
from deepclean.validate.figures import drawing
from deepclean.validate.plots import (
    AFTER,
    BEFORE,
    OTHER,
    UNGATED,
    draw_coherence,
    draw_spectra,
    draw_spectrogram,
)
from deepclean.validate.spectra import Spectrogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWEST = 10.0
"""Lowest frequency that is drawn, Hz."""

_HIGHEST = 512.0
"""Highest frequency of the spectrogram of a span without bands, Hz."""

_BESIDE = 10.0
"""Hz beside a band that its spectrogram shows."""

_SIZE = (9.0, 4.2)

_COLOURS = {"OUT_DQ": AFTER, "PRODUCTION": UNGATED}


class NamedFigure(NamedTuple):
    """A picture.

    Args:
        name: of its file, without the ending.
        caption: what it shows.
        figure: of matplotlib.
    """

    name: str
    caption: str
    figure: Figure


def draw_all(found: SpanFigures) -> Iterator[NamedFigure]:
    """Yield all pictures of a span."""
    yield NamedFigure(
        "spectra", "Median and 5th to 95th percentile, before and after.", spectra(found)
    )
    yield NamedFigure("ratio", "The spectrum after over the spectrum before.", ratio(found))
    for name in found.bands or [""]:
        stem = f"-{frame_part(name).lower()}" if name else ""
        caption = f"{name}: before, after, and their ratio." if name else "Before, after, ratio."
        yield NamedFigure(f"spectrogram{stem}", caption, spectrogram(found, name or None))
    yield NamedFigure("series", "The strain in the bands, and the gains.", series(found))
    for name in found.coherence:
        yield NamedFigure(
            f"coherence-{frame_part(name).lower()}",
            f"{name}: coherence with each witness before (thin) and after (thick); below, what is "
            "left, and what the best linear filter of all witnesses would leave.",
            coherence(found, name),
        )


def spectra(found: SpanFigures) -> Figure:
    """Draw the spectra before and after."""
    bands = [band for each in found.bands.values() for band in each]
    return _figure(
        lambda plot: draw_spectra(plot, found.spectra(), (LOWEST, None), bands, log=True)
    )


def ratio(found: SpanFigures) -> Figure:
    """Draw the ratio of the spectra after and before."""

    def paint(plot: Any) -> None:
        axes = plot.gca()
        shown = found.frequencies >= LOWEST
        at = found.frequencies[shown]
        for product in reversed(found.products):
            colour, label = _COLOURS.get(product, OTHER), f"{product} / raw"
            axes.plot(at, found.ratio(product)[shown], color=colour, label=label, linewidth=1.2)
        axes.axhline(1.0, color="0.3", linewidth=0.8, linestyle="--")
        axes.set(xscale="log", xlabel="Frequency [Hz]", ylabel="ASD ratio", ylim=(0, None))
        axes.set_xlim(LOWEST, found.frequencies[-1])
        for band in (band for each in found.bands.values() for band in each):
            axes.axvspan(*band, color="0.5", alpha=0.12, linewidth=0)
        _legend(axes)

    return _figure(paint)


def spectrogram(found: SpanFigures, coupling: str | None = None) -> Figure:
    """Draw spectra against time before and after, and their ratio.

    Args:
        found: the numbers.
        coupling: whose bands are shown, and what lies beside them; None for all frequencies up to
            512 Hz.
    """
    low, high = LOWEST, _HIGHEST
    if coupling is not None:
        bands = found.bands[coupling]
        low = max(min(low for low, _ in bands) - _BESIDE, 1.0)
        high = max(high for _, high in bands) + _BESIDE
    shown = (found.frequencies >= low) & (found.frequencies <= high)
    held = Spectrogram(
        found.starts, found.frequencies[shown], found.asd[:, :2][:, :, shown], found.step
    )
    return _figure(lambda plot: draw_spectrogram(plot, held), (_SIZE[0], 7.0))


def series(found: SpanFigures) -> Figure:
    """Draw the strain in the bands against time, as a wave where it is short, and the gains."""

    def paint(plot: Any) -> None:
        names = list(found.bands)
        rows = len(names) + bool(found.gains)
        if not rows:
            names, rows = [""], 1
        every = plot.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(every, names, strict=False):
            _strain(axes, found, name)
        if found.gains:
            edges = np.append(found.times, found.times[-1] + found.step) - found.start
            for place, (name, gains) in enumerate(found.gains.items()):
                every[-1].stairs(gains[:, 1], edges, baseline=None, color=f"C{place}", label=name)
            every[-1].set(ylabel="Mean gain", ylim=(-0.05, 1.05))
            _legend(every[-1], ncols=4)
        every[-1].set_xlabel(f"Time [s] from GPS {found.start} ({utc(found.start)} UTC)")

    return _figure(paint, (_SIZE[0], 2.0 + 2.2 * (len(found.bands) + bool(found.gains))))


def coherence(found: SpanFigures, coupling: str) -> Figure:
    """Draw the coherence of the strain with a coupling's witnesses, before and after."""
    held = {"coherence": found.coherences(coupling), "bands": found.bands[coupling]}
    product = found.products[-1]

    def paint(plot: Any) -> None:
        draw_coherence(plot, {"spectra": found.spectra()}, held, product)

    return _figure(paint, (_SIZE[0], 6.4))


def _strain(axes: Any, found: SpanFigures, coupling: str) -> None:
    """Draw the strain in the bands of one coupling: its wave, or its rms in each stretch."""
    labels = ("RAW", found.products[0])
    if coupling == "":
        if found.wave is not None:
            times = np.arange(found.wave.shape[1]) / found.rate
            for wave, label, colour in zip(found.wave, labels, (BEFORE, AFTER), strict=True):
                axes.plot(times, wave, color=colour, label=label, linewidth=0.8)
        axes.set_ylabel("Strain")
    elif found.wave is None:
        rms = found.rms[coupling]
        for row, (label, colour) in enumerate(zip(labels, (BEFORE, AFTER), strict=True)):
            middles = found.starts - found.start + found.step / 2
            axes.plot(middles, rms[:, row], ".-", color=colour, label=label, linewidth=0.8, ms=3)
        axes.set(ylabel=f"{coupling}: rms", ylim=(0, None))
    else:
        for wave, label, colour in zip(found.wave, labels, (BEFORE, AFTER), strict=True):
            shown = sum(_bandpassed(wave, found.rate, band) for band in found.bands[coupling])
            times = np.arange(len(wave)) / found.rate
            axes.plot(times, shown, color=colour, label=label, linewidth=0.8)
        axes.set_ylabel(f"{coupling}: strain")
    _legend(axes, ncols=2, loc="upper right")


def _bandpassed(wave: Any, rate: int, band: tuple[float, float]) -> Any:
    """Return the part of a wave in a band."""
    from gwpy.timeseries import TimeSeries

    return TimeSeries(wave, sample_rate=rate).bandpass(*band).value


def _figure(paint: Callable[[Any], None], size: tuple[float, float] = _SIZE) -> Figure:
    """Return a figure in the look of the reports."""
    from matplotlib.figure import Figure as Plot

    with drawing():
        plot = Plot(figsize=size, layout="constrained")
        paint(plot)
    return plot


def _legend(axes: Any, **options: Any) -> None:
    """Draw a legend with lines; gwpy's axes would draw squares."""
    from matplotlib.axes import Axes

    if axes.get_legend_handles_labels()[0]:
        Axes.legend(axes, **options)
