"""The demonstration's directory, and the site and the daemon that run in it as processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deepclean.errors import ConfigError, OutputError, output_errors
from deepclean.shipped import SHIPPED
from deepclean.system.atomic import publish
from deepclean.system.commands import program

START = 1_420_000_000
"""GPS second at which the stream begins."""

PAST = 90
"""Seconds that lie in the input directories before the daemon starts, as they do at a site."""

CONFIG = "demo.yaml"
STRAIN, WITNESSES, CLEANED, TRUTH = "strain", "witnesses", "cleaned", "truth"
MODELS = "models"

_TEXT = f"""\
# Written by `deepclean demo`: a simulated site whose directories lie beside this file.
extends: shipped:demo.yaml

input:
  strain: {{directory: {STRAIN}}}
  witnesses:
    - {{directory: {WITNESSES}, description: H1_lldetchar}}
output:
  directory: {CLEANED}
models:
  directory: {MODELS}
"""

_SEED = "7"
"""Another noise than the shipped model was trained on; the couplings are the site's."""

_WAIT = 120.0
"""Seconds in which the daemon has to start; in which it has to finish, ten."""


class DemoRun:
    """The site and the daemon of a demonstration.

    Args:
        place: directory of everything that they write.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.config = place / CONFIG

    def prepare(self) -> None:
        """Make the directory anew: configuration and model store.

        The store is a copy that only its owner may write, whatever the umask of the installation
        was: a model that others may write is not loaded.

        Raises:
            ConfigError: the directory holds what no demonstration has written.
            OutputError: the file system refused.
        """
        if self.place.is_dir() and any(self.place.iterdir()) and not self.config.is_file():
            raise ConfigError(
                f"{self.place}: holds what `deepclean demo` has not written; name another "
                "directory with --output"
            )
        with output_errors(self.place, "cannot be made"):
            for name in (STRAIN, WITNESSES, CLEANED, TRUTH, MODELS):
                shutil.rmtree(self.place / name, ignore_errors=True)
            self.place.mkdir(parents=True, exist_ok=True)
            used = shutil.ignore_patterns("changes.jsonl", ".*")
            store = shutil.copytree(SHIPPED / MODELS, self.place / MODELS, ignore=used)
            for path in (store, *store.rglob("*")):
                path.chmod(0o700 if path.is_dir() else 0o600)
        publish(self.config, _TEXT.encode())

    def simulate(self, start: int, end: int, *options: str) -> subprocess.Popen[bytes]:
        """Start the command that makes the site's data of GPS seconds `[start, end)`."""
        command = [*program(), "simulate", "--config", str(self.config)]
        command += ["--motions", "3", "--seed", _SEED, "--truth", str(self.place / TRUTH)]
        command += ["--start", str(start), "--end", str(end), *options]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def past(self) -> None:
        """Write the data from before the stream.

        Raises:
            OutputError: the simulation failed; it has said why.
        """
        self._require(self.simulate(START - PAST, START).wait())

    def stream(self, seconds: int, speed: float, pause: float = 0.05) -> Iterator[int]:
        """Stream the site live, and yield the number of cleaned frames at each look.

        Args:
            seconds: of data.
            speed: seconds of data per second.
            pause: seconds between two looks.

        Raises:
            OutputError: the simulation failed; it has said why.
        """
        site = self.simulate(START, START + seconds, "--live", "--speed", str(speed))
        try:
            while site.poll() is None:
                yield len(self.frames())
                time.sleep(pause)
            self._require(site.wait())
        finally:
            site.kill()
            site.wait()

    @contextmanager
    def daemon(self) -> Iterator[Callable[[int], int]]:
        """Run the daemon during the block, from when it waits for frames.

        Yields:
            A function that waits until there are so many cleaned frames, for ten seconds at most,
            tells the daemon to stop, and returns its exit status.

        Raises:
            OutputError: the daemon ended at once, or did not start.
        """
        log = self.place / "daemon.log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                [*program(), "run", "--config", str(self.config)], stderr=written
            )

        def until(condition: Callable[[], bool], limit: float) -> bool:
            end = time.monotonic() + limit
            while not condition() and time.monotonic() < end and process.poll() is None:
                time.sleep(0.05)
            return condition()

        def stop(count: int) -> int:
            until(lambda: len(self.frames()) >= count, 10)
            process.send_signal(signal.SIGTERM)
            return process.wait(timeout=30)

        try:
            if not until(lambda: "look-ahead" in log.read_text(), _WAIT):
                raise OutputError(f"the daemon did not start:\n{log.read_text()}", path=log)
            yield stop
        finally:
            process.kill()
            process.wait()

    def frames(self, kind: str = CLEANED) -> list[Path]:
        """Return the frame files of the stream in a directory, in order of time."""
        files = sorted((self.place / kind).glob("*.gwf"))
        return [path for path in files if int(path.stem.split("-")[2]) >= START]

    def _require(self, status: int) -> None:
        if status != 0:
            raise OutputError(f"the simulated site ended with status {status}", path=self.place)
