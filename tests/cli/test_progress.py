"""Progress where there is no terminal: a line a minute, with the fraction and the time left."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest

from deepclean.cli.terminal.progress import CommandProgress, ProgressLines, progress
from tests.helpers.small_site import FakeClock


def test_a_line_a_minute_with_the_time_left() -> None:
    clock, stream = FakeClock(), io.StringIO()
    shown = CommandProgress("replay", 1000, "s", ProgressLines(clock, stream))
    for _ in range(100):
        clock.wait(3.0)
        shown.advance(5)
    assert stream.getvalue().splitlines() == [
        "replay: 10%, 100 of 1000 s, 9 min 0 s left",
        "replay: 20%, 200 of 1000 s, 8 min 0 s left",
        "replay: 30%, 300 of 1000 s, 7 min 0 s left",
        "replay: 40%, 400 of 1000 s, 6 min 0 s left",
        "replay: 50%, 500 of 1000 s, 5 min 0 s left",
    ]


def test_what_was_there_before_takes_no_time() -> None:
    clock, stream = FakeClock(), io.StringIO()
    shown = CommandProgress("replay", 1000, "s", ProgressLines(clock, stream))
    clock.wait(50.0)
    shown.begin("replay", 1000, 800)  # finished by an earlier call
    clock.wait(60.0)
    shown.advance(100)
    assert stream.getvalue() == "replay: 90%, 900 of 1000 s, 1 min 0 s left\n"


def test_a_new_part_begins_anew() -> None:
    clock, stream = FakeClock(), io.StringIO()
    shown = CommandProgress("reading", None, "batches", ProgressLines(clock, stream))
    clock.wait(70.0)
    shown.advance()
    clock.wait(30.0)
    shown.begin("epoch 0 of 2", 400)
    clock.wait(60.0)
    shown.reach(200, 400, "epoch 1 of 2")
    shown.say("epoch 1  loss 0.5")
    assert stream.getvalue().splitlines() == [
        "reading: 1 min 10 s so far",
        "epoch 1 of 2: 50%, 200 of 400 batches, 1 min 0 s left",
        "epoch 1  loss 0.5",
    ]


def test_short_work_says_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()
    with progress("replay", 10, "s", clock) as shown:
        for _ in range(10):
            clock.wait(5.0)
            shown.advance()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar() -> None:
    code = (
        "from deepclean.cli.terminal.progress import progress\n"
        "with progress('replay', 10, 's') as shown:\n"
        "    shown.reach(5)\n"
        "    print('said beside it')\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        check=True,
        env=environment,
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "replay" in shown
    assert "50%" in shown
    assert "5 of 10 s" in shown
    assert done.stdout == "said beside it\n"
