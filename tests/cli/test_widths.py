"""Tables and lines fit the terminal: no line is longer than its columns."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepclean.cli import app
from tests.helpers import small_site as site
from tests.helpers import training_site
from tests.helpers.commands import Done, Run
from tests.helpers.site_runs import clean
from tests.helpers.small_site import START

SPAN = f"--start {training_site.START} --end {training_site.START + training_site.SECONDS}"

NARROW = 60

SMALL = {
    "config small.yaml": "Channels of a cleaned frame",
    "models list -c small.yaml": "60Hz",
    "models show -c small.yaml 60Hz": "receptive field",
    "models verify -c small.yaml": "good",
    "models diff -c small.yaml 60Hz 1 2": "difference of the weights",
    "models log -c small.yaml 60Hz": "why",
    "status -c small.yaml": "the ledger is",
    "inspect cleaned/{frame}": "not ",
    "check -c small.yaml": "->",
    "simulate --list-faults": "KIND",
    "control -c small.yaml --list": "nothing is set",
    "init strain witnesses -o other.yaml": "until GPS",
    "segments cleaned -o out.h5": "DEEPCLEAN-GOOD:1",
}
"""Commands, each with a part of what it prints."""

PRINTED_COMMANDS = ("pictures: deepclean", "deepclean ")
"""Beginnings of lines that hold a command: folded they would not run as printed."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from deepclean.core.accounting import Ledger
    from deepclean.models.store import changes as store
    from deepclean.telemetry import status_file

    place = tmp_path_factory.mktemp("site")
    config = site.make_site(place, seconds=8)
    site.publish_model(config, 2)
    directory = config.models.directory / "H1" / "60Hz"
    why = "because it cleans better than version 2 did over all of the night before"
    store.promote(directory, 1, lambda path: None, why)
    clean(config, START + 2, START + 5, config.output.directory)
    path = status_file.path_in(config.output.directory, config.output.description)
    figures = {"gain": 1.0, "gate": "open", "asd_ratio": 0.9, "amplitude": 1.0, "phase": 0.1}
    latency = {"last": 1.0, "median": 1.0, "worst": 1.2, "frames": 300}
    ledger = Ledger(frames_in=5, last_in=START * 10**9, last_out=START * 10**9)
    ledger.written["cleaned"] = 5
    status_file.StatusFile(
        *(path, site.FakeClock(), lambda: {"60Hz": "2"}, lambda: {"60Hz": figures}),
        lambda: {"latency": latency},
    ).write(ledger)
    return place


def assert_fits(done: Done, columns: int) -> None:
    """Assert that no line is longer than the terminal, but those that hold a command."""
    lines = [
        line for line in done.stdout.splitlines() if not line.strip().startswith(PRINTED_COMMANDS)
    ]
    assert lines
    # A path that is longer than the terminal is not broken.
    assert [line for line in lines if len(line) > columns and len(line.split()) > 1] == []


@pytest.mark.parametrize(
    ("command", "columns"),
    [*((command, NARROW) for command in SMALL), ("models list -c small.yaml", 80)],
)
def test_a_command_fits_the_terminal(
    deepclean: Run, place: Path, command: str, columns: int
) -> None:
    frame = f"H-H1_DEEPCLEAN-{START + 3}-1.gwf"
    (place / "other.yaml").unlink(missing_ok=True)
    done = deepclean(place, command.format(frame=frame), COLUMNS=str(columns))
    assert done.returncode in (0, 3), done.stderr
    assert SMALL[command] in " ".join(done.stdout.split())
    if not command.startswith("config"):  # whose first part is a file, to be written as it is
        assert_fits(done, columns)
    else:
        tables = done.stdout[done.stdout.index("Look-ahead by stage") :]
        assert_fits(Done(0, tables, ""), columns)


@pytest.mark.slow
def test_training_and_search_fit_the_terminal(
    deepclean: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = NARROW
    training_site.make_site(tmp_path)
    monkeypatch.setenv("COLUMNS", str(columns))
    command = f"train -c toy.yaml 30Hz {SPAN} --architecture wiener"
    done = deepclean(tmp_path, command).good()
    assert "gate" in done.stdout
    assert_fits(done, columns)
    searched = deepclean(tmp_path, f"witnesses -c toy.yaml --coupling 30Hz {SPAN} --joint 2").good()
    assert_fits(searched, columns)


def test_in_a_pipe_lines_are_whole(deepclean: Run, place: Path) -> None:
    lines = deepclean(place, "status -c small.yaml").stdout.splitlines()
    assert len(lines) == 8
    assert max(map(len, lines)) > 80


def test_in_a_pipe_tables_are_as_wide_as_they_need(
    deepclean: Run, place: Path, tmp_path: Path
) -> None:
    found = deepclean(place, "check -c small.yaml").stdout.splitlines()
    assert {line.split()[0] for line in found} <= {"ok", "warning", "FAULT", "->"}
    far = tmp_path / ("a" * 60) / ("b" * 60)
    far.mkdir(parents=True)
    shutil.copytree(place / "strain", far / "strain")
    done = deepclean(place, f"init {far}/strain witnesses -o {tmp_path}/other.yaml")
    assert f"{far}/strain/*-H1_llhoft-*.gwf" in done.stdout
    listed = deepclean(place, "models list -c small.yaml").stdout.splitlines()
    whole = deepclean(place, "models list -c small.yaml", COLUMNS="500").stdout.splitlines()
    assert [line.rstrip() for line in listed] == [line.rstrip() for line in whole]


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_help_is_folded_once(columns: int) -> None:
    """No line of a description ends before the next word would have to go to another line."""
    shown = CliRunner().invoke(app, ["replay", "--help"], env={"COLUMNS": str(columns)})
    lines = shown.output.partition("Options")[0].splitlines()
    said = [line.strip() for line in lines if not line.startswith(" Usage")][:-1]
    for line, following in pairwise(said):
        if line and following:
            word = following.split()[0]
            assert len(f" {line} {word} ") > columns, (line, word)
