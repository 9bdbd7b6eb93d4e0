"""Any one call of the operating system, or of the frame library, may fail (as SQLite is tested).

Frames are cleaned with the real source, cleaning, sink, account and lock while the Nth of all
calls that they make raises. The slow test takes every N of a minute; by default N is the first, the
middle and the last call of every function from every line, in a shorter stream.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.errors import InputError, OutputError
from deepclean.io.t050017 import FrameName
from deepclean.system.lock import OutputLock
from tests.helpers import small_site as site
from tests.helpers.failing_calls import OF_DESCRIPTORS, OF_PATHS, Calls, some
from tests.helpers.small_site import START, FakeClock
from tests.helpers.turned_clock_daemon import Daemon, assert_sound


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
            settings.strain_frames.directory,
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
        # What the library fails to read in a file that is whole is read again.
        assert not ledger.gaps
        assert ledger.frames_in == self.seconds
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


ERRORS = (
    *("EIO", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "ENOLCK", "ENOSPC", "EROFS"),
    *("ETIMEDOUT", "ENOTCONN", "EINTR", "EBUSY", "ENOENT", "EACCES", "EPERM", "EINVAL", "ENOTDIR"),
    *("EISDIR", "ELOOP", "ENAMETOOLONG"),
)


@pytest.mark.parametrize(
    "every", [pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]), False]
)
def test_any_call_may_fail_with_any_error(streamed: Callable[[int], Stream], every: bool) -> None:
    """By default every kind of call fails once, each with another error."""
    stream = streamed(12)
    calls, _ = stream.run(None)
    kinds: dict[tuple[str, str], int] = {}
    for position, call in enumerate(calls.made):
        kinds.setdefault(call, position)
    numbers = [getattr(errno, name) for name in ERRORS]
    for turn, fail in enumerate(kinds.values()):
        for number in numbers if every else [numbers[turn % len(numbers)]]:
            stream.check(fail, number)


def test_disk_may_be_full_at_any_call(streamed: Callable[[int], Stream]) -> None:
    stream = streamed(12)
    calls, _ = stream.run(None)
    functions = [function for function, _ in calls.made]
    kinds = ("open", "write", "close")
    filling = {n for n in some(calls.made) if functions[n] in kinds}
    # The same line writes the status file too. What follows this call is a frame's.
    written = functions.index("gwframe write_bytes", len(functions) // 2)
    filling |= {functions.index(kind, written) for kind in kinds}
    costs = Counter(stream.check(fail, errno.ENOSPC) for fail in sorted(filling))
    assert costs["a frame"] > 0


PARTS = 48


SOME = (7,)
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
