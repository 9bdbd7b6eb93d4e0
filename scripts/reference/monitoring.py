"""The page of what a running daemon says: metrics, addresses, and the document at /status."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import Metric

from deepclean.config import Config, load
from deepclean.core.time import NS
from deepclean.io.watch import DirectoryWatch
from deepclean.system.clock import SystemClock
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.metrics import Metrics
from deepclean.telemetry.status_schema import schema
from scripts.reference.markdown import NOTE, Key, code, keys, kind, rows_of, table

_CONFIG = Path(__file__).parents[2] / "config" / "demo.yaml"

_SHOWN = ("reason", "result", "errno", "stream", "where", "measure", "event", "bit", "stage")
"""Labels whose values are known from the start, whatever the site."""

_MANY = 12
"""Values of a label up to which they are listed."""

_HEAD = f"""{NOTE}
# What a running daemon says

A daemon answers on `metrics.address` and `metrics.port`, by default `http://127.0.0.1:9109`.
[metrics.md](metrics.md) sets up Prometheus and explains the alerts, [page.md](page.md) shows the
page.

## Addresses

"""

_METRICS = """
## Metrics

All series are there from the start, with every known reason at 0. Counters count since the start of
the process, and Prometheus reads them with the ending `_total`.
[Reasons](reference-frames.md#reasons) have a table of their own.

"""

_STATUS = """
## The document at `/status`

`deepclean status --json` has a part of it. In the names, `<name>` stands for a coupling and `[]`
for an item of a list. The JSON schema is at `/schema`. New keys may come without a new
`schema_version`.

"""


def addresses() -> list[tuple[str, str]]:
    """Return a row for each address that the daemon answers at."""
    rows = rows_of("deepclean.telemetry.pages")
    found = [(path, re.sub(r" \(telemetry\.\w+\)", "", about)) for path, about in rows]
    return [*found, ("`/metrics`", "[metrics](#metrics) for Prometheus")]


def metrics(config: Config | None = None) -> list[Metric]:
    """Return every family of metrics, as a daemon has them at its start."""
    watch = DirectoryWatch((), SystemClock())
    made = Metrics(config or load(_CONFIG, environ={}), Accounts(), watch, lookahead=NS, history=NS)
    return list(made.registry.collect())


def statuses() -> list[Key]:
    """Return every key of the document at /status."""
    return list(keys(schema()))


def page() -> str:
    """Return the page."""
    text = _HEAD + table(("address", "answer"), addresses())
    text += _METRICS + table(
        ("metric", "kind", "meaning", "labels"), (_metric(each) for each in metrics())
    )
    rows = ((code(each.name), kind(each.node), each.about) for each in statuses())
    return text + _STATUS + table(("key", "type", "meaning"), rows)


def _metric(family: Metric) -> tuple[str, str, str, str]:
    labels: dict[str, list[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != "le":  # a histogram's bounds
                labels.setdefault(label, []).append(value)
    said = (_label(label, sorted(set(values))) for label, values in labels.items())
    endings = {"counter": "_total", "info": "_info"}
    name = f"{family.name}{endings.get(family.type, '')}"
    return code(name), family.type, family.documentation, ", ".join(said)


def _label(name: str, values: list[str]) -> str:
    if name in _SHOWN and len(values) <= _MANY:
        return f"{code(name)} ({', '.join(map(code, values))})"
    return code(name)
