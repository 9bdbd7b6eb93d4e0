"""Faults as they are asked for: a random mix, a text, the command line; and a daemon under them."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import pytest

from deepclean.core.time import Span
from deepclean.errors import ConfigError
from deepclean.io import gwf
from deepclean.simulate import Fault, Layout, Simulator, Site, random_faults, site_of, stream
from deepclean.simulate import write_history as history
from deepclean.simulate.faults import KINDS, FaultSchedule
from deepclean.telemetry import status_file
from tests.helpers import rehearsal_run, small_site
from tests.helpers.commands import Run
from tests.helpers.rehearsal_run import GPS, SPAN, Streamed, fault
from tests.helpers.site_runs import COMMAND, daemon, is_written, stop, until
from tests.helpers.small_site import START, FakeClock

site = rehearsal_run.site


# A random mix.


def test_which_fault_hits_which_second_does_not_depend_on_the_span(site: Site) -> None:
    whole = random_faults(3, 200, Span.of_seconds(GPS, 2000), site)
    assert whole == random_faults(3, 200, Span.of_seconds(GPS, 2000), site)
    assert whole != random_faults(4, 200, Span.of_seconds(GPS, 2000), site)
    for start in range(70, 1900, 60):
        part = Span.of_seconds(GPS + start, 20)
        shared = tuple(one for one in whole if one.span.overlap(part))
        assert random_faults(3, 200, part, site) == shared


def test_random_faults_are_as_many_as_asked_and_of_every_kind(site: Site) -> None:
    span = Span.of_seconds(GPS, 8000)
    begun = [one for one in random_faults(0, 50, span, site) if span.start <= one.span.start]
    assert abs(len(begun) - 400) < 4 * math.sqrt(400)
    assert {one.kind for one in begun} == set(KINDS)
    assert {one.target for one in begun} == {
        *("strain", "witnesses", "both", "state"),
        *(witness.channel for witness in site.witnesses),
    }
    FaultSchedule(begun, site)
    still = random_faults(0, 50, span, site, live=False)
    assert [one for one in begun if not KINDS[one.kind].live] == [
        one for one in still if span.start <= one.span.start
    ]
    assert random_faults(0, 0, span, site) == ()


def test_random_faults_repeat_byte_for_byte(site: Site, tmp_path: Path) -> None:
    streamed = Streamed(site, tmp_path)
    span = Span.of_seconds(GPS, 20)
    faults = random_faults(1, 300, span, site)
    assert len(faults) >= 4
    first, second = (streamed(*faults, span=span) for _ in range(2))
    assert [seen[:3] for seen in first] == [seen[:3] for seen in second]


# What is refused.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", r"fault nothing: expected KIND\[:TARGET\]@GPS\[\+SECONDS\]"),
        ("missing@soon", "expected KIND"),
        ("mising@+2", "no kind mising; did you mean missing[?]; there are missing, outage, late"),
        ("missing@+2+0", "a span must end after it starts"),
        ("missing@1.2.3", "not a time in seconds: '1.2.3'"),
        ("missing@+6", "does not begin within"),
        (f"missing@{GPS - 1}", "does not begin within"),
    ],
)
def test_text_that_is_no_fault_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        fault(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("missing:strian@+2", "acts on files; its target is strain or witnesses or both"),
        ("missing:FAST@+2", "acts on files"),
        ("nan:FASTT@+2", "no channel FASTT; did you mean FAST[?]"),
        ("nan:witneses@+2", "no channel witneses; did you mean witnesses[?]"),
        ("nan:state@+2", "the state vector has faults of its own"),
        ("not_ready:strain@+2", "its target is state"),
    ],
)
def test_unknown_target_writes_nothing(site: Site, tmp_path: Path, text: str, said: str) -> None:
    layout = Layout(strain=tmp_path / "strain")
    made = [fault(text), Fault("rot", SPAN, "strain")]
    with pytest.raises(ConfigError, match=said) as caught:
        stream(Simulator(site), layout, SPAN, FakeClock(), faults=made)
    assert len(caught.value.faults) == 2
    assert "no kind rot" in caught.value.faults[1]
    assert not layout.strain.exists()


@pytest.mark.parametrize("rate", [-1.0, 1001.0, math.nan])
def test_rate_out_of_range_is_refused(site: Site, rate: float) -> None:
    with pytest.raises(ConfigError, match="fault rate"):
        random_faults(0, rate, SPAN, site)


def test_history_takes_only_faults_that_need_no_time(site: Site, tmp_path: Path) -> None:
    timed = [Fault(kind, SPAN, "strain") for kind in KINDS if KINDS[kind].acts_on == "file"]
    with pytest.raises(
        ConfigError, match=r"--live.* deleted, duplicate, late, partial, reordered$"
    ):
        history(Simulator(site), Layout(strain=tmp_path), SPAN, faults=timed)
    paths = history(
        Simulator(site),
        Layout(strain=tmp_path),
        SPAN,
        faults=[fault("missing@+2"), fault("foreign@+3")],
    )
    assert len([path for path in paths if path.exists()]) == 5 + 4


# The command line.


SIMULATE = f"simulate -c small.yaml --start {START} --end {START + 8}"


def test_table_of_faults_needs_no_configuration(deepclean: Run, tmp_path: Path) -> None:
    done = deepclean(tmp_path, "simulate --list-faults", COLUMNS="80").good()
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    listed = [line.split()[0] for line in lines[1 : lines.index("")] if line[0] != " "]
    assert [word.rstrip("*") for word in listed] == list(KINDS)
    assert [word[:-1] for word in listed if word[-1] == "*"] == [
        name for name, kind in KINDS.items() if kind.live
    ]


def test_every_wrong_fault_is_named(deepclean: Run, tmp_path: Path) -> None:
    small_site.small_config(tmp_path)
    done = deepclean(tmp_path, f"{SIMULATE} --fault mising@+2 --fault missing@+9")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("deepclean: fault mising@+2: no kind mising; did you mean missing?")
    assert second.startswith("deepclean: fault missing@+9: does not begin within")
    assert not (tmp_path / "strain").exists()


@pytest.mark.slow
def test_faults_are_said_and_happen(deepclean: Run, tmp_path: Path) -> None:
    small_site.small_config(tmp_path)
    done = deepclean(tmp_path, f"{SIMULATE} --fault missing@+2+2 --fault nan:FAST@{START + 1}.5")
    (*faults, written) = done.stdout.splitlines()
    assert faults == [f"fault nan:FAST@{START + 1}.5+1", f"fault missing:strain@{START + 2}+2"]
    assert written.startswith(
        f"6 files in {tmp_path / 'strain'}, 8 files in {tmp_path / 'witnesses'}: GPS {START} to "
    )
    assert len(list((tmp_path / "strain").iterdir())) == 6
    done = deepclean(tmp_path, f"{SIMULATE} --live --speed inf --fault-rate 500 --seed 2")
    span = Span.of_seconds(START, 8)
    made = random_faults(2, 500, span, site_of(small_site.small_config(tmp_path), seed=2))
    said = [line.removeprefix("fault ") for line in done.stdout.splitlines()[:-1]]
    assert said == [str(one) for one in sorted(made, key=lambda one: one.span.start)]
    assert said


# A daemon under faults.


@pytest.mark.slow
def test_daemon_cleans_on_under_faults(tmp_path: Path) -> None:
    config = small_site.small_config(tmp_path, "input.deadline=0.5")
    made = site_of(config)
    small_site.publish_model(config, rates={w.channel: w.rate for w in made.witnesses})
    file = str(tmp_path / "small.yaml")
    first, end = START + 4, START + 24
    layout = Layout(strain=tmp_path / "strain", witnesses=tmp_path / "witnesses")
    list(history(Simulator(made), layout, Span.of_seconds(START, 4)))
    asked = (
        "foreign@+2 missing@+5 truncated:strain@+7 nan:FAST@+10 missing:witnesses@+14 "
        "reordered@+16 duplicate@+1 partial@+12"
    )
    faults = [word for text in asked.split() for word in ("--fault", text)]
    span = ["--start", str(first), "--end", str(end), "--live", "--speed", "4"]
    span += ["--set", "input.deadline=0.5"]
    with daemon(config, tmp_path / "log", deadline=0.5) as process:
        subprocess.run([*COMMAND, "simulate", "-c", file, *span, *faults], check=True)
        until(lambda: is_written(config, end - 1), process)
        stop(process)
    written = {path.name for path in config.output.directory.glob("*.gwf")}
    lost = {first + 5, first + 7}
    assert written == {f"H-H1_DEEPCLEAN-{s}-1.gwf" for s in range(START + 3, end) if s not in lost}
    for name in written:
        path = config.output.directory / name
        gwf.read(path, list(gwf.channels(path)), checksum=True)
    path = status_file.path_in(config.output.directory, config.output.description)
    ledger = json.loads(path.read_text())["ledger"]
    assert ledger["gaps"] == {"strain_missing": 1, "strain_unreadable": 1}
    assert ledger["frames_in"] == sum(ledger["written"].values()) == len(written)
    reduced = {reason for reason, count in ledger["written"].items() if count} - {"cleaned"}
    assert reduced >= {"missing", "witness_nonfinite"}
