"""The figures of a report, drawn from what the JSON says, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepclean.core.channels import frame_part
from deepclean.validate.summary import Spectrogram, array

BEFORE, AFTER, UNGATED, OTHER = "#c2410c", "#1d4ed8", "#0d9488", "#7c3aed"
"""Of raw strain, OUT_DQ, PRODUCTION, and what is compared; apart for the colour-blind too."""

_SIZE = (9.0, 4.2)
_LOWEST = 10.0
_UNITS = (("s", 1), ("min", 60), ("h", 3600), ("d", 86400))


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the report.

    Args:
        name: of its files, without the ending.
        title: in the report.
        says: what there is to see.
        coupling: it is of; None: of the whole.
        wide: whether it takes the page's whole width.
    """

    name: str
    title: str
    says: str
    coupling: str | None = None
    wide: bool = False


@contextmanager
def drawing() -> Iterator[None]:
    """Give figures one look, whatever else this process draws."""
    import gwpy.plot  # noqa: F401  (it changes matplotlib; now, lest half of the figures differ)
    import matplotlib as mpl

    style: Any = {
        "font.size": 10,
        "axes.labelsize": 10,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "svg.hashsalt": "deepclean",
    }
    with mpl.rc_context():
        mpl.rcdefaults()  # gwpy too
        mpl.rcParams.update(style)
        yield


def draw(
    report: Mapping[str, Any], spectrograms: Mapping[str, Spectrogram], into: Path
) -> list[Figure]:
    """Draw every figure into a directory; return them in the order of the report."""
    from matplotlib.figure import Figure as Plot

    made: list[Figure] = []

    def add(
        figure: Figure, paint: Callable[[Any], None], size: tuple[float, float] = _SIZE
    ) -> None:
        plot = Plot(figsize=size, layout="constrained")
        paint(plot)
        for ending in ("png", "svg"):
            # Equal figures give equal bytes.
            metadata = {"Date": None} if ending == "svg" else {"Software": None}
            plot.savefig(
                into / f"{figure.name}.{ending}",
                dpi=110,
                metadata=metadata,
            )
        made.append(figure)

    with drawing():
        _of_the_whole(report, add)
        for name in report["runs"][0]["couplings"]:
            _of_a_coupling(name, report, spectrograms[name], add)
    return made


_Add = Callable[..., None]


def _of_the_whole(report: Mapping[str, Any], add: _Add) -> None:
    run = report["runs"][0]
    add(
        Figure("spectra", "Spectra", "Median and 5th to 95th percentile of 8-s spectra."),
        lambda plot: _spectra(plot.gca(), run["spectra"], (_LOWEST, None), log=True),
    )
    if run["range"]["start"]:
        add(
            Figure("range", "Range", "Binary neutron stars (1.4 + 1.4 suns) at SNR 8, every 64 s."),
            lambda plot: _range(plot.gca(), run["range"]),
        )
    add(
        Figure(
            "gates",
            "Gain and gate",
            "Gain of each coupling: dark is full subtraction, white none. Below, the time that "
            "counts.",
            wide=True,
        ),
        lambda plot: _gates(plot.gca(), run["series"]),
        (2 * _SIZE[0], 0.9 + 0.45 * (1 + len(run["couplings"]))),
    )


def _of_a_coupling(
    name: str, report: Mapping[str, Any], spectrogram: Spectrogram, add: _Add
) -> None:
    runs = report["runs"]
    run = runs[0]
    coupling, rows = run["couplings"][name], run["series"]["couplings"][name]
    stem = frame_part(name).lower()
    near = coupling["coherence"]["frequency"]
    limits = (near[0], near[-1])

    def zoom(plot: Any) -> None:
        axes = plot.gca()
        _spectra(axes, run["spectra"], limits, log=False)
        _shade(axes, coupling["bands"])

    add(Figure(f"{stem}-spectra", "Spectra", "In the band (grey) and beside it.", name), zoom)
    add(
        Figure(
            f"{stem}-ratio",
            "ASD ratio against time",
            "OUT_DQ over raw, running 8 s: in the band, in the guard bands, everywhere else.",
            name,
        ),
        lambda plot: _ratios(plot.gca(), run["series"], rows),
    )
    add(
        Figure(
            f"{stem}-spectrogram", "Spectrogram", "Raw, OUT_DQ, and their ratio, every 8 s.", name
        ),
        lambda plot: _spectrogram(plot, spectrogram),
        (_SIZE[0], 7.0),
    )
    add(
        Figure(
            f"{stem}-coherence",
            "Coherence and its limit",
            "Coherence of the strain with each witness before (thin) and after (thick), and below "
            "what cleaning leaves against what the best linear filter of all witnesses could. "
            "A network can do better where witnesses multiply.",
            name,
        ),
        lambda plot: _coherence(plot, run, coupling),
        (_SIZE[0], 6.4),
    )
    if "RAW" in coupling["residual"]:
        add(
            Figure(
                f"{stem}-residual",
                "Distribution in band",
                "Whitened transforms in the band against a Gaussian (dashed), before and after.",
                name,
            ),
            lambda plot: _residual(plot.gca(), coupling["residual"]),
        )
    if len(runs) > 1 and name in runs[1]["couplings"]:
        add(
            Figure(
                f"{stem}-compared",
                "Side by side",
                f"ASD ratio of {runs[0]['name']} and {runs[1]['name']}, against frequency and "
                "time.",
                name,
            ),
            lambda plot: _compared(plot, runs, name),
            (_SIZE[0], 6.4),
        )


def _spectra(
    axes: Any, spectra: Mapping[str, Any], limits: tuple[float, float | None], *, log: bool
) -> None:
    frequency = array(spectra["frequency"])
    shown = (frequency >= limits[0]) & (frequency <= (limits[1] or frequency[-1]))
    for product, colour in (("RAW", BEFORE), ("PRODUCTION", UNGATED), ("OUT_DQ", AFTER)):
        low, middle, high = (array(spectra[product][p])[shown] for p in ("p5", "p50", "p95"))
        thin = product == "PRODUCTION"
        axes.plot(
            frequency[shown],
            middle,
            color=colour,
            label=product,
            linewidth=1.0 if thin else 1.5,
            linestyle=":" if thin else "-",
        )
        if not thin:
            axes.fill_between(frequency[shown], low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_yscale("log")
    if log:
        axes.set_xscale("log")
    axes.set_xlim(frequency[shown][0], frequency[shown][-1])
    axes.set_xlabel("Frequency [Hz]")
    axes.set_ylabel(r"ASD [$1/\sqrt{\mathrm{Hz}}$]")
    _legend(axes)


def _legend(axes: Any, **options: Any) -> None:
    """Draw a legend with lines, where gwpy's axes would draw squares."""
    from matplotlib.axes import Axes

    Axes.legend(axes, **options)


def _shade(axes: Any, bands: Any) -> None:
    for low, high in bands:
        axes.axvspan(low, high, color="0.5", alpha=0.12, linewidth=0)


def _since(starts: Any, start: int) -> tuple[Any, str]:
    """Return times in a fitting unit after the start, and how the axis is to be called."""
    from gwpy.time import from_gps

    times = np.asarray(starts, dtype=np.float64) - start
    last = float(times[-1]) if len(times) else 0.0
    unit, size = next(unit for unit in _UNITS if last < 2 * 60 * unit[1] or unit == _UNITS[-1])
    return times / size, f"Time [{unit}] from GPS {start} ({from_gps(start):%Y-%m-%d %H:%M:%S} UTC)"


def _range(axes: Any, ranges: Mapping[str, Any]) -> None:
    times, label = _since(ranges["start"], ranges["start"][0])
    for product, colour in (("RAW", BEFORE), ("OUT_DQ", AFTER)):
        axes.plot(times, array(ranges[product]), ".-", color=colour, label=product, lw=0.8, ms=5)
    axes.set_ylabel("Range [Mpc]")
    axes.set_xlabel(label)
    _legend(axes)


def _steps(series: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the times between which the rows lie, and what the axis is to be called."""
    starts = series["start"]
    return _since([*starts, starts[-1] + series["cadence"]], starts[0])


def _gates(axes: Any, series: Mapping[str, Any]) -> None:
    rows = {name: array(rows["gain"]) for name, rows in series["couplings"].items()}
    rows["counts"] = array(series["counted"]) / series["cadence"]
    edges, label = _steps(series)
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


def _ratios(axes: Any, series: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    edges, label = _steps(series)
    ends = edges[1:]
    for ratio, colour, name in (
        ("in_band", AFTER, "in band"),
        ("guard", "#a16207", "guard"),
        ("outside", "0.5", "outside"),
    ):
        axes.plot(ends, array(rows[f"OUT_DQ_{ratio}"]), color=colour, label=name, linewidth=1.2)
    axes.axhline(1.0, color="0.3", linewidth=0.8, linestyle="--")
    axes.set_ylabel("ASD ratio, OUT_DQ / raw")
    _legend(axes, ncols=3)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel(label)


def _spectrogram(plot: Any, spectrogram: Spectrogram) -> None:
    from matplotlib.colors import LogNorm

    starts, asd = _columns(spectrogram)
    step = starts[1] - starts[0] if len(starts) > 1 else 8
    edges, named = _since([*starts, starts[-1] + step], int(starts[0]))
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


def _coherence(plot: Any, run: Mapping[str, Any], coupling: Mapping[str, Any]) -> None:
    held = coupling["coherence"]
    frequency = array(held["frequency"])
    upper, lower = plot.add_subplot(2, 1, 1), plot.add_subplot(2, 1, 2)
    # The loudest in band are told apart; the others stay grey.
    loud = sorted(
        held["witnesses"],
        key=lambda name: -np.nan_to_num(array(held["witnesses"][name]["RAW"])).max(initial=0.0),
    )
    for place, name in reversed(list(enumerate(loud))):
        colour = f"C{place}" if place < 6 else "0.8"
        of_witness = held["witnesses"][name]
        upper.plot(frequency, array(of_witness["RAW"]), color=colour, linewidth=0.8, alpha=0.8)
        label = name.partition(":")[2] if place < 6 else None
        upper.plot(
            frequency, array(of_witness["PRODUCTION"]), color=colour, linewidth=2.0, label=label
        )
    upper.set_ylabel("Coherence")
    upper.set_ylim(0, 1.02)
    _legend(upper, fontsize=7, ncols=2)
    spectra = run["spectra"]
    at = np.searchsorted(array(spectra["frequency"]), frequency)
    ratio = array(spectra["PRODUCTION"]["p50"])[at] / array(spectra["RAW"]["p50"])[at]
    lower.plot(frequency, ratio, color=UNGATED, linewidth=1.8, label="PRODUCTION / raw")
    lower.plot(
        frequency,
        array(held["linear_limit"]),
        color="0.3",
        linestyle="--",
        label=r"linear limit, $\sqrt{1 - \mathrm{coherence}}$ of all witnesses",
    )
    lower.set_ylim(bottom=0)
    lower.set_ylabel("ASD ratio")
    lower.set_xlabel("Frequency [Hz]")
    _legend(lower, fontsize=8)
    for axes in (upper, lower):
        axes.set_xlim(frequency[0], frequency[-1])
        _shade(axes, coupling["bands"])


def _residual(axes: Any, residual: Mapping[str, Any]) -> None:
    edges = array(residual["edges"])
    width = edges[1] - edges[0]
    for product, colour in (("RAW", BEFORE), ("PRODUCTION", UNGATED)):
        counts = np.array(residual[product]["histogram"], dtype=np.float64)
        kurtosis, rayleigh = (residual[product][k] for k in ("excess_kurtosis", "rayleigh_mean"))
        axes.stairs(
            counts / counts.sum() / width,
            edges,
            color=colour,
            linewidth=1.5,
            label=f"{product}: excess kurtosis {_number(kurtosis)}, Rayleigh {_number(rayleigh)}",
        )
    middle = (edges[1:] + edges[:-1]) / 2
    gauss = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    axes.plot(middle, gauss, color="0.3", linestyle="--", linewidth=1)
    axes.set_yscale("log")
    axes.set_ylim(1e-6, 1)
    axes.set_xlabel("Standard deviations")
    axes.set_ylabel("Density")
    _legend(axes, fontsize=8, loc="lower center")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _compared(plot: Any, runs: Any, name: str) -> None:
    upper, lower = plot.add_subplot(2, 1, 1), plot.add_subplot(2, 1, 2)
    for run, colour in zip(runs[:2], (AFTER, OTHER), strict=True):
        coupling, spectra = run["couplings"][name], run["spectra"]
        frequency = array(spectra["frequency"])
        near = coupling["coherence"]["frequency"]
        shown = (frequency >= near[0]) & (frequency <= near[-1])
        ratio = array(spectra["OUT_DQ"]["p50"]) / array(spectra["RAW"]["p50"])
        upper.plot(frequency[shown], ratio[shown], color=colour, label=run["name"])
        rows = array(run["series"]["couplings"][name]["OUT_DQ_in_band"])
        edges, label = _steps(run["series"])
        lower.plot(edges[1:], rows, color=colour, label=run["name"], linewidth=1.2)
        _shade(upper, coupling["bands"] if run is runs[0] else [])
    upper.set_xlabel("Frequency [Hz]")
    for axes in (upper, lower):
        axes.set_ylabel("ASD ratio, OUT_DQ / raw")
        axes.axhline(1.0, color="0.3", linewidth=0.8, linestyle="--")
        _legend(axes)
    lower.set_xlabel(label)
