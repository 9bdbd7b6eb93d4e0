"""What the benchmarks make of what they measure, and that they can be called as documented."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import struct
import subprocess
import sys
import time
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import compare as bench_compare
from benchmarks import latency as bench_latency
from benchmarks.common import CONFIGURATIONS, ROOT, flat, line_fit, percentile, spread, table
from benchmarks.engine import clean, per_second, prepare
from benchmarks.gpu import faults as gpu_faults
from benchmarks.gpu import measure as gpu_measure
from benchmarks.gpu.__main__ import checks
from benchmarks.processes import service_env
from benchmarks.scaling import Point, configuration
from benchmarks.site import SIXTEENTHS, widened
from benchmarks.stream import InputMoment, OutputMoment, Watcher, Writer, latencies, names_in
from deepclean.config import load
from deepclean.core.block import Series
from deepclean.core.output.products import State
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.models import files as models

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
    expected = {"slope": 0.5, "intercept": 3, "r2": 1, "worst": 0}
    assert straight == pytest.approx(expected, abs=1e-12)
    bent = line_fit([0, 1, 2], [0.0, 1.0, 4.0])  # line -1/3 + 2x: 1/3, -2/3, 1/3 off
    expected = {"slope": 2, "intercept": -1 / 3, "r2": 1 - (6 / 9) / (26 / 3), "worst": 2 / 3 / 4}
    assert bent == pytest.approx(expected)
    assert line_fit([1, 2], [5.0, 5.0])["r2"] == 1


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
    said = bench_compare.compare([run(), after])
    assert "before: 2 cores (x), load 0.1 before and 7.5 after" in said
    assert "settings differ: busy: None, 1" in said
    for row in (
        "| median | 10 | 15 | 1.500 |",
        "| gone | 1 | - | - |",
        "| new | - | 2 | - |",
        "| none | 0 | 0 | - |",
        "| same | 3 | 3 | 1.000 |",
    ):
        assert row in said
    assert "same" not in bench_compare.compare([run(), after], beyond=1.1)
    assert "new" not in bench_compare.compare([run(), after], only="median")
    assert "| median | 10 | 10 | 15 | 1.500 |" in bench_compare.compare([run(), run(), after])


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
    assert done.stderr.startswith("these are runs of engine and latency; compare those of one")
    with pytest.raises(InputError, match="not what --json of a benchmark writes"):
        bench_compare.read(wrong)


def test_latencies_go_by_the_frame_and_count_what_is_missing() -> None:
    raw = [InputMoment(start, 0, 100 * NS + start * NS) for start in range(4)]
    out = [
        OutputMoment(start, 100 * NS + start * NS + late * 1_000_000, cleaned)
        for start, late, cleaned in ((3, 40, True), (0, 10, True), (1, 20, False), (9, 5, True))
    ]
    assert latencies(raw, out) == {
        "median": 20,
        "p99": 40,
        "worst": 40,
        "frames": 4,
        "missing": 1,
        "not_cleaned": 1,
    }
    with pytest.raises(RuntimeError, match="none of the frames came out"):
        latencies(raw, [])


def test_the_start_ends_with_the_first_frame_that_is_cleaned() -> None:
    moments = {"imports": 3 * NS, "models": 4 * NS, "history": 6 * NS}
    seen = [OutputMoment(10, 7 * NS, False), OutputMoment(11, 8 * NS, True)]
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
    with Writer(tmp_path, time.time_ns() - 100 * NS) as writer:  # all are due
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
    made = service_env(["OMP_WAIT_POLICY=active", "A=b=c"])
    assert made["OMP_NUM_THREADS"] == "1"
    assert made["OMP_WAIT_POLICY"] == "active"
    assert made["A"] == "b=c"
    assert "OMP_DYNAMIC" not in made
    unit = (ROOT / "systemd" / "deepclean@.service").read_text()
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        assert f"{name}={service_env([])[name]}" in unit


def test_a_widened_network_is_the_same_function() -> None:
    demo = models.load(ROOT / "models" / "H1" / "60Hz" / "1")
    ours = [7, 0, 3, 4, 5, 8]
    wide = widened(demo, 9, ours)
    inputs = torch.randn(2, 9, 512, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = wide(inputs), demo.predict(inputs[:, ours])
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.std())


def test_points_of_the_scaling_are_what_they_say(tmp_path: Path) -> None:
    point = Point(witnesses=18, couplings=16, strain_rate=20000, block=4)
    config = load(configuration(tmp_path, point), environ={})
    assert len(config.enabled_couplings) == 16
    assert len(config.witness_channels) == 16 * 18
    assert (config.strain.rate, config.engine.hop) == (20000, 4 * NS)


def test_the_stages_add_up_to_the_frame(tmp_path: Path) -> None:
    """Every stage is found in the code, and little is done outside of them."""
    figures = clean(*prepare("1", tmp_path, 12), 12)
    stages = figures["stages_ms_per_s"]
    assert {"read", "take in", "resample", "predict", "bandpass", "write"} < stages.keys()
    assert all(spent >= 0 for spent in stages.values())
    whole = figures["computing_ms_per_s"] + stages["read"] + stages["write"]
    assert sum(stages.values()) > 0.8 * whole  # both of processor time


PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *(ROOT / "docs").glob("*.md")]
COMMANDS = {
    command
    for page in PAGES
    for command in re.findall(
        r"^    (?:sudo )?(?:\./)?((?:scripts|benchmarks)/\S+)", page.read_text(), re.MULTILINE
    )
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_what_a_page_calls_can_be_called(command: str) -> None:
    path = ROOT / command
    assert os.access(path, os.X_OK), "no run bit"
    assert path.read_text().startswith("#!/usr/bin/env "), "no interpreter"


def test_pages_call_the_benchmarks() -> None:
    found = {Path(command).name for command in COMMANDS}
    assert {"engine.py", "latency.py", "scaling.py", "demo", "install-service"} <= found


@pytest.mark.parametrize("folder", ["benchmarks", "scripts"])
def test_no_module_is_imported_in_a_circle(folder: str) -> None:
    """Imports inside functions count as well."""
    needs: dict[str, set[str]] = {}
    for path in (ROOT / folder).glob("*.py"):
        found = set[str]()
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.ImportFrom(module=module, names=names) if module == folder:
                    found |= {name.name for name in names}
                case ast.ImportFrom(module=str(module)) if module.startswith(f"{folder}."):
                    found.add(module.removeprefix(f"{folder}."))
        needs[path.stem] = found
    while ready := {name for name, wanted in needs.items() if not wanted & needs.keys()}:
        needs = {name: wanted for name, wanted in needs.items() if name not in ready}
    assert not needs, "a circle, or what imports one"


def test_benchmarks_need_tests_only_for_the_gates_cases_and_the_broker() -> None:
    needy = {p.name for p in (ROOT / "benchmarks").glob("*.py") if "from tests" in p.read_text()}
    assert needy == {"arrakis.py", "gate.py"}


def options(**changed: Any) -> argparse.Namespace:
    plain = {"minutes": 0.1, "frame": Fraction(1), "set": [], "env": [], "under": ""}
    plain |= {"configuration": CONFIGURATIONS / "H1.yaml"}
    return argparse.Namespace(**{**plain, "busy": 0, "busy_under": "", **changed})


ON_A_GPU_MACHINE = (
    "numpy scipy h5py safetensors packaging typing_extensions "  # with torch and what it needs
    "torch torchgen functorch sympy mpmath networkx jinja2 markupsafe filelock fsspec setuptools "
    "gwframe igwn_segments pydantic pydantic_core annotated_types typing_inspection ruamel ignite"
).split()
"""The packages that `python -m benchmarks.gpu` may rest on: its docstring names them."""


@pytest.mark.slow
def test_the_gpus_script_needs_little_and_runs_on_a_cpu(tmp_path: Path) -> None:
    little = tmp_path / "site-packages"
    little.mkdir()
    for path in Path(np.__file__).parents[1].iterdir():
        if re.split(r"[.-]", path.name)[0] in ON_A_GPU_MACHINE:
            (little / path.name).symlink_to(path)
    options = ["--quick", "--device", "cpu", "--json", str(tmp_path / "gpu.json")]
    # The interpreter beneath the virtual environment, without packages of its own.
    command = [sys._base_executable, "-S", "-m", "benchmarks.gpu", *options]  # type: ignore[attr-defined]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{little}"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the device: the CPU" in done.stdout
    assert "FAILED" not in done.stdout
    figures = bench_compare.read(tmp_path / "gpu.json")["figures"]
    assert len(figures["checks"]) == 8
    assert all(figures["checks"].values())
    cpu, device = figures["cpu"], figures["device"]
    assert cpu.keys() < device.keys()
    assert device["difference from the CPU's, worst (rms = 1)"] == 0
    for name, ms in cpu.items():
        assert ms > 0 or name.startswith("resampling and bandpass: difference"), name
    assert "21 witnesses, network alone, half the time steps, median (ms)" in cpu


@pytest.mark.slow
def test_the_gpus_checks_see_what_does_not_happen(tmp_path: Path) -> None:
    """A device that keeps its memory and is not lost passes no check of its faults."""
    good = {
        "difference from the CPU's, worst (rms = 1)": 1e-5,
        "difference from the CPU's, rms (rms = 1)": 1e-6,
        "version after it": 2,
        "resampling and bandpass: difference, worst (rms = 1)": 1e-12,
    }
    found = gpu_faults.out_of_memory(tmp_path / "short", "cpu:0", lambda _: nullcontext())
    found |= gpu_faults.lost(tmp_path / "lost", "cpu:0", lambda _: nullcontext())
    told = list(checks(good | found).values())
    assert told == [True, True, True, False, True, False, False, True]
    off = dict.fromkeys(good, 1e-3)
    told = list(checks(off | found).values())
    assert told == [False] * 3 + [False, True, False, False, False]
    apart = gpu_measure.difference(np.array([3.0, -4.002]), np.array([3.0, -4.0]))
    assert apart == pytest.approx({"worst": 5.657e-4, "rms": 4e-4}, rel=1e-3)  # the rms is 3.5355


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
    asked = options(minutes=0.02, frame=Fraction(1, 16), set=["gate.enabled=false"])
    asked.configuration = SIXTEENTHS
    figures = bench_latency.measure_blocks(tmp_path, asked)
    latency = figures["latency_ms"]
    assert (latency["frames"], latency["missing"]) == (20, 0)
    assert figures["lookahead_ms"] < latency["median"] <= latency["worst"]
