"""Commands of this software in processes of their own, several side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path


def program() -> list[str]:
    """Return the command that runs this deepclean from any process on this file system."""
    script = Path(sys.executable).with_name("deepclean")
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "deepclean"]


def side_by_side(
    commands: Mapping[str, Sequence[str]], together: int, say: Callable[[str, str], None]
) -> Iterator[tuple[str, int]]:
    """Run commands, some at a time; yield the name and the exit status of each as it ends.

    A command that fails or is killed changes nothing for the others. Closed early, or left by an
    exception or by SIGTERM, it ends the commands that are running and starts no more.

    Args:
        commands: words by name.
        together: how many run at a time.
        say: called with the name and each line that a command prints, in a thread of its own.

    Yields:
        The name and the exit status; a negative one is the signal that killed the command.
    """
    running: set[subprocess.Popen[str]] = set()
    ending = threading.Event()

    def run(name: str) -> tuple[str, int]:
        if ending.is_set():
            return name, -signal.SIGTERM
        with subprocess.Popen(
            commands[name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process:
            running.add(process)
            assert process.stdout is not None
            for line in process.stdout:
                say(name, line.rstrip("\n"))
        running.discard(process)
        return name, process.returncode

    with _exit_on_sigterm(), ThreadPoolExecutor(together) as pool:
        ended = [pool.submit(run, name) for name in commands]
        try:
            for one in as_completed(ended):
                yield one.result()
        finally:
            ending.set()
            for process in list(running):
                process.terminate()


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit during the block, so that what is running can be ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
