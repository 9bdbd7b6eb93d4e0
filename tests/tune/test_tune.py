"""A search finds planted witnesses, by several processes, and goes on where it was killed."""

from __future__ import annotations

import csv
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepclean.errors import ConfigError
from deepclean.models.store.versions import read_pointer
from deepclean.tune.study import StudyDirectory, library
from tests.helpers import tuned_site as site
from tests.helpers.commands import Run
from tests.helpers.tuned_site import PLANTED, SPAN

pytest.importorskip("optuna", reason="needs the extra tune")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    site.make_site(tmp_path)
    return tmp_path


def rows(study: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((study / "trials.csv").read_text().splitlines()))


def best(study: Path) -> dict[str, str]:
    return min(rows(study), key=lambda row: float(row["ratio"]))


def planted(row: dict[str, str]) -> bool:
    """Tell whether a trial used all of the planted witnesses."""
    return all(row[f"use {name}"] == "True" for name in PLANTED)


@pytest.mark.slow
def test_planted_witnesses_are_found(place: Path, deepclean: Run) -> None:
    done = deepclean(place, f"tune {SPAN} 30Hz --trials 12").good()
    assert "12 of 12 trials done" in done.stdout
    assert planted(best(place / "tune-30Hz"))
    ratios = re.search(
        r"no trial has seen: (\S+), as configured (\S+); better by (\S+)", done.stdout
    )
    assert ratios is not None
    found, as_is, sigma = map(float, ratios.groups())
    assert found < 0.5
    assert as_is > 0.8
    assert sigma > 5
    assert not (place / "models").exists()
    # The printed command trains it, and the version is what the trial was.
    command = re.search(r"train it with\n  deepclean (.*)\n", done.stdout)
    assert command is not None
    deepclean(place, command[1]).good()
    assert read_pointer(place / "models/H1/30Hz", "production") == 1
    manifest = (place / "models/H1/30Hz/1/manifest.json").read_text()
    assert all(f'"{name}"' in manifest for name in PLANTED)


@pytest.mark.slow
def test_report_needs_no_network(place: Path, deepclean: Run) -> None:
    deepclean(place, f"tune {SPAN} 30Hz --trials 3 --set tune.edges=1 --study search").good()
    page = (place / "search/index.html").read_text()
    assert not re.search(r"https?://|<script|src=|@import|url\(", page)
    for said in ("3 trials", "--set couplings.30Hz", "What mattered", "wider below of 25-35 Hz"):
        assert said in page
    table = rows(place / "search")
    assert [row["trial"] for row in table] == ["0", "1", "2"]
    assert all(f"<td>{row['trial']}</td>" in page for row in table)
    # The judged bands are the widest that a trial may have.
    assert "24 to 36 Hz" in page


@pytest.mark.slow
def test_search_goes_on(place: Path, deepclean: Run) -> None:
    deepclean(place, f"tune {SPAN} 30Hz --trials 2").good()
    before = rows(place / "tune-30Hz")
    stopped = deepclean(place, f"tune {SPAN} 30Hz --trials 4 --timeout 0")
    assert stopped.returncode == 1
    assert "2 of 4 trials done" in stopped.stdout
    deepclean(place, "shards tune-30Hz").refused(status=1)
    deepclean(place, f"tune {SPAN} 30Hz --trials 4").good()
    assert rows(place / "tune-30Hz")[:2] == before
    assert "4 of 4 trials done" in deepclean(place, "shards tune-30Hz").good().stdout
    deepclean(place, f"tune {SPAN} 30Hz --set tune.seed=5").refused("another configuration")
    deepclean(place, f"tune {SPAN} 33Hz").refused("no coupling 33Hz")


def test_interrupted_trial_is_done_again(place: Path, deepclean: Run) -> None:
    deepclean(place, f"tune {SPAN} 30Hz --trials 1").good()
    directory = StudyDirectory.open(place / "tune-30Hz")
    study = directory.study()

    def begin(wanted: int) -> dict[str, Any]:
        with directory.next_trial(study, wanted) as trial:
            assert trial is not None
            # Another process sees it at work: it counts, and no point is tried twice.
            other = StudyDirectory.open(place / "tune-30Hz")
            with other.next_trial(other.study(1), wanted) as second:
                assert second is None
            return dict(trial.params)

    point = begin(2)  # it ends without a result, as if it were killed
    deepclean(place, f"tune {SPAN} 30Hz --trials 2").good()
    states = [(each.state.name, each.params) for each in study.get_trials()]
    assert states[1:] == [("FAIL", point), ("COMPLETE", point)]


@pytest.mark.slow
def test_one_point_is_not_trained_twice(place: Path, deepclean: Run) -> None:
    """There are seven sets of three witnesses, and the empty one."""
    deepclean(place, f"tune {SPAN} 30Hz --trials 20").good()
    table = rows(place / "tune-30Hz")
    new = [row for row in table if not row["same_as"]]
    assert len(new) <= 8 < len(table)
    value = {row["trial"]: row["ratio"] for row in table}
    assert all(row["ratio"] == value[row["same_as"]] for row in table if row["same_as"])


def test_what_cannot_be_searched_is_refused(place: Path, deepclean: Run) -> None:
    deepclean(place, f"tune {SPAN} 30Hz --set tune.witnesses=[NOWHERE]").refused("H1:NOWHERE")
    deepclean(place, f"tune {SPAN} 30Hz --set tune.held_out=0.05").refused("tune.held_out: 10 s")
    deepclean(place, "shards .").refused("no plan can be read")
    assert not (place / "tune-30Hz").exists()


def test_missing_optuna_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"deepclean-production\[tune\]"):
        library()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_search_of_two_processes_goes_on(place: Path) -> None:
    """All processes are killed in the midst of trials; repeated, the search has each trial once."""
    words = [sys.executable, "-m", "deepclean", "tune", *shlex.split(SPAN), "30Hz"]
    words += ["--jobs", "2", "--trials", "14", "--set", "tune.edges=2"]
    seen: dict[str, str] = {}
    with subprocess.Popen(
        words, cwd=place, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.match(r"process \d  trial (\d+): ASD ratio (\S+)", line)
            if found is not None:
                seen[found[1]] = found[2].rstrip(",")
            if len(seen) == 4:
                os.killpg(process.pid, signal.SIGKILL)
                break
    study = place / "tune-30Hz"
    assert not (study / "trials.csv").exists()
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 of 14 trials done" in done.stdout
    assert {line.split()[1] for line in done.stdout.splitlines() if "  trial " in line} == {
        "1",
        "2",
    }
    table = rows(study)
    assert len(table) == 14
    kept = {row["trial"]: f"{float(row['ratio']):.4f}" for row in table}
    assert seen.items() <= kept.items()
    # Which points two processes try rests on their timing, so the best one is not foretold here.
    trials = StudyDirectory.open(study).study().get_trials()
    failed = [each.params for each in trials if each.state.name == "FAIL"]
    finished = [each.params for each in trials if each.state.name == "COMPLETE"]
    assert failed  # they were killed in the midst of trials
    # One that was killed while its point was chosen has a part of it.
    assert all(any(point.items() <= done.items() for done in finished) for point in failed)
