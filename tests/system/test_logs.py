"""What the log looks like under systemd's journal, and elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
