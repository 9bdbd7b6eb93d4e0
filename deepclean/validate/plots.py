"""The plots of a report, each drawn into a matplotlib figure from the numbers of its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from deepclean.system.utc import utc
from deepclean.validate.json_numbers import array

if TYPE_CHECKING:
    from deepclean.validate.spectra import Spectrogram

BEFORE, AFTER, UNGATED, OTHER = "#c2410c", "#1d4ed8", "#0d9488", "#7c3aed"
"""Colours of raw strain, OUT_DQ, PRODUCTION and a compared run; distinct for the colour-blind."""

_UNITS = (("s", 1), ("min", 60), ("h", 3600), ("d", 86400))


def draw_spectra(
    plot: Any,
    spectra: Mapping[str, Any],
    limits: tuple[float, float | None],
    bands: Any = (),
    *,
    log: bool,
) -> None:
    """Draw the median and the percentiles before and after, PRODUCTION dotted if it is there."""
    axes = plot.gca()
    frequency = array(spectra["frequency"])
    shown = (frequency >= limits[0]) & (frequency <= (limits[1] or frequency[-1]))
    at = frequency[shown]
    for product, colour in (("RAW", BEFORE), ("PRODUCTION", UNGATED), ("OUT_DQ", AFTER)):
        if product not in spectra:
            continue
        low, middle, high = (array(spectra[product][p])[shown] for p in ("p5", "p50", "p95"))
        if product == "PRODUCTION":
            axes.plot(at, middle, ":", color=colour, label=product, linewidth=1.0)
            continue
        axes.plot(at, middle, color=colour, label=product, linewidth=1.5)
        axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(yscale="log", xscale="log" if log else "linear", xlim=(at[0], at[-1]))
    axes.set(xlabel="Frequency [Hz]", ylabel=r"ASD [$1/\sqrt{\mathrm{Hz}}$]")
    _legend(axes)
    _shade(axes, bands)


def draw_coherence(
    plot: Any, run: Mapping[str, Any], coupling: Mapping[str, Any], product: str = "PRODUCTION"
) -> None:
    """Draw the coherence with each witness; below it, the remaining ratio and its linear limit."""
    held = coupling["coherence"]
    frequency = array(held["frequency"])
    upper, lower = plot.add_subplot(2, 1, 1), plot.add_subplot(2, 1, 2)
    # The six witnesses with the highest coherence have colours; the others stay grey.
    loud = sorted(
        held["witnesses"],
        key=lambda name: -np.nan_to_num(array(held["witnesses"][name]["RAW"])).max(initial=0.0),
    )
    for place, name in reversed(list(enumerate(loud))):
        colour = f"C{place}" if place < 6 else "0.8"
        label = name.partition(":")[2] if place < 6 else None
        before, after = (array(held["witnesses"][name][p]) for p in ("RAW", product))
        upper.plot(frequency, before, color=colour, linewidth=0.8, alpha=0.8)
        upper.plot(frequency, after, color=colour, linewidth=2.0, label=label)
    upper.set(ylabel="Coherence", ylim=(0, 1.02))
    for when, width in (("thin: before", 0.8), ("thick: after", 2.0)):
        upper.plot([], [], color="0.3", linewidth=width, label=when)
    _legend(upper, fontsize=7, ncols=2)
    spectra = run["spectra"]
    at = np.searchsorted(array(spectra["frequency"]), frequency)
    ratio = array(spectra[product]["p50"])[at] / array(spectra["RAW"]["p50"])[at]
    lower.plot(frequency, ratio, color=UNGATED, linewidth=1.8, label=f"{product} / raw")
    label = r"linear limit, $\sqrt{1 - \mathrm{coherence}}$ of all witnesses"
    lower.plot(frequency, array(held["linear_limit"]), "--", color="0.3", label=label)
    lower.set_ylim(bottom=0)
    lower.set(ylabel="ASD ratio", xlabel="Frequency [Hz]")
    _legend(lower, fontsize=8)
    for axes in (upper, lower):
        axes.set_xlim(frequency[0], frequency[-1])
        _shade(axes, coupling["bands"])


def draw_compared(plot: Any, runs: Any, name: str) -> None:
    """Draw the ratios of two runs, against frequency and against time."""
    upper, lower = plot.add_subplot(2, 1, 1), plot.add_subplot(2, 1, 2)
    for run, colour in zip(runs[:2], (AFTER, OTHER), strict=True):
        coupling, spectra = run["couplings"][name], run["spectra"]
        frequency = array(spectra["frequency"])
        near = coupling["coherence"]["frequency"]
        shown = (frequency >= near[0]) & (frequency <= near[-1])
        ratio = array(spectra["OUT_DQ"]["p50"]) / array(spectra["RAW"]["p50"])
        upper.plot(frequency[shown], ratio[shown], color=colour, label=run["name"])
        rows = array(run["series"]["couplings"][name]["OUT_DQ_in_band"])
        edges, label = _edges(run["series"])
        lower.plot(edges[1:], rows, color=colour, label=run["name"], linewidth=1.2)
    _shade(upper, runs[0]["couplings"][name]["bands"])
    upper.set_xlabel("Frequency [Hz]")
    lower.set_xlabel(label)
    for axes in (upper, lower):
        axes.set_ylabel("ASD ratio, OUT_DQ / raw")
        axes.axhline(1.0, color="0.3", linewidth=0.8, linestyle="--")
        _legend(axes)


def draw_residual(plot: Any, residual: Mapping[str, Any]) -> None:
    """Draw the distribution of whitened transforms, before and after, and a Gaussian."""
    axes = plot.gca()
    edges = array(residual["edges"])
    width = edges[1] - edges[0]
    for product, colour in (("RAW", BEFORE), ("PRODUCTION", UNGATED)):
        held = residual[product]
        counts = np.array(held["histogram"], dtype=np.float64)
        kurtosis, rayleigh = (
            "none" if held[key] is None else f"{held[key]:.3g}"
            for key in ("excess_kurtosis", "rayleigh_mean")
        )
        label = f"{product}: excess kurtosis {kurtosis}, Rayleigh {rayleigh}"
        density = counts / counts.sum() / width
        axes.stairs(density, edges, color=colour, linewidth=1.5, label=label)
    middle = (edges[1:] + edges[:-1]) / 2
    gauss = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    axes.plot(middle, gauss, color="0.3", linestyle="--", linewidth=1)
    axes.set(yscale="log", ylim=(1e-6, 1), xlabel="Standard deviations", ylabel="Density")
    _legend(axes, fontsize=8, loc="lower center")


def draw_range(plot: Any, ranges: Mapping[str, Any]) -> None:
    """Draw the range before and after."""
    axes = plot.gca()
    times, label = _since(ranges["start"], ranges["start"][0])
    for product, colour in (("RAW", BEFORE), ("OUT_DQ", AFTER)):
        axes.plot(times, array(ranges[product]), ".-", color=colour, label=product, lw=0.8, ms=5)
    axes.set(ylabel="Range [Mpc]", xlabel=label)
    _legend(axes)


def draw_gates(plot: Any, series: Mapping[str, Any]) -> None:
    """Draw the gain of each coupling as a strip, and the time that counts."""
    axes = plot.gca()
    rows = {name: array(rows["gain"]) for name, rows in series["couplings"].items()}
    rows["counts"] = array(series["counted"]) / series["cadence"]
    edges, label = _edges(series)
    for place, values in enumerate(reversed(rows.values())):
        colours: Any = {"cmap": "Greens" if place else "Greys", "vmin": 0, "vmax": 1.3}
        axes.pcolormesh(edges, [place, place + 0.8], values[None], rasterized=True, **colours)
    axes.set_yticks([place + 0.4 for place in range(len(rows))], list(reversed(rows)))
    axes.grid(visible=False)
    axes.set(xlim=(edges[0], edges[-1]), xlabel=label)


def draw_ratios(plot: Any, series: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    """Draw the running ratios of a coupling."""
    axes = plot.gca()
    edges, label = _edges(series)
    for ratio, colour, name in (
        ("in_band", AFTER, "in band"),
        ("guard", "#a16207", "guard"),
        ("outside", "0.5", "outside"),
    ):
        values = array(rows[f"OUT_DQ_{ratio}"])
        axes.plot(edges[1:], values, color=colour, label=name, linewidth=1.2)
    axes.axhline(1.0, color="0.3", linewidth=0.8, linestyle="--")
    axes.set_ylabel("ASD ratio, OUT_DQ / raw")
    _legend(axes, ncols=3)
    axes.set(xlim=(edges[0], edges[-1]), xlabel=label)


def draw_adaptation(plot: Any, series: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    """Draw amplitude and phase of the gain that the adaptation found."""
    edges, label = _edges(series)
    panels = (
        ("Amplitude", array(rows["amplitude"]), 1.0),
        ("Phase [degrees]", np.degrees(array(rows["phase"])), 0.0),
    )
    for place, (name, values, unchanged) in enumerate(panels, start=1):
        axes = plot.add_subplot(2, 1, place)
        axes.plot(edges[1:], values, color=AFTER, linewidth=1.2)
        axes.axhline(unchanged, color="0.3", linewidth=0.8, linestyle="--")
        axes.set(xlim=(edges[0], edges[-1]), ylabel=name)
        axes.tick_params(labelbottom=place == 2)
    axes.set_xlabel(label)


def draw_spectrogram(plot: Any, spectrogram: Spectrogram) -> None:
    """Draw spectra against time before and after, and their ratio."""
    from matplotlib.colors import LogNorm

    starts, asd = _columns(spectrogram)
    step = starts[1] - starts[0] if len(starts) > 1 else spectrogram.step
    edges, label = _since([*starts, starts[-1] + step], int(starts[0]))
    half = (spectrogram.frequencies[1] - spectrogram.frequencies[0]) / 2
    frequencies = np.append(spectrogram.frequencies - half, spectrogram.frequencies[-1] + half)
    before, after = asd[:, 0].T, asd[:, 1].T
    positive = asd[np.isfinite(asd) & (asd > 0)]
    low, high = np.percentile(positive, (1, 99.5))
    both: Any = {"norm": LogNorm(low, max(high, low * 1.01)), "cmap": "viridis"}
    ratio = {"vmin": 0, "vmax": 2, "cmap": "RdBu_r"}
    panels = (("RAW", before, both), ("OUT_DQ", after, both), ("ratio", after / before, ratio))
    for place, (name, values, colours) in enumerate(panels, start=1):
        axes = plot.add_subplot(3, 1, place)
        mesh = axes.pcolormesh(edges, frequencies, values, rasterized=True, **colours)
        axes.set_ylabel(f"{name}\nFrequency [Hz]")
        axes.grid(visible=False)
        plot.colorbar(mesh, ax=axes, label="ratio" if place == 3 else r"$1/\sqrt{\mathrm{Hz}}$")
        axes.tick_params(labelbottom=place == 3)
    axes.set_xlabel(label)


def _columns(spectrogram: Spectrogram) -> tuple[Any, Any]:
    """Return starts and spectra on at most 800 equidistant columns, NaN where there are none."""
    starts, step = spectrogram.starts, spectrogram.step
    every = step * max(1, -(-(int(starts[-1] - starts[0]) // step + 1) // 800))
    places = (starts - starts[0]) // every
    columns = np.full((places[-1] + 1, *spectrogram.asd.shape[1:]), np.nan)
    for place in np.unique(places):
        columns[place] = np.median(spectrogram.asd[places == place], axis=0)
    return starts[0] + every * np.arange(len(columns)), columns


def _legend(axes: Any, **options: Any) -> None:
    """Draw a legend with lines; gwpy's axes would draw squares."""
    from matplotlib.axes import Axes

    Axes.legend(axes, **options)


def _shade(axes: Any, bands: Any) -> None:
    """Mark bands."""
    for low, high in bands:
        axes.axvspan(low, high, color="0.5", alpha=0.12, linewidth=0)


def _since(starts: Any, start: int) -> tuple[Any, str]:
    """Return times after the start in a suitable unit, and the label of their axis."""
    times = np.asarray(starts, dtype=np.float64) - start
    last = float(times[-1]) if len(times) else 0.0
    unit, size = next(unit for unit in _UNITS if last < 2 * 60 * unit[1] or unit == _UNITS[-1])
    return times / size, f"Time [{unit}] from GPS {start} ({utc(start)} UTC)"


def _edges(series: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the times at the edges of the rows, and the label of their axis."""
    starts = series["start"]
    return _since([*starts, starts[-1] + series["cadence"]], starts[0])
