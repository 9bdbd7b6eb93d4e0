"""The figures of a report, drawn from the numbers of its JSON, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepclean.core.channels import frame_part
from deepclean.validate import plots

if TYPE_CHECKING:
    from deepclean.validate.spectra import Spectrogram

_SIZE = (9.0, 4.2)
_LOWEST = 10.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the report.

    Args:
        name: of its files, without the ending.
        title: in the report.
        caption: what the figure shows.
        paint: draws it into a matplotlib figure.
        coupling: name of its coupling; None for a figure of the whole run.
        size: width and height in inches.
        wide: whether it takes the whole width of the page.
    """

    name: str
    title: str
    caption: str
    paint: Callable[[Any], None]
    coupling: str | None = None
    size: tuple[float, float] = _SIZE
    wide: bool = False


@contextmanager
def drawing() -> Iterator[None]:
    """Give figures one look, independent of what else this process draws."""
    # gwpy.plot changes matplotlib when it is imported. It is imported before the first figure, so
    # that all figures are alike.
    import gwpy.plot  # noqa: F401
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
        mpl.rcdefaults()  # undoes gwpy's style too
        mpl.rcParams.update(style)
        yield


def draw(
    report: Mapping[str, Any], spectrograms: Mapping[str, Spectrogram], into: Path
) -> list[Figure]:
    """Draw every figure into a directory; return them in the order of the report."""
    from matplotlib.figure import Figure as Plot

    figures = [*_overview(report["runs"][0])]
    for name in report["runs"][0]["couplings"]:
        figures += _coupling(name, report["runs"], spectrograms[name])
    with drawing():
        for figure in figures:
            plot = Plot(figsize=figure.size, layout="constrained")
            figure.paint(plot)
            # Without dates and versions equal figures give equal bytes.
            for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                plot.savefig(into / f"{figure.name}.{ending}", dpi=110, metadata=metadata)
    return figures


def _overview(run: Mapping[str, Any]) -> Iterator[Figure]:
    yield Figure(
        "spectra",
        "Spectra",
        "Median and 5th to 95th percentile of 8-s spectra.",
        lambda plot: plots.draw_spectra(plot, run["spectra"], (_LOWEST, None), log=True),
    )
    if run["range"]["start"]:
        yield Figure(
            "range",
            "Range",
            "Binary neutron stars (1.4 + 1.4 suns) at SNR 8, every 64 s.",
            lambda plot: plots.draw_range(plot, run["range"]),
        )
    yield Figure(
        "gates",
        "Gain and gate",
        "Gain of each coupling: dark is full subtraction, white none. Below, the time that counts.",
        lambda plot: plots.draw_gates(plot, run["series"]),
        size=(2 * _SIZE[0], 0.9 + 0.45 * (1 + len(run["couplings"]))),
        wide=True,
    )


def _coupling(name: str, runs: Any, spectrogram: Spectrogram) -> Iterator[Figure]:
    run = runs[0]
    coupling, rows = run["couplings"][name], run["series"]["couplings"][name]
    stem = frame_part(name).lower()
    near = coupling["coherence"]["frequency"]
    limits = (near[0], near[-1])
    yield Figure(
        f"{stem}-spectra",
        "Spectra",
        "In the band (grey) and beside it.",
        lambda plot: plots.draw_spectra(plot, run["spectra"], limits, coupling["bands"], log=False),
        name,
    )
    yield Figure(
        f"{stem}-ratio",
        "ASD ratio against time",
        "OUT_DQ over raw, running 8 s: in the band, in the guard bands, everywhere else.",
        lambda plot: plots.draw_ratios(plot, run["series"], rows),
        name,
    )
    if any(value is not None for value in rows["amplitude"]):
        yield Figure(
            f"{stem}-adaptation",
            "Adaptation",
            "Amplitude and phase of the gain by which the model's estimate was multiplied.",
            lambda plot: plots.draw_adaptation(plot, run["series"], rows),
            name,
        )
    yield Figure(
        f"{stem}-spectrogram",
        "Spectrogram",
        "Raw, OUT_DQ, and their ratio, every 8 s.",
        lambda plot: plots.draw_spectrogram(plot, spectrogram),
        name,
        (_SIZE[0], 7.0),
    )
    yield Figure(
        f"{stem}-coherence",
        "Coherence and its limit",
        "Coherence of the strain with each witness before (thin) and after (thick). Below, the "
        "remaining ratio and the ratio that the best linear filter of all witnesses could reach. "
        "A network can do better where witnesses multiply.",
        lambda plot: plots.draw_coherence(plot, run, coupling),
        name,
        (_SIZE[0], 6.4),
    )
    if "RAW" in coupling["residual"]:
        yield Figure(
            f"{stem}-residual",
            "Distribution in band",
            "Whitened transforms in the band against a Gaussian (dashed), before and after.",
            lambda plot: plots.draw_residual(plot, coupling["residual"]),
            name,
        )
    if len(runs) > 1 and name in runs[1]["couplings"]:
        yield Figure(
            f"{stem}-compared",
            "Side by side",
            f"ASD ratio of {runs[0]['name']} and {runs[1]['name']}, against frequency and time.",
            lambda plot: plots.draw_compared(plot, runs, name),
            name,
            (_SIZE[0], 6.4),
        )
