"""A real-time stream for a real daemon: a writer, a watcher of what comes out, a busy core.

The raw frame's moment is read from the clock just before its rename, the cleaned frame's when
inotify's event of its rename is read here: so no latency is too short. That it is not too long
either, the thread that reads runs before all others where the system allows it. (A file's ctime is
no help: the clock that it is taken from stands still between ticks, on a busy machine for longer.)
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.io.t050017 import FrameName

if TYPE_CHECKING:
    from benchmarks.site import Made

_IN_MOVED_TO = 0x80
_FIRST = 50
"""Real-time priority of the watcher's thread, above any that the daemon is tried with."""
_HEADER = 16
"""Bytes of an inotify event before its name; the last four of them are the name's length."""


def render(made: Made, span: Span, length: int, into: Path) -> list[str]:
    """Write the frame files of a span; return the names of the strain's, in order of time.

    Args:
        made: the site.
        span: whole seconds.
        length: of a file, in seconds.
        into: directory that gets `strain` and `witnesses`.
    """
    from benchmarks.site import site_of
    from deepclean.simulate import Layout, Simulator, write_history

    layout = Layout(
        strain=into / "strain",
        witnesses=into / "witnesses",
        strain_length=length,
        witness_length=length,
    )
    paths = write_history(Simulator(site_of(made.config)), layout, span)
    return sorted(path.name for path in paths if path.parent == layout.strain)


@dataclass(frozen=True, slots=True)
class Published:
    """A raw frame that appeared.

    Args:
        start: GPS seconds.
        due: Unix nanoseconds at which it was to appear.
        moment: and when it did.
    """

    start: int
    due: int
    moment: int


class Writer:
    """A process that lets frames appear at their time, by renames and nothing else.

    Args:
        place: holds `store`, where the files lie, and the directories where they are to appear.
        names: of the strain's files; each has its witnesses' under the description of theirs.
        began: Unix nanoseconds at which the first one's data begin.
    """

    def __init__(self, place: Path, names: Sequence[str], began: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_publish, args=(place, names, began, sender))
        self._process.start()
        sender.close()

    @property
    def writes(self) -> bool:
        """Whether it has not said all yet."""
        return not self._receiver.poll() and self._process.is_alive()

    def published(self) -> list[Published]:
        """Wait for its end; return what it did."""
        done: list[Published] = self._receiver.recv()
        self._process.join()
        return done

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.join()


def _publish(place: Path, names: Sequence[str], began: int, sender: Connection) -> None:
    """Do the writer's work; the witnesses come first, so that the strain is what is waited for."""
    first = FrameName.parse(names[0])
    assert first is not None
    done = []
    for name in names:
        parsed = FrameName.parse(name)
        assert parsed is not None
        companion = name.replace("_llhoft-", "_lldetchar-")
        due = began + (parsed.start + parsed.duration - first.start) * NS
        time.sleep(max(due - time.time_ns(), 0) / NS)
        (place / "store/witnesses" / companion).rename(place / "witnesses" / companion)
        moment = time.time_ns()
        (place / "store/strain" / name).rename(place / "strain" / name)
        done.append(Published(parsed.start, due, moment))
    sender.send(done)


@dataclass(frozen=True, slots=True)
class Appeared:
    """A cleaned frame that appeared.

    Args:
        start: GPS seconds.
        moment: Unix nanoseconds, as this module's docstring says.
        cleaned: whether every sample of it is fully cleaned, the gate's statistics complete.
    """

    start: int
    moment: int
    cleaned: bool


class Watcher:
    """A thread that notes when files get their name in a directory, and what they hold.

    Args:
        directory: that of the cleaned frames.
        description: of those that count; others may be written beside them.
        state: full name of the cleaned frames' state vector.
    """

    def __init__(self, directory: Path, description: str, state: str) -> None:
        self.seen: list[Appeared] = []
        self._directory, self._description, self._state = directory, description, state
        library = ctypes.CDLL(None, use_errno=True)
        self._inotify = library.inotify_init1(os.O_CLOEXEC)
        path = os.fsencode(directory)
        if library.inotify_add_watch(self._inotify, path, _IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify cannot watch", os.fspath(directory))
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_FIRST))
        while True:
            events = os.read(self._inotify, 65536)
            told = time.time_ns()
            for name in names_in(events):
                parsed = FrameName.parse(name)
                if parsed is not None and parsed.description == self._description:
                    path = self._directory / name
                    self.seen.append(Appeared(parsed.start, told, self._is_cleaned(path)))

    def _is_cleaned(self, path: Path) -> bool:
        from deepclean.core.products import State
        from deepclean.io import gwf

        wanted = State.CLEANED | State.SETTLED
        state = gwf.read(path, [self._state])[self._state]
        return isinstance(state, Series) and bool((state.samples & wanted == wanted).all())


def names_in(events: bytes) -> list[str]:
    """Return the names of files in what inotify gives to read."""
    names = []
    while events:
        length = int.from_bytes(events[_HEADER - 4 : _HEADER], sys.byteorder)
        names.append(os.fsdecode(events[_HEADER : _HEADER + length].rstrip(b"\0")))
        events = events[_HEADER + length :]
    return names


@contextmanager
def busy(count: int, under: str = "") -> Iterator[None]:
    """Keep so many processes spinning until the block ends.

    Args:
        count: of them.
        under: command that they run under, `taskset -c 0` for one.
    """
    command = [*shlex.split(under), sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def environment(settings: Sequence[str]) -> dict[str, str]:
    """Return the environment of the cleaning: the service's, and `NAME=VALUE` beside it."""
    plain = {
        key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP"))
    }
    service = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    return plain | service | dict(setting.split("=", 1) for setting in settings)
