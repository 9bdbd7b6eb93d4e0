"""The files of a running site, read as they come: strain at once, witnesses until the deadline."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepclean.core.align import Aligner
from deepclean.core.block import Gap, Series
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.io.source import Channels
from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FrameTail
from deepclean.system.clock import Clock
from deepclean.telemetry.counters import Result, Stream
from deepclean.telemetry.timings import Timings

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class LiveReader:
    """Reads the files of the live directories into an aligner.

    Args:
        channels: wanted of the files.
        strain: tail of the strain's directory.
        witnesses: tails of the witnesses' directories; none where the strain's files hold them.
        clock: for the deadline.
        deadline: seconds after a strain frame's arrival until what is missing is given up.
        checksum: verify the checksum of every file.
        stopped: says whether to stop; asked before every wait.
        wait: waits for the next look.
        counts: files by stream and result, but for strain that was taken.
        timings: told how long reading takes.

    Attributes:
        aligner: holds the witnesses that were read.
    """

    channels: Channels
    strain: FrameTail
    witnesses: Sequence[FrameTail]
    clock: Clock
    deadline: float
    checksum: bool
    stopped: Callable[[], bool]
    wait: Callable[[], None]
    counts: Counter[tuple[Stream, Result]]
    timings: Timings
    aligner: Aligner = field(init=False)
    _read: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aligner = Aligner(self.channels.witnesses)

    def restart(self) -> None:
        """Forget the witnesses that were read: time goes back."""
        self.aligner, self._read = Aligner(self.channels.witnesses), {}

    def drop_before(self, cursor: int) -> None:
        """Forget pieces and files that end at or before an instant (GPS nanoseconds)."""
        self.aligner.drop_before(cursor)
        self._read = {path: end for path, end in self._read.items() if end > cursor}

    def read_strain(
        self, name: FrameName, span: Span, arrived: float
    ) -> tuple[Series | Gap, Series | Gap | None]:
        """Return strain and state vector of a file over a span; a gap once the deadline is over."""
        wanted = self.channels.of_strain_file
        if not self.witnesses:
            wanted += self.channels.witnesses
        while True:
            try:
                read = self._read_file(self.strain.path(name), wanted, span)
                break
            except InputError as fault:
                if self.stopped() or self.clock.monotonic() - arrived >= self.deadline:
                    _log.warning("strain frame %s: %s", name, fault)
                    self.counts["strain", "unreadable"] += 1
                    return Gap(span, "strain_unreadable"), None
            self.wait()
        self.strain.mark_read(name)
        strain = read.pop(self.channels.strain, Gap(span, "strain_missing"))
        if isinstance(strain, Series) and strain.rate != self.channels.rate:
            strain = Gap(span, "strain_rate")
        state = read.pop(self.channels.state, None) if self.channels.state else None
        self.aligner.add(read)
        return strain, state

    def gather(self, span: Span, arrived: float) -> None:
        """Read the witness files over a span as they come, until the deadline."""
        while True:
            late = [tail for tail in self.witnesses if not self.take(tail, span)]
            if not late or self.stopped():
                return
            if self.clock.monotonic() - arrived >= self.deadline:
                for tail in late:
                    tail.rescan()  # its name may be one that is not probed for
                for tail in [tail for tail in late if not self.take(tail, span)]:
                    there = tail.at(span.start) is not None
                    self.counts["witnesses", "unreadable" if there else "missing"] += 1
                return
            self.wait()

    def take(self, tail: FrameTail, span: Span) -> bool:
        """Read what a witness directory has over a span; return whether that is all of it."""
        instant, complete = span.start, True
        while instant < span.end:
            tail.poll(instant)
            name = tail.at(instant)
            if name is None or not self._read_witnesses(tail, name):
                complete = False
                name = tail.after(instant)
                instant = span.end if name is None else name.span.start
            else:
                instant = name.span.end
        return complete

    def _read_witnesses(self, tail: FrameTail, name: FrameName) -> bool:
        path = tail.path(name)
        if path in self._read:
            return True
        try:
            # Each directory is asked for all: what it does not hold is left out.
            read = self._read_file(path, self.channels.witnesses, name.span)
        except InputError as fault:
            _log.debug("witness frame %s: %s", name, fault)
            return False
        self.counts["witnesses", "taken"] += 1
        tail.mark_read(name)
        self.aligner.add(read)
        self._read[path] = name.span.end
        return True

    def _read_file(
        self, path: Path, wanted: tuple[str, ...], span: Span
    ) -> dict[str, Series | Gap]:
        try:
            with self.timings.stage("read"):
                return gwf.read(path, wanted, span, checksum=self.checksum, missing_ok=True)
        except OSError as error:
            raise InputError(f"cannot be read: {error}", path=path) from error
