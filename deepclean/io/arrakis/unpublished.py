"""What lies in frame files and was not published: a process was stopped or killed in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from deepclean.core.block import Series
from deepclean.core.time import Span
from deepclean.io import gwf
from deepclean.io.history import History
from deepclean.io.retention import held


def written_since(
    directory: Path, description: str, start: int, longest: int
) -> Iterator[tuple[Span, Mapping[str, Series]]]:
    """Yield what frame files hold from an instant on, in order of time.

    Args:
        directory: of the files.
        description: the files' LIGO-T050017 description.
        start: GPS nanoseconds.
        longest: nanoseconds at most, up to the end of the last file.

    Returns:
        An iterator of spans that follow one another, with the samples of every channel over each;
        without any where no file has samples.

    Raises:
        OSError: the directory cannot be listed.
        InputError: the first file cannot be read.
    """
    names = [name for name in held(directory, description) if name.span.end > start]
    if not names:
        return
    end = names[-1].span.end
    start = max(start, end - longest)
    paths = [directory / str(name) for name in names if name.span.end > start]
    wanted = list(gwf.channels(paths[0]))
    pieces = History(paths).pieces(wanted, Span(start, end)).pieces
    for one in pieces[wanted[0]]:
        there = {
            name: piece.cut(one.span)
            for name in wanted
            for piece in pieces[name]
            if isinstance(piece, Series) and piece.span.covers(one.span)
        }
        yield one.span, there
