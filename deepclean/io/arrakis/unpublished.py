"""What lies in frame files and was not published: a process was stopped or killed in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from deepclean.core.block import Series
from deepclean.core.time import Span
from deepclean.io import gwf
from deepclean.io.arrakis.position import PublishedPosition
from deepclean.io.arrakis.strides import PublishedBlock
from deepclean.io.history import History
from deepclean.io.retention import held


@dataclass(slots=True)
class BlocksInDoubt:
    """The blocks that the last process handed over, and died before all were confirmed.

    Args:
        start: GPS nanoseconds of the first.
        end: of the last.
        stride: of a block.
    """

    start: int
    end: int
    stride: int
    _times: Mapping[str, int] | None = None

    @classmethod
    def of(cls, position: PublishedPosition, stride: int) -> Self:
        """Return those of the process that noted a position."""
        reached, confirmed = position.reached, position.confirmed
        return cls(reached - stride if confirmed is None else confirmed, reached, stride)

    def covers(self, block: PublishedBlock) -> bool:
        """Return whether a block is one of them, and did not come yet."""
        return self.start <= block.start < self.end

    def rest(
        self, block: PublishedBlock, last_times: Callable[[], Mapping[str, int]]
    ) -> PublishedBlock | None:
        """Return what the broker does not have of a block; None: it has all.

        A broker takes the blocks of a channel in order: it has all up to its last one.

        Args:
            block: one of these, later than those before it.
            last_times: asks the broker for the start of its last block, by channel.

        Raises:
            Exception: what `last_times` raises. The block does not count as in doubt then.
        """
        self.start = block.start + self.stride
        if self._times is None:
            self._times = last_times()
        times = self._times
        data = {name: one for name, one in block.data.items() if times.get(name, -1) < block.start}
        return replace(block, data=data) if data else None


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
