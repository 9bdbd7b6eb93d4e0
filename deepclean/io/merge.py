"""Many small frame files of a stream become few long ones, with the same samples.

A gap is never filled: a merged file holds consecutive seconds that have the same channels and say
the same of how they were made, and ends where that ends.
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
"""Nanoseconds that are held at a time; a frame of a merged GWF file ends on its multiples."""


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
    """What a piece holds.

    Args:
        span: of the samples.
        channels: by full name.
        made: the history records.
    """

    span: Span
    channels: Mapping[str, Series]
    made: Mapping[str, str]

    def continues(self, before: Content) -> bool:
        """Return whether both can stand in one file."""
        return (
            self.span.start == before.span.end
            and self.made == before.made
            and _shape(self) == _shape(before)
        )


def read(piece: FilePiece, wanted: Callable[[str], bool]) -> Content:
    """Return the wanted channels of a piece.

    Raises:
        InputError: it cannot be read, is damaged, or holds no wanted channel.
    """
    try:
        names = [name for name in gwf.channels(piece.path) if wanted(name)]
        held = gwf.read(piece.path, names, piece.span, checksum=True)
        channels = {n: series for n, series in held.items() if isinstance(series, Series)}
        if channels:
            return Content(piece.span, channels, history(piece.path))
    except ValueError as error:  # no frames, or none over this span
        raise InputError(str(error), path=piece.path) from error
    raise InputError("no channel to archive", path=piece.path)


def runs(contents: Iterable[Content]) -> Iterator[Iterator[Content]]:
    """Split contents where they do not continue one another. Each run is to be used up in turn."""
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
        turn: called before every piece is read back; may raise to stop.
    """

    directory: Path
    site: str
    description: str
    extension: Literal["gwf", "hdf5"] = "gwf"
    units: Mapping[str, str] = field(default_factory=dict)
    compression: gwf.Compression = "none"
    turn: Callable[[], None] = lambda: None

    def write(self, run: Iterator[Content]) -> FrameName:
        """Write one run; the file appears whole, on the disk, and read back, or not at all.

        Args:
            run: at least one content; at most `FRAME` of it is held in memory.

        Raises:
            OutputError: the file cannot be written, or it reads back otherwise than it was
                written.
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
        start, duration = span.start // NS, span.duration // NS
        return FrameName(self.site, self.description, start, duration, self.extension)

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
        """Read everything back: a library may lose the end of a file on a full disk silently."""
        again = _MergedSpan()
        module: Any = gwf if self.extension == "gwf" else hdf5
        try:
            for span in written.spans:
                self.turn()
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
    """What went by: its spans, and by channel a digest of the samples."""

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
    """Return why the disk takes no more of a file, if that is so: the library did not say."""
    try:
        with path.open("ab") as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        return error.errno
    return None


def _joined(first: Content, run: Iterator[Content]) -> Iterator[Content]:
    """Yield a run in frames that end on multiples of `FRAME`."""
    held = [first]
    for content in run:
        if held[0].span.start // FRAME != content.span.start // FRAME:
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
