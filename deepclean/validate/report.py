"""The report as a folder: `report.json`, `index.html` and its figures. It needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepclean.errors import output_errors
from deepclean.system.atomic import publish
from deepclean.system.templates import templates
from deepclean.validate.criteria import unmeasured
from deepclean.validate.figures import Figure, draw
from deepclean.validate.run import ValidationResult

_TEMPLATE = Path(__file__).with_name("report.html")

_FEW = 20
"""Rows of a table that may be long."""


def write(validated: ValidationResult, into: Path) -> Path:
    """Write the folder and return the path of the page. Existing files are replaced.

    Raises:
        OutputError: the folder cannot be written.
    """
    with output_errors(into, "no report"):
        into.mkdir(parents=True, exist_ok=True)
        figures = draw(validated.report, validated.spectrograms, into)
    page = into / "index.html"
    publish(into / "report.json", serialise(validated.report))
    publish(page, html(validated.report, figures).encode())
    return page


def serialise(report: Mapping[str, Any]) -> bytes:
    """Return the JSON of a report. Equal reports give equal bytes."""
    return (json.dumps(report, indent=1, allow_nan=False) + "\n").encode()


def html(report: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """Return the page of a report, without a script, from what its JSON says."""
    environment = templates(_TEMPLATE.parent)
    environment.filters |= {
        "duration": _duration,
        "gains": _gains,
        "longest": lambda gaps: sorted(sorted(gaps, key=lambda gap: gap[0] - gap[1])[:_FEW]),
        "number": _number,
        "percent": lambda value: "none" if value is None else f"{100 * value:.2f}%",
        "pretty": lambda value: json.dumps(value, indent=1),
        "unmeasured": unmeasured,
        "total": lambda spans: sum(end - start for start, end in spans),
    }
    template = environment.get_template(_TEMPLATE.name)
    return template.render(report, figures=figures, few=_FEW)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _gains(gains: Mapping[str, float | None]) -> str:
    """Return the gains below 1, the lowest of each coupling while a signal passed."""
    low = {name: gain for name, gain in gains.items() if gain != 1}
    return ", ".join(f"{name} {_number(gain)}" for name, gain in low.items()) or "1"
