"""Any one call of the operating system, or of the frame library, may fail (as SQLite is tested).

Frames are cleaned with the real source, cleaning, sink, account and lock while the Nth of all
calls that they make raises. The slow test takes every N of a minute; by default N is the first, the
middle and the last call of every function from every line, in a shorter stream.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gwframe
import pytest

from deepclean.config import Config
from deepclean.errors import InputError, OutputError
from deepclean.io.t050017 import FrameName
from deepclean.system.lock import OutputLock
from tests.helpers import small_site as site
from tests.helpers.small_site import START, FakeClock
from tests.helpers.turned_clock_daemon import Daemon, assert_sound

OF_PATHS = ["mkdir", "open", "replace", "scandir", "stat", "unlink"]
OF_DESCRIPTORS = ["fstat", "ftruncate", "pwrite", "fdopen"]

Call = tuple[str, str]
"""The function, and the line of the package that called it."""


@dataclass
class Calls:
    """Counts the calls of the package and lets one of them fail.

    Args:
        place: only calls with paths in here, and with descriptors opened there, count.
        fail: which one, from 0; None: none.
        code: what the operating system says.
    """

    place: Path
    fail: int | None = None
    code: int = errno.EIO
    made: list[Call] = field(default_factory=list)
    _descriptors: set[int] = field(default_factory=set)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in OF_PATHS:
            patch.setattr(os, name, partial(self._of_path, name, getattr(os, name)))
        for name in OF_DESCRIPTORS:
            patch.setattr(os, name, partial(self._of_descriptor, name, getattr(os, name)))
        patch.setattr(fcntl, "flock", partial(self._of_descriptor, "flock", fcntl.flock))
        for kind, method in (
            (gwframe.FrameReader, "__init__"),
            (gwframe.FrameReader, "read"),
            (gwframe.Frame, "write_bytes"),
        ):
            patch.setattr(kind, method, self._of_library(f"gwframe {method}", kind, method))

    def tick(self, function: str, fault: Exception | None = None) -> None:
        self.made.append((function, _line()))
        if len(self.made) - 1 == self.fail:
            raise fault or OSError(self.code, os.strerror(self.code))

    def forget(self, descriptor: int) -> None:
        """Count no calls with a descriptor that is closed: the number is used again."""
        self._descriptors.discard(descriptor)

    def _of_path(
        self, name: str, real: Callable[..., Any], path: Any, *args: Any, **kw: Any
    ) -> Any:
        ours = isinstance(path, str | Path) and Path(path).is_relative_to(self.place)
        if ours:
            self.tick(name)
        result = real(path, *args, **kw)
        if ours and name == "open":
            self._descriptors.add(result)
        return result

    def _of_descriptor(
        self, name: str, real: Callable[..., Any], descriptor: int, *args: Any, **kw: Any
    ) -> Any:
        if descriptor not in self._descriptors:
            return real(descriptor, *args, **kw)
        if name == "fdopen":
            return File(self, real(descriptor, *args, **kw))
        self.tick(name)
        return real(descriptor, *args, **kw)

    def _of_library(self, name: str, kind: type, method: str) -> Callable[..., Any]:
        real = getattr(kind, method)

        def shim(*args: Any, **kw: Any) -> Any:
            self.tick(name, RuntimeError("the library fails"))
            return real(*args, **kw)

        return shim


class File:
    """A file whose calls are counted."""

    def __init__(self, calls: Calls, real: io.FileIO) -> None:
        self._calls = calls
        self._real = real

    def fileno(self) -> int:
        return self._real.fileno()

    def write(self, data: memoryview) -> int:
        self._calls.tick("write")
        # Some of it, as the operating system may: the rest is asked for again.
        return self._real.write(data[: 1 << 16]) or 0

    def close(self) -> None:
        self._calls.tick("close")
        self._close()

    def _close(self) -> None:
        if not self._real.closed:
            self._calls.forget(self._real.fileno())
        self._real.close()

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


def _line() -> str:
    """Return the line of the package that the call came from."""
    frame = sys._getframe(1)
    while frame.f_back is not None and "/deepclean/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


@dataclass
class Stream:
    """Frames, made once, to be streamed again and again."""

    config: Config
    store: Path
    seconds: int
    whole: dict[str, bytes] = field(default_factory=dict)
    """The outputs of a run in which nothing fails."""

    def run(self, fail: int | None, code: int = errno.EIO) -> tuple[Calls, Daemon | None]:
        """Stream them; return the calls made, and the daemon unless its start was refused."""
        output, settings = self.config.output, self.config.input
        for directory in (
            settings.strain.directory,
            settings.witnesses[0].directory,
            output.directory,
        ):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
        clock, link = FakeClock(), os.link

        def appear(second: int) -> None:
            for path in (site.strain_path, site.witness_path):
                final = path(self.config, second)
                link(self.store / final.name, final)

        appear(START)
        for second in range(1, self.seconds):
            clock.at(float(second), partial(appear, START + second))
        calls = Calls(output.directory.parent, fail, code)
        daemon = None
        with pytest.MonkeyPatch.context() as patch:
            calls.install(patch)
            try:
                lock = OutputLock(output.directory, output.description)
                with lock:
                    daemon = Daemon(self.config, clock, guard=lock.hold)
                    clock.at(self.seconds + 4.0, daemon.stop)
                    daemon.run()
            except (InputError, OutputError):
                # Exit status 1 or 2, before anything was taken.
                assert daemon is None or daemon.ledger.frames_in == 0
                daemon = None
        return calls, daemon

    def outputs(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.config.output.directory.glob("*.gwf")}

    def check(self, fail: int, code: int = errno.EIO) -> str:
        """Let one call fail; assert what must hold; return what it cost."""
        calls, daemon = self.run(fail, code)
        assert len(calls.made) > fail, "it did not fail"
        if daemon is None:
            return "the start"
        ledger = daemon.ledger
        assert ledger.balanced
        assert ledger.inside == 0
        assert ledger.frames_in == self.seconds
        assert not ledger.gaps
        assert not ledger.ignored
        lost = ledger.lost.total()
        assert lost <= 1
        outputs = self.outputs()
        assert len(self.whole.keys() - outputs.keys()) <= lost
        for filename in [n for n, data in outputs.items() if self.whole.get(n) != data]:
            name = FrameName.parse(filename)
            assert name is not None
            assert_sound(self.config.output.directory / filename, name.start, name.duration)
        # One may stay where even its identity cannot be asked for; the next start sweeps it.
        assert len(list(self.config.output.directory.glob(".H-*.tmp"))) <= lost
        # Without a fault: the first has no history, the last no look-ahead.
        reduced = ledger.written.total() - ledger.written["cleaned"] - 2
        assert reduced <= 0, f"{reduced} frames are not cleaned"
        return "a frame" if lost else "nothing"


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Stream]]:
    """Give a function that returns a stream of so many seconds."""
    place, store = (tmp_path_factory.mktemp(name) for name in ("site", "store"))
    made = {}

    def stream(seconds: int) -> Stream:
        if seconds not in made:
            retention = f"output.retention.count={seconds - 4}"
            config = site.small_config(place, "input.probe=0.5", retention)
            for second in range(START, START + seconds):
                strain, witness = (
                    site.strain_path(config, second),
                    site.witness_path(config, second),
                )
                (store / strain.name).write_bytes(site.strain_frame(second))
                (store / witness.name).write_bytes(site.witness_frame(second))
            made[seconds] = Stream(config, store, seconds)
            made[seconds].run(None)
            made[seconds].whole = made[seconds].outputs()
        return made[seconds]

    yield stream
    shutil.rmtree(place)
    shutil.rmtree(store)


def some(calls: list[Call]) -> list[int]:
    """Return the first, the middle and the last call of every kind."""
    places: dict[Call, list[int]] = {}
    for position, call in enumerate(calls):
        places.setdefault(call, []).append(position)
    return sorted({p[i] for p in places.values() for i in (0, len(p) // 2, -1)})


def test_nothing_is_lost_where_nothing_fails(streamed: Callable[[int], Stream]) -> None:
    stream = streamed(12)
    calls, daemon = stream.run(None)
    assert daemon is not None
    assert daemon.ledger.written == {"cleaned": 10, "no_history": 1, "no_lookahead": 1}
    assert len(stream.whole) == 8
    assert stream.outputs() == stream.whole
    # What is to fail is what the package uses: a call that goes another way would not be seen.
    assert {function for function, _ in calls.made} == {
        *(name for name in (*OF_PATHS, *OF_DESCRIPTORS) if name != "fdopen"),
        *("flock", "write", "close"),
        *("gwframe __init__", "gwframe read", "gwframe write_bytes"),
    }


def test_any_call_may_fail(streamed: Callable[[int], Stream]) -> None:
    stream = streamed(12)
    calls, _ = stream.run(None)
    costs = Counter(stream.check(fail) for fail in some(calls.made))
    assert costs["nothing"] > costs["a frame"] > 0
    assert costs["the start"] > 0


def test_disk_may_be_full_at_any_call(streamed: Callable[[int], Stream]) -> None:
    stream = streamed(12)
    calls, _ = stream.run(None)
    filling = [n for n in some(calls.made) if calls.made[n][0] in ("open", "write", "close")]
    costs = Counter(stream.check(fail, errno.ENOSPC) for fail in filling)
    assert costs["a frame"] > 0


PARTS = 24


SOME = (0, 7, 15)
"""The parts that CI runs; the others are for whoever changes what they call."""


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(part, marks=pytest.mark.slow if part in SOME else pytest.mark.exhaustive)
        for part in range(PARTS)
    ],
)
def test_every_call_of_a_minute_may_fail(streamed: Callable[[int], Stream], part: int) -> None:
    stream = streamed(60)
    calls, _ = stream.run(None)
    costs = Counter(stream.check(fail) for fail in range(part, len(calls.made), PARTS))
    print(f"{costs.total()} of {len(calls.made)} calls failed; they cost {dict(costs)}")
    assert costs["nothing"] > costs["a frame"] > 0
