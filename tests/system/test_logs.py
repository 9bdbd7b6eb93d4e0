"""What the log looks like under systemd's journal, and elsewhere."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from deepclean.system.logs import LibraryLines

SCRIPT = """
import logging
from deepclean.system import logs
logs.configure("DEBUG", {style!r})
log = logging.getLogger("deepclean.test")
log.debug("d"); log.info("i"); log.warning("w")
try:
    raise ValueError("bad")
except ValueError:
    log.exception("e")
logs.complain("one\\ntwo")
"""

LIBRARY = """
import logging
from deepclean.system import logs
logs.configure("INFO", "text")
log = logging.getLogger("arrakis")
log.info("of no interest")
for k in range(40):
    log.warning("%s (%s): no data since GPS %.3f (3.1 s)", "H1:FAST", b"\\n\\xc6{'a': 1}", 7e8 + k)
log.warning("x" * 1000)
"""


def logged(path: Path, style: str, *, journal: bool) -> list[str]:
    """Return the lines of a process whose standard error is a file, which may be the journal's."""
    with path.open("wb") as file:
        status = os.fstat(file.fileno())
        stream = f"{status.st_dev}:{status.st_ino + (not journal)}"
        subprocess.run(
            [sys.executable, "-c", SCRIPT.format(style=style)],
            stderr=file,
            env={**os.environ, "JOURNAL_STREAM": stream},
            check=True,
        )
    return path.read_text().splitlines()


def test_lines_of_a_library_are_readable_and_limited(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY], capture_output=True, text=True, check=True
    )
    first, second = done.stderr.splitlines()
    assert first.endswith(" WARNING arrakis: H1:FAST: no data since GPS 700000000.000 (3.1 s)"), (
        first
    )
    assert second.endswith("x" * 300 + "...")
    assert len(second) < 350


def test_what_was_held_back_is_said_after_a_minute() -> None:
    now = [0.0]
    lines = LibraryLines(lambda: now[0])
    said = []
    for second in (0.0, 1.0, 59.0, 61.0, 62.0):
        now[0] = second
        record = logging.LogRecord("arrakis", 30, "", 0, "late by %d s", (int(second),), None)
        if lines.filter(record):
            said.append(record.getMessage())
    assert said == [
        "arrakis: late by 0 s",
        "arrakis: late by 61 s (2 more like this in the meantime)",
    ]


def test_the_journal_learns_priorities_of_every_line(tmp_path: Path) -> None:
    lines = logged(tmp_path / "log", "text", journal=True)
    assert lines[:4] == ["<7>d", "<6>i", "<4>w", "<3>e"]
    assert lines[4] == "<3>Traceback (most recent call last):"
    assert lines[-2:] == ["<3>deepclean: one", "<3>deepclean: two"]
    assert all(line.startswith("<3>") for line in lines[3:])


def test_json_lines_have_them_too(tmp_path: Path) -> None:
    lines = logged(tmp_path / "log", "json", journal=True)
    assert [line[:4] for line in lines[:4]] == ["<7>{", "<6>{", "<4>{", "<3>{"]


def test_elsewhere_lines_have_their_time(tmp_path: Path) -> None:
    """A service's child whose output goes to a file inherits the variable too."""
    lines = logged(tmp_path / "log", "text", journal=False)
    assert lines[1].endswith(" INFO    i")
    assert not any(line.startswith("<") for line in lines)
    assert lines[-1] == "deepclean: two"
