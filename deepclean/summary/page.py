"""The folder of a day, `day.json`, `index.html` and two figures, and the index of all days.

The index is made from the days' JSON files. Pages need no network and contain no script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepclean.errors import output_errors
from deepclean.system.atomic import publish
from deepclean.system.templates import templates
from deepclean.system.utc import utc
from deepclean.validate.figures import drawing
from deepclean.validate.json_numbers import array
from deepclean.validate.plots import AFTER, BEFORE

_HERE = Path(__file__).parent

_KEPT = ("recorded", "events", "changes")
"""What comes of the run's own records, and not of frames."""


def write(day: Mapping[str, Any], name: str, into: Path) -> Path:
    """Write the folder of a day and the index; return the path of the day's page.

    Args:
        day: the numbers of the day (measure), and what the run kept of it: `recorded`, `events`,
            `changes`. Where one of these is empty, the folder's own stays: what a daemon keeps is
            gone before the frames of an archive are.
        name: of the folder, such as `2026-11-27`.
        into: the directory of all days.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = into / name
    day = {**day, **_former(folder / "day.json", day)}
    with output_errors(folder, "no page"):
        folder.mkdir(parents=True, exist_ok=True)
        figures = _draw(day, folder)
    publish(folder / "day.json", (json.dumps(day, indent=1, allow_nan=False) + "\n").encode())
    page = folder / "index.html"
    publish(page, _render("day.html", day=day, name=name, figures=figures).encode())
    publish(into / "index.html", _render("days.html", days=_days(into)).encode())
    return page


def _former(path: Path, day: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a folder holds of the run that is not there any more."""
    try:
        held = json.loads(path.read_bytes())
        return {name: held[name] for name in _KEPT if not day[name] and held.get(name)}
    except (OSError, ValueError):
        return {}


def _days(into: Path) -> list[dict[str, Any]]:
    """Return one line of numbers for each day that has a folder, the newest first."""
    lines = []
    for path in sorted(into.glob("*/day.json"), reverse=True):
        day = json.loads(path.read_bytes())
        ratios: dict[str, list[float]] = {name: [] for name in day["couplings"]}
        for hour in day["hours"]:
            for name, coupling in hour["couplings"].items():
                ratios[name] += [coupling["asd_ratio"]] if coupling["asd_ratio"] else []
        lines.append(
            {
                "name": path.parent.name,
                "known": day["seconds"],
                "good": day["good"],
                "range": {key: _typical(day["hours"], key) for key in ("raw", "out_dq")},
                "ratios": {n: float(np.median(found)) for n, found in ratios.items() if found},
                "switches": len(day["versions"]),
            }
        )
    return lines


def _typical(hours: list[dict[str, Any]], key: str) -> float | None:
    """Return the median of the hours' ranges."""
    found = [hour["range"][f"median_{key}"] for hour in hours]
    there = [value for value in found if value is not None]
    return float(np.median(there)) if there else None


def _draw(day: Mapping[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Draw the figures; return name and caption of each."""
    # Axes.legend draws lines where gwpy's own would draw squares.
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

    start, hours = day["span"][0], day["hours"]
    length = (day["span"][1] - start) / 3600
    figures = []
    with drawing():
        plot = Plot(figsize=(9.0, 3.6), layout="constrained")
        axes = plot.gca()
        times = np.array([at for hour in hours for at in hour["range"]["start"]], dtype=np.float64)
        for key, colour in (("raw", BEFORE), ("out_dq", AFTER)):
            values = array([each for hour in hours for each in hour["range"][key]])
            axes.plot((times - start) / 3600, values, ".", color=colour, label=key.upper(), ms=3)
        axes.set(ylabel="Range [Mpc]", xlabel="Time [h]", xlim=(0, length))
        Axes.legend(axes)
        figures.append(("range", "Range of each minute, before and after.", plot))
        plot = Plot(figsize=(9.0, 3.6), layout="constrained")
        axes = plot.gca()
        edges = [*((hour["start"] - start) / 3600 for hour in hours), length]
        for place, name in enumerate(day["couplings"]):
            values = array([hour["couplings"][name]["asd_ratio"] for hour in hours])
            axes.stairs(values, edges, baseline=None, color=f"C{place % 10}", label=name)
        axes.axhline(1.0, color="0.3", linewidth=0.8, linestyle="--")
        axes.set(ylabel="ASD ratio in band", xlabel="Time [h]", xlim=(0, length))
        axes.set_ylim(0, 1.1 * max(1.0, axes.get_ylim()[1]))
        Axes.legend(axes, ncols=3)
        figures.append(("ratio", "OUT_DQ over raw in each coupling's bands, by hour.", plot))
        for name, _, each in figures:
            each.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})
    return [(name, caption) for name, caption, _ in figures]


def _render(template: str, **values: Any) -> str:
    environment = templates(_HERE)
    environment.filters |= {
        "number": lambda value: "none" if value is None else f"{value:.4g}",
        "percent": lambda value: "none" if value is None else f"{100 * value:.1f}%",
        "part": lambda part, whole: f"{100 * part / whole:.1f}%" if whole else "none",
        "clock": lambda second: utc(second)[11:16],
    }
    return environment.get_template(template).render(values)
