"""The dashboard: made from the declared series, and a real Prometheus answers all its queries."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deepclean.config import Config
from deepclean.config.schema import MetricsConfig as Settings
from deepclean.telemetry.exporter import Exporter
from scripts import make_dashboard
from tests.helpers import small_site as site
from tests.helpers.metrics_run import Run, made, scraped, whole
from tests.helpers.prometheus import ROOT, free_port, prometheus
from tests.helpers.small_site import START

FILE = ROOT / "monitoring" / "deepclean.dashboard.json"
UNKNOWN = {
    "deepclean_gate_obstacle",
    "deepclean_retrain_success_timestamp_seconds",
    "deepclean_streamed_age_seconds",
}
"""Series that are not a number where a gate is open and nothing was ever retrained."""


def panels() -> list[dict[str, Any]]:
    found = json.loads(FILE.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_the_file_is_what_the_declarations_give() -> None:
    assert FILE.read_text() == make_dashboard.text()


def test_every_series_has_a_panel_and_no_other_has(tmp_path: Path) -> None:
    run = Run(site.make_site(tmp_path, "couplings.60Hz.adapt=gain"))
    there = {name.partition("{")[0] for name in scraped(made(run.config, figures=run.figures))}
    shown = {
        name for query in queries() for name in re.findall(r"\b(?:deepclean|process)_\w+", query)
    }
    assert shown <= there
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in there - shown} <= {
        re.sub("_bucket$", "", name) for name in shown
    }


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    everything = json.loads(FILE.read_text())["panels"]
    for panel in everything:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in everything}) == len(everything)


def without_fast(config: Config, second: int) -> None:
    site.write_site(config, second, 1, no_witnesses={second})


@pytest.mark.slow
def test_every_query_has_data_of_a_real_run(tmp_path: Path) -> None:
    config = site.make_site(tmp_path, "couplings.60Hz.adapt=gain", "gate.enabled=true")
    run, target = Run(config), free_port()
    run.over(20)
    with (
        prometheus(tmp_path, target) as server,
        Exporter(Settings(port=target), run.metrics.registry),
    ):
        server.await_values("deepclean_last_output_gps_seconds", [START + 20])
        for number in range(20, 60):
            write = without_fast if number == 50 else whole
            run.clock.at(number + 0.1, partial(write, config, START + number))
        run.until(60)
        server.await_values("deepclean_last_output_gps_seconds", [START + 60])
        for query in queries():
            asked = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
            values = server.values(asked)
            assert values, query
            names = set(re.findall(r"deepclean_\w+", query))
            assert any(map(math.isfinite, values)) or names <= UNKNOWN, (query, values)
