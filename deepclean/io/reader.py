"""The reader: what files have of some channels over a span.

Live and history read here, so that they give the same samples and the same gaps for the same
reasons. Files may have any length, lie in any directories, overlap, or leave holes, and may hold
several frames. Each channel is judged by itself, frame by frame: what is wrong with one costs
neither another channel nor another frame.

Where files overlap, a channel's sample comes from the first file that has it. Files come in this
order: by start, then the longest first, then by path. So the sample depends neither on what was
asked nor on when the files came.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from deepclean.core import reasons
from deepclean.core.align import Piece, fill
from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io.catalogue import DataFile
from deepclean.io.channels import Reading

_PIECE = 64 * NS
"""Nanoseconds of a file that are read at once and kept. A file that is read second by second is
then decompressed once."""

_Key = tuple[DataFile, frozenset[str], Span]


class Reader:
    """Reads files, and keeps what it read last.

    Args:
        checksum: verify the checksum of whole frame files.
        kept: largest number of pieces of files that are kept; None: until `drop_before`. A file
            that cannot be read is not kept: it may still be written.
        timed: entered around every read of a file.
    """

    def __init__(
        self,
        *,
        checksum: bool = False,
        kept: int | None = None,
        timed: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._checksum, self._limit, self._timed = checksum, kept, timed
        self._kept: OrderedDict[_Key, Reading] = OrderedDict()

    def read(self, files: Iterable[DataFile], wanted: Collection[str], span: Span) -> Reading:
        """Read channels over a span.

        Args:
            files: in the order in which a sample is looked for (DataFile.order).
            wanted: full channel names.
            span: the stretch to read.

        Returns:
            For every channel the pieces that fill the span, in order of time. A gap has the reason
            `missing` (no file, or no such channel in it), `invalid` (flagged by its writer) or
            `corrupt` (damaged, misplaced, or of a rate that is not whole).
        """
        names = frozenset(wanted)
        pieces: dict[str, list[Piece]] = {name: [] for name in wanted}
        faults: list[InputError] = []
        left = set(names)
        for file in files:
            part = file.span.overlap(span)
            if part is None or not left:
                continue
            reading = self.load(file, names, part)
            faults += reading.faults
            for name, found in reading.pieces.items():
                there = _over(found, part)
                pieces[name] += there
                if name in left and any(_whole(piece, span) for piece in there):
                    left.remove(name)
        filled: dict[str, list[Piece]] = {}
        for name, found in pieces.items():
            try:
                filled[name] = fill(found, span)
            except ValueError as error:
                filled[name] = [Gap(span, reasons.CORRUPT)]
                faults.append(InputError(f"{name}: {error}", channels=[name]))
        return Reading(filled, faults)

    def load(self, file: DataFile, wanted: frozenset[str], part: Span) -> Reading:
        """Read a part of one file, and what lies around it."""
        readings = [self._piece(file, wanted, piece, part) for piece in _pieces(file.span, part)]
        if len(readings) == 1:
            return readings[0]
        pieces: dict[str, list[Piece]] = {}
        for reading in readings:
            for name, found in reading.pieces.items():
                pieces.setdefault(name, []).extend(found)
        faults = [fault for reading in readings for fault in reading.faults]
        return Reading(pieces, faults, all(reading.readable for reading in readings))

    def drop_before(self, instant: int) -> None:
        """Drop what lies before an instant (GPS nanoseconds)."""
        for key in [key for key in self._kept if key[2].end <= instant]:
            del self._kept[key]

    def _piece(self, file: DataFile, wanted: frozenset[str], piece: Span, part: Span) -> Reading:
        key = (file, wanted, piece)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        with self._timed():
            reading = file.read(sorted(wanted), piece, checksum=self._checksum)
        # What is asked for as a whole will not be asked for again in a history.
        if reading.readable and (self._limit is None or not part.covers(piece)):
            self._kept[key] = reading
            if self._limit is not None and len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return reading


def _over(pieces: Iterable[Piece], part: Span) -> list[Piece]:
    """Return the pieces that have something of a part: a long file of short frames has many."""
    start, end = part.start, part.end
    return [piece for piece in pieces if piece.span.start < end and piece.span.end > start]


def _whole(piece: Piece, span: Span) -> bool:
    return isinstance(piece, Series) and piece.span.covers(span)


def _pieces(whole: Span, part: Span) -> Iterator[Span]:
    """Yield the pieces, counted from the start of the whole, that hold the part."""
    first = (part.start - whole.start) // _PIECE
    for start in range(whole.start + first * _PIECE, part.end, _PIECE):
        yield Span(start, min(start + _PIECE, whole.end))
