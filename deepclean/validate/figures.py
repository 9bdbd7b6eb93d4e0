"""The figures of a report, drawn from what the JSON says, as PNG and SVG: which there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepclean.core.channels import frame_part
from deepclean.validate import against_frequency, against_time
from deepclean.validate.axes import shade
from deepclean.validate.summary import Spectrogram

_SIZE = (9.0, 4.2)
_LOWEST = 10.0


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
        lambda plot: against_frequency.draw_spectra(
            plot.gca(), run["spectra"], (_LOWEST, None), log=True
        ),
    )
    if run["range"]["start"]:
        add(
            Figure("range", "Range", "Binary neutron stars (1.4 + 1.4 suns) at SNR 8, every 64 s."),
            lambda plot: against_time.draw_range(plot.gca(), run["range"]),
        )
    add(
        Figure(
            "gates",
            "Gain and gate",
            "Gain of each coupling: dark is full subtraction, white none. Below, the time that "
            "counts.",
            wide=True,
        ),
        lambda plot: against_time.draw_gates(plot.gca(), run["series"]),
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
        against_frequency.draw_spectra(axes, run["spectra"], limits, log=False)
        shade(axes, coupling["bands"])

    add(Figure(f"{stem}-spectra", "Spectra", "In the band (grey) and beside it.", name), zoom)
    add(
        Figure(
            f"{stem}-ratio",
            "ASD ratio against time",
            "OUT_DQ over raw, running 8 s: in the band, in the guard bands, everywhere else.",
            name,
        ),
        lambda plot: against_time.draw_ratios(plot.gca(), run["series"], rows),
    )
    add(
        Figure(
            f"{stem}-spectrogram", "Spectrogram", "Raw, OUT_DQ, and their ratio, every 8 s.", name
        ),
        lambda plot: against_time.draw_spectrogram(plot, spectrogram),
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
        lambda plot: against_frequency.draw_coherence(plot, run, coupling),
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
            lambda plot: against_frequency.draw_residual(plot.gca(), coupling["residual"]),
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
            lambda plot: against_frequency.draw_compared(plot, runs, name),
            (_SIZE[0], 6.4),
        )
