"""What the soaks share: the demo's site at a lower strain rate, and the daemon as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from deepclean.config import Config, load
from deepclean.core.block import Series
from deepclean.core.time import Span
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.t050017 import FrameName
from deepclean.simulate.configured import site_of
from deepclean.simulate.simulator import Simulator

ROOT = Path(__file__).resolve().parent.parent
START = 1_420_000_000
SEED = 7
CONFIG = ROOT / "config" / "demo.yaml"
RATE = 4096
"""Of the strain, in Hz: a quarter of the demo's, which makes reading and writing cheaper."""

COMMAND = [sys.executable, "-m", "deepclean", "run", "--config", str(CONFIG)]


class Site:
    """The demo's site, with its directories below a place of its own.

    Args:
        place: an empty directory.
        overrides: of the demo's configuration, as `--set` takes them.
    """

    def __init__(self, place: Path, *overrides: str) -> None:
        strain, witnesses = place / "strain", place / "witnesses"
        self.overrides = (
            f"strain.rate={RATE}",
            f"input.strain.directory={strain}",
            f"input.witnesses=[{{directory: {witnesses}, description: H1_lldetchar}}]",
            f"output.directory={place / 'cleaned'}",
            *overrides,
        )
        self.config: Config = load(CONFIG, self.overrides, environ={})
        self.cleaned = self.config.output.directory
        for directory in (strain, witnesses):
            directory.mkdir()
        self._simulator = Simulator(site_of(self.config, motions=3, seed=SEED))
        self._strain = (self.config.strain.channel, str(self.config.strain.state_vector))

    def strain(self, second: int) -> dict[str, Series]:
        """Return the channels of a strain file of one second."""
        return self._simulator.read(self._strain, Span.of_seconds(second, 1))

    def witnesses(self, second: int) -> dict[str, Series]:
        """Return the channels of a witness file of one second."""
        return self._simulator.read(self.config.witness_channels, Span.of_seconds(second, 1))

    def strain_path(self, second: int) -> Path:
        """Return where the strain's file of a second belongs."""
        return self.config.input.strain.directory / f"H-H1_llhoft-{second}-1.gwf"

    def witness_path(self, second: int) -> Path:
        """Return where the witnesses' file of a second belongs."""
        return self.config.input.witnesses[0].directory / f"H-H1_lldetchar-{second}-1.gwf"

    def cleaned_path(self, second: int) -> Path:
        """Return where the cleaned frame of a second belongs."""
        return self.cleaned / f"H-{self.config.output.description}-{second}-1.gwf"

    def outputs(self) -> dict[int, Path]:
        """Return the cleaned frames that are there, by GPS second."""
        found = {}
        for entry in os.scandir(self.cleaned):
            name = FrameName.parse(entry.name)
            if name is not None:
                found[name.start] = self.cleaned / entry.name
        return found


def content(channels: Mapping[str, Series]) -> bytes:
    """Return a frame file of one second."""
    span = next(iter(channels.values())).span
    return gwf.serialise(span, {name: OutputChannel(one) for name, one in channels.items()})


class Daemon:
    """`deepclean run` as a process.

    Args:
        site: to be cleaned.
        log: file for what it says.
    """

    def __init__(self, site: Site, log: Path) -> None:
        self._log = log
        settings = [part for override in site.overrides for part in ("--set", override)]
        with log.open("wb") as stream:
            self.process = subprocess.Popen([*COMMAND, *settings], stderr=stream, cwd=ROOT)

    @property
    def reads(self) -> bool:
        """Whether it has started and takes frames."""
        return "cleaning from GPS" in self._log.read_text()

    def until(
        self, condition: Callable[[], bool], *, limit: float = 120.0, pause: float = 0.001
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


@contextmanager
def running(site: Site, log: Path) -> Iterator[Daemon]:
    """Run the daemon until the block ends."""
    daemon = Daemon(site, log)
    try:
        yield daemon
    finally:
        daemon.kill()


def ends_on_sigterm() -> None:
    """Let SIGTERM end this process as an exception does: the daemon is not left behind."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


def differences(expected: Collection[int], found: Collection[int]) -> str:
    """Return in one line which seconds are missing and which are too many; empty: none."""
    missing, more = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    parts = [
        f"{len(seconds)} {word}, the first GPS {seconds[0]}"
        for word, seconds in (("missing", missing), ("too many", more))
        if seconds
    ]
    return "; ".join(parts)
