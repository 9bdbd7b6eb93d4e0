"""The publisher: a thread of its own between the work loop and Arrakis, behind a bounded queue.

The work loop never waits for it. What cannot be published in time is dropped, oldest first, and
counted with its reason; docs/arrakis.md has the table.

A block that is not confirmed is waited for: Kafka's producer tries again until the broker has it
once. No block is handed over twice, for nobody can take back the first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import InputError, hint, one_line
from deepclean.io.arrakis.connection import Connect, PublishSession, connect_to
from deepclean.io.arrakis.messages import message_of
from deepclean.io.arrakis.position import PublishedPosition, path_in
from deepclean.io.arrakis.strides import PublishedBlock, PublishedChannel, StrideCutter
from deepclean.io.arrakis.unpublished import BlocksInDoubt, written_since
from deepclean.io.frame_channels import published_channels

_log = logging.getLogger(__name__)

_UNCONFIRMED = 16
"""Blocks at most on their way to the broker. It is one, and more where blocks wait and one takes
longer than it lasts: then a confirmation of up to a second does not hold up the stream."""

_SHORTEST, _LONGEST = 0.5, 30.0
"""Seconds between two attempts to connect: from the first, doubled up to the second."""

FORGOTTEN = "forgotten"
"""Confirmed blocks that the broker has lost since: counted beside those that were published."""


class BlockPublisher:
    """Publishes while it is entered.

    Args:
        config: the run's configuration, whose `output.arrakis` names a server.
        connect: registers the channels and gives a session.
        counts: blocks by what became of them: `published`, or why not.

    Raises:
        OutputError: the file with the position cannot be opened.

    Attributes:
        only: whether no frames are written beside.
    """

    def __init__(self, config: Config, connect: Connect, counts: Counter[str]) -> None:
        settings = config.output.arrakis
        self.counts = counts
        self.only = not config.output.frames
        self._wanted, self._copied = settings.channels, config.strain.state_vector
        self._stride, self._bound = settings.stride, settings.queue
        self._timeout, self._drain = settings.timeout / NS, settings.drain / NS
        self._connect = connect
        output = config.output
        self._position = PublishedPosition(path_in(output.directory, output.description))
        self._frames = output.directory, output.description
        self._written: list[tuple[Span, Mapping[str, Series]]] = []
        self._doubt = BlocksInDoubt.of(self._position, settings.stride)
        self._cutter = StrideCutter(settings.stride)
        self._queue: deque[PublishedBlock] = deque()
        self._changed = threading.Condition()
        self._end: float | None = None
        self._works = True
        self._lost = 0
        self._window = 1
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def finished(self) -> list[int]:
        """Return the end of the last second that was published; nothing where there is none."""
        return [self._doubt.start // NS * NS] if self._position.reached else []

    def __enter__(self) -> Self:
        if self._position.reached and not self.only:
            self._read_written()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Publish what waits, within the bound of time, and stop."""
        with self._changed:
            self._enter(self._cutter.flush())
            self._end = time.monotonic() + self._drain
            self._changed.notify()
        self._thread.join(self._drain + self._timeout)
        with self._changed:
            self.counts["stopped"] += len(self._queue)
            self._queue.clear()
        if not self._thread.is_alive():
            self._position.close()
        lost = self.counts.total() - self.counts["published"] - self.counts[FORGOTTEN]
        _log.info("published %d blocks, %d not", self.counts["published"], lost)

    def push(self, span: Span, channels: Mapping[str, Series]) -> None:
        """Take the channels of a cleaned frame.

        The source's own state vector is left out: it is another publisher's channel.

        Args:
            span: of the frame; a part of a stride waits for the rest.
            channels: by full name, as a frame has them.

        Raises:
            ValueError: the stride is not a whole number of samples of a channel.
        """
        chosen = {
            name: series
            for name, series in channels.items()
            if name != self._copied and (not self._wanted or name in self._wanted)
        }
        with self._changed:
            if not self._cutter.channels:
                self._check(channels)
                self._begin(span, chosen)
            self._enter(self._cutter.push(span, chosen))
            self._changed.notify()

    def _begin(self, span: Span, channels: Mapping[str, Series]) -> None:
        """Take the channels that are published from now on, and first what was written of them."""
        self._cutter = StrideCutter(
            self._stride, {name: PublishedChannel.of(one) for name, one in channels.items()}
        )
        for before, there in self._written:
            if before.end <= span.start:
                self._enter(self._cutter.push(before, there))
        if self._queue:
            first = format_gps(self._queue[0].start)
            _log.info("GPS %s: publishing goes on with what the frame files have", first)
        self._written.clear()

    def push_gap(self, span: Span) -> None:
        """Take a span without strain: its blocks are masked throughout.

        A span that is longer than the queue is not published: a reader finds no block, which is a
        gap too.
        """
        longest = self._bound * self._stride
        with self._changed:
            if span.duration > longest:
                self._enter(self._cutter.flush())
            else:
                self._enter(self._cutter.push_gap(span))
            self._changed.notify()

    def _read_written(self) -> None:
        """Read what the last process wrote as frames and did not live to publish."""
        longest = self._bound * self._stride
        try:
            self._written = list(written_since(*self._frames, self._doubt.start, longest))
        except (OSError, InputError) as error:
            _log.warning("frames that were not published cannot be read: %s", one_line(error))

    def _check(self, channels: Mapping[str, Series]) -> None:
        """Say which wanted channels there are not."""
        for name in self._wanted:
            if name not in channels:
                _log.warning("output.arrakis.channels: no channel %s%s", name, hint(name, channels))

    def _enter(self, blocks: Iterable[PublishedBlock]) -> None:
        """Add blocks to the queue; the oldest leave it where it is full."""
        for block in blocks:
            if len(self._queue) >= self._bound:
                self._queue.popleft()
                self._drop("full")
            self._queue.append(block)

    def _drop(self, reason: str) -> None:
        self.counts[reason] += 1
        self._lost += 1

    def _run(self) -> None:
        session: PublishSession | None = None
        pause = _SHORTEST
        while self._await_block():
            if session is None:
                try:
                    session = self._connect(self._cutter.channels)
                except Exception as error:  # noqa: BLE001  (whatever it is, cleaning goes on)
                    self._fails(error)
                    self._sleep(pause)
                    pause = min(2 * pause, _LONGEST)
                    continue
            if self._publish(session):
                pause = _SHORTEST
                continue
            session = None  # not closed: with messages that are not confirmed this takes 10 s
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST)
        if session is not None:
            session.close()

    def _publish(self, session: PublishSession) -> bool:
        """Publish what waits, and wait until it is confirmed; return whether it was."""
        sent: list[PublishedBlock] = []
        reason, began = "refused", time.monotonic()
        try:
            while len(sent) < self._window and (block := self._pop(session, sent)) is not None:
                sent.append(block)
                session.send(block)
            while sent:
                try:
                    session.confirm(self._left())
                    break
                except TimeoutError as error:
                    self._fails(error)
                    if session.is_stuck() or not self._has_room():
                        reason = "unconfirmed"
                        raise
        except Exception as error:  # noqa: BLE001  (whatever it is, cleaning goes on)
            self._fails(error)
            for _ in sent:  # of several it is not known which
                self._drop(reason if len(sent) == 1 else "unconfirmed")
            self._window = 1
            return False
        slow = time.monotonic() - began > self._stride / NS
        wider = 2 * self._window if slow and self._queue else self._window // 2
        self._window = min(max(wider, 1), _UNCONFIRMED)
        self.counts["published"] += len(sent)
        if len(sent) > 1:
            self._claim(self._position.reached, sent[-1].start)
        if sent:
            self._succeeds(sent[0])
            self._note_forgotten(session.pop_forgotten(), sent[-1])
        return True

    def _note_forgotten(self, count: int, block: PublishedBlock) -> None:
        """Count confirmed blocks that the broker has lost before it confirmed this one."""
        if count:
            self.counts[FORGOTTEN] += count
            _log.warning(
                "GPS %s: the broker has lost %d blocks that it had confirmed, the last before this",
                format_gps(block.start),
                count,
            )

    def _has_room(self) -> bool:
        """Return whether what comes can wait: it is not the end, and the queue is not full."""
        with self._changed:
            if self._end is not None and time.monotonic() >= self._end:
                return False
            return len(self._queue) < self._bound

    def _await_block(self) -> bool:
        """Wait for a block; return False where the publisher is to end."""
        with self._changed:
            while not self._queue and self._end is None:
                self._changed.wait()
            return bool(self._queue) and (self._end is None or time.monotonic() < self._end)

    def _pop(
        self, session: PublishSession, sent: Sequence[PublishedBlock]
    ) -> PublishedBlock | None:
        """Return the next block to be published, claimed; None where none waits.

        The blocks in `sent` are not confirmed yet.
        """
        while True:
            with self._changed:
                if not self._queue:
                    return None
                block = self._queue.popleft()
            if block.start >= self._position.reached:
                self._claim(block.start + self._stride, (*sent, block)[0].start)
                return block
            if self._doubt.covers(block):
                if (rest := self._rest(session, block)) is not None:
                    return rest
                continue
            if not self.counts["past"] and block.start < self._doubt.start - NS:
                _log.warning(
                    "GPS %s: not published: %s says that the stream was published to GPS %s; "
                    "remove that file for a stream that begins again",
                    format_gps(block.start),
                    self._position.path,
                    format_gps(self._position.reached),
                )
            self.counts["past"] += 1

    def _claim(self, end: int, confirmed: int) -> None:
        try:
            self._position.claim(end, confirmed)
        except OSError as error:
            _log.warning("%s: cannot be written: %s", self._position.path, error.strerror)

    def _rest(self, session: PublishSession, block: PublishedBlock) -> PublishedBlock | None:
        """Return what the broker does not have of a block in doubt; None: nothing is published."""
        try:
            rest = self._doubt.rest(block, session.last_times)
        except Exception as error:  # noqa: BLE001  (whatever it is, cleaning goes on)
            _log.warning("GPS %s: may not be published: %s", format_gps(block.start), error)
            self._drop("unconfirmed")
            return None
        self.counts["past"] += rest is None
        return rest

    def _left(self) -> float:
        """Return the seconds that a block may take."""
        if self._end is None:
            return self._timeout
        return max(min(self._timeout, self._end - time.monotonic()), 0.0)

    def _sleep(self, seconds: float) -> None:
        """Wait before the next attempt, or until told to stop; the shortest pause after that."""
        with self._changed:
            if self._end is None:
                self._changed.wait_for(lambda: self._end is not None, seconds)
            else:
                self._changed.wait(min(_SHORTEST, self._left()))

    def _fails(self, error: Exception) -> None:
        if self._works:
            _log.warning("nothing is published: %s", message_of(error))
        self._works = False

    def _succeeds(self, block: PublishedBlock) -> None:
        if not self._works:
            start, lost = format_gps(block.start), self._lost
            _log.info("GPS %s: published again; %d blocks were not", start, lost)
        self._works, self._lost = True, 0


def publisher_of(config: Config, counts: Counter[str]) -> BlockPublisher | None:
    """Return the publisher of a configuration; None where it names no server.

    Args:
        config: the run's configuration.
        counts: of the blocks (BlockPublisher).

    Raises:
        ConfigError: the client is not installed, or none of the named channels is there.
        OutputError: as BlockPublisher.
    """
    settings = config.output.arrakis
    if settings.server is None:
        return None
    published_channels(config)
    return BlockPublisher(config, connect_to(settings.server, settings), counts)
