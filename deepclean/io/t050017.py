"""File names of the gravitational-wave data (LIGO-T050017).

`<site>-<description>-<GPS start>-<duration>.<extension>`, for example
`H-H1_llhoft-1370000000-1.gwf`. The parse is strict: a file that a writer has not finished
(`.H-H1_llhoft-1370000000-1.gwf.tmp`) and a file that somebody else left there are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from deepclean.core.time import Span

_NAME = re.compile(
    r"([A-Z][A-Z0-9]*)-([A-Za-z0-9_+#]+)-(0|[1-9][0-9]{0,9})-([1-9][0-9]{0,9})\.(gwf|hdf5|h5)"
)


@dataclass(frozen=True, slots=True, order=True)
class FrameName:
    """A file name taken apart; `str()` puts it together. Sorts by stream, then by time.

    Args:
        site: a letter or digit for each detector, the first a letter (`H`, `V`, `HLV`).
        description: the kind of file: letters, digits, `_`, `+`, `#` (`H1_llhoft`).
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
        site, description, start, duration, extension = match.groups()
        return cls(site, description, int(start), int(duration), extension)

    @property
    def span(self) -> Span:
        """The stretch of time that the name states."""
        return Span.of_seconds(self.start, self.duration)

    def __str__(self) -> str:
        return f"{self.site}-{self.description}-{self.start}-{self.duration}.{self.extension}"
