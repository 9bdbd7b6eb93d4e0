"""Runs over a small site: a replay in this process, the daemon in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from deepclean.config import Config
from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span
from deepclean.errors import DeviceError, InputError
from deepclean.factory import make_engine
from deepclean.io import gwf
from deepclean.io.channels import Reading
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import ChannelHistory, HistorySource
from deepclean.io.t050017 import FrameName
from deepclean.models.loading import load_models
from deepclean.run.cleaner import sink_of
from deepclean.run.replay import ReplayOutput, ReplayResult, replay
from tests.helpers.forked_program import ForkedProgram
from tests.helpers.small_site import write_site

OUT_DQ = "H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION_OUT_DQ"

COMMAND = [sys.executable, "-c", "from deepclean.cli import main; main()"]

Process = subprocess.Popen[bytes] | ForkedProgram


def open_source(config: Config) -> HistorySource:
    """Open the input of a configuration, in whatever process."""
    strain = History([config.input.strain_frames.directory])
    directories = [frames.directory for frames in config.input.witnesses]
    witnesses = History(directories) if directories else strain
    return HistorySource(channels_of(config), strain, witnesses)


@dataclass
class _FailingHistory:
    past: ChannelHistory
    second: int
    spared: Path | None

    @property
    def faults(self) -> list[InputError]:
        return self.past.faults

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        return self.past.channels(wanted)

    def spans(self, channel: str | None = None) -> list[Span]:
        return self.past.spans(channel)

    def require(self, wanted: Collection[str]) -> dict[str, int]:
        return self.past.require(wanted)

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series | Gap]:
        self._fail(span)
        return self.past.read(wanted, span)

    def pieces(self, wanted: Collection[str], span: Span) -> Reading:
        self._fail(span)
        return self.past.pieces(wanted, span)

    def _fail(self, span: Span) -> None:
        if span.start == self.second * NS:
            if self.spared is None:
                raise DeviceError("out of memory", coupling="60Hz")
            if not self.spared.exists():
                os.kill(os.getpid(), signal.SIGKILL)


def open_failing(config: Config, second: int, spared: Path | None = None) -> HistorySource:
    """Return a source whose read of a second raises what is not easily pickled.

    Where `spared` is given, the read kills its process instead, until that file is there.
    """
    source = open_source(config)
    return replace(source, strain=_FailingHistory(source.strain, second, spared))


def clean(
    config: Config,
    start: int,
    end: int,
    into: Path,
    duration: int = 1,
    source: HistorySource | None = None,
) -> ReplayResult:
    """Replay the GPS seconds `[start, end)` into a directory."""
    loaded = load_models(config)
    return replay(
        config,
        lambda: make_engine(config, loaded),
        source or open_source(config),
        sink_of(config, loaded, into),
        Span(start * NS, end * NS),
        output=ReplayOutput(duration * NS),
    )


def contents(directory: Path, channels: Sequence[str] = (OUT_DQ,)) -> dict[int, bytes]:
    """Return the samples of every second that a directory holds."""
    held = {}
    for path in sorted(directory.glob("*.gwf")):
        read = gwf.read(path, channels)
        name = FrameName.parse(path.name)
        assert name is not None
        for second in range(name.start, name.start + name.duration):
            span = Span.of_seconds(second, 1)
            parts = [s.cut(span).samples.tobytes() for s in read.values() if isinstance(s, Series)]
            held[second] = b"".join(parts)
    return held


def files(directory: Path) -> dict[str, bytes]:
    """Return the content of every file in a directory, but of locks and kept configurations."""
    left = (".lock", ".configuration.json")
    held = (path for path in directory.iterdir() if not path.name.endswith(left))
    return {path.name: path.read_bytes() for path in held}


@contextmanager
def daemon(
    config: Config,
    log: Path,
    *options: str,
    under: Sequence[str] = (),
    patience: float = 0.2,
    deadline: float = 60.0,
) -> Iterator[Process]:
    """Run the daemon until the block ends.

    Args:
        config: of the small site.
        log: takes what the daemon says.
        options: of the command.
        under: another command that runs it, with the patience that it ships with.
        patience: seconds for which it waits, when it is told to stop, for a look-ahead that most
            tests do not give it; instead of drain.PATIENCE.
        deadline: seconds for which it waits for what is late. Most tests write the next second when
            they have seen the last, and nothing may hang on how fast the machine is.
    """
    file = config.input.strain_frames.directory.parent / "small.yaml"
    words = ["run", "-c", str(file), "--set", f"input.deadline={deadline}", *options]
    process: Process
    with log.open("wb") as stream:
        if under:
            process = subprocess.Popen([*under, *COMMAND, *words], stderr=stream)
        else:
            process = ForkedProgram(words, log, patience)
        try:
            until(lambda: "cleaning from GPS" in log.read_text(), process)
            yield process
        finally:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool], process: Process, seconds: float = 60.0) -> None:
    """Wait for something that another process does."""
    limit = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the daemon ended"
        assert time.monotonic() < limit, "the daemon did not come so far"
        time.sleep(0.005)  # what is waited for is another process, not time


def stop(process: Process, number: signal.Signals = signal.SIGTERM) -> None:
    """Let a daemon end by a signal."""
    process.send_signal(number)
    assert process.wait(timeout=60) == 0


def is_written(config: Config, second: int) -> bool:
    """Return whether the cleaned frame of a second is there."""
    return (config.output.directory / f"H-H1_DEEPCLEAN-{second}-1.gwf").exists()


def stream(config: Config, process: Process, seconds: range, late: int = 1) -> None:
    """Write GPS seconds one by one, each when the one `late` before it has come out."""
    for second in seconds:
        write_site(config, second, 1)
        until(partial(is_written, config, second - late), process)


def assert_as_replayed(config: Config, into: Path, start: int, end: int) -> None:
    """Assert that a daemon's frames of `[start, end)` are what a replay makes."""
    clean(config, start, end, into)
    live, replayed = contents(config.output.directory), contents(into)
    assert sorted(replayed) == list(range(start, end))
    assert {second: live[second] for second in replayed} == replayed
