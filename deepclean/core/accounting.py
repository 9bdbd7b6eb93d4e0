"""The account of every frame: what came in, what became of it, and why.

At any moment `frames_in == written + lost + inside`: nothing is forgotten. Gaps are seconds in
which there was no strain; they give no frame.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """Counts, all of them since the start.

    Args:
        frames_in: strain frames taken that are to be written.
        written: frames that appeared, by reason: `cleaned`, or why they are not fully cleaned.
        lost: frames that could not be written, by the operating system's error.
        gaps: seconds without strain, by reason.
        ignored: input files passed over, by reason.
        inside: frames taken that have not come out yet.
        last_in: where the last strain frame taken ends, GPS nanoseconds.
        last_out: where the last frame written ends, GPS nanoseconds.
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
