"""How far a command is, on standard error: a bar on a terminal, a line a minute elsewhere.

Nothing is printed of what takes less than a minute in a pipe. The clock is injected.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from deepclean.system.clock import Clock, SystemClock

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

INTERVAL = 60.0
"""Seconds between two lines where there is no terminal."""


class _Display(Protocol):
    """Where progress is shown."""

    def show(self, shown: CommandProgress, *, anew: bool = False) -> None: ...

    def say(self, text: str) -> None: ...


class CommandProgress:
    """How far a command is.

    Args:
        what: what it does, one or two words.
        total: how much there is to do; None while that is not known.
        unit: of what is counted, as `s` for seconds of data.
        display: where it is shown.
    """

    def __init__(self, what: str, total: float | None, unit: str, display: _Display) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, 0.0
        self._display = display
        display.show(self, anew=True)

    def begin(self, what: str, total: float | None = None, done: float = 0.0) -> None:
        """Begin another part of the work, of which so much was done before."""
        self.what, self.total, self.done = what, total, done
        self._display.show(self, anew=True)

    def advance(self, more: float = 1.0) -> None:
        """Note that so much more is done."""
        self.reach(self.done + more)

    def reach(self, done: float, total: float | None = None, what: str | None = None) -> None:
        """Note how much is done in all, and, where given, how much there is and what is done."""
        self.done = done
        self.total = self.total if total is None else total
        self.what = self.what if what is None else what
        self._display.show(self)

    def say(self, text: str) -> None:
        """Print a line beside the progress."""
        self._display.say(text)


class ProgressLines:
    """Progress as lines, where standard error is no terminal: the first after `INTERVAL` seconds.

    Args:
        clock: says when the next line is due.
        stream: where they go.
    """

    def __init__(self, clock: Clock, stream: TextIO) -> None:
        self._clock, self._stream = clock, stream
        self._said = self._begun = clock.monotonic()
        self._first = 0.0

    def show(self, shown: CommandProgress, *, anew: bool = False) -> None:
        """Write a line if one is due. What was done before a part began took none of its time."""
        now = self._clock.monotonic()
        if anew:
            self._begun, self._first = now, shown.done
        if now - self._said < INTERVAL:
            return
        self._said = now
        self.say(self._line(shown, now))

    def say(self, text: str) -> None:
        """Write a line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _line(self, shown: CommandProgress, now: float) -> str:
        what, done, total = shown.what, shown.done, shown.total
        if not total:
            return f"{what}: {_duration(now - self._begun)} so far"
        said = f"{what}: {100 * done / total:.0f}%, {done:.0f} of {total:.0f} {shown.unit}".rstrip()
        if done <= self._first:
            return said
        left = (total - done) * (now - self._begun) / (done - self._first)
        return f"{said}, {_duration(left)} left"


class _ProgressBar:
    """Progress as a bar of a terminal."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, counted="")

    def show(self, shown: CommandProgress, *, anew: bool = False) -> None:
        if anew:
            self._bar.reset(self._task)
        counted = ""
        if shown.total is not None:
            counted = f"{shown.done:.0f} of {shown.total:.0f} {shown.unit}".rstrip()
        self._bar.update(
            self._task,
            description=shown.what,
            completed=shown.done,
            total=shown.total,
            counted=counted,
        )

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False)


@contextmanager
def progress(
    what: str, total: float | None = None, unit: str = "", clock: Clock | None = None
) -> Iterator[CommandProgress]:
    """Show how far the block is.

    Args:
        what: what it does, one or two words.
        total: how much there is to do; None while that is not known.
        unit: of what is counted.
        clock: for the lines where there is no terminal; None: the system's.
    """
    if not sys.stderr.isatty():
        yield CommandProgress(what, total, unit, ProgressLines(clock or SystemClock(), sys.stderr))
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[counted]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    console = Console(stderr=True, highlight=False)
    # What is printed goes through the bar only if it goes to the same terminal.
    through = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=through) as bar:
        yield CommandProgress(what, total, unit, _ProgressBar(bar))


def _duration(seconds: float) -> str:
    """Return a duration in words that a person reads at a glance.

    >>> _duration(40), _duration(150), _duration(3 * 3600 + 120)
    ('40 s', '2 min 30 s', '3 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
