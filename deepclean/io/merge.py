"""Many small frame files of a stream become few long ones, with the same samples.

A gap is never filled: a merged file holds consecutive seconds with the same channels and the same
history records, and ends where these change. A second that is there in stretches, as a stream with
gaps leaves it, has a frame for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from deepclean.core.block import Series, concatenate
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, OutputError
from deepclean.io import gwf, hdf5
from deepclean.io.channels import OutputChannel
from deepclean.io.frhistory import history
from deepclean.io.t050017 import FrameName
from deepclean.system.atomic import settle

FRAME = 64 * NS
"""Longest time that is held in memory; a frame of a merged GWF file ends on its multiples."""


@dataclass(frozen=True, slots=True)
class FilePiece:
    """A part of a small file.

    Args:
        path: the file.
        span: the part, whole seconds.
    """

    path: Path
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """The content of a piece.

    Args:
        span: of the samples.
        channels: by full name.
        made: the history records.
    """

    span: Span
    channels: Mapping[str, Series]
    made: Mapping[str, str]

    def continues(self, before: Content) -> bool:
        """Return whether both can stand in one file: no whole second is missing between them."""
        return (
            before.span.end <= self.span.start
            and self.span.start // NS <= -(-before.span.end // NS)
            and self.made == before.made
            and _shape(self) == _shape(before)
        )


def read(
    piece: FilePiece, wanted: Callable[[str], bool], *, stretches: bool = False
) -> list[Content]:
    """Return the wanted channels of a piece.

    Args:
        piece: what to read.
        wanted: says whether a channel is wanted.
        stretches: give each frame by itself, so that a piece that has gaps can be read.

    Raises:
        InputError: the file cannot be read, is damaged, or holds no wanted channel.
    """
    try:
        names = [name for name in gwf.channels(piece.path) if wanted(name)]
        if stretches:
            reading = gwf.read_pieces(piece.path, names, piece.span, checksum=True)
            for fault in reading.faults:
                raise fault
            pieces = reading.pieces
        else:
            held = gwf.read(piece.path, names, piece.span, checksum=True)
            pieces = {name: [one] for name, one in held.items()}
        made = history(piece.path)
    except ValueError as error:  # no frames, or none over this span
        raise InputError(str(error), path=piece.path) from error
    found: dict[Span, dict[str, Series]] = {}
    for name, ones in pieces.items():
        for one in ones:
            if isinstance(one, Series):
                found.setdefault(one.span, {})[name] = one
    if not found:
        raise InputError("no channel to archive", path=piece.path)
    return [Content(span, found[span], made) for span in sorted(found, key=lambda one: one.start)]


def runs(contents: Iterable[Content]) -> Iterator[Iterator[Content]]:
    """Yield the runs of contents that continue one another. Each run is to be used up in turn."""
    number = 0
    before: Content | None = None

    def key(content: Content) -> int:
        nonlocal number, before
        number += before is not None and not content.continues(before)
        before = content
        return number

    return (run for _, run in groupby(contents, key))


@dataclass(slots=True)
class Merger:
    """Writes runs as files of one description.

    Args:
        directory: where they appear.
        site: of their names.
        description: LIGO-T050017 description.
        extension: `gwf` or `hdf5`.
        units: unit by channel name; channels that are not named have none.
        compression: of the files.
        step: called before every piece is read back; may raise to stop.
    """

    directory: Path
    site: str
    description: str
    extension: Literal["gwf", "hdf5"] = "gwf"
    units: Mapping[str, str] = field(default_factory=dict)
    compression: gwf.Compression = "none"
    step: Callable[[], None] = lambda: None

    def write(self, run: Iterator[Content]) -> FrameName:
        """Write one run; the file appears whole, on the disk, and read back, or not at all.

        Args:
            run: at least one content; at most `FRAME` of it is held in memory.

        Raises:
            OutputError: the file cannot be written, or its samples read back are others.
        """
        first = next(run)
        name = self.name(first.span)
        temporary = self.directory / f".{name}.tmp"
        written = _MergedSpan()
        frames = written.watch(_joined(first, run))
        try:
            self._fill(temporary, frames, first.made)
            self._check(temporary, written)
            name = self.name(Span(written.spans[0].start, written.spans[-1].end))
            settle(temporary, self.directory / str(name))
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return name

    def name(self, span: Span) -> FrameName:
        """Return the name of a file over a span."""
        start, end = span.start // NS, -(-span.end // NS)
        return FrameName(self.site, self.description, start, end - start, self.extension)

    def _fill(self, path: Path, frames: Iterator[Content], made: Mapping[str, str]) -> None:
        compression = self.compression
        if self.extension == "gwf":
            given = ((frame.span, self._output(frame)) for frame in frames)
            gwf.write_frames(path, given, history=made, compression=compression)
        else:
            pieces = (self._output(frame) for frame in frames)
            hdf5.write_pieces(path, pieces, history=made, compression=compression)

    def _output(self, frame: Content) -> dict[str, OutputChannel]:
        return {
            name: OutputChannel(series, self.units.get(name, ""))
            for name, series in frame.channels.items()
        }

    def _check(self, path: Path, written: _MergedSpan) -> None:
        """Read everything back: on a full disk a library may lose the end of a file silently."""
        again = _MergedSpan()
        module: Any = gwf if self.extension == "gwf" else hdf5
        try:
            for span in written.spans:
                self.step()
                held = module.read(path, list(written.digests), span)
                again.add(Content(span, held, {}))
        except InputError as error:
            raise OutputError(
                f"reads back as damaged: {error}", path=path, errno=_refusal(path)
            ) from error
        if again.values != written.values:
            raise OutputError("reads back otherwise than it was written", path=path)


@dataclass(slots=True)
class _MergedSpan:
    """The spans of the frames that went by, and by channel a digest of their samples."""

    spans: list[Span] = field(default_factory=list)
    digests: dict[str, Any] = field(default_factory=dict)

    def watch(self, frames: Iterable[Content]) -> Iterator[Content]:
        for frame in frames:
            self.add(frame)
            yield frame

    def add(self, frame: Content) -> None:
        self.spans.append(frame.span)
        for name, series in frame.channels.items():
            digest = self.digests.setdefault(name, blake2b())
            if isinstance(series, Series):  # read back as a gap it has no samples
                digest.update(series.samples.dtype.str.encode())
                digest.update(series.samples)

    @property
    def values(self) -> dict[str, bytes]:
        return {name: digest.digest() for name, digest in self.digests.items()}


def _refusal(path: Path) -> int | None:
    """Return the disk's error for a longer file, if there is one: the library does not tell it."""
    try:
        with path.open("ab") as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        return error.errno
    return None


def _joined(first: Content, run: Iterator[Content]) -> Iterator[Content]:
    """Yield a run in frames that end on multiples of `FRAME`, or before a gap."""
    held = [first]
    for content in run:
        begins = held[-1].span.end != content.span.start
        if begins or held[0].span.start // FRAME != content.span.start // FRAME:
            yield _join(held)
            held = []
        held.append(content)
    yield _join(held)


def _join(contents: list[Content]) -> Content:
    span = Span(contents[0].span.start, contents[-1].span.end)
    names = contents[0].channels
    channels = {
        name: concatenate([content.channels[name] for content in contents]) for name in names
    }
    return Content(span, channels, contents[0].made)


def _shape(content: Content) -> dict[str, tuple[int, str]]:
    return {n: (series.rate, series.samples.dtype.str) for n, series in content.channels.items()}
