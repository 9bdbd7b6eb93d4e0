"""A stream of witnesses beside the strain's frame files."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from deepclean.core.time import NS, Span
from deepclean.io.arrakis.inbox import StreamInbox
from deepclean.io.channels import Reading
from deepclean.io.live_files import LiveFiles
from deepclean.io.t050017 import FrameName

_log = logging.getLogger(__name__)

_FIRST = 10.0
"""Seconds for which the stream's first block is waited for at a start."""


@dataclass(slots=True, kw_only=True)
class FilesAndStream(LiveFiles):
    """The strain's live files, and the witnesses as a stream.

    Args:
        inbox: gives the witnesses' blocks.
    """

    inbox: StreamInbox

    def __post_init__(self) -> None:
        LiveFiles.__post_init__(self)
        self._strain_wanted = frozenset(self.channels.of_strain_file)

    def begin(self, newest: FrameName, resume: int | None) -> None:
        """Begin, as files alone do; the stream is waited for, so that its past can be asked for."""
        LiveFiles.begin(self, newest, resume)
        until = self.clock.monotonic() + _FIRST
        while self.inbox.begin(None) is None and self.clock.monotonic() < until:
            if self.stopped():
                return
            self.wait()

    def read(self, span: Span) -> Reading:
        """Return all wanted channels over a span, from what came."""
        reading = LiveFiles.read(self, span)
        self.inbox.take(span)
        streamed = self.inbox.store.pieces(self.channels.witnesses, span)
        return Reading({**reading.pieces, **streamed}, reading.faults)

    def await_others(self, span: Span, arrived: float | None) -> None:
        """Wait until the stream has all of a span, at most until the deadline."""
        LiveFiles.await_others(self, span, arrived)
        since = self._began if arrived is None else arrived
        while True:
            self.inbox.take(span)
            if self.inbox.is_decided(span) or self.stopped():
                self._lacking = None
                break
            now = self.clock.monotonic()
            if now - since >= self.deadline and not self.inbox.feed.asking():
                self.counts["witnesses", "missing"] += 1
                if self._lacking is None:
                    _log.warning("%s", self.inbox.feed.describe())
                self._lacking = self._lacking or now
                break
            self.wait()
        now = self.clock.monotonic()
        self.waiting["witnesses"] = 0.0 if self._lacking is None else now - self._lacking

    def drop_before(self, cursor: int, history: int) -> None:
        """Drop what lies before the cursor."""
        LiveFiles.drop_before(self, cursor, history)
        # A frame that passed through late is given again as history (io.live).
        self.inbox.store.settle(cursor - history // NS * NS - NS)
