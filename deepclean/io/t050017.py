"""File names of the gravitational-wave data (LIGO-T050017).

`<site>-<description>-<GPS start>-<duration>.<extension>`, for example
`H-H1_llhoft-1370000000-1.gwf`. The parse is strict: what a writer has not finished
(`.H-H1_llhoft-1370000000-1.gwf.tmp`) and what somebody else left in the directory are not names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from deepclean.core.time import Span

_NAME = re.compile(
    r"(?P<site>[A-Z][A-Z0-9]*)"
    r"-(?P<description>[A-Za-z0-9_+#]+)"
    r"-(?P<start>0|[1-9][0-9]{0,9})"
    r"-(?P<duration>[1-9][0-9]{0,9})"
    r"\.(?P<extension>gwf|hdf5|h5)"
)


@dataclass(frozen=True, slots=True, order=True)
class FrameName:
    """A file name taken apart; `str()` puts it together. Sorts by stream, then by time.

    Args:
        site: one letter or digit a detector, beginning with a letter (`H`, `V`, `HLV`).
        description: what the file holds: letters, digits, `_`, `+`, `#` (`H1_llhoft`).
        start: GPS seconds.
        duration: seconds, at least 1.
        extension: `gwf`, `hdf5` or `h5`.

    Raises:
        ValueError: these parts do not make a name.
    """

    site: str
    description: str
    start: int
    duration: int
    extension: str = "gwf"

    def __post_init__(self) -> None:
        if _NAME.fullmatch(str(self)) is None:
            raise ValueError(f"not a file name after LIGO-T050017: {str(self)!r}")

    @classmethod
    def parse(cls, filename: str) -> Self | None:
        """Return the parts of `filename` (no directory), or None where it is no such name."""
        match = _NAME.fullmatch(filename)
        if match is None:
            return None
        return cls(
            match["site"],
            match["description"],
            int(match["start"]),
            int(match["duration"]),
            match["extension"],
        )

    @property
    def span(self) -> Span:
        """The stretch of time that the name promises."""
        return Span.of_seconds(self.start, self.duration)

    def __str__(self) -> str:
        return f"{self.site}-{self.description}-{self.start}-{self.duration}.{self.extension}"


def remaining(span: Span, finished: Iterable[FrameName]) -> Iterator[Span]:
    """Yield the parts of a span that no finished file (given in order of time) covers, in order."""
    start = span.start
    for name in finished:
        if name.span.end <= start or name.span.start >= span.end:
            continue
        if name.span.start > start:
            yield Span(start, name.span.start)
        start = name.span.end
    if start < span.end:
        yield Span(start, span.end)
