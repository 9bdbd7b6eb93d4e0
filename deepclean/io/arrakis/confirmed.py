"""What a broker confirmed, and whether it still has it."""

from __future__ import annotations


class Confirmed:
    """What the broker confirmed: by topic, the offsets of this process's messages.

    Offsets of a topic only grow while a broker keeps what it confirmed. One that does not lie
    behind the last shows that the broker has lost what it had from there on.
    """

    def __init__(self) -> None:
        self._spans: dict[str, tuple[int, int]] = {}
        self._forgotten = 0

    def push(self, topic: str, offset: int) -> None:
        """Take the offset of a message that the broker confirms now."""
        first, end = self._spans.get(topic, (offset, offset))
        self._forgotten = max(self._forgotten, end - max(offset, first))
        self._spans[topic] = (min(first, offset), offset + 1)

    def pop_forgotten(self) -> int:
        """Return how many messages of a topic are found to be lost since the last call."""
        found, self._forgotten = self._forgotten, 0
        return found
