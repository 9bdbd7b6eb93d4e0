"""The daemon and other work as processes: their start, their end, and what they use."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from benchmarks.common import ROOT


class Daemon:
    """`deepclean run` as a process, killed where its block ends."""

    def __init__(
        self,
        config: Path,  # file of the configuration
        overrides: Sequence[str],  # of the configuration, as `--set` takes them
        log: Path,  # file for what it says
        command: Sequence[str] = ("-m", "deepclean", "run"),  # what Python runs
        under: str = "",  # command line that it runs under: chrt, taskset
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        words = [*shlex.split(under), sys.executable, *command, "--config", str(config)]
        words += [word for override in overrides for word in ("--set", override)]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(words, stderr=stream, cwd=ROOT, env=env)
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def says(self, words: str) -> bool:
        """Return whether its log holds these words."""
        return words in self._log.read_text()

    @property
    def reads(self) -> bool:
        """Whether it has started and reads frames."""
        return self.says("cleaning from GPS")

    def until(
        self, condition: Callable[[], bool], limit: float = 120.0, *, pause: float = 0.001
    ) -> None:
        """Wait for something that the daemon does, looking every `pause` seconds.

        Raises:
            RuntimeError: it ended, or did not do it within `limit` seconds.
        """
        end = time.monotonic() + limit
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                said = "\n".join(self._log.read_text().splitlines()[-20:])
                raise RuntimeError(f"the daemon ended, or does not go on:\n{said}")
            time.sleep(pause)

    def kill(self) -> None:
        """End it at once, as the kernel does where memory is short."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Tell it to stop; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def status(pid: int | str = "self") -> dict[str, str]:
    """Return the fields of a process's status, as the kernel gives them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def resident(pid: int | str = "self") -> float:
    """Return a process's resident memory in MB (1e6 bytes)."""
    return 1024 * int(status(pid)["VmRSS"].split()[0]) / 1e6


def processor(pid: int) -> float:
    """Return the seconds of a core that a process has used, to a hundredth."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def busy(count: int, under: str = "") -> Iterator[None]:
    """Keep so many processes spinning until the block ends, under a command line (taskset)."""
    command = [*shlex.split(under), sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def service_env(settings: Sequence[str]) -> dict[str, str]:
    """Return the environment of the service, and `NAME=VALUE` beside it."""
    ours = ("OMP_", "GOMP", "OPENBLAS_", "MKL_")
    plain = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    service = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    return plain | service | dict(setting.split("=", 1) for setting in settings)


def exit_on_sigterm() -> None:
    """Let SIGTERM end this process as an exception does, so that no daemon is left behind."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
