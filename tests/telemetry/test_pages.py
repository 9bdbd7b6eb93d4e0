"""The page and the daemon's state over HTTP, of real runs, served by the real exporter."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from deepclean.config import Config
from deepclean.core import reasons
from deepclean.core.gate.measures import GateFinding, Quality
from deepclean.core.rollout.rules import CanaryProgress, TrialFigures
from deepclean.core.time import NS
from deepclean.telemetry.exporter import Exporter
from deepclean.telemetry.status_schema import Status, schema
from tests.helpers import small_site as site
from tests.helpers.metrics_run import Run

LIMIT = 20.0
DOCUMENT = (Path(__file__).parents[2] / "docs" / "page.md").read_text()
SCRIPTS = ("/page.js", "/elements.js", "/spectrum.js", "/timeline.js")
FILES = ("/", "/page.css", "/icon.svg", *SCRIPTS)
LISTED = (*FILES, "/spectra", "/timeline", "/events")
ALWAYS = ("/status", "/schema", "/health", "/healthz", "/readyz", "/metrics")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def config(tmp_path: Path, port: int) -> Config:
    return site.make_site(tmp_path, f"metrics={{enabled: true, port: {port}}}")


@pytest.fixture
def run(config: Config, caplog: pytest.LogCaptureFixture) -> Iterator[Run]:
    """Give a run of twenty frames, of which one is missing and one has no witnesses."""
    caplog.set_level(logging.INFO, "deepclean")
    run = Run(config)
    assert run.page is not None
    faults = {
        9: lambda config, second: site.write_site(config, second, 1, no_strain={second}),
        14: lambda config, second: site.write_site(config, second, 1, no_witnesses={second}),
    }
    with run.page:
        run.over(20, faults)
        yield run


def served(run: Run) -> Exporter:
    return Exporter(run.config.metrics, run.metrics.registry, run.pages)


def ask(port: int, path: str, **fields: str) -> HTTPResponse:
    end = time.monotonic() + LIMIT
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        try:
            connection.request("GET", path, headers=fields)
            return connection.getresponse()
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.005)  # what is waited for is the exporter's thread


def read(port: int, path: str) -> Any:
    with ask(port, path) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        return json.loads(answer.read())


def test_every_path_answers(run: Run, port: int) -> None:
    with served(run):
        for path in (*LISTED, *ALWAYS):
            with ask(port, path) as answer:
                assert answer.status == 200, path
                assert answer.read()
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert f"`{path}`" in DOCUMENT
        with ask(port, "/../../etc/passwd") as answer:
            assert answer.status == 404


def test_state_is_as_its_schema_says(run: Run, port: int) -> None:
    with served(run):
        found = read(port, "/status")
        assert read(port, "/schema") == schema()
    status = Status.model_validate(found, strict=False)
    assert status.interferometer == "H1"
    assert status.ledger.frames_in == 19
    assert sum(status.ledger.written.values()) + status.ledger.inside == 19
    assert status.ledger.gaps == {"strain_missing": 1}
    assert status.latency is not None
    assert status.latency.frames == sum(status.ledger.written.values())
    assert status.couplings["60Hz"].version == 1
    assert status.couplings["60Hz"].gate is None
    assert {one.channel for one in status.witnesses} == set(site.RATES)
    assert {one.reason for one in status.witnesses} == {reasons.MISSING}
    assert status.state is not None
    assert status.state["OUTPUT_VALID"]
    assert status.configured["60Hz"].bands == [(55.0, 65.0)]
    kept = json.loads(run.status_file._path.read_bytes())
    assert kept == {key: value for key, value in found.items() if key != "age"}


def test_every_key_of_the_state_is_documented() -> None:
    def keys(part: dict[str, Any]) -> Iterator[str]:
        yield from part.get("properties", {})

    parts = [schema(), *schema()["$defs"].values()]
    for part in parts:
        for key in keys(part):
            assert f"`{key}`" in DOCUMENT, key
            assert part["properties"][key].get("description") or "$ref" in part["properties"][key]


def test_spectra_are_those_of_the_frames(run: Run, port: int) -> None:
    with served(run):
        spectra = read(port, "/spectra")
    assert spectra["averaged"] >= 2
    near = spectra["couplings"]["60Hz"]
    assert near["frequency"][0] == 45.0
    assert near["frequency"][-1] == 75.0
    # White noise of 1e-21 at 2048 Hz has the density 1e-21 sqrt(2 / 2048).
    level = -21 + 0.5 * (0.30103 - 3.31133)
    assert all(abs(value - level) < 0.6 for value in near["raw"])
    assert abs(sum(near["raw"]) / len(near["raw"]) - level) < 0.1
    assert len(near["estimate"]) == len(near["raw"]) == len(near["cleaned"])
    assert spectra["whole"]["estimate"] is None


def test_timeline_adds_up(run: Run, port: int) -> None:
    with served(run):
        minutes = read(port, "/timeline")["minutes"]
        last = minutes[-1]["t"]
        assert [one["t"] for one in read(port, f"/timeline?since={last - 60}")["minutes"]] == [last]
    written = run.cleaning.ledger.written.total()
    assert sum(sum(one["frames"].values()) for one in minutes) == written
    assert sum(one["gaps"].get("strain_missing", 0) for one in minutes) == 1
    assert minutes[0]["starts"] == 1
    assert any("H1:FAST" in one["witnesses"] for one in minutes)
    assert all(one["t"] % 60 == 0 for one in minutes)


def test_events_are_the_lines_of_the_log(run: Run, port: int) -> None:
    with served(run):
        events = read(port, "/events")["events"]
        assert any(event["message"].startswith("first frame written") for event in events)
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        last = events[-1]["id"]
        logging.getLogger("deepclean.test").info("one more")
        more = read(port, f"/events?since={last}")["events"]
        assert "one more" in [event["message"] for event in more]
        assert all(event["id"] > last for event in more)


def test_known_files_are_not_sent_again(run: Run, port: int) -> None:
    with served(run):
        for path in FILES:
            with ask(port, path) as answer:
                tag = answer.headers["ETag"]
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                content = answer.read()
            with ask(port, path, **{"If-None-Match": tag}) as answer:
                assert answer.status == 304
                assert answer.read() == b""
            assert b"http://" not in content.replace(b"http://www.w3.org/2000/svg", b"")
            assert b"https://" not in content


def test_health_says_what_is_wrong(run: Run, port: int) -> None:
    """The clock of the run goes on, and the work loop does not turn."""
    with served(run):
        assert read(port, "/health")["status_intervals"][0]["num_status"] == 0
        assert run.status_file.written is not None
        run.clock.now = run.status_file.written + 31.0
        for path in ("/health", "/healthz", "/readyz"):
            with ask(port, path) as answer:
                assert answer.status == 503, path
                assert b"the work loop has not turned for 31 s" in answer.read()
        status = Status.model_validate(read(port, "/status"), strict=False)
        assert status.health.num_status == 2
        assert status.age == pytest.approx(31.0, abs=0.01)


def test_input_that_is_lost_is_said(config: Config, port: int) -> None:
    run = Run(config)
    run.over(8)
    run.until(100)
    with served(run):
        with ask(port, "/readyz") as answer:
            assert answer.status == 503
            assert b"no strain for" in answer.read()
        health = read(port, "/health")
        assert health["status_intervals"][0]["num_status"] == 1
        with ask(port, "/healthz") as answer:
            assert answer.status == 200
        assert read(port, "/timeline")["minutes"][-1]["waiting"] > 0
    kept = json.loads((config.output.directory / ".H1_DEEPCLEAN.check.json").read_bytes())
    first, second = kept["status_intervals"]
    assert first["txt_status"].startswith("WARNING: no strain for ")
    assert (first["start_sec"], first["end_sec"]) == (0, second["start_sec"])
    assert second["num_status"] == 3


def test_before_the_first_turn_it_is_starting(config: Config, port: int) -> None:
    run = Run(config)
    with served(run):
        for path, status in {
            "/status": 503,
            "/readyz": 503,
            "/healthz": 200,
            "/health": 200,
        }.items():
            with ask(port, path) as answer:
                assert answer.status == status, path
        assert read(port, "/spectra")["averaged"] == 0


class OnTrial(Run):
    """A run with a canary on trial, which was not in spec with production yet."""

    def canaries(self) -> dict[str, CanaryProgress]:
        figures = TrialFigures(counted=50 * NS, in_spec=40 * NS, candidate=0.61, other=inf)
        return {"60Hz": CanaryProgress(3, 300 * NS, figures)}


def test_trial_and_closed_gate_are_in_the_state(config: Config, port: int) -> None:
    run = OnTrial(config)
    run.over(5)
    end = run.cleaning.ledger.last_out
    assert end is not None
    run.figures._gates["60Hz"] = end
    run.figures.closed_since["60Hz"] = end - 80 * NS
    run.figures.obstacles["60Hz"] = GateFinding("net", inf, 1.001)
    run.figures.qualities["60Hz"] = Quality(0.6, 0.9, 1.0, 1.0, inf)
    run.figures.closings["60Hz", reasons.JUMP] += 2
    run.status_file.write(run.cleaning.ledger, now=True)
    with served(run):
        coupling = Status.model_validate(read(port, "/status"), strict=False).couplings["60Hz"]
    assert coupling.canary is not None
    assert (coupling.canary.in_spec, coupling.canary.wanted) == (40.0, 300.0)
    assert coupling.canary.production_asd_ratio is None
    assert coupling.gate == "closed for 80 s: net inf (limit 1.001)"
    assert (coupling.closed, coupling.closings) == (80.0, 2)
    assert coupling.obstacle is not None
    assert (coupling.obstacle.measure, coupling.obstacle.value) == ("net", None)
    assert (coupling.asd_ratio, coupling.net) == (0.6, None)


def test_page_can_be_off(tmp_path: Path, port: int) -> None:
    config = site.make_site(tmp_path, f"metrics={{enabled: true, port: {port}, page: false}}")
    run = Run(config)
    assert run.page is None
    run.over(5)
    with served(run):
        for path in LISTED:
            with ask(port, path) as answer:
                assert answer.status == 404, path
        for path in ALWAYS:
            with ask(port, path) as answer:
                assert answer.status == 200, path
    assert not list(config.output.directory.glob(".H1_DEEPCLEAN.minutes-*.jsonl"))


def test_page_survives_a_restart_with_its_hours(run: Run, port: int) -> None:
    assert run.page is not None
    run.page.__exit__()
    again = Run(run.config, began=run.clock.now + 120.0)
    with served(again):
        minutes = read(port, "/timeline")["minutes"]
    assert len(minutes) >= 2
    assert sum(one["starts"] for one in minutes) == 2
    written = sum(sum(one["frames"].values()) for one in minutes)
    assert written == run.cleaning.ledger.written.total()


def test_fifty_slow_clients_hold_up_neither_scrape_nor_page(run: Run, port: int) -> None:
    with served(run):
        ask(port, "/healthz").close()
        slow = [socket.create_connection(("127.0.0.1", port), timeout=LIMIT) for _ in range(50)]
        for client in slow:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.sendall(b"GET /page.js HTTP/1.1\r\n\r\n")  # and does not read
        took = []
        for path in ("/metrics", "/status", "/spectra", "/timeline", "/") * 4:
            start = time.monotonic()
            with ask(port, path) as answer:
                assert answer.status == 200
                answer.read()
            took.append(time.monotonic() - start)
        assert median(took) < 1.0  # one may be held up by the machine
        for client in slow:
            client.close()


def test_a_fault_of_the_page_stays_in_the_page(
    config: Config, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(config)
    assert run.page is not None
    monkeypatch.setattr(run.page._spectra, "_push", lambda frame: 1 / 0)
    monkeypatch.setattr(run.page._timeline, "_accounts", None)
    run.over(12)
    assert run.cleaning.ledger.written.total() >= 10
    assert run.cleaning.ledger.balanced
    said = [record.getMessage() for record in caplog.records if record.exc_info]
    assert said == [
        "the page is not complete; cleaning goes on",
        "the page has no spectra; cleaning goes on",
    ]
    with served(run):
        assert read(port, "/spectra")["averaged"] == 0
        assert read(port, "/status")["ledger"]["frames_in"] == 12
