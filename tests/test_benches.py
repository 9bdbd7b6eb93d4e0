"""What the benchmarks of scripts/ make of what they measure."""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import compare as bench_compare
from benchmarks import latency as bench_latency
from benchmarks.engine import per_second
from benchmarks.report import flat, line_fit, percentile, spread, table
from benchmarks.scaling import Point, configuration
from benchmarks.site import ROOT, SHORT, widened
from benchmarks.stream import (
    Appeared,
    Published,
    Watcher,
    Writer,
    environment,
    names_in,
)
from deepclean.core.block import Series
from deepclean.core.products import State
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.models import load as models

STATE = "H1:DEEPCLEAN-STATE_VECTOR"


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, p) for p in (0, 1, 50, 99, 99.5, 100)] == [1, 1, 50, 99, 100, 100]
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "p99": 3.0, "worst": 3.0}
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_the_fit_says_how_straight_it_is() -> None:
    x = [1.0, 2.0, 4.0, 8.0]
    straight = line_fit(x, [3 + 0.5 * n for n in x])
    assert straight.slope == pytest.approx(0.5)
    assert straight.intercept == pytest.approx(3)
    assert straight.r2 == pytest.approx(1)
    assert straight.worst == pytest.approx(0, abs=1e-12)
    bent = line_fit([0, 1, 2], [0.0, 1.0, 4.0])  # line -1/3 + 2x: 1/3, -2/3, 1/3 off
    assert (bent.slope, bent.intercept) == pytest.approx((2, -1 / 3))
    assert bent.worst == pytest.approx(2 / 3 / 4)
    assert bent.r2 == pytest.approx(1 - (6 / 9) / (26 / 3))
    assert line_fit([1, 2], [5.0, 5.0]).r2 == 1


def test_seconds_are_made_of_blocks_of_any_length() -> None:
    assert per_second([1.0, 2.0, 3.0, 4.0, 5.0], 0.5) == [3, 7]
    assert per_second([1.0, 2.0], 1) == [1, 2]
    assert per_second([8.0, 4.0], 4) == [2, 1]


def test_figures_are_named_by_where_they_stand() -> None:
    figures = {"21": {"ms": 4, "exact": True, "sizes": [1.5, 2.5]}, "none": None, "word": "x"}
    assert flat(figures) == {"21 / ms": 4, "21 / sizes / 0": 1.5, "21 / sizes / 1": 2.5}
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def run(**changed: Any) -> dict[str, Any]:
    facts = {"cores": 2, "processor": "x", "load_before": 0.1, "load_after": 7.5, "torch": "2"}
    figures = {"median": 10.0, "gone": 1.0, "same": 3.0, "none": 0}
    return {"bench": "engine", "machine": facts, "settings": {}, "figures": figures, **changed}


def test_a_comparison_gives_ratios_and_what_else_the_machine_did() -> None:
    figures = {"median": 15.0, "same": 3.0, "new": 2.0, "none": 0}
    after = run(figures=figures, settings={"busy": 1})
    said = bench_compare.compare(run(), after)
    assert "before: 2 cores (x), load 0.1 before and 7.5 after" in said
    assert "settings differ: busy: None before, 1 after" in said
    for row in (
        "| median | 10 | 15 | 1.500 |",
        "| gone | 1 | - | - |",
        "| new | - | 2 | - |",
        "| none | 0 | 0 | - |",
        "| same | 3 | 3 | 1.000 |",
    ):
        assert row in said
    assert "same" not in bench_compare.compare(run(), after, beyond=1.1)
    assert "new" not in bench_compare.compare(run(), after, only="median")


def test_runs_of_two_benchmarks_are_not_compared(tmp_path: Path) -> None:
    one, other, wrong = (tmp_path / name for name in ("one.json", "other.json", "wrong.json"))
    one.write_text(json.dumps(run()))
    other.write_text(json.dumps(run(bench="latency")))
    wrong.write_text("{}")

    def compare(*paths: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "benchmarks" / "compare.py"), *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert compare(one, one).returncode == 0
    done = compare(one, other)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("these are runs of two benchmarks, engine and latency")
    with pytest.raises(InputError, match="not what --json of a benchmark writes"):
        bench_compare.read(wrong)


def test_latencies_go_by_the_frame_and_count_what_is_missing() -> None:
    raw = [Published(start, 0, 100 * NS + start * NS) for start in range(4)]
    out = [
        Appeared(start, 100 * NS + start * NS + late * 1_000_000, cleaned)
        for start, late, cleaned in ((3, 40, True), (0, 10, True), (1, 20, False), (9, 5, True))
    ]
    assert bench_latency.latencies(raw, out) == {
        "median": 20,
        "p99": 40,
        "worst": 40,
        "frames": 4,
        "missing": 1,
        "not_cleaned": 1,
    }
    with pytest.raises(RuntimeError, match="none of the frames came out"):
        bench_latency.latencies(raw, [])


def test_the_start_ends_with_the_first_frame_that_is_cleaned() -> None:
    moments = {"imports": 3 * NS, "models": 4 * NS, "history": 6 * NS}
    seen = [Appeared(10, 7 * NS, False), Appeared(11, 8 * NS, True)]
    assert bench_latency.cold_start(NS, moments, seen) == {
        "imports": 2,
        "configuration and models": 1,
        "history": 2,
        "first frame": 1,
        "to the first fully cleaned frame": 7,
    }
    never = bench_latency.cold_start(NS, moments, seen[:1])
    assert never["to the first fully cleaned frame"] is None


def test_what_inotify_says_is_taken_apart() -> None:
    names = ["H-H1_DEEPCLEAN-1-1.gwf", "x"]
    events = b"".join(
        struct.pack("iIII", 1, 0x80, 0, length) + name.encode().ljust(length, b"\0")
        for name, length in zip(names, (32, 16), strict=True)
    )
    assert names_in(events) == names


def test_frames_are_published_and_seen_at_their_time(tmp_path: Path) -> None:
    """A writer's process renames, a watcher sees it; the moments are in order."""
    for directory in ("strain", "witnesses", "store/strain", "store/witnesses"):
        (tmp_path / directory).mkdir(parents=True)
    names = [f"H-H1_llhoft-{1000 + n}-1.gwf" for n in range(2)]
    for number, name in enumerate(names):
        bits = (State.CLEANED | State.SETTLED) if number else State.SETTLED
        state = Series(Span.of_seconds(1000 + number, 1), 16, np.full(16, bits, dtype=np.uint32))
        data = gwf.serialise(state.span, {STATE: OutputChannel(state)})
        (tmp_path / "store/strain" / name).write_bytes(data)
        (tmp_path / "store/witnesses" / name.replace("llhoft", "lldetchar")).touch()
    watcher = Watcher(tmp_path / "strain", "H1_llhoft", STATE)
    other = tmp_path / "strain" / "H-H1_other-1000-1.gwf"
    gwf.publish(other, b"of another description: does not count")
    writer = Writer(tmp_path, names, time.time_ns() - 100 * NS)  # all are due
    published = writer.published()
    limit = time.monotonic() + 20
    while len(watcher.seen) < 2:
        assert time.monotonic() < limit, "nothing was seen"
        time.sleep(0.005)  # for another thread
    assert [frame.start for frame in published] == [1000, 1001]
    assert [(frame.start, frame.cleaned) for frame in watcher.seen] == [(1000, 0), (1001, 1)]
    assert sorted(path.name for path in (tmp_path / "strain").iterdir()) == [*names, other.name]
    assert len(list((tmp_path / "witnesses").iterdir())) == 2
    for raw, out in zip(published, watcher.seen, strict=True):
        assert raw.due < raw.moment <= out.moment < raw.moment + 20 * NS


def test_the_daemon_has_the_services_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("OMP_DYNAMIC", "true")
    made = environment(["OMP_WAIT_POLICY=active", "A=b=c"])
    assert made["OMP_NUM_THREADS"] == "1"
    assert made["OMP_WAIT_POLICY"] == "active"
    assert made["A"] == "b=c"
    assert "OMP_DYNAMIC" not in made
    unit = (ROOT / "systemd" / "deepclean@.service").read_text()
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        assert f"{name}={environment([])[name]}" in unit


def test_a_widened_network_is_the_same_function() -> None:
    demo = models.load(ROOT / "models" / "H1" / "60Hz" / "1")
    ours = [7, 0, 3, 4, 5, 8]
    wide = widened(demo, 9, ours)
    inputs = torch.randn(2, 9, 512, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = wide(inputs), demo.predict(inputs[:, ours])
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.std())


def test_points_of_the_scaling_are_what_they_say(tmp_path: Path) -> None:
    config = configuration(tmp_path, Point(witnesses=18, couplings=16, strain_rate=20000, block=4))
    assert len(config.enabled_couplings) == 16
    assert len(config.witness_channels) == 16 * 18
    assert (config.strain.rate, config.engine.hop) == (20000, 4 * NS)


def options(**changed: Any) -> argparse.Namespace:
    plain = {"minutes": 0.1, "frame": Fraction(1), "set": [], "env": [], "under": ""}
    return argparse.Namespace(**{**plain, "busy": 0, "busy_under": "", **changed})


@pytest.mark.slow
def test_a_daemon_is_measured_under_a_stream(tmp_path: Path) -> None:
    figures = bench_latency.measure(tmp_path, options())
    latency = figures["latency_ms"]
    assert (latency["frames"], latency["missing"], latency["not_cleaned"]) == (6, 0, 0)
    assert 0 < latency["median"] <= latency["worst"] < 10_000
    stages = figures["cold_start_s"]
    whole = stages.pop("to the first fully cleaned frame")
    assert 0 < sum(stages.values()) <= whole + 1e-6
    assert 100 < figures["resident_mb"]["start"] <= figures["resident_mb"]["most"] < 1000


@pytest.mark.slow
def test_blocks_of_a_sixteenth_are_measured(tmp_path: Path) -> None:
    asked = options(minutes=0.02, frame=Fraction(1, 16), set=[*SHORT, "gate.enabled=false"])
    figures = bench_latency.measure_blocks(tmp_path, asked)
    latency = figures["latency_ms"]
    assert (latency["frames"], latency["missing"]) == (20, 0)
    assert figures["lookahead_ms"] < latency["median"] <= latency["worst"]
