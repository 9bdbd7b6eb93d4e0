"""Alerts and scrapes, by the real promtool and the real Prometheus where they are installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from ruamel.yaml import YAML

from deepclean.config import Config
from deepclean.config.schema import MetricsConfig as Settings
from deepclean.core.reasons import CLEANED
from deepclean.telemetry.exporter import Exporter
from tests.helpers import small_site as site
from tests.helpers.metrics_run import Run, scraped
from tests.helpers.prometheus import ROOT, RULES, free_port, prometheus, promtool
from tests.helpers.small_site import START

RULE_TESTS = ROOT / "monitoring" / "deepclean.rules.test.yaml"
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text()
ALERTS = [rule for group in YAML(typ="safe").load(RULES)["groups"] for rule in group["rules"]]


def without_witnesses(config: Config, second: int) -> None:
    site.write_site(config, second, 1, no_witnesses={second})


def half_minute(place: Path) -> Run:
    """Return a run of 30 frames, one of which had no witnesses."""
    config = site.make_site(place, "couplings.60Hz.adapt=gain")
    run = Run(config)
    run.over(30, {20: without_witnesses})
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return half_minute(tmp_path_factory.mktemp("site"))


# The rules


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_rests_on_series_that_exist(alert: dict[str, Any], run: Run) -> None:
    series = scraped(run.metrics)
    names = {name.partition("{")[0] for name in series}
    used = re.findall(r"\b((?:deepclean|process)_\w+)(?:\{(.*?)\})?", alert["expr"])
    assert used or "up{" in alert["expr"] or "node_systemd_unit_state{" in alert["expr"]
    for name, selected in used:
        assert name in names
        for label in re.findall(r'\w+=".*?"', selected.replace('job="deepclean"', "")):
            assert any(key.startswith(name) and label in key for key in series), label


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_is_documented_and_tested(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    assert f"\n### {name}\n" in DOCUMENT
    assert alert["annotations"]["remedy"] == f"docs/metrics.md#{name.lower()}"
    tests = YAML(typ="safe").load(RULE_TESTS)["tests"]
    checks = [c for test in tests for c in test["alert_rule_test"] if c["alertname"] == name]
    assert {bool(check.get("exp_alerts")) for check in checks} == {True, False}


def test_every_documented_alert_is_there() -> None:
    documented = re.findall(r"^### (\w+)$", DOCUMENT, flags=re.MULTILINE)
    assert documented == [alert["alert"] for alert in ALERTS]


def test_rules_are_sound() -> None:
    promtool("check", "rules", "--lint-fatal", RULES)


@pytest.mark.slow
def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", RULE_TESTS)


# A scrape


def test_series_follow_the_conventions(run: Run) -> None:
    promtool("check", "metrics", stdin=generate_latest(run.metrics.registry))


@pytest.mark.slow
def test_prometheus_reads_a_run(tmp_path: Path) -> None:
    run, target = half_minute(tmp_path), free_port()
    ledger = run.cleaning.ledger
    with prometheus(tmp_path, target) as server:
        server.await_values('up{job="deepclean"}', [0])
        with Exporter(Settings(port=target), run.metrics.registry):
            server.await_values('up{job="deepclean"}', [1])
            taken = 'deepclean_input_frames_total{stream="strain", result="taken"}'
            server.await_values(taken, [ledger.frames_in])
            server.await_values("sum(deepclean_output_frames_total)", [ledger.written.total()])
            cleaned = 'deepclean_output_frames_total{result="cleaned"}'
            server.await_values(cleaned, [ledger.written[CLEANED]])
            server.await_values("deepclean_last_output_gps_seconds", [START + 30])
            server.await_values("deepclean_model_info", [1])
            count = "deepclean_output_latency_seconds_count"
            server.await_values(count, [len(run.cleaning.latencies)])
            server.await_rules([alert["alert"] for alert in ALERTS])
            quiet = "DeepCleanUnaccounted|DeepCleanFramesLost|DeepCleanCorruption"
            assert server.values(f'ALERTS{{alertname=~"{quiet}"}}') == []
            ledger.frames_in += 1
            server.await_values('ALERTS{alertname="DeepCleanUnaccounted"}', [1])
        server.await_values('up{job="deepclean"}', [0])
