"""Strain in frame files: what has come, what is still waited for, what may be believed."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, hint
from deepclean.io import gwf
from deepclean.io.channels import Reading
from deepclean.io.live.files import AwaitedFiles
from deepclean.io.live.run import Arrival, Beginning, LiveRun, WitnessInput
from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FAR, FrameTail

_log = logging.getLogger(__name__)

_ASKED = 3
"""Files of each stream that are asked for the strain at the start."""


@dataclass(slots=True)
class StrainFiles:
    """Reads the strain's directory of a running site (LiveReader).

    Args:
        run: the limits and accounts.
        strain: tail of the strain's directory.
        witnesses: gives the witnesses; None: the strain's own files hold them.

    Attributes:
        cell: a second in which some strain is lacking is a gap as a whole.
    """

    run: LiveRun
    strain: FrameTail
    witnesses: WitnessInput | None
    cell: int = NS
    _files: AwaitedFiles = field(init=False)
    _sound: dict[FrameName, bool] = field(default_factory=dict)
    """Whether files of strain hold the time that their names say."""
    _carriers: set[str] = field(default_factory=set)
    """The streams in the strain's directory that have had the strain."""
    _last: FrameName | None = None
    _unreadable: bool = False

    def __post_init__(self) -> None:
        channels = self.run.channels
        own = channels.witnesses if self.witnesses is None else ()
        wanted = frozenset((*channels.of_strain_file, *own))
        self._files = AwaitedFiles(self.run, [self.strain], wanted)

    def announce(self) -> None:
        """Say of each directory what is waited for in it."""
        self._files.announce()
        if self.witnesses is not None:
            self.witnesses.announce()

    def describe(self) -> str:
        """Return what strain is waited for, and what is there instead."""
        return self.strain.describe()

    def begin(self, outputs: Sequence[int], resume: int | None) -> Beginning | None:
        """Return where to begin; None: there is no file of strain yet.

        Raises:
            InputError: the newest strain frames lack the strain or have it at another rate: the
                configuration is for another site.
        """
        self.strain.poll(0)
        if not self.strain.names():
            return None
        self._check()
        newest = self._newest(resume)
        if newest is None:
            return None
        self._last = newest  # it may have come this moment
        self.run.came(newest.span)
        self._files.begin(resume)
        if self.witnesses is not None:
            self.witnesses.begin(resume)
        wanted = resume
        if wanted is None:
            wanted = self.run.resumed(outputs, newest.span.end + FAR, newest)
        wanted = newest.span.start if wanted is None else wanted
        # The history begins in the first file that holds some of it.
        reach = (wanted - self.run.history) // NS * NS
        held = (n.span for n in filter(self._carries, self.strain.names()) if n.span.end > reach)
        return Beginning(wanted, next((max(span.start, reach) for span in held), wanted))

    def find(self, cursor: int) -> Arrival | None:
        """Return the strain from the cursor to the end of a file, or how long it is absent."""
        self.strain.poll(cursor)
        found = self._await_strain(cursor)
        later = self._following(cursor) if found is None else None
        if later is not None and self._waited(later):
            self.strain.rescan()  # a file that came since the last listing may lie before it
            found = self._await_strain(cursor)
            if found is None:
                end = (self._following(cursor) or later).span.start
                return Arrival(Span(cursor, end), absent=True)
        if found is not None:
            self.run.came(found.span)
            self.strain.earlier.clear()
        return found

    def newest(self, cursor: int) -> int | None:
        """Return the start of the newest strain; what lies near the cursor is confirmed by it."""
        newest = self._newest(cursor)
        return None if newest is None else newest.span.start

    def await_others(self, span: Span, arrived: float | None) -> None:
        """Wait until every directory has all of a span, at most until the deadline."""
        since = self.run.began if arrived is None else arrived
        self._files.await_files(span, since)
        if self.witnesses is not None:
            self.witnesses.await_span(span, since)

    def read(self, span: Span) -> Reading:
        """Return all wanted channels over a span, from what is there."""
        own = self._files.read(span)
        if self.witnesses is None:
            return own
        others = self.witnesses.read(span)
        return Reading({**others.pieces, **own.pieces}, [*own.faults, *others.faults])

    def settle(self, cursor: int, keep: int, *, rescan: bool = False) -> None:
        """Note that what lies before the cursor is given out, and drop it but for the history."""
        self._files.settle(cursor, rescan=rescan)
        if self.witnesses is not None:
            self.witnesses.settle(keep, rescan=rescan)
        names = self.strain.names()
        self._sound = {name: sound for name, sound in self._sound.items() if name in names}

    def begins_again(self) -> int | None:
        """Return where the stream has begun again, before what was given; None: it has not."""
        before, last = [None, None, *self.strain.earlier][-2:]
        if before is None or last is None or before.span.end != last.span.start:
            return None
        return before.span.start

    def _check(self) -> None:
        """Look for the strain in the newest files of each stream.

        Frames may hold no strain while a detector is down: that is said, and may change.

        Raises:
            InputError: files have the strain, and none at its rate: the configuration is for
                another site.
        """
        wanted, present = self.run.channels.strain, set[str]()
        rates: set[int] = set()
        for stream in {name.description for name in self.strain.names()}:
            names = [name for name in self.strain.names() if name.description == stream]
            for name in names[-_ASKED:]:
                path = self.strain.path(name)
                try:
                    found = gwf.channels(path, self._files.wanted)
                    found = found if wanted in found else gwf.channels(path)
                except (InputError, OSError) as fault:
                    _log.warning("strain frame %s: %s", name, fault)
                    continue
                present |= found.keys()
                if wanted in found:
                    self._carriers.add(stream)
                    rates.add(found[wanted])
        if self.run.channels.rate not in rates and rates:
            self.run.channels.check_rate(min(rates), self.strain.directory)
        if not rates and present:
            said = f"no channel {wanted} (strain.channel){hint(wanted, present)}"
            _log.warning("%s: %s; waiting for frames that have it", self.strain.directory, said)
        if present:
            self.run.channels.check_state(present)

    def _await_strain(self, cursor: int) -> Arrival | None:
        """Wait until strain of an instant can be read, at most until the deadline.

        Returns:
            What is to be given next, from the cursor to the end of a file, with the time at which
            that was noticed. None where there is no file of the strain.
        """
        while True:
            names = self.strain.within(Span(cursor, cursor + 1))
            readings = {name: self._files.load(self.strain, name, cursor) for name in names}
            for name, reading in readings.items():
                if _has(reading, self.run.channels.strain, cursor):
                    self._last = name
                    self._carriers.add(name.description)
                    if self._unreadable:
                        _log.info("strain frames can be read again, from %s", name)
                    self._unreadable = False
                    return Arrival(Span(cursor, name.span.end), self._arrived(name))
            candidates = list(filter(self._carries, names))
            if not candidates:
                return None
            unread = {n: readings[n] for n in candidates if not readings[n].readable}
            if not unread and not self._files.is_outstanding(self.strain, Span(cursor, cursor + 1)):
                break
            arrived = min(map(self._noticed, candidates))
            if self.run.stopped() or self.run.clock.monotonic() - arrived >= self.run.deadline:
                for name, reading in unread.items():
                    self.run.counts["strain", "unreadable"] += 1
                    if not self._unreadable:
                        _log.warning("strain frame %s: %s", name, reading.faults[0])
                    self._unreadable = True
                break
            self.run.wait()
            self.strain.poll(cursor)
        self._last = candidates[0]
        end = candidates[0].span.end
        later = [name.span.start for name in self.strain.within(Span(cursor, end))]
        end = min([end, *(start for start in later if start > cursor)])
        return Arrival(Span(cursor, end), self._arrived(candidates[0]))

    def _newest(self, reference: int | None) -> FrameName | None:
        """Return the newest file of strain that is confirmed.

        Args:
            reference: GPS nanoseconds; what lies near is confirmed by the stream itself.
        """
        for name in reversed(list(filter(self._carries, self.strain.names()))):
            near = reference is not None and abs(name.span.start - reference) <= FAR
            if near or self._confirmed(name):
                return name
        return None

    def _following(self, cursor: int) -> FrameName | None:
        """Return the first file of strain after the cursor, far ahead only if it is confirmed."""
        for name in filter(self._carries, self.strain.after(cursor)):
            near = name.span.start - cursor <= FAR
            if self._holds_its_time(name) is not False and (near or self._confirmed(name)):
                return name
        return None

    def _carries(self, name: FrameName) -> bool:
        """Return whether a file is of a stream that has had the strain, if any has."""
        return not self._carriers or name.description in self._carriers

    def _noticed(self, name: FrameName) -> float:
        noticed = self.strain.noticed(name)
        return self.run.began if math.isinf(noticed) and name == self._last else noticed

    def _waited(self, later: FrameName) -> bool:
        """Return whether what lies before a file has been waited for since that was noticed."""
        return self.run.clock.monotonic() - self.strain.noticed(later) >= self.run.deadline

    def _arrived(self, name: FrameName) -> float | None:
        noticed = self.strain.noticed(name)
        return noticed if math.isfinite(noticed) else None

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
        return follows or name.span.start <= self.run.today() + FAR


def _has(reading: Reading, channel: str, instant: int) -> bool:
    """Return whether a reading has samples of a channel at an instant."""
    pieces: Iterable[object] = reading.pieces.get(channel, ())
    return any(
        isinstance(piece, Series) and piece.span.start <= instant < piece.span.end
        for piece in pieces
    )
