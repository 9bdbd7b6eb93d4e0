"""A real-time stream for a real daemon: a writer, and a watcher of what comes out.

The raw frame's moment is read from the clock just before its rename, the cleaned frame's when
inotify's event of its rename is read here: so no latency is too short. That it is not too long
either, the thread that reads runs before all others where the system allows it. (A file's ctime is
no help: the clock that it is taken from stands still between ticks, on a busy machine for longer.)
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.common import ROOT, spread
from deepclean.core.block import Gap, Series
from deepclean.core.output.products import State
from deepclean.core.time import NS
from deepclean.io import gwf
from deepclean.io.t050017 import FrameName

_IN_MOVED_TO = 0x80
_FIRST = 50
"""Real-time priority of the watcher's thread, above any that the daemon is tried with."""
_HEADER = 16
"""Bytes of an inotify event before its name; the last four of them are the name's length."""


class InputMoment(NamedTuple):
    """A raw frame that appeared."""

    start: int  # GPS seconds
    due: int  # Unix nanoseconds at which it was to appear
    moment: int  # and when it did


class OutputMoment(NamedTuple):
    """A cleaned frame that appeared."""

    start: int  # GPS seconds
    moment: int  # Unix nanoseconds, as this module's docstring says
    cleaned: bool  # whether all of it is, with a settled gate


class Writer:
    """A process that lets frames appear at their time, by renames and nothing else.

    They lie in `store` below a place, in whose other directories they are to appear; the data of
    the first begin at `began`, in Unix nanoseconds.
    """

    def __init__(self, place: Path, began: int) -> None:
        self._report = place / "published"
        command = [sys.executable, "-m", "benchmarks.stream", str(place), str(began)]
        with self._report.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, cwd=ROOT)

    @property
    def writes(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def published(self) -> list[InputMoment]:
        """Wait for its end; return what it did."""
        self._process.wait()
        return [InputMoment(*each) for each in json.loads(self._report.read_text())]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def publish(place: Path, began: int) -> list[InputMoment]:
    """Do the writer's work; the witnesses come first, so that the strain is what is waited for."""
    done: list[InputMoment] = []
    begin = 0
    for path in sorted((place / "store/strain").iterdir()):
        parsed = FrameName.parse(path.name)
        assert parsed is not None
        begin = begin or parsed.start
        companion = path.name.replace("_llhoft-", "_lldetchar-")
        due = began + (parsed.start + parsed.duration - begin) * NS
        time.sleep(max(due - time.time_ns(), 0) / NS)
        (place / "store/witnesses" / companion).rename(place / "witnesses" / companion)
        moment = time.time_ns()
        path.rename(place / "strain" / path.name)
        done.append(InputMoment(parsed.start, due, moment))
    return done


class Watcher:
    """A thread that notes when frames appear in a directory, and by their state if cleaned."""

    def __init__(self, directory: Path, description: str, state: str) -> None:
        self.seen: list[OutputMoment] = []
        self._directory, self._description, self._state = directory, description, state
        library = ctypes.CDLL(None, use_errno=True)
        self._inotify = library.inotify_init1(os.O_CLOEXEC)
        if library.inotify_add_watch(self._inotify, os.fsencode(directory), _IN_MOVED_TO) < 0:
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
                    state = gwf.read(self._directory / name, [self._state])[self._state]
                    self.seen.append(OutputMoment(parsed.start, told, is_cleaned(state)))


def is_cleaned(state: Series | Gap) -> bool:
    """Return whether all is fully cleaned with a settled gate, by the state vector."""
    wanted = State.CLEANED | State.SETTLED
    return isinstance(state, Series) and bool((state.samples & wanted == wanted).all())


def names_in(events: bytes) -> list[str]:
    """Return the names of files in what inotify gives to read."""
    names = []
    while events:
        length = int.from_bytes(events[_HEADER - 4 : _HEADER], sys.byteorder)
        names.append(os.fsdecode(events[_HEADER : _HEADER + length].rstrip(b"\0")))
        events = events[_HEADER + length :]
    return names


def latencies(published: Sequence[InputMoment], seen: Sequence[OutputMoment]) -> dict[str, float]:
    """Return median, p99 and worst in ms, how many frames are missing and how many not cleaned."""
    out = {frame.start: frame for frame in reversed(seen)}  # the first of each time
    found = [(raw, out[raw.start]) for raw in published if raw.start in out]
    if not found:
        raise RuntimeError("none of the frames came out")
    return {
        **spread([(clean.moment - raw.moment) / 1e6 for raw, clean in found]),
        "frames": len(published),
        "missing": len(published) - len(found),
        "not_cleaned": sum(not clean.cleaned for _, clean in found),
    }


if __name__ == "__main__":
    print(json.dumps(publish(Path(sys.argv[1]), int(sys.argv[2]))))
