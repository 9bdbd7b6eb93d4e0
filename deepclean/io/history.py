"""History: files and directories read as if they were one long recording.

Files of any length may lie in any order, overlap, or leave holes. Where files overlap, a channel's
sample comes from the first file that has it. Files come in this order: by start, then the longest
first, then by path. So the sample does not depend on what was asked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from deepclean.core.block import Gap, Series, concatenate
from deepclean.core.segments import union
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io.catalogue import DataFile, Held, catalogue
from deepclean.io.channels import absent_channels

_PIECE = 64 * NS
"""Nanoseconds of a file that are read at once and kept. A file that is read second by second is
then decompressed once."""

_KEPT = 4
"""Pieces that are kept: the end of one file and the beginning of the next, of two streams."""


class History:
    """Past data of a set of files and directories.

    Args:
        paths: directories, and files.
        description: take only files of this description from the directories (`H1_llhoft`).
        recursive: look into the directories' directories, as archives have them.
        checksum: verify the checksum of whole frame files, as a live run does. Every byte is read
            then, whatever is wanted. Without it, what is sound of a damaged file is read.

    Raises:
        InputError: a path does not exist, a file named outright cannot be read, or there is no
            file at all.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        *,
        description: str | None = None,
        recursive: bool = True,
        checksum: bool = False,
    ) -> None:
        self._checksum = checksum
        self._paths = tuple(paths)
        self._files = catalogue(self._paths, description=description, recursive=recursive)
        if not self._files:
            looked = ", ".join(map(str, self._paths)) or "no directory given"
            kind = f" of description {description}" if description else ""
            raise InputError(f"no frame or HDF5 files{kind} found: {looked}")
        self._starts = [file.span.start for file in self._files]
        self._longest = max(file.span.duration for file in self._files)
        self._kept = lru_cache(_KEPT)(_read_piece)
        self._faults: dict[tuple[Path | None, tuple[str, ...]], InputError] = {}

    @property
    def faults(self) -> list[InputError]:
        """The faults met so far, one for each file and set of channels."""
        return list(self._faults.values())

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        """Return the rate in Hz of every channel, or of those `wanted` that are there.

        The first readable file of each stream (site and description) stands for the stream. To ask
        for a few channels is cheap where files hold thousands.
        """
        rates: dict[str, int] = {}
        for held in self._streams(wanted).values():
            rates = held | rates
        return rates

    def require(self, wanted: Collection[str]) -> dict[str, int]:
        """Return the rate in Hz of every wanted channel.

        Raises:
            InputError: some channels are absent; the message names them all. Or no file can be
                read at all.
        """
        rates = self.channels(wanted)
        absent = set(wanted) - set(rates)
        if absent:
            present = self.channels()
            if not present and self.faults:
                raise self.faults[0]
            raise absent_channels(absent, present, self._paths[0])
        return {name: rates[name] for name in wanted}

    def spans(self, channel: str | None = None) -> list[Span]:
        """Return the stretches that the files cover, in order, none touching the next.

        Args:
            channel: count only files of the streams that hold this channel.
        """
        holding = None if channel is None else self._streams([channel])
        return union(f.span for f in self._files if holding is None or holding.get(f.stream))

    def files(self, span: Span) -> list[DataFile]:
        """Return the files that a read of the span would open, in order."""
        return [file for file, _ in self._touched(span)]

    def read(self, wanted: Collection[str], span: Span, *, strict: bool = False) -> Held:
        """Read channels over a span, joined across files.

        Args:
            wanted: full channel names.
            span: the stretch to read.
            strict: raise where a file is at fault, rather than note the fault in `faults`.

        Returns:
            By channel: its samples over the whole span, or a gap over the whole span. The gap has
            the reason of the first part without samples: `missing` (no file, or no such channel in
            the file), `invalid` (flagged by its writer) or `corrupt` (the file is damaged, or the
            rate changes).

        Raises:
            InputError: with `strict`, the first fault met.
        """
        parts: dict[str, list[Series | Gap]] = {name: [] for name in wanted}
        faults: list[InputError] = []
        for file, part in self._touched(span):
            held, met = self._read_file(file, frozenset(wanted), part)
            faults += met
            for name, piece in held.items():
                parts[name].append(piece)
        joined: Held = {}
        for name, pieces in parts.items():
            try:
                joined[name] = _join(pieces, span)
            except ValueError as error:
                faults.append(InputError(f"{name}: {error}", channels=[name]))
                joined[name] = Gap(span, "corrupt")
        if strict and faults:
            raise faults[0]
        self._note(faults)
        return joined

    def _touched(self, span: Span) -> Iterator[tuple[DataFile, Span]]:
        """Yield, in order, the files that hold some of the span, and that part of it."""
        first = bisect_left(self._starts, span.start - self._longest)
        for file in self._files[first : bisect_left(self._starts, span.end)]:
            part = file.span.overlap(span)
            if part is not None:
                yield file, part

    def _streams(self, wanted: Collection[str] | None) -> dict[tuple[str, ...], dict[str, int]]:
        streams: dict[tuple[str, ...], dict[str, int]] = {}
        for file in self._files:
            if file.stream in streams:
                continue
            try:
                streams[file.stream] = file.channels(wanted)
            except InputError as fault:
                self._note([fault])
        return streams

    def _note(self, faults: Iterable[InputError]) -> None:
        for fault in faults:
            self._faults.setdefault((fault.path, fault.channels), fault)

    def _read_file(
        self, file: DataFile, wanted: frozenset[str], part: Span
    ) -> tuple[Held, list[InputError]]:
        """Read a part of one file, through pieces where they are sound."""
        pieces = list(_pieces(file.span, part))
        if pieces == [part]:
            return file.read(wanted, part, checksum=self._checksum)
        read = [
            (_read_piece if part.covers(piece) else self._kept)(file, wanted, piece, self._checksum)
            for piece in pieces
        ]
        held: Held = {}
        for name in wanted:
            series = [each for piece in read if isinstance(each := piece.get(name), Series)]
            if len(series) == len(pieces):
                with suppress(ValueError):  # the rate changes
                    held[name] = _cut(series, part)
        # Something may be wrong in a piece, but not in the part of it that is asked for.
        left = [name for name in wanted if name not in held]
        rest, faults = file.read(left, part, checksum=self._checksum)
        return held | rest, faults


def _read_piece(file: DataFile, wanted: frozenset[str], piece: Span, checksum: bool) -> Held:
    return file.read(wanted, piece, checksum=checksum)[0]


def _pieces(whole: Span, part: Span) -> Iterator[Span]:
    """Yield the pieces, counted from the start of the whole, that hold the part."""
    first = (part.start - whole.start) // _PIECE
    for start in range(whole.start + first * _PIECE, part.end, _PIECE):
        yield Span(start, min(start + _PIECE, whole.end))


def _cut(series: list[Series], part: Span) -> Series:
    """Return the part of consecutive pieces, never a view of a piece that is kept."""
    cuts = [each.cut(shared) for each in series if (shared := each.span.overlap(part))]
    whole = concatenate(cuts)
    return whole if len(cuts) > 1 else Series(part, whole.rate, whole.samples.copy())


def _join(pieces: list[Series | Gap], span: Span) -> Series | Gap:
    """Return the span's samples, each from the first piece that has it, or the first gap's reason.

    Pieces come in the order of their files: sorted by start.
    """
    taken: list[Series] = []
    reached = span.start
    for piece in pieces:
        if piece.span.start > reached:
            break
        if isinstance(piece, Series) and piece.span.end > reached:
            taken.append(piece.cut(Span(reached, piece.span.end)))
            reached = piece.span.end
    if reached == span.end:
        return concatenate(taken)
    gaps = (piece for piece in pieces if isinstance(piece, Gap))
    reasons = (gap.reason for gap in gaps if gap.span.start <= reached < gap.span.end)
    return Gap(span, next(reasons, "missing"))
