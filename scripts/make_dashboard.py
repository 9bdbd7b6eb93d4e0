"""Make monitoring/deepclean.dashboard.json, a Grafana dashboard of what the daemon exports.

    python -m scripts.make_dashboard >monitoring/deepclean.dashboard.json

Each series that the daemon declares (`telemetry.metrics`) has a panel, in a row for each part of
the declaration; its kind, its labels and the ending of its name say how it is drawn. The first row
is what an operator looks at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import Metric

from deepclean.config import load
from deepclean.io.watch import DirectoryWatch
from deepclean.system.clock import SystemClock
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.metrics import Metrics

CONFIG = Path(__file__).parents[1] / "config" / "H1.yaml"
"""Any configuration has these series; this one has all kinds of labels."""

WIDTH, HEIGHT, ACROSS = 8, 8, 3
"""The size of a panel in cells of Grafana, and how many are in a line of 24 cells."""

MOST = 12
"""Curves of a panel that would have one for each witness."""

LEAP = 315964782
"""Unix seconds at GPS 0, less the 18 leap seconds since: the GPS time now is `time()` less this."""

CHOSEN = 'job="deepclean", instance=~"$instance"'
"""Selects the daemons that are chosen at the top of the dashboard."""

SOURCE = {"type": "prometheus", "uid": "${source}"}

ROWS = {
    "build": "What runs",
    "input": "Input",
    "stream": "Input",
    "output": "Output",
    "last frame": "Couplings, as of the last frame",
    "witnesses": "Witnesses",
    "models": "Models",
    "retrainings": "Models",
    "timings": "Latency and durations",
    "process": "Process",
    "threads": "Process",
}
"""The row of each part of the metrics."""

UNITS = {
    "bytes": "bytes",
    "radians": "radian",
    "seconds": "s",
}
"""Grafana's unit for the last word of a name."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Args:
        title: a line.
        about: more than that.
        queries: pairs of a PromQL expression and the legend of its curves.
        unit: of the values, as Grafana calls it.
        kind: of the panel: timeseries, stat or table.
    """

    title: str
    about: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"

    def as_json(self, number: int, top: int, place: int) -> dict[str, Any]:
        """Return the panel as Grafana reads it.

        Args:
            number: of the panel, unique in the dashboard.
            top: cells above it.
            place: in its line, from 0.
        """
        options: dict[str, Any] = {}
        if self.kind == "timeseries":
            legend = {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]}
            options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        elif self.kind == "stat":
            options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none"}
        instant = self.kind != "timeseries"
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": SOURCE,
            "gridPos": {"x": place * WIDTH, "y": top, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": self.unit}, "overrides": []},
            "options": options,
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": SOURCE,
                    "expr": query,
                    "legendFormat": legend,
                    "instant": instant,
                    "range": not instant,
                    "format": "table" if self.kind == "table" else "time_series",
                }
                for index, (query, legend) in enumerate(self.queries)
            ],
        }


def overview() -> list[Panel]:
    """Return the panels of the first row."""

    def total(name: str, more: str = "") -> str:
        labels = ", ".join(filter(None, (CHOSEN, more)))
        return f"sum by (instance) (increase({name}{{{labels}}}[$__rate_interval]))"

    frames, each = "deepclean_output_frames_total", "{{instance}}"
    cleaned = total(frames, 'result="cleaned"')
    alerts = f'ALERTS{{alertstate="firing", {CHOSEN}}}'
    return [
        Panel(
            "Answers",
            "1 while the daemon answers Prometheus.",
            [(f"up{{{CHOSEN}}}", each)],
            kind="stat",
        ),
        Panel(
            "Alerts that fire",
            "docs/metrics.md says what each means and what to do.",
            [(f"count({alerts}) or vector(0)", "alerts")],
            kind="stat",
        ),
        Panel(
            "Frames that are fully cleaned",
            "Share of the frames in which every coupling's gain is 1 throughout.",
            [(f"{cleaned} / {total(frames)}", each)],
            "percentunit",
        ),
    ]


def panels(metric: Metric) -> Iterator[Panel]:
    """Yield the panel of a series."""
    labels = _labels(metric)
    legend = " ".join(f"{{{{{label}}}}}" for label in ("instance", *labels))
    title, about = metric.documentation.rstrip("."), metric.name
    unit = UNITS.get(metric.name.rsplit("_", maxsplit=1)[-1], "short")
    if metric.type == "info":
        query = f"{metric.name}_info{{{CHOSEN}}}"
        yield Panel(title, f"{metric.name}_info", [(query, legend)], kind="table")
    elif metric.type == "histogram":
        by = ", ".join(("le", "instance", *labels))
        rates = f"sum by ({by}) (rate({metric.name}_bucket{{{CHOSEN}}}[$__rate_interval]))"
        quantiles = {"median": 0.5, "99 %": 0.99}
        queries = [
            (f"histogram_quantile({part}, {rates})", f"{legend} {name}")
            for name, part in quantiles.items()
        ]
        yield Panel(title, about, queries, unit)
    elif metric.type == "counter":
        # Seconds in a second are a share of the time.
        work, unit = ("rate", "percentunit") if unit == "s" else ("increase", "short")
        by = ", ".join(("instance", *labels))
        query = f"sum by ({by}) ({work}({metric.name}_total{{{CHOSEN}}}[$__rate_interval]))"
        if "channel" in labels:
            title, query = f"{title}: the {MOST} with most", f"topk({MOST}, {query})"
        yield Panel(title, f"{metric.name}_total", [(query, legend)], unit)
    else:
        query = f"{metric.name}{{{CHOSEN}}}"
        if metric.name.endswith("_gps_seconds"):
            title, query = f"Time since: {title}", f"time() - {LEAP} - {query}"
        elif metric.name.endswith(("_timestamp_seconds", "_start_time_seconds")):
            title, query = f"Time since: {title}", f"time() - {query}"
        yield Panel(title, about, [(query, legend)], unit)


def _labels(metric: Metric) -> list[str]:
    """Return the labels that tell the curves of a series from each other."""
    known = {label: None for sample in metric.samples for label in sample.labels if label != "le"}
    return list(known or dict.fromkeys(getattr(metric, "_labelnames", ())))


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    watch = DirectoryWatch((), SystemClock())
    metrics = Metrics(load(CONFIG, environ={}), Accounts(), watch, lookahead=0, history=0)
    rows = {"At a glance": overview()}
    for part, found in metrics.parts():
        row = rows.setdefault(ROWS[part], [])
        row += [panel for metric in found for panel in panels(metric)]
    made: list[dict[str, Any]] = []
    top = 0
    for title, row in rows.items():
        at = {"x": 0, "y": top, "w": 24, "h": 1}
        made.append({"id": len(made) + 1, "type": "row", "title": title, "gridPos": at})
        made[-1] |= {"collapsed": False, "panels": []}
        top += 1
        for index, panel in enumerate(row):
            line, place = divmod(index, ACROSS)
            made.append(panel.as_json(len(made) + 1, top + line * HEIGHT, place))
        top += -(-len(row) // ACROSS) * HEIGHT
    instance = 'label_values(up{job="deepclean"}, instance)'
    return {
        "uid": "deepclean",
        "title": "DeepClean",
        "tags": ["deepclean"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "utc",
        "templating": {
            "list": [
                {"name": "source", "label": "Prometheus", "type": "datasource"}
                | {"query": "prometheus"},
                {
                    "name": "instance",
                    "label": "Daemon",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": {"query": instance, "refId": "instances"},
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "annotations": {"list": []},
        "panels": made,
    }


def text() -> str:
    """Return the file of the dashboard."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    print(text(), end="")
