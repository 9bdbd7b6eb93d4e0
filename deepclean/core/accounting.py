"""The account of every frame: how many came in, how many were written or lost, and why.

At any moment `frames_in == written + lost + inside`, so no frame disappears unseen. Gaps are
seconds without strain. They give no frame.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """The counts since the start.

    >>> Ledger(frames_in=5, written=Counter(cleaned=3), lost=Counter(ENOSPC=1), inside=1).balanced
    True
    >>> Ledger(frames_in=1).balanced
    False

    Args:
        frames_in: the number of strain frames taken in that are to be written.
        written: the number of frames written, by reason: `cleaned`, or why a frame is not fully
            cleaned.
        lost: the number of frames that could not be written, by the operating system's error.
        gaps: the number of seconds without strain, by reason.
        ignored: the number of input files passed over, by reason.
        inside: the number of frames taken in that have not come out yet.
        last_in: the end of the last strain frame taken in, GPS nanoseconds.
        last_out: the end of the last frame written, GPS nanoseconds.
    """

    frames_in: int = 0
    written: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    inside: int = 0
    last_in: int | None = None
    last_out: int | None = None

    @property
    def balanced(self) -> bool:
        """Whether every frame that came in is accounted for."""
        return self.frames_in == self.written.total() + self.lost.total() + self.inside
