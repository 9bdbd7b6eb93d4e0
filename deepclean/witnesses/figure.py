"""The result of a search as one figure: the best candidates as bars, and their coherence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deepclean.errors import OutputError
from deepclean.validate.figures import drawing
from deepclean.witnesses.report import WitnessReport

SPECTRA = 5
"""Number of candidates whose coherence is drawn over frequency."""

_COLOURS = ("#c2410c", "#1d4ed8", "#0d9488", "#7c3aed", "#a16207")
_SOFT = "#78716c"


def draw(found: WitnessReport, path: Path, top: int) -> None:
    """Draw the figure into a file. The ending of its name (png, svg, pdf) is the format.

    Raises:
        OutputError: the file cannot be written, or its format is unknown.
    """
    from matplotlib.figure import Figure

    shown = [one for one in found.shown(top) if one.fault is None]
    with drawing():
        figure = Figure(figsize=(11, max(4.2, 1.6 + 0.3 * len(shown))), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
        _bars(left, found, shown)
        _spectra(right, found)
        try:
            figure.savefig(path, dpi=110)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise OutputError(f"cannot be written: {said}", path=path) from error


def _bars(axes: Any, found: WitnessReport, shown: Any) -> None:
    """Draw mean coherence and, with a model, saliency."""
    rows = np.arange(len(shown))
    worths = {} if found.attribution is None else found.attribution.worths
    height = 0.4 if worths else 0.7
    axes.barh(rows, [one.mean for one in shown], height, color=_COLOURS[1], label="mean coherence")
    if worths:
        known = [worths.get(one.candidate.channel) for one in shown]
        shares = [0.0 if worth is None else worth.saliency for worth in known]
        axes.barh(rows + height, shares, height, color=_COLOURS[0], label="saliency (share)")
    axes.axvline(1 / found.ranking.averages, color=_SOFT, ls="--", label="mean by chance")
    names = [one.candidate.label for one in shown]
    axes.set_yticks(rows + (height / 2 if worths else 0), names, fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right")


def _spectra(axes: Any, found: WitnessReport) -> None:
    """Draw the coherence of the best candidates over frequency."""
    for one, colour in zip(found.ranking.sound[:SPECTRA], _COLOURS, strict=False):
        # A gap between two bands breaks the line.
        steps = np.flatnonzero(np.diff(found.frequencies) > 1.5 * _width(found)) + 1
        frequencies = np.insert(found.frequencies, steps, np.nan)
        coherence = np.insert(one.coherence, steps, np.nan)
        axes.plot(frequencies, coherence, ".-", color=colour, label=one.candidate.label, lw=1.2)
    if found.joint is not None and found.joint.steps:
        last = found.joint.steps[-1]
        label = f"{len(found.joint.steps)} together"
        axes.plot(found.frequencies, last.multiple, color="black", lw=1, label=label)
    axes.axhline(found.level, color=_SOFT, ls="--", label="99% of unrelated channels are below")
    axes.set(xlabel="frequency (Hz)", ylabel=f"coherence with {found.strain}", ylim=(0, 1.02))
    handles, _ = axes.get_legend_handles_labels()
    axes.get_figure().legend(handles=handles, loc="outside lower right", ncols=2, fontsize=8)


def _width(found: WitnessReport) -> float:
    """Return the distance of neighbouring bins in Hz."""
    return float(np.diff(found.frequencies).min()) if len(found.frequencies) > 1 else 1.0
