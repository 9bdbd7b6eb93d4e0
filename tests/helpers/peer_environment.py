"""The environment of real peers that scripts/peers-env makes, and programs that run in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).resolve().parents[1] / "peers"
VARIABLE = "DEEPCLEAN_TEST_PEERS"
"""Names the Python of that environment, where it is not the one beside this software."""

# gpstime, which the peers import, fetches a table of leap seconds unless it finds one in force.
_LEAP_SECONDS = "#expires 4102444800\nLeap 2016 Dec 31 23:59:60 + S\n"


def python() -> Path:
    """Return the peers' Python, or skip the test."""
    if named := os.environ.get(VARIABLE):
        if not Path(named).exists():
            pytest.fail(f"{VARIABLE}={named} is not there")
        return Path(named)
    beside = PROGRAMS.parent.parent / ".venv-peers"
    if not (beside / "made-from").exists():  # half made is not made
        pytest.skip("needs the environment of real peers: scripts/peers-env makes it")
    return beside / "bin" / "python"


class Peer:
    """A running program of the peers', which answers lines with lines."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def hear(self) -> str:
        """Wait for a line that it says; empty at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip("\n")

    def ask(self, line: str) -> str:
        """Say a line, return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
        answer = self.hear()
        assert answer, self.log.read_text()
        return answer


@contextmanager
def running(place: Path, *arguments: str) -> Iterator[Peer]:
    """Run the peers' Python with arguments until the block ends.

    Args:
        place: directory for what it says on stderr and what it caches.
        arguments: of Python.
    """
    program = python()
    table = place / "gpstime" / "leapseconds"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(_LEAP_SECONDS)
    log = place / "stderr"
    with (
        log.open("a") as stream,
        subprocess.Popen(
            [program, "-I", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            env={**os.environ, "XDG_CACHE_HOME": str(place)},
        ) as process,
    ):
        try:
            yield Peer(process, log)
        finally:
            process.kill()
