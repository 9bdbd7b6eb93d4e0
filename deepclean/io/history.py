"""History: files and directories read as if they were one long recording (io.reader)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from deepclean.core import reasons
from deepclean.core.block import Gap, Series, concatenate
from deepclean.core.output.segments import union
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.io.catalogue import DataFile, Directory, catalogue
from deepclean.io.channels import Reading, absent_channels
from deepclean.io.reader import Reader

_KEPT = 4
"""Pieces that are kept: the end of one file and the beginning of the next, of two streams."""

_ASKED = 64
"""Files of a stream that are asked for a channel before the stream is said not to hold it."""


class History:
    """Past data of a set of files and directories.

    Args:
        paths: directories, and files.
        description: take only files of this description from the directories (`H1_llhoft`).
        recursive: look into the directories' directories, as archives have them.
        checksum: verify the checksum of whole frame files, as a live run does. Every byte is read
            then, whatever is wanted. Without it, what is sound of a damaged file is read.
        note: why channels are looked for here, for the message about absent ones.

    Raises:
        InputError: a path does not exist, a file named outright cannot be read, or there is no
            file at all.
    """

    def __init__(
        self,
        paths: Iterable[Path | Directory],
        *,
        description: str | None = None,
        recursive: bool = True,
        checksum: bool = False,
        note: str = "",
    ) -> None:
        places = tuple(paths)
        self._paths = [each.path if isinstance(each, Directory) else each for each in places]
        self._files = catalogue(places, description=description, recursive=recursive)
        if not self._files:
            looked = ", ".join(map(str, self._paths)) or "no directory given"
            wanted = [description, *(d.description for d in places if isinstance(d, Directory))]
            kinds = ", ".join(dict.fromkeys(each for each in wanted if each))
            kind = f" of description {kinds}" if kinds else ""
            raise InputError(f"no frame or HDF5 files{kind} found: {looked}")
        self._starts = [file.span.start for file in self._files]
        self._longest = max(file.span.duration for file in self._files)
        self._note_on_absent = note
        self._reader = Reader(checksum=checksum, kept=_KEPT)
        self._faults: dict[tuple[Path | None, tuple[str, ...]], InputError] = {}

    @property
    def faults(self) -> list[InputError]:
        """The faults met so far, one for each file and set of channels."""
        return list(self._faults.values())

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        """Return the rate in Hz of every channel, or of those `wanted` that are there.

        The first readable file of each stream (site and description) stands for the stream. Where
        it lacks a wanted channel, further files of the stream are asked, up to some dozens spread
        over its time. To ask for a few channels is cheap where files hold thousands.
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
            if damaged := absent & set(present):
                said = f"damaged in all files that were asked: {', '.join(sorted(damaged))}"
                raise InputError(said, path=self._paths[0], channels=sorted(damaged))
            raise absent_channels(absent, present, self._paths[0], self._note_on_absent)
        return {name: rates[name] for name in wanted}

    def spans(self, channel: str | None = None) -> list[Span]:
        """Return the stretches that the files cover, in order, none touching the next.

        Args:
            channel: count only files of the streams that hold this channel.
        """
        holding = None if channel is None else self._streams([channel])
        return union(f.span for f in self._files if holding is None or holding.get(f.stream))

    def descriptions(self, channel: str) -> list[str]:
        """Return the descriptions of the streams of directories that hold a channel, sorted."""
        streams = {file.stream for file in self._files}
        if len(streams) > 1:
            streams = {stream for stream, rates in self._streams([channel]).items() if rates}
        # A file that was named outright is a stream of its own, without a description.
        return sorted({stream[2] for stream in streams if len(stream) > 1})

    def files(self, span: Span) -> list[DataFile]:
        """Return the files that a read of the span would open, in order."""
        return list(self._touched(span))

    def read(
        self, wanted: Collection[str], span: Span, *, strict: bool = False
    ) -> dict[str, Series | Gap]:
        """Read channels over a span, joined across files.

        Args:
            wanted: full channel names.
            span: the stretch to read.
            strict: raise where a file is at fault, rather than note the fault in `faults`.

        Returns:
            By channel: its samples over the whole span, or a gap over the whole span. The gap has
            the reason of the first part without samples (Reader.read); `corrupt` where the rate
            changes.

        Raises:
            InputError: with `strict`, the first fault met.
        """
        reading = self._reader.read(self.files(span), wanted, span)
        faults = list(reading.faults)
        joined: dict[str, Series | Gap] = {}
        for name, pieces in reading.pieces.items():
            series = [piece for piece in pieces if isinstance(piece, Series)]
            gaps = [piece.reason for piece in pieces if isinstance(piece, Gap)]
            try:
                joined[name] = Gap(span, gaps[0]) if gaps else _own(concatenate(series))
            except ValueError as error:
                faults.append(InputError(f"{name}: {error}", channels=[name]))
                joined[name] = Gap(span, reasons.CORRUPT)
        if strict and faults:
            raise faults[0]
        self._note(faults)
        return joined

    def pieces(self, wanted: Collection[str], span: Span) -> Reading:
        """Read channels over a span; return the pieces that fill it (Reader.read)."""
        reading = self._reader.read(self.files(span), wanted, span)
        self._note(reading.faults)
        return reading

    def _touched(self, span: Span) -> Iterator[DataFile]:
        """Yield, in order, the files that hold some of the span."""
        first = bisect_left(self._starts, span.start - self._longest)
        for file in self._files[first : bisect_left(self._starts, span.end)]:
            if file.span.overlap(span) is not None:
                yield file

    def _streams(self, wanted: Collection[str] | None) -> dict[tuple[str, ...], dict[str, int]]:
        by_stream: dict[tuple[str, ...], list[DataFile]] = {}
        for file in self._files:
            by_stream.setdefault(file.stream, []).append(file)
        return {stream: self._rates(files, wanted) for stream, files in by_stream.items()}

    def _rates(self, files: Sequence[DataFile], wanted: Collection[str] | None) -> dict[str, int]:
        """Return the rates that the files of one stream tell; no file speaks for all of them."""
        rates: dict[str, int] = {}
        step = -(-len(files) // _ASKED)
        for file in chain(files[:2], files[2::step]):
            left = None if wanted is None else [name for name in wanted if name not in rates]
            if left == [] or (wanted is None and rates):
                break
            try:
                rates |= file.channels(left)
            except InputError as fault:
                self._note([fault])
        return rates

    def _note(self, faults: Iterable[InputError]) -> None:
        for fault in faults:
            # The traceback of a fault holds the reader of the file, which would stay open.
            fault.__traceback__ = fault.__cause__ = fault.__context__ = None
            self._faults.setdefault((fault.path, fault.channels), fault)


def _own(series: Series) -> Series:
    """Return samples that are no view of what is kept."""
    return Series(series.span, series.rate, series.samples.copy())
