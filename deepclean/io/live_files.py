"""The files of a running site: what has come, what is still waited for, what may be believed.

Waiting is all that a live run does to its files; io.reader reads them, as it does for a history.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, hint
from deepclean.io import gwf
from deepclean.io.channels import Reading
from deepclean.io.reader import Reader
from deepclean.io.source import Channels
from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FAR, FrameTail
from deepclean.system.clock import Clock, gps_now
from deepclean.telemetry.counters import Result, Stream
from deepclean.telemetry.timings import Timings

_log = logging.getLogger(__name__)

_ASKED = 3
"""Files of each stream that are asked for the strain at the start."""


@dataclass(slots=True)
class LiveFiles:
    """The files of the live directories, read as they come.

    Args:
        channels: the wanted channels.
        strain: tail of the strain's directory.
        witnesses: tails of the witnesses' directories; none where the strain's files hold them.
        clock: for the deadline.
        deadline: seconds after a strain frame's arrival until missing files are given up.
        checksum: verify the checksum of every file.
        stopped: returns whether to stop; called before every wait.
        wait: waits for the next poll.
        counts: files by stream and result, but for strain that was taken.
        waiting: seconds for which a stream has been waited for, by stream.
        timings: note the durations of reading.
        today: the wall clock's GPS nanoseconds.
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
    waiting: dict[Stream, float]
    timings: Timings
    today: Callable[[], int] = gps_now
    _reader: Reader = field(init=False)
    _strain_wanted: frozenset[str] = field(init=False)
    _witnesses_wanted: frozenset[str] = field(init=False)
    _holds: dict[tuple[FrameTail, str], bool] = field(default_factory=dict)
    """Whether the file read last of a directory's stream holds any wanted channel."""
    _sound: dict[FrameName, bool] = field(default_factory=dict)
    """Whether files of strain hold the time that their names say."""
    _carriers: set[str] = field(default_factory=set)
    """The streams in the strain's directory that have had the strain."""
    _last: FrameName | None = None
    _began: float = math.inf
    _lacking: float | None = None
    _unreadable: bool = False
    _said: set[FrameTail] = field(default_factory=set)

    def __post_init__(self) -> None:
        timed = partial(self.timings.stage, "read")
        self._reader = Reader(checksum=self.checksum, timed=timed)
        strain = self.channels.of_strain_file
        self._witnesses_wanted = frozenset(self.channels.witnesses)
        alone = frozenset() if self.witnesses else self._witnesses_wanted
        self._strain_wanted = frozenset(strain) | alone

    @property
    def tails(self) -> tuple[FrameTail, ...]:
        """All tails."""
        return (self.strain, *self.witnesses)

    def read(self, span: Span) -> Reading:
        """Return all wanted channels over a span, from the files that are there."""
        strain = [self.strain.file(name) for name in self.strain.within(span)]
        reading = self._reader.read(strain, self._strain_wanted, span)
        if not self.witnesses:
            return reading
        files = [tail.file(name) for tail in self.witnesses for name in tail.within(span)]
        files.sort(key=lambda file: file.order)
        others = self._reader.read(files, self._witnesses_wanted, span)
        return Reading({**others.pieces, **reading.pieces}, [*reading.faults, *others.faults])

    def check(self) -> None:
        """Look for the strain in the newest files of each stream.

        Frames may hold no strain while a detector is down: that is said, and may change.

        Raises:
            InputError: files have the strain, and none at its rate: the configuration is for
                another site.
        """
        wanted, present = self.channels.strain, set[str]()
        rates: set[int] = set()
        for stream in {name.description for name in self.strain.names()}:
            names = [name for name in self.strain.names() if name.description == stream]
            for name in names[-_ASKED:]:
                path = self.strain.path(name)
                try:
                    found = gwf.channels(path, self._strain_wanted)
                    found = found if wanted in found else gwf.channels(path)
                except (InputError, OSError) as fault:
                    _log.warning("strain frame %s: %s", name, fault)
                    continue
                present |= found.keys()
                if wanted in found:
                    self._carriers.add(stream)
                    rates.add(found[wanted])
        if self.channels.rate not in rates and rates:
            self.channels.check_rate(min(rates), self.strain.directory)
        if not rates and present:
            said = f"no channel {wanted} (strain.channel){hint(wanted, present)}"
            _log.warning("%s: %s; waiting for frames that have it", self.strain.directory, said)
        if present:
            self.channels.check_state(present)

    def await_strain(self, cursor: int) -> tuple[Span, float | None] | None:
        """Wait until strain of an instant can be read, at most until the deadline.

        Returns:
            What is to be given next, from the cursor to the end of a file, and when that file was
            noticed (None: before the start). None where there is no file of the strain.
        """
        while True:
            names = self.strain.within(Span(cursor, cursor + 1))
            readings = {name: self._load(self.strain, name, cursor) for name in names}
            for name, reading in readings.items():
                if _has(reading, self.channels.strain, cursor):
                    self._last = name
                    self._carriers.add(name.description)
                    if self._unreadable:
                        _log.info("strain frames can be read again, from %s", name)
                    self._unreadable = False
                    return Span(cursor, name.span.end), self._arrived(name)
            candidates = list(filter(self._carries, names))
            if not candidates:
                return None
            unread = {n: readings[n] for n in candidates if not readings[n].readable}
            if not unread and not self._outstanding(self.strain, Span(cursor, cursor + 1)):
                break
            arrived = min(map(self._noticed, candidates))
            if self.stopped() or self.clock.monotonic() - arrived >= self.deadline:
                for name, reading in unread.items():
                    self.counts["strain", "unreadable"] += 1
                    if not self._unreadable:
                        _log.warning("strain frame %s: %s", name, reading.faults[0])
                    self._unreadable = True
                break
            self.wait()
            self.strain.poll(cursor)
        self._last = candidates[0]
        end = candidates[0].span.end
        later = [name.span.start for name in self.strain.within(Span(cursor, end))]
        end = min([end, *(start for start in later if start > cursor)])
        return Span(cursor, end), self._arrived(candidates[0])

    def await_others(self, span: Span, arrived: float | None) -> None:
        """Wait until every directory has all of a span, at most until the deadline."""
        since = self._began if arrived is None else arrived
        while late := [tail for tail in self.tails if self._outstanding(tail, span)]:
            now = self.clock.monotonic()
            if now - since >= self.deadline or self.stopped():
                break
            self.wait()
        for tail in late:
            tail.rescan()  # its name may be another than the expected one
        late = [tail for tail in late if self._outstanding(tail, span)]
        for tail in late:
            if tail is self.strain:
                continue
            there = tail.at(span.start) is not None
            self.counts["witnesses", "unreadable" if there else "missing"] += 1
            if not there and tail not in self._said:
                _log.warning("%s", tail.describe())
        self._said = {tail for tail in late if tail is not self.strain}
        now = self.clock.monotonic()
        self._lacking = (self._lacking or now) if self._said else None
        self.waiting["witnesses"] = 0.0 if self._lacking is None else now - self._lacking

    def strain_names(self) -> list[FrameName]:
        """Return the files of the streams that have had the strain, in order of time."""
        return list(filter(self._carries, self.strain.names()))

    def newest(self, reference: int | None = None) -> FrameName | None:
        """Return the newest file of strain that is confirmed.

        Args:
            reference: GPS nanoseconds; what lies near is confirmed by the stream itself.
        """
        for name in reversed(self.strain_names()):
            near = reference is not None and abs(name.span.start - reference) <= FAR
            if near or self._confirmed(name):
                return name
        return None

    def following(self, cursor: int) -> FrameName | None:
        """Return the first file of strain after the cursor, far ahead only if it is confirmed."""
        for name in filter(self._carries, self.strain.after(cursor)):
            near = name.span.start - cursor <= FAR
            if self._holds_its_time(name) is not False and (near or self._confirmed(name)):
                return name
        return None

    def begin(self, newest: FrameName, resume: int | None) -> None:
        """Begin: the newest file may have come this moment, and the others are waited for.

        Args:
            newest: the newest file of strain.
            resume: where a stream has begun again: what came before that and lies after it in time
                is of the former pass.
        """
        self._last = newest
        self._began = self.clock.monotonic()
        if resume is not None:
            for tail in self.tails:
                tail.forget_former(resume)

    def settle(self, cursor: int, *, rescan: bool = False) -> None:
        """Note that files that come from now on and end before the cursor are late.

        Args:
            cursor: GPS nanoseconds.
            rescan: list the directories first, where not every file was asked for by its name.
        """
        for tail in self.tails:
            if rescan:
                tail.rescan()
            tail.settle(cursor)

    def drop_before(self, cursor: int, history: int) -> None:
        """Drop what was read before the cursor, and files before the history."""
        self._reader.drop_before(cursor)
        for tail in self.tails:
            tail.drop_before(cursor - history)
        names = self.strain.names()
        self._sound = {name: sound for name, sound in self._sound.items() if name in names}

    def begins_again(self) -> int | None:
        """Return where the stream has begun again, before what was given; None: it has not."""
        before, last = [None, None, *self.strain.earlier][-2:]
        if before is None or last is None or before.span.end != last.span.start:
            return None
        return before.span.start

    def _carries(self, name: FrameName) -> bool:
        """Return whether a file is of a stream that has had the strain, if any has."""
        return not self._carriers or name.description in self._carriers

    def _noticed(self, name: FrameName) -> float:
        noticed = self.strain.noticed(name)
        return self._began if math.isinf(noticed) and name == self._last else noticed

    def _arrived(self, name: FrameName) -> float | None:
        noticed = self.strain.noticed(name)
        return noticed if math.isfinite(noticed) else None

    def _load(self, tail: FrameTail, name: FrameName, instant: int) -> Reading:
        """Read what a file holds about an instant."""
        wanted = self._strain_wanted if tail is self.strain else self._witnesses_wanted
        file = tail.file(name)
        reading = self._reader.load(file, wanted, Span(instant, min(instant + NS, file.span.end)))
        if reading.readable:
            self._holds[tail, name.description] = any(reading.pieces.values())
            if tail.mark_read(name) and tail is not self.strain:
                self.counts["witnesses", "taken"] += 1
        return reading

    def _outstanding(self, tail: FrameTail, span: Span) -> bool:
        """Return whether files of a directory are still to come that may have what is lacking."""
        tail.poll(span.start)
        streams = tail.streams(span.start)
        complete = bool(streams)
        for stream in sorted(streams):
            instant = span.start
            while instant < span.end:
                tail.poll(instant)
                names = (
                    name
                    for name in tail.within(Span(instant, instant + 1))
                    if name.description == stream and self._load(tail, name, instant).readable
                )
                name = next(names, None)
                if name is None:
                    complete = complete and not self._holds.get((tail, stream), True)
                instant = instant // NS * NS + NS if name is None else name.span.end
        return not complete and not self._answered(tail, span)

    def _answered(self, tail: FrameTail, span: Span) -> bool:
        """Return whether the files that are there have all that is wanted of a directory."""
        wanted = self._strain_wanted if tail is self.strain else self._witnesses_wanted
        files = [tail.file(name) for name in tail.within(span)]
        pieces = self._reader.read(files, wanted, span).pieces.values()
        return not any(isinstance(piece, Gap) for found in pieces for piece in found)

    def _holds_its_time(self, name: FrameName) -> bool | None:
        """Return whether a file of strain holds what its name says; None: it cannot be read yet."""
        if name in self._sound:
            return self._sound[name]
        try:
            held = gwf.span(self.strain.path(name))
        except (InputError, OSError):
            return None
        self._sound[name] = held.overlap(name.span) is not None
        if not self._sound[name]:
            _log.warning("%s holds %s, not the time of its name: ignored", name, held)
            self.strain.discard(name)
        return self._sound[name]

    def _confirmed(self, name: FrameName) -> bool:
        """Return whether the data, and the clock or the stream, confirm when a file is.

        A file that lies far from the stream is not believed alone: its name may be wrong, its
        writer's clock, or the clock of this machine.
        """
        if not self._holds_its_time(name):
            return False
        beside = {name.span.start, name.span.end}
        neighbours = self.strain.within(Span(name.span.start - NS, name.span.end + NS))
        follows = any(beside & {n.span.start, n.span.end} for n in neighbours if n != name)
        return follows or name.span.start <= self.today() + FAR


def _has(reading: Reading, channel: str, instant: int) -> bool:
    """Return whether a reading has samples of a channel at an instant."""
    pieces: Iterable[object] = reading.pieces.get(channel, ())
    return any(
        isinstance(piece, Series) and piece.span.start <= instant < piece.span.end
        for piece in pieces
    )
