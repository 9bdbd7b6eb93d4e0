#!/usr/bin/env python3
"""Measure how the compute grows: with witnesses, couplings, the strain's rate and the block.

Each point runs in a process of its own, through the code of benchmarks/engine.py: simulated
frames on disk, networks of the published architecture with random weights, one thread. What is
shown is milliseconds of compute per second of data, reading and writing included: the median over
the seconds, by the clock and of the processor, which a busy machine disturbs less and which the
straight lines are laid through. Witnesses are at 512 Hz; where nothing else is said there are 21
of them, one coupling, strain at 16384 Hz, and blocks (which are the hop as well) of 1 s.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common
from benchmarks.common import Figures, line_fit, table
from benchmarks.engine import clean
from benchmarks.site import START, lay_out, write_random_models
from deepclean.core.time import NS, Span
from deepclean.simulate import Simulator, Site

RATE = 512
"""Hz, of every witness."""

GROUPS = {
    "read": ("read",),
    "resample": ("take in", "standardise", "resample"),
    "predict": ("predict",),
    "bandpass to subtract": ("bandpass", "interpolate", "gain, subtract"),
    "gate": ("quality, gate",),
    "render, write": ("render", "write"),
}
"""What the tables show of the stages: which of them are added up."""

FITTED = ("witnesses", "witnesses in couplings of 20", "couplings")
"""Series that a straight line is laid through."""


@dataclass(frozen=True, slots=True)
class Point:
    """What is cleaned."""

    witnesses: int = 21  # of each coupling; no two share one
    couplings: int = 1
    strain_rate: int = 16384  # Hz
    block: float = 1.0  # seconds, also of the hop
    seconds: int = 40  # of data


SERIES: dict[str, dict[float, Point]] = {
    "witnesses": {n: Point(witnesses=n) for n in (1, 21, 50, 100, 150, 200, 300)},
    "witnesses in couplings of 20": {
        20 * n: Point(witnesses=20, couplings=n) for n in (1, 2, 5, 10, 15)
    },
    "couplings": {n: Point(witnesses=10, couplings=n) for n in (1, 2, 4, 8, 12, 16)},
    "strain rate (Hz)": {n: Point(strain_rate=n) for n in (4096, 8192, 16384, 20000)},
    "block (s)": {
        n: Point(block=n, seconds=int(max(40, 6 * n))) for n in (1 / 16, 1 / 4, 1, 4, 16, 64)
    },
}
"""By name, then by what is drawn along the abscissa."""


def main() -> None:
    """Measure the series; print and draw them."""
    parser = common.parser(__doc__)
    parser.add_argument("--series", choices=SERIES, action="append", help="only this one")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each point; the best counts")
    parser.add_argument("--figure", type=Path, help="draw them here")
    parser.add_argument("--inside", type=json.loads, help="measure one point; print JSON")
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure_point(Point(**options.inside))))
        return
    figures = common.run("scaling", options, measure, markdown)
    if options.figure:
        draw(figures, options.figure)


def measure(options: argparse.Namespace) -> Figures:
    """Return the figures of the series, of each point those of its least disturbed run."""
    figures = {}
    for name in options.series or SERIES:
        points = {}
        for value, point in SERIES[name].items():
            asked = ("benchmarks.scaling", "--inside", json.dumps(asdict(point)))
            runs = [common.run_inside(*asked) for _ in range(options.repeat)]
            points[f"{value:g}"] = min(runs, key=lambda each: float(each["processor_ms_median"]))
        figures[name] = {"points": points} | (fits(points) if name in FITTED else {})
    return figures


def measure_point(point: Point) -> Figures:
    """Return the figures of a point."""
    with common.scratch() as place:
        site = lay_out(place, configuration(place, point), simulator=at_one_rate)
        site.write(Span.of_seconds(START, point.seconds))
        models = write_random_models(site.config, place / "models")
        return clean(site, models, point.seconds, length=round(point.block * NS))


def at_one_rate(site: Site) -> Simulator:
    """Return the simulator of a site with all witnesses at `RATE`."""
    same = tuple(replace(witness, rate=RATE) for witness in site.witnesses)
    return Simulator(replace(site, witnesses=same))


def configuration(place: Path, point: Point) -> Path:
    """Write the configuration of a point into a directory; return its path.

    The bands have one width and lie one beside another; each coupling has witnesses of its own.
    """
    couplings = {}
    for number in range(point.couplings):
        ours = range(number * point.witnesses, (number + 1) * point.witnesses)
        couplings[f"C{number:02d}"] = {
            "band": [20.0 + 10 * number, 26.0 + 10 * number],
            "witnesses": [f"PEM-CS_ACC_SIM{witness:04d}_DQ" for witness in ours],
        }
    content = {
        "interferometer": "H1",
        "strain": {"rate": point.strain_rate},
        "input": {"strain": {"directory": "strain"}},
        "output": {"directory": "cleaned", "products": ["OUT_DQ", "PRODUCTION", "CANARY"]},
        "models": {"directory": "models"},
        "engine": {"hop": point.block},
        "couplings": couplings,
    }
    path = place / "scaling.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML as well
    return path


def fits(points: dict[str, Figures]) -> Figures:
    """Return the straight lines through a series: through the whole, and what it consists of."""
    at = [float(value) for value in points]
    parts = {"all": [point["processor_ms_median"] for point in points.values()]}
    parts |= {group: [of_group(point, group) for point in points.values()] for group in GROUPS}
    return {"fit": {name: line_fit(at, values) for name, values in parts.items()}}


def of_group(point: Figures, group: str) -> float:
    """Return what the stages of a group took at a point."""
    return float(sum(point["stages_ms_per_s"].get(stage, 0.0) for stage in GROUPS[group]))


def markdown(run: Figures) -> str:
    """Return a run as tables."""
    parts = [common.load_of(run)]
    for name, series in run["figures"].items():
        rows = []
        for value, point in series["points"].items():
            times = [point[key] for key in ("frame_ms_median", "frame_ms_p99")]
            times += [point["processor_ms_median"], *(of_group(point, group) for group in GROUPS)]
            rows.append((value, *(f"{ms:.1f}" for ms in times), f"{point['peak_rss_mb']:.0f}"))
        parts.append(table((name, "median", "p99", "processor", *GROUPS, "peak memory (MB)"), rows))
        lines = []
        for what, fit in series.get("fit", {}).items():
            said = f"{fit['intercept']:.1f} + {fit['slope']:.3f} n"
            lines.append((what, said, f"{fit['r2']:.4f}", f"{100 * fit['worst']:.1f} %"))
        if lines:
            head = ("straight line", "ms per s", "r2", "farthest point, of the largest")
            parts.append(table(head, lines))
    return "\n\n".join(parts)


def draw(figures: Figures, path: Path) -> None:
    """Draw each series: the whole and what it consists of."""
    columns = min(len(figures), 3)
    rows = -(-len(figures) // columns)
    figure, axes = common.pyplot().subplots(
        rows, columns, figsize=(4 * columns, 3 * rows), squeeze=False
    )
    for axis in axes.flat[len(figures) :]:
        axis.set_axis_off()
    for axis, (name, series) in zip(axes.flat, figures.items(), strict=False):
        at = [float(value) for value in series["points"]]
        points = list(series["points"].values())
        axis.plot(at, [p["processor_ms_median"] for p in points], "ko-", ms=4, label="all")
        for group in GROUPS:
            axis.plot(at, [of_group(p, group) for p in points], ".-", lw=1, label=group)
        if "fit" in series:
            line = series["fit"]["all"]
            axis.plot(at, [line["intercept"] + line["slope"] * x for x in at], "k:", lw=1)
        if name == "block (s)":
            axis.set_xscale("log", base=4)
        axis.set(xlabel=name, ylabel="ms per s of data", ylim=(0, None))
    axes.flat[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
