"""The picture of a training: spectra before and after, and what each feature carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from deepclean.core.filters.bandpass import Band
from deepclean.train.judging.evaluate import Evaluation

_BEFORE, _AFTER = "#c2410c", "#1d4ed8"
_OTHERS = ("#0d9488", "#7c3aed", "#a16207")

_MOST = 24
"""Features that are drawn."""


def draw(
    judged: Mapping[str, Evaluation],
    name: str,
    carried: Mapping[str, float],
    bands: Sequence[Band],
) -> bytes | None:
    """Return the picture as a PNG file; None where matplotlib is not installed.

    Args:
        judged: what the models did, by name.
        name: of the model that was made.
        carried: by feature, the share of what is removed; empty where there are no features.
        bands: `(low, high)` in Hz.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    size = (11.0, max(4.2, 1.6 + 0.22 * min(len(carried), _MOST)))
    figure = Figure(figsize=size if carried else (7.0, 4.2), layout="constrained")
    if carried:
        left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
        _features(right, carried)
    else:
        left = figure.subplots()
    _spectra(left, judged, name, bands)
    written = BytesIO()
    figure.savefig(written, format="png", dpi=110)
    return written.getvalue()


def _spectra(axes: Any, judged: Mapping[str, Evaluation], name: str, bands: Sequence[Band]) -> None:
    """Draw the held-out strain before, and after each model."""
    finite = {each: one for each, one in judged.items() if np.isfinite(one.figures.asd_ratio)}
    colours = dict(zip([each for each in finite if each != name], _OTHERS, strict=False))
    for each, one in finite.items():
        frequency, before, after = one.meter.spectra()
        if each == next(iter(finite)):
            axes.plot(frequency, before, color=_BEFORE, lw=1.5, label="before")
        colour, width = (_AFTER, 1.5) if each == name else (colours.get(each, "0.5"), 0.9)
        axes.plot(frequency, after, color=colour, lw=width, label=each)
    for low, high in bands:
        axes.axvspan(low, high, color="0.5", alpha=0.12, lw=0)
    axes.set(yscale="log", xlabel="Frequency [Hz]", ylabel=r"ASD [$1/\sqrt{\mathrm{Hz}}$]")
    axes.set_title("Held-out strain, cleaned by the engine", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)


def _features(axes: Any, carried: Mapping[str, float]) -> None:
    """Draw what each feature carries, the most important above."""
    shown = sorted(carried.items(), key=lambda item: -item[1])[:_MOST]
    rows = np.arange(len(shown))
    axes.barh(rows, [share for _, share in shown], 0.7, color=_AFTER)
    axes.set_yticks(rows, [feature for feature, _ in shown], fontsize=7)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="Power in the bands over what is removed")
    left_out = len(carried) - len(shown)
    axes.set_title("Features" + (f", {left_out} more not shown" if left_out else ""), fontsize=10)
