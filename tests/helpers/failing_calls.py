"""Calls of the operating system and of the frame library, counted, of which one fails."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gwframe
import pytest

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
        of_paths: the functions of `os` that take a path.
        opens: count what Python's own `open` opens too.
    """

    place: Path
    fail: int | None = None
    code: int = errno.EIO
    of_paths: Sequence[str] = tuple(OF_PATHS)
    opens: bool = False
    made: list[Call] = field(default_factory=list)
    _descriptors: set[int] = field(default_factory=set)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in self.of_paths:
            patch.setattr(os, name, partial(self._of_path, name, getattr(os, name)))
        for name in OF_DESCRIPTORS:
            patch.setattr(os, name, partial(self._of_descriptor, name, getattr(os, name)))
        if self.opens:
            patch.setattr(io, "open", partial(self._of_path, "io.open", io.open))
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

    def read(self) -> bytes:
        self._calls.tick("read")
        return self._real.read()

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


def some(calls: list[Call]) -> list[int]:
    """Return the first, the middle and the last call of every kind."""
    places: dict[Call, list[int]] = {}
    for position, call in enumerate(calls):
        places.setdefault(call, []).append(position)
    return sorted({p[i] for p in places.values() for i in (0, len(p) // 2, -1)})
