"""Durations: counted where they belong, also of what fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.telemetry.timings import STAGES, Timings
from tests.helpers import small_site as site
from tests.helpers.metrics_run import made, scraped


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return site.small_config(tmp_path)


def test_latencies_are_counted_where_they_belong(config: Config) -> None:
    timings = Timings()
    for seconds in (1.05, 1.1, 7.0, 1000.0):
        timings.latency(seconds)
    series = scraped(made(config, timings=timings))
    buckets = {
        bound: series[f'deepclean_output_latency_seconds_bucket{{le="{bound}"}}']
        for bound in ("1.0", "1.25", "7.5", "120.0", "+Inf")
    }
    assert buckets == {"1.0": 0, "1.25": 2, "7.5": 3, "120.0": 3, "+Inf": 4}
    assert series["deepclean_output_latency_seconds_sum"] == pytest.approx(1009.15)


def test_stage_is_timed_also_where_it_fails(config: Config) -> None:
    times = iter([10.0, 10.25, 20.0, 20.5])
    timings = Timings(lambda: next(times))
    with timings.stage("clean"):
        pass
    with pytest.raises(OSError, match="full"), timings.stage("write"):
        raise OSError("full")
    series = scraped(made(config, timings=timings))
    sums = {s: series[f'deepclean_stage_duration_seconds_sum{{stage="{s}"}}'] for s in STAGES}
    assert sums == {"read": 0.0, "clean": 0.25, "render": 0.0, "write": 0.5, "prepare": 0.0}


def test_what_cannot_be_noted_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    timings = Timings()
    for _ in range(2):
        timings.latency("no number")  # type: ignore[arg-type]
        with timings.stage("clean"):
            pass
    assert [record.levelname for record in caplog.records] == ["ERROR"]
