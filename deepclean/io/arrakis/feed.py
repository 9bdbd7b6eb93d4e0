"""The stream of an Arrakis server, read by threads of their own.

One thread reads what comes and connects again when the stream breaks. What was missed meanwhile,
or before the start, is asked for by a second request (`ask`), for the first must not pause: the
client drops what waits. The work loop takes the blocks of both.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, Self

from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import ConfigError, InvalidError, UnavailableError
from deepclean.io.arrakis.messages import message_of
from deepclean.io.arrakis.store import StreamedBlock, StreamedChannel
from deepclean.system.clock import Clock, gps_now

if TYPE_CHECKING:
    from deepclean.io.arrakis.reading import ReadingSession

_log = logging.getLogger(__name__)

_SHORTEST, _LONGEST = 0.25, 8.0
"""Seconds between two attempts to connect: from the first, doubled up to the second."""

_WAITING = 4096
"""Blocks that may wait for the work loop. Where there are more the oldest are dropped; they are
asked for again as part of the past."""

_PAST_WAITING = 256
"""Blocks of the past that may wait: the request pauses."""

_IDLE = 5.0
"""Seconds without a block after which a request for the past is given up."""

_RECENT = 5 * NS
"""Nanoseconds: a server takes what begins less than 2 s ago for a request for what comes."""

_ABSENT = 60.0
"""Seconds after which a channel that the server did not have is looked for again."""

_ENDED = 2.0
"""Seconds that a thread is given to end. One that waits for the server ends with the process."""


class StreamSession(Protocol):
    """A connection; io.arrakis.reading has the real one."""

    def find(self, wanted: Collection[str]) -> dict[str, StreamedChannel]:
        """Return the wanted channels that the server has."""
        ...

    def live(self, channels: Collection[str]) -> Generator[StreamedBlock, None, None]:
        """Yield blocks from now on."""
        ...

    def past(self, channels: Collection[str], span: Span) -> Generator[StreamedBlock, None, None]:
        """Yield the blocks of a span that the server still has."""
        ...

    def cancel(self) -> None:
        """End the streams, from another thread."""
        ...


def connected(server: str, token: str) -> ReadingSession:
    """Return a session with a server, which has not been spoken to yet.

    Raises:
        ConfigError: the client is not installed, or the address is none.
    """
    try:
        from deepclean.io.arrakis.reading import ReadingSession
    except ImportError as error:
        raise ConfigError(
            f"input.arrakis.server: the Arrakis client is not installed ({error}); install "
            "deepclean-production[arrakis], or set it to null"
        ) from error
    return ReadingSession(server, token)


@dataclass(slots=True)
class StreamFeed:
    """Reads while it is entered.

    Args:
        server: its address, for messages.
        wanted: full channel names.
        needed: the channel without which nothing is read: the strain; None: whatever is there.
        session: speaks with the server.
        clock: for the times of arrival.
        wake: called when something came.
        accept: called with the channels that the server has, before they are read. Raises
            InvalidError where the configuration is for something else.
        counts: blocks and connections by what became of them: `received`, `masked` (with a gap),
            `past`, `overflow`, `reconnected`.
        today: the wall clock's GPS nanoseconds.

    Attributes:
        fault: what can never work as it is; None: nothing.
        trouble: why the stream does not come just now; empty: it does.
        gives: whether the last block has samples of what is needed.
        ages: seconds from a block's end to its arrival, of the last blocks with samples.
    """

    server: str
    wanted: Collection[str]
    needed: str | None
    session: StreamSession
    clock: Clock
    wake: Callable[[], None] = lambda: None
    accept: Callable[[Mapping[str, StreamedChannel]], None] = lambda found: None
    counts: Counter[str] = field(default_factory=Counter)
    today: Callable[[], int] = gps_now
    fault: InvalidError | None = None
    trouble: str = "not connected yet"
    gives: bool = True
    ages: deque[float] = field(default_factory=lambda: deque(maxlen=256))
    _live: deque[StreamedBlock] = field(default_factory=lambda: deque(maxlen=_WAITING))
    _past: deque[StreamedBlock] = field(default_factory=deque)
    _channels: tuple[str, ...] = ()
    _stride: int = 0
    _appeared: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _asker: threading.Thread | None = None
    _progress: float = 0.0

    def __enter__(self) -> Self:
        self._thread = _begin(self._run, "arrakis-reader")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.session.cancel()
        for thread in (self._thread, self._asker):
            if thread is not None:
                thread.join(_ENDED)

    def take(self, *, live: bool = True, past: bool = True) -> list[StreamedBlock]:
        """Return what came since the last call, in the order in which it came.

        Args:
            live: what comes; else that waits, as much of it as may.
            past: what was asked for; else that waits, and its request pauses.

        Raises:
            InvalidError: this can never work as it is.
        """
        if self.fault is not None:
            raise self.fault
        queues = [self._past] * past + [self._live] * live
        return [queue.popleft() for queue in queues for _ in range(len(queue))]

    def ask(self, span: Span) -> None:
        """Ask the server for what it still has of a span, in a thread of its own.

        A block must have come that begins where the span ends: the client waits for one.
        """
        if not self._channels or (self._asker is not None and self._asker.is_alive()):
            return
        start = min(span.start, self.today() - _RECENT)
        span = Span(start, span.end + self._stride)
        self._progress = time.monotonic()
        self._asker = _begin(lambda: self._fetch(span), "arrakis-past")

    def asking(self) -> bool:
        """Return whether something that was asked for may still come."""
        if self._asker is None or not (self._asker.is_alive() or self._past):
            return False
        return bool(self._past) or time.monotonic() - self._progress < _IDLE

    def describe(self) -> str:
        """Return what is waited for, and why it does not come."""
        said = f"waiting for blocks of {self.needed or 'the witnesses'} from {self.server}"
        if self.trouble:
            return f"{said}: {self.trouble}"
        return f"{said}: connected" + ("" if self.gives else ", but it gives gaps only")

    def _run(self) -> None:
        pause = _SHORTEST
        while not self._stop.is_set():
            received = self.counts["received"]
            try:
                self._read()
            except InvalidError as error:
                if self._channels:  # it worked before, so that a token may have run out
                    self._note_trouble(error)
                else:
                    self.fault = error
                    self.wake()
                    return
            except Exception as error:  # noqa: BLE001  (whatever the libraries below raise)
                if self._stop.is_set():
                    return
                self._note_trouble(error)
            if self.counts["received"] > received:
                pause = _SHORTEST
            if self._stop.wait(pause):
                return
            pause = min(2 * pause, _LONGEST)
            self.counts["reconnected"] += bool(self._channels)

    def _note_trouble(self, error: Exception) -> None:
        said = message_of(error)[:300]
        if "not available on this server" in said:  # and yet it was found
            said += "; where a channel was registered just now this lasts up to a minute"
        if said != self.trouble and (not self.trouble or not self._channels):
            _log.warning("%s: the stream does not come: %s", self.server, said)
        self.trouble = said
        self.wake()

    def _read(self) -> None:
        """Read until the stream ends, or a channel that was absent is there."""
        found = self.session.find(self.wanted)
        if not found or (self.needed is not None and self.needed not in found):
            absent = self.needed or ", ".join(self.wanted)
            raise UnavailableError(f"no channel {absent} at this server")
        self.accept(found)
        self._stride = max(one.stride for one in found.values())
        absent_ones = sorted(set(self.wanted) - set(found))
        if absent_ones and tuple(sorted(found)) != self._channels:
            _log.warning("%s: no channel %s; gaps", self.server, ", ".join(absent_ones))
        again, self._channels, self._appeared = bool(self._channels), tuple(sorted(found)), False
        looked = time.monotonic()
        with closing(self.session.live(self._channels)) as blocks:
            for block in blocks:
                if self._stop.is_set():
                    return
                if self.trouble:
                    said = "the stream comes again" if again else "the stream comes"
                    _log.info("%s: %s from GPS %s", self.server, said, format_gps(block.span.start))
                self.trouble = ""
                self._receive(block)
                if self._appeared:
                    return
                if absent_ones and time.monotonic() - looked >= _ABSENT:
                    looked = time.monotonic()
                    _begin(self._look, "arrakis-look")
        raise UnavailableError("the server ended the stream")

    def _receive(self, block: StreamedBlock) -> None:
        self.counts["received"] += 1
        if not all(block.has(channel) for channel in block.pieces):
            self.counts["masked"] += 1
        there = any(block.has(channel) for channel in block.pieces)
        self.gives = there if self.needed is None else block.has(self.needed)
        if there:
            self.ages.append((self.today() - block.span.end) / NS)
        if len(self._live) == _WAITING:
            self.counts["overflow"] += 1
        self._live.append(replace(block, arrived=self.clock.monotonic()))
        self.wake()

    def _look(self) -> None:
        """Look whether the server has channels that it did not have."""
        try:
            self._appeared = set(self.session.find(self.wanted)) > set(self._channels)
        except Exception as error:  # noqa: BLE001  (the reader meets it too)
            _log.debug("%s: %s", self.server, error)

    def _fetch(self, span: Span) -> None:
        """Read a span of the past."""
        try:
            with closing(self.session.past(self._channels, span)) as blocks:
                for block in blocks:
                    self._progress = time.monotonic()
                    self.counts["past"] += 1
                    self._past.append(block)
                    self.wake()
                    while len(self._past) >= _PAST_WAITING and not self._stop.wait(0.02):
                        self._progress = time.monotonic()
                    if self._stop.is_set():
                        return
        except Exception as error:  # noqa: BLE001  (whatever the libraries below raise)
            if not self._stop.is_set():
                said = message_of(error)[:300]
                _log.warning("%s: nothing of GPS %s: %s", self.server, span, said)
        finally:
            self.wake()


def _begin(work: Callable[[], None], name: str) -> threading.Thread:
    # A thread that waits for a server that is stuck must not keep the process.
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
