"""What Prometheus hears: every series from the start, and just what the accounts say."""

from __future__ import annotations

import logging
import math
import os
import re
import threading
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from deepclean import __version__
from deepclean.config import Config
from deepclean.core import reasons
from deepclean.core.accounting import Ledger
from deepclean.core.output.products import State
from deepclean.core.reasons import CLEANED
from deepclean.io.watch import DirectoryWatch
from deepclean.models.store.retrainings import STATE, RetrainState
from deepclean.system.clock import SystemClock
from deepclean.telemetry.counters import Counters
from deepclean.telemetry.timings import STAGES
from tests.helpers import small_site as site
from tests.helpers.metrics_run import Run, made, scraped
from tests.helpers.small_site import RATES

REDUCED = [reason for reason in reasons.ALL if reason != CLEANED]
STRAIN_GAPS = ("invalid", "strain_missing", "strain_rate", "strain_unreadable")
WITNESS_FAULTS = ("missing", "invalid", "corrupt", "witness_nonfinite")
DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return site.make_site(tmp_path_factory.mktemp("site"), "couplings.60Hz.adapt=gain")


def names(series: dict[str, float]) -> set[str]:
    """Return the series without labels, histograms by their own name."""
    bare = {name.partition("{")[0] for name in series}
    return {re.sub("_(bucket|count|sum)$", "", name) for name in bare}


# From the start


def test_the_last_retraining_is_read_from_the_store(config: Config) -> None:
    name = 'deepclean_retrain_success_timestamp_seconds{coupling="60Hz"}'
    place = config.models.directory / config.interferometer / "60Hz"
    metrics = made(config)
    assert math.isnan(scraped(metrics)[name])
    state = RetrainState()
    state.write(place)  # a retraining that judged nothing
    first = scraped(metrics)[name]
    assert first == state.succeeded
    state.write(place)
    assert scraped(metrics)[name] == first
    state.succeed()
    state.write(place)
    assert scraped(metrics)[name] == state.succeeded
    for damaged in ("", "{", "[]", '{"succeeded": "now"}'):
        (place / STATE).write_text(damaged)
        assert math.isnan(scraped(metrics)[name])
    (place / STATE).unlink()


def test_every_reason_stands_at_0_from_the_start(config: Config) -> None:
    series = scraped(made(config))
    expected = {
        f'deepclean_{name}{{{label}="{reason}"}}'
        for name, label, known in [
            ("gap_seconds_total", "reason", STRAIN_GAPS),
            ("input_files_ignored_total", "reason", ("duplicate", "late")),
            ("reloads_total", "result", ("accepted", "rejected")),
            ("write_errors_total", "errno", "ENOSPC EROFS EIO ENOENT EACCES other".split()),
            ("state_bit", "bit", State.__members__),
            ("gain_ratio", "coupling", ["60Hz"]),
            ("stage_duration_seconds_count", "stage", STAGES),
        ]
        for reason in known
    }
    expected |= {
        f'deepclean_witness_faults_total{{channel="{channel}",reason="{reason}"}}'
        for channel, reason in product(RATES, WITNESS_FAULTS)
    }
    expected |= {
        f'deepclean_output_frames_total{{reason="{reason}",result="reduced"}}' for reason in REDUCED
    }
    expected |= {
        'deepclean_output_frames_total{reason="none",result="cleaned"}',
        'deepclean_input_frames_total{result="taken",stream="strain"}',
        'deepclean_input_frames_total{result="unreadable",stream="strain"}',
        'deepclean_input_frames_total{result="taken",stream="witnesses"}',
        'deepclean_input_frames_total{result="missing",stream="witnesses"}',
        'deepclean_input_frames_total{result="unreadable",stream="witnesses"}',
        "deepclean_watcher_errors_total",
        "deepclean_backlog_frames",
        "deepclean_output_latency_seconds_count",
    }
    assert {name: series.get(name) for name in expected} == dict.fromkeys(expected, 0.0)


def test_what_is_not_known_yet_is_not_a_number(config: Config) -> None:
    series = scraped(made(config))
    assert math.isnan(series["deepclean_last_input_gps_seconds"])
    assert math.isnan(series["deepclean_last_output_gps_seconds"])


def test_document_lists_the_series(config: Config) -> None:
    table = re.findall(r"^\| `(\w+)` \|(.*?)\|.*\|$", DOCUMENT.read_text(), flags=re.MULTILINE)
    table = [row for row in table if row[0] not in REDUCED]
    series = scraped(Run(config).metrics)
    assert {name for name, _ in table} == names(series)
    for name, described in table:
        mine = [key for key in series if re.match(rf"{name}(_bucket)?(\{{|$)", key)]
        labels = {label for key in mine for label in re.findall(r'(\w+)="', key)}
        outside_brackets = re.sub(r"\(.*?\)", "", described)
        assert set(re.findall(r"`(\w+)`", outside_brackets)) == labels, name


def test_document_explains_the_reasons() -> None:
    explained = re.findall(r"^\| `(\w+)` \| [^|]* \|$", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert sorted(explained) == sorted(REDUCED)


def test_what_runs_is_told(config: Config) -> None:
    run = Run(config)
    series = scraped(run.metrics)
    model = run.figures.models["60Hz"]
    labels = f'coupling="60Hz",hash="{model.hash}",version="1"'
    assert series[f"deepclean_model_info{{{labels}}}"] == 1
    labels = f'configuration="{config.hash}",interferometer="H1",version="{__version__}"'
    assert series[f"deepclean_build_info{{{labels}}}"] == 1
    assert series["deepclean_lookahead_seconds"] == 0.5
    assert series["deepclean_history_seconds"] == 2.0


def test_process_is_told(config: Config) -> None:
    metrics = made(config)
    before = scraped(metrics)
    assert before["process_resident_memory_bytes"] > 1e6
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    pipe = os.pipe()
    after = scraped(metrics)
    for descriptor in pipe:
        os.close(descriptor)
    go_on.set()
    thread.join()
    assert after["process_threads"] - before["process_threads"] == 1
    assert after["process_open_fds"] - before["process_open_fds"] == 2


# As the accounts stand

WORDS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
COUNTS = st.integers(0, 10**9)
ERRORS = st.sampled_from(["ENOSPC", "EIO", "EDQUOT", "EMFILE", "unknown"])


@given(
    written=st.dictionaries(st.just(CLEANED) | st.sampled_from(REDUCED) | WORDS, COUNTS),
    lost=st.dictionaries(ERRORS, COUNTS),
    gaps=st.dictionaries(st.sampled_from(STRAIN_GAPS) | WORDS, COUNTS),
    inside=st.integers(0, 100),
)
def test_ledger_is_mirrored(
    config: Config, written: dict[str, int], lost: dict[str, int], gaps: dict[str, int], inside: int
) -> None:
    frames = sum(written.values()) + sum(lost.values()) + inside
    ledger = Ledger(frames, Counter(written), Counter(lost), Counter(gaps), inside=inside)
    series = scraped(made(config, ledger))

    def total(name: str) -> float:
        return sum(value for key, value in series.items() if key.partition("{")[0] == name)

    taken = series['deepclean_input_frames_total{result="taken",stream="strain"}']
    assert taken == frames
    outputs, errors = total("deepclean_output_frames_total"), total("deepclean_write_errors_total")
    assert taken == outputs + errors + series["deepclean_backlog_frames"]
    assert total("deepclean_gap_seconds_total") == sum(gaps.values())
    for reason, count in gaps.items():
        assert series[f'deepclean_gap_seconds_total{{reason="{reason}"}}'] == count
    for reason, count in written.items():
        result = 'reason="none",result="cleaned"'
        if reason != CLEANED:
            result = f'reason="{reason}",result="reduced"'
        assert series[f"deepclean_output_frames_total{{{result}}}"] == count
    named = {name: count for name, count in lost.items() if name in ("ENOSPC", "EIO")}
    for name, count in named.items():
        assert series[f'deepclean_write_errors_total{{errno="{name}"}}'] == count
    others = sum(lost.values()) - sum(named.values())
    assert series['deepclean_write_errors_total{errno="other"}'] == others


def test_figures_are_mirrored(config: Config) -> None:
    figures = Counters()
    metrics = made(config, figures=figures)
    figures.inputs["strain", "unreadable"] += 2
    figures.inputs["witnesses", "missing"] += 3
    figures.witness_faults["H1:FAST", "frozen"] += 4
    figures.reloads["rejected"] += 5
    figures.state = State.OUTPUT_VALID | State.STEADY
    figures.gains = {"60Hz": 0.25}
    series = scraped(metrics)
    assert series['deepclean_input_frames_total{result="unreadable",stream="strain"}'] == 2
    assert series['deepclean_input_frames_total{result="missing",stream="witnesses"}'] == 3
    assert series['deepclean_witness_faults_total{channel="H1:FAST",reason="frozen"}'] == 4
    assert series['deepclean_reloads_total{result="rejected"}'] == 5
    assert series['deepclean_gain_ratio{coupling="60Hz"}'] == 0.25
    bits = {bit: series[f'deepclean_state_bit{{bit="{bit}"}}'] for bit in State.__members__}
    assert {bit for bit, value in bits.items() if value} == {"OUTPUT_VALID", "STEADY"}


def test_failed_watches_are_told(config: Config) -> None:
    watch = DirectoryWatch((), SystemClock())
    metrics = made(config, watch=watch)
    watch.errors = 3
    assert scraped(metrics)["deepclean_watcher_errors_total"] == 3


def test_a_new_model_takes_the_old_one_s_place(config: Config) -> None:
    run = Run(config)
    before = {key for key in scraped(run.metrics) if key.startswith("deepclean_model_info")}
    site.publish_model(config, 2)
    run.figures.models = Run(config).figures.models
    (after,) = (key for key in scraped(run.metrics) if key.startswith("deepclean_model_info"))
    assert len(before) == 1
    assert after not in before
    assert 'version="2"' in after


# Faults of their own


def test_a_failing_part_is_alone(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    metrics = made(config, ledger)
    whole = scraped(metrics)
    gaps = ledger.gaps
    del ledger.gaps
    for _ in range(3):
        part = scraped(metrics)
    assert names(whole) - names(part) == {
        "deepclean_gap_seconds_total",
        "deepclean_input_files_ignored_total",
        "deepclean_input_frames_total",
        "deepclean_input_waiting_seconds",
        "deepclean_last_input_gps_seconds",
        "deepclean_watcher_errors_total",
    }
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    ledger.gaps = gaps
    assert set(scraped(metrics)) == set(whole)
    del ledger.gaps
    scraped(metrics)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_work_goes_on_during_a_scrape(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    ledger, figures = Ledger(), Counters()
    metrics = made(config, ledger, figures)
    stopped = threading.Event()

    def work() -> None:
        number = 0
        while not stopped.is_set():
            number += 1
            ledger.gaps[f"reason{number % 500}"] += 1
            figures.witness_faults["H1:FAST", f"reason{number % 500}"] += 1
            if number % 500 == 0:
                ledger.gaps.clear()
                figures.witness_faults.clear()

    worker = threading.Thread(target=work)
    worker.start()
    caplog.set_level(logging.INFO)
    try:
        for _ in range(50):
            scraped(metrics)
    finally:
        stopped.set()
        worker.join()
    assert caplog.records == []


def test_openmetrics_is_spoken_too(config: Config) -> None:
    metrics = made(config)
    text = generate_openmetrics(metrics.registry).decode()  # type: ignore[no-untyped-call]
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    found = {sample.name for family in families for sample in family.samples}
    assert found == {name.partition("{")[0] for name in scraped(metrics)}
