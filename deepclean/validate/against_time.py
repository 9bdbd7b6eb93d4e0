"""Figures against time: range, gain and gate, ratios, spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deepclean.validate.axes import AFTER, BEFORE, legend, since, steps
from deepclean.validate.json_numbers import array
from deepclean.validate.summary import Spectrogram


def draw_range(axes: Any, ranges: Mapping[str, Any]) -> None:
    """Draw the range before and after."""
    times, label = since(ranges["start"], ranges["start"][0])
    for product, colour in (("RAW", BEFORE), ("OUT_DQ", AFTER)):
        axes.plot(times, array(ranges[product]), ".-", color=colour, label=product, lw=0.8, ms=5)
    axes.set_ylabel("Range [Mpc]")
    axes.set_xlabel(label)
    legend(axes)


def draw_gates(axes: Any, series: Mapping[str, Any]) -> None:
    """Draw the gain of each coupling as a strip, and the time that counts."""
    rows = {name: array(rows["gain"]) for name, rows in series["couplings"].items()}
    rows["counts"] = array(series["counted"]) / series["cadence"]
    edges, label = steps(series)
    for place, values in enumerate(reversed(rows.values())):
        axes.pcolormesh(
            edges,
            [place, place + 0.8],
            values[None],
            cmap="Greens" if place else "Greys",
            vmin=0,
            vmax=1.3,
            rasterized=True,
        )
    axes.set_yticks([place + 0.4 for place in range(len(rows))], list(reversed(rows)))
    axes.grid(visible=False)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(label)


def draw_ratios(axes: Any, series: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    """Draw the running ratios of a coupling."""
    edges, label = steps(series)
    ends = edges[1:]
    for ratio, colour, name in (
        ("in_band", AFTER, "in band"),
        ("guard", "#a16207", "guard"),
        ("outside", "0.5", "outside"),
    ):
        axes.plot(ends, array(rows[f"OUT_DQ_{ratio}"]), color=colour, label=name, linewidth=1.2)
    axes.axhline(1.0, color="0.3", linewidth=0.8, linestyle="--")
    axes.set_ylabel("ASD ratio, OUT_DQ / raw")
    legend(axes, ncols=3)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(label)


def draw_spectrogram(plot: Any, spectrogram: Spectrogram) -> None:
    """Draw spectra against time before and after, and their ratio."""
    from matplotlib.colors import LogNorm

    starts, asd = _columns(spectrogram)
    step = starts[1] - starts[0] if len(starts) > 1 else 8
    edges, named = since([*starts, starts[-1] + step], int(starts[0]))
    half = (spectrogram.frequencies[1] - spectrogram.frequencies[0]) / 2
    frequencies = np.append(spectrogram.frequencies - half, spectrogram.frequencies[-1] + half)
    before, after = asd[:, 0].T, asd[:, 1].T
    positive = asd[np.isfinite(asd) & (asd > 0)]
    low, high = np.percentile(positive, (1, 99.5))
    both = LogNorm(low, max(high, low * 1.01))
    panels = (
        ("RAW", before, {"norm": both, "cmap": "viridis"}),
        ("OUT_DQ", after, {"norm": both, "cmap": "viridis"}),
        ("ratio", after / before, {"vmin": 0, "vmax": 2, "cmap": "RdBu_r"}),
    )
    for place, (label, values, options) in enumerate(panels, start=1):
        axes = plot.add_subplot(3, 1, place)
        mesh = axes.pcolormesh(edges, frequencies, values, rasterized=True, **options)
        axes.set_ylabel(f"{label}\nFrequency [Hz]")
        axes.grid(visible=False)
        plot.colorbar(mesh, ax=axes, label="ratio" if place == 3 else r"$1/\sqrt{\mathrm{Hz}}$")
        if place < 3:
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel(named)


def _columns(spectrogram: Spectrogram) -> tuple[Any, Any]:
    """Return starts and spectra on even columns, at most 800; NaN where there is nothing."""
    starts = spectrogram.starts
    every = 8 * max(1, -(-(int(starts[-1] - starts[0]) // 8 + 1) // 800))
    places = (starts - starts[0]) // every
    columns = np.full((places[-1] + 1, *spectrogram.asd.shape[1:]), np.nan)
    for place in np.unique(places):
        columns[place] = np.median(spectrogram.asd[places == place], axis=0)
    return starts[0] + every * np.arange(len(columns)), columns
