"""The streams of files that lie in some directories: what they are called and what they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepclean.core.output.segments import union
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.io.catalogue import DataFile, catalogue

_ASKED = 5
"""Newest files of a stream that are opened until one is readable. The newest may be unfinished."""


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """The files of one description in a directory, or in the directories below it.

    Args:
        directory: that holds the files; where several do, the one that was looked into.
        places: the directories that hold the files.
        description: of the files (LIGO-T050017), None for a file with another name.
        suffix: of the files, `.gwf` or `.hdf5`.
        files: how many there are.
        spans: the times that they cover, in order.
        rates: samples per second by channel, in the newest file that can be read.
        fault: why no file could be read; None where one could.
    """

    directory: Path
    places: tuple[Path, ...]
    description: str | None
    suffix: str
    files: int
    spans: tuple[Span, ...]
    rates: Mapping[str, int]
    fault: InputError | None = None

    @property
    def name(self) -> str:
        """Directory and description, for people: a pattern that the files match."""
        below = "**/" if len(self.places) > 1 else ""
        return f"{self.directory}/{below}*-{self.description or '*'}-*{self.suffix}"


def find_streams(paths: Iterable[Path]) -> list[Stream]:
    """Return the streams of directories and files, by directory and description.

    Directories are searched with what is below them, as archives have it.

    Raises:
        InputError: a path does not exist, or a file that was named cannot be read.
    """
    found: list[Stream] = []
    for path in paths:
        streams = defaultdict(list)
        for file in catalogue([path]):
            streams[_description(file), file.path.suffix].append(file)
        found += [
            _stream(path, description, suffix, files)
            for (description, suffix), files in sorted(streams.items())
        ]
    return found


def _description(file: DataFile) -> str:
    parts = file.path.name.split("-")
    return parts[-3] if len(parts) > 3 else ""


def _stream(path: Path, description: str, suffix: str, files: list[DataFile]) -> Stream:
    fault: InputError | None = None
    rates: Mapping[str, int] = {}
    for file in sorted(files, key=lambda file: file.span.end, reverse=True)[:_ASKED]:
        try:
            rates, fault = file.channels(), None
            break
        except InputError as error:
            fault = fault or error
    spans = tuple(union(file.span for file in files))
    places = tuple(sorted({file.path.parent for file in files}))
    directory = places[0] if len(places) == 1 else path
    return Stream(directory, places, description or None, suffix, len(files), spans, rates, fault)
