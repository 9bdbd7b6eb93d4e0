"""Frame files (GWF): this module reads them, io.gwf_writer writes them, and no other does.

gwframe is fast and exact, but hides errors: asked for several channels it leaves out what it cannot
decode, and asked for a stretch of time it joins frames across a hole. So it is asked for one
channel of one frame at a time, and everything that it returns is checked here. It raises many
unrelated classes, a bare `Exception` among them: they end here, as InputError.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from math import gcd
from pathlib import Path
from typing import Any

import gwframe
import numpy as np
from numpy.typing import NDArray

from deepclean.core import reasons
from deepclean.core.align import Piece, fill, joined, whole
from deepclean.core.block import Gap, Samples, Series
from deepclean.core.output.segments import difference
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import InputError, one_line, passes
from deepclean.io.channels import (
    OutputChannel,
    Reading,
    absent_channels,
    unusable_channels,
    whole_rate,
)
from deepclean.io.gwf_writer import Compression, serialise, write_frames
from deepclean.system.atomic import publish

__all__ = [
    "Compression",
    "OutputChannel",
    "channels",
    "publish",
    "read",
    "read_pieces",
    "serialise",
    "span",
    "write_frames",
]

_MISPLACED = 0.1
"""Samples by which a channel may seem misplaced: a GPS float is good to 0.01 samples."""

_CHUNK = 1 << 20
"""Bytes that are read at once where a file is only read through."""

_CELLS = 16
"""Parts of a second in which samples that are flagged or missing are a gap, as flags come."""


def channels(path: Path, wanted: Collection[str] | None = None) -> dict[str, int]:
    """Return the rate in Hz of every channel, or of those `wanted` that the file holds.

    The first frame in which a channel is sound speaks for it. Channels with a rate that is not a
    whole number of Hz are left out. To ask for a few channels is cheap in a file of thousands.

    Raises:
        InputError: not a readable frame file.
    """
    with _opened(path) as reader:
        spacings: dict[str, float] = {}
        if wanted is None:
            with suppress(Exception):  # the first frame lacks a channel
                for detail in reader.channel_details():
                    rate = detail.sample_rate
                    spacings[detail.name] = 1 / rate if rate > 0 else 0.0
        among = None if wanted is None else {*wanted}
        for name in reader.channels:
            if name in spacings or not (among is None or name in among):
                continue
            decoded = (_decode(reader, name, index) for index in range(reader.num_frames))
            sound = next((raw for raw in decoded if isinstance(raw, _Raw)), None)
            if sound is not None:
                spacings[name] = sound.spacing
    rates = {}
    for name, spacing in spacings.items():
        with suppress(ValueError):
            rates[name] = whole_rate(spacing)
    return rates


def span(path: Path) -> Span:
    """Return the span from the first frame's start to the last frame's end.

    Raises:
        InputError: not a readable frame file.
    """
    with _opened(path) as reader:
        frames = _frames(reader)
    return Span(min(frame.start for frame in frames), max(frame.end for frame in frames))


def read(
    path: Path, wanted: Collection[str], span: Span | None = None, *, checksum: bool = False
) -> dict[str, Series | Gap]:
    """Read channels from one frame file, across its frames, all or nothing.

    Args:
        path: the file.
        wanted: full channel names.
        span: the part to read; the whole file where it is None.
        checksum: verify the file's checksum first (reads every byte of it).

    Returns:
        By channel, in the order of `wanted`: its samples over the whole span in the file's own
        dtype, or a gap with the reason `invalid` where the file flags any of them, or `missing`
        where a frame lacks it.

    Raises:
        InputError: not a readable frame file; or a wrong checksum; or, naming the channels:
            absent, damaged, misplaced, of the wrong length, or of a rate that is not whole.
    """
    frames, present, reading = _read(path, wanted, span, checksum=checksum)
    span = span or Span(frames[0].start, max(frame.end for frame in frames))
    if absent := set(wanted) - present:
        raise absent_channels(absent, present, path)
    if difference([span], frames):
        raise InputError(f"its frames do not hold all of {span}", path=path)
    for fault in reading.faults:
        raise fault
    found = {name: whole(fill(pieces, span), span) for name, pieces in reading.pieces.items()}
    gaps = {name: each.reason for name, each in found.items() if isinstance(each, Gap)}
    changed = {name: "its rate changes" for name in gaps if gaps[name] == reasons.BAD_RATE}
    if changed:
        raise unusable_channels(changed, path)
    return found


def read_pieces(
    path: Path, wanted: Collection[str], span: Span | None = None, *, checksum: bool = False
) -> Reading:
    """Read what a frame file has of some channels, each channel and each frame by itself.

    Args:
        path: the file.
        wanted: full channel names.
        span: the part to read; the whole file where it is None.
        checksum: verify the file's checksum first (reads every byte of it).

    Returns:
        The samples where there are samples. Where the file flags them there is a gap `invalid`, in
        sixteenths of a second if the rate allows; where a channel is damaged, misplaced or of a
        rate that is not whole there is a gap `corrupt` over that frame.

    Raises:
        InputError: not a readable frame file, or a wrong checksum.
    """
    return _read(path, wanted, span, checksum=checksum)[2]


@dataclass(frozen=True, slots=True)
class _Raw:
    """A channel of a frame as the library gives it: `mask` is true where a sample is flagged."""

    name: str
    start: float
    spacing: float
    samples: Samples
    mask: NDArray[np.bool_] | None


@contextmanager
def _opened(path: Path, *, checksum: bool = False) -> Iterator[Any]:
    try:
        with gwframe.FrameReader(path, validate_checksum=checksum) as reader:
            yield reader
    except Exception as error:
        if not path.is_file():
            raise InputError("no such file", path=path) from error
        raise InputError(
            f"not a readable frame file: {one_line(error)[:200]}", path=path
        ) from error


def _frames(reader: Any) -> list[Span]:
    """Return the span of every frame, in the order of the file."""
    starts = [(_instant(frame.start), _instant(frame.duration)) for frame in reader.frame_spans]
    return [Span(start, start + duration) for start, duration in starts]


def _instant(seconds: float) -> int:
    """Return the nanoseconds that the library's float stands for.

    Near GPS 1e9 a float is good to 120 ns, and its shortest decimal is the written time. Near 0
    that decimal shows the rounding of the library's own sum, far below a nanosecond.
    """
    return int(seconds) * NS if seconds.is_integer() else round(Decimal(str(seconds)) * NS)


def _read(
    path: Path, wanted: Collection[str], span: Span | None, *, checksum: bool
) -> tuple[list[Span], set[str], Reading]:
    """Return the spans of the frames in order of time, the file's channels, and what was read.

    The library does not tell a damaged file from a call that the system refused. So where it fails,
    the system is asked for all bytes of the file, and if it gives them the file is read once more.

    Raises:
        InputError: not a readable frame file, or a wrong checksum.
        OSError: the system refuses the bytes just now.
    """
    try:
        frames, present, raws = _raws(path, wanted, span, checksum=checksum)
        failed = any(isinstance(raw, Exception) for held in raws.values() for raw, *_ in held)
    except InputError:
        failed = True
    if failed:
        _read_through(path)
        frames, present, raws = _raws(path, wanted, span, checksum=checksum)
    return frames, present, _judged(path, raws)


def _read_through(path: Path) -> None:
    """Read all bytes of a file. Raises OSError where the system refuses them just now."""
    try:
        with path.open("rb", buffering=0) as file:
            while file.read(_CHUNK):
                pass
    except OSError as error:
        if passes(error.errno):
            raise


def _raws(
    path: Path, wanted: Collection[str], span: Span | None, *, checksum: bool
) -> tuple[list[Span], set[str], dict[str, list[tuple[_Raw | Exception | None, Span, Span]]]]:
    """Return the spans of the frames in order of time, the file's channels, and what it gives.

    What it gives is, by channel and frame that the span touches: the channel, the frame's span, and
    the part of that which is wanted.

    Channels are read one by one from the open file, which costs no more. Asked for several, the
    library hides some failures, and with others it loses the sound channels too.
    """
    with _opened(path, checksum=checksum) as reader:
        frames = sorted(enumerate(_frames(reader)), key=lambda each: each[1].start)
        present = set(reader.channels)
        touched = [
            (index, frame, part)
            for index, frame in frames
            if (part := frame if span is None else frame.overlap(span)) is not None
        ]
        raws = {
            name: [(_decode(reader, name, index), frame, part) for index, frame, part in touched]
            for name in dict.fromkeys(wanted)
            if name in present
        }
    return [frame for _, frame in frames], present, raws


def _judged(
    path: Path, raws: Mapping[str, Iterable[tuple[_Raw | Exception | None, Span, Span]]]
) -> Reading:
    """Return what can be used of the channels of a file, each frame by itself."""
    pieces: dict[str, list[Piece]] = {name: [] for name in raws}
    faults: dict[str, str] = {}
    for name, decoded in raws.items():
        for raw, frame, part in decoded:
            try:
                found, fault = _placed(name, raw, frame)
                cut = [
                    _cut(piece, shared) for piece in found if (shared := piece.span.overlap(part))
                ]
            except ValueError as error:
                cut, fault = [Gap(part, reasons.CORRUPT)], str(error)
            pieces[name] += cut
            if fault:
                faults.setdefault(name, fault)
    noted = (unusable_channels(faults, path),) if faults else ()
    return Reading(pieces, noted)


def _decode(reader: Any, name: str, index: int) -> _Raw | Exception | None:
    """Return a channel of one frame, its error, or None where the frame lacks it."""
    try:
        raw = reader.read(name, frame_index=index, allow_invalid=True, aux_mask=True)
    except Exception as error:  # noqa: BLE001
        return None if "does not exist in frame" in str(error) else error
    return _Raw(raw.name, raw.start, raw.dt, raw.array, raw.mask)


def _placed(name: str, raw: _Raw | Exception | None, frame: Span) -> tuple[list[Piece], str | None]:
    """Return what a channel has of its frame, and a fault that leaves some of it.

    Raises:
        ValueError: it has nothing that can be used.
    """
    if raw is None:
        return [], None
    if isinstance(raw, Exception):
        raise ValueError(f"damaged: {one_line(raw)[:200]}")
    if raw.name not in ("", name):
        raise ValueError(f"its first samples are those of {raw.name}")
    rate, held = whole_rate(raw.spacing), len(raw.samples)
    first, last = frame.indices(rate)
    count, place = last - first, raw.start * rate - first
    begin = round(place)
    beside = begin < 0 or (begin > 0 and begin + held > count)
    if beside or not abs(place - begin) <= _MISPLACED:
        raise ValueError(f"starts at GPS {raw.start}, not at {format_gps(frame.start)}")
    if raw.samples.ndim != 1 or held > count or not held:
        raise ValueError(f"{frame} at {rate} Hz holds {count} samples, not {held}")
    if held == count and (raw.mask is None or not raw.mask.any()):
        return [Series(frame, rate, raw.samples)], None
    flagged, there = np.zeros(count, bool), np.zeros(count, bool)
    there[begin : begin + held] = True
    flagged[begin : begin + held] = False if raw.mask is None else raw.mask
    found: list[Piece] = []
    # The edges of the cells stand at whole nanoseconds, whatever the rate.
    step = rate // gcd(rate, _CELLS)
    edges = [first, *range((first // step + 1) * step, last, step), last]
    for low, high in pairwise(edges):
        cell, part = Span.of_samples(low, high - low, rate), slice(low - first, high - first)
        if flagged[part].any():
            found.append(Gap(cell, reasons.INVALID))
        elif there[part].all():
            samples = raw.samples[low - first - begin : high - first - begin]
            found.append(Series(cell, rate, samples))
    fault = f"{frame} at {rate} Hz holds {count} samples, not {held}" if held < count else None
    return joined(found), fault


def _cut(piece: Piece, span: Span) -> Piece:
    """Return a part of a piece. A view would keep all samples of the frame: it is a copy."""
    if piece.span == span:
        return piece
    if isinstance(piece, Gap):
        return Gap(span, piece.reason)
    return Series(span, piece.rate, piece.cut(span).samples.copy())
