"""The command line in processes that are forked from one which has its imports done.

Importing takes seconds of processor time. What a process does that begins with nothing is tested
elsewhere: every test that runs `python -m deepclean`, and tests/test_boot.py.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from itertools import count
from pathlib import Path

_SERVER = """
import json, os, signal, sys
import deepclean.worker
from deepclean.cli import main
from deepclean.run import daemon, drain

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    asked = json.loads(line)
    if os.fork():
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        with open(asked["status"] + "~", "w") as file:
            file.write(str(os.waitstatus_to_exitcode(status)))
        os.rename(file.name, asked["status"])
        os._exit(0)
    said = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.chdir(asked["place"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    drain.PATIENCE = asked["patience"]
    sys.argv = ["deepclean", *asked["words"]]
    main()
"""

_numbers = count()


@cache
def _server() -> tuple[subprocess.Popen[str], Path]:
    """Start the process that has its imports done; it ends with this one."""
    place = tempfile.TemporaryDirectory(prefix="deepclean-forked-")
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def end() -> None:
        server.communicate()
        place.cleanup()

    atexit.register(end)
    return server, Path(place.name)


class ForkedProgram:
    """A command that runs, with the methods of subprocess.Popen that tests use.

    Args:
        words: of the command line.
        log: takes what it prints.
        patience: stands in for drain.PATIENCE, seconds.

    Attributes:
        pid: of the process.
    """

    def __init__(self, words: list[str], log: Path, patience: float) -> None:
        server, place = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        self._status = place / str(next(_numbers))
        asked = {
            "words": words,
            "log": str(log),
            "patience": patience,
            "status": str(self._status),
            "place": str(Path.cwd()),
            "environment": dict(os.environ),
        }
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    def poll(self) -> int | None:
        """Return the status with which it ended; None while it runs."""
        return int(self._status.read_text()) if self._status.exists() else None

    def wait(self, timeout: float = 60.0) -> int:
        """Wait until it ends; return its status."""
        limit = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > limit:
                raise subprocess.TimeoutExpired("deepclean", timeout)
            time.sleep(0.005)  # what is waited for is another process, not time
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, if it runs."""
        self.send_signal(signal.SIGKILL)
