"""Frame files (GWF): the only module that uses the library which reads and writes them.

gwframe is fast and exact, but hides errors: it leaves out of a read what it cannot decode, joins
frames across a hole, and writes a strided array wrong. Everything that it returns is checked here,
and everything that it is given is made contiguous first. It raises many unrelated classes, a bare
`Exception` among them: they end here, as InputError and OutputError.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import gwframe
import numpy as np
from gwframe.types import Compression as Scheme
from numpy.typing import NDArray

from deepclean.core.block import Gap, Samples, Series
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import InputError, OutputError, one_line
from deepclean.io.channels import OutputChannel, absent_channels, unusable_channels, whole_rate
from deepclean.system.atomic import publish

__all__ = [
    "Compression",
    "OutputChannel",
    "channels",
    "publish",
    "read",
    "serialise",
    "span",
    "write_frames",
]

Compression = Literal["none", "gzip"]

_SCHEMES: Mapping[str, int] = {
    "none": Scheme.RAW,
    "gzip": Scheme.ZERO_SUPPRESS_OTHERWISE_GZIP,
}

_WRITABLE = frozenset(["f4", "f8", "c8", "c16", "i2", "i4", "i8", "u2", "u4", "u8"])
"""The dtypes that lalframe and gwpy read back unchanged: all but integers of 8 bits."""

_MISPLACED = 0.1
"""Samples by which a channel may seem misplaced: a GPS float is good to 0.01 samples."""


def channels(path: Path, wanted: Collection[str] | None = None) -> dict[str, int]:
    """Return the rate in Hz of every channel, or of those `wanted` that the file holds.

    Channels with a rate that is not a whole number of Hz are left out. To ask for a few channels is
    cheap in a file of thousands.

    Raises:
        InputError: not a readable frame file.
    """
    with _opened(path) as reader:
        if wanted is None:
            spacings = {
                detail.name: 1 / detail.sample_rate if detail.sample_rate > 0 else 0.0
                for detail in reader.channel_details()
            }
        else:
            raws = _decode(reader, set(wanted).intersection(reader.channels))
            spacings = {name: raw.spacing for name, raw in raws.items() if isinstance(raw, _Raw)}
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
    path: Path,
    wanted: Collection[str],
    span: Span | None = None,
    *,
    checksum: bool = False,
    missing_ok: bool = False,
) -> dict[str, Series | Gap]:
    """Read channels from one frame file, across its frames.

    Args:
        path: the file.
        wanted: full channel names.
        span: the part to read; the whole file where it is None.
        checksum: verify the file's checksum first (reads every byte of it).
        missing_ok: leave out what the file does not hold, channels as well as time, instead of
            raising. This is faster: to find the names that may be meant takes a while.

    Returns:
        By channel, in the order of `wanted`: its samples over the whole span in the file's own
        dtype, or a gap with the reason `invalid` where the file flags any of them.

    Raises:
        InputError: not a readable frame file; or a wrong checksum; or, naming the channels:
            absent, damaged, misplaced, of the wrong length, or of a rate that is not whole.
    """
    with _opened(path, checksum=checksum) as reader:
        frames = _frames(reader)
        present = set(reader.channels)
        asked = [name for name in dict.fromkeys(wanted) if name in present]
        span = span or Span(frames[0].start, frames[-1].end)
        held = _held(frames, span)
        raws = _decode(reader, asked, held) if held else {}
    if not missing_ok and len(asked) < len(set(wanted)):
        raise absent_channels(set(wanted) - present, present, path)
    if held is None and not missing_ok:
        raise InputError(f"its frames do not hold all of {span}", path=path)
    checked: dict[str, Series | Gap] = {}
    faults: dict[str, str] = {}
    for name, raw in raws.items():
        try:
            checked[name] = _series(raw, held or span, span)
        except ValueError as error:
            faults[name] = str(error)
    if faults:
        raise unusable_channels(faults, path)
    return checked


def serialise(
    span: Span,
    channels: Mapping[str, OutputChannel],
    *,
    history: Mapping[str, str] = MappingProxyType({}),
    compression: Compression = "none",
    invalid: Collection[str] = (),
) -> bytes:
    """Return one frame with these channels as the content of a file.

    Args:
        span: of the frame; need not be whole seconds.
        channels: by full name. The part before the first colon names the detector.
        history: lines for the frame's history record, by name: versions, hashes.
        compression: `none` is fastest; `gzip` also suppresses zeros of integers.
        invalid: channels to flag as invalid throughout, as a site's front end does: for rehearsals.

    Raises:
        ValueError: there is no channel, or one is over another span or has a dtype that other
            readers do not read back; or the library's float cannot express the start.
        OutputError: the library failed.
    """
    frame = _frame(span, channels, history, invalid)
    with _library():
        data: bytes = frame.write_bytes(_SCHEMES[compression])
    return data


def write_frames(
    path: Path,
    frames: Iterable[tuple[Span, Mapping[str, OutputChannel]]],
    *,
    history: Mapping[str, str] = MappingProxyType({}),
    compression: Compression = "none",
) -> None:
    """Write a file of several frames, one by one: the file need not fit into memory.

    The file is not checked. The caller writes it under a hidden name, reads it back and renames it.

    Args:
        path: the file.
        frames: span and channels of each, the same channels in all.
        history: as `serialise`, in every frame.
        compression: as `serialise`.

    Raises:
        ValueError: as `serialise`.
        OutputError: the library failed; with `errno`, where the operating system refused.
    """
    writer = gwframe.FrameWriter(path, _SCHEMES[compression])
    try:
        with _library():
            writer.open()
        for span, channels in frames:
            frame = _frame(span, channels, history)
            with _library():
                writer.write_frame(frame)
        with _library():
            writer.close()
    except BaseException:
        writer.discard()
        raise


def _frame(
    span: Span,
    channels: Mapping[str, OutputChannel],
    history: Mapping[str, str],
    invalid: Collection[str] = (),
) -> Any:
    """Return the library's frame."""
    start = span.start / NS
    if int(start % 1 * NS) != span.start % NS:
        raise ValueError(f"a frame cannot start at GPS {format_gps(span.start)}")
    if not channels:
        raise ValueError("a frame without channels")
    plain = {name: _plain(name, channel.series, span) for name, channel in channels.items()}
    with _library():
        frame = gwframe.Frame(start, span.duration / NS, name=next(iter(channels)).split(":")[0])
        for name, channel in channels.items():
            rate, unit = channel.series.rate, channel.unit
            if name in invalid:  # a flag exists in raw data only
                flagged = np.ma.MaskedArray(plain[name], mask=True)
                frame.add_channel(name, flagged, rate, unit=unit, channel_type="adc")
            else:
                frame.add_channel(name, plain[name], rate, unit=unit)
        for name, text in history.items():
            frame.add_history(name, text)
    return frame


@contextmanager
def _library() -> Iterator[None]:
    """Raise an OutputError for any error of the library."""
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        raise OutputError(
            f"cannot serialise a frame: {one_line(error)[:200]}", errno=number
        ) from error


@dataclass(frozen=True, slots=True)
class _Raw:
    """A channel as the library gives it: `mask` is true where a sample is flagged."""

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


def _held(frames: list[Span], span: Span) -> Span | None:
    """Return the span of the frames that a span touches, or None where they do not cover it.

    The library joins them in the order of the file, whether they are consecutive or not.
    """
    touched = [frame for frame in frames if frame.overlap(span)]
    if any(before.end != after.start for before, after in pairwise(touched)):
        return None
    held = Span(touched[0].start, touched[-1].end) if touched else None
    return held if held and held.covers(span) else None


def _decode(
    reader: Any, names: Iterable[str], span: Span | None = None
) -> dict[str, _Raw | Exception]:
    """Return every channel over whole frames, or over the first frame, or its error.

    Channels are read one by one from the open file, which costs no more. Asked for several, the
    library hides some failures, and with others it loses the sound channels too.
    """
    window = {} if span is None else {"start": span.start / NS, "end": span.end / NS}
    found: dict[str, _Raw | Exception] = {}
    for name in names:
        try:
            raw = reader.read(name, allow_invalid=True, aux_mask=True, **window)
            found[name] = _Raw(raw.start, raw.dt, raw.array, raw.mask)
        except Exception as error:  # noqa: BLE001
            found[name] = error
    return found


def _series(raw: _Raw | Exception, held: Span, span: Span) -> Series | Gap:
    """Return a channel's samples over `span`, of those that it has over `held`."""
    if isinstance(raw, Exception):
        raise ValueError(f"damaged: {one_line(raw)[:200]}")
    rate = whole_rate(raw.spacing)
    first, _ = held.indices(rate)
    if not abs(raw.start * rate - first) <= _MISPLACED:
        raise ValueError(f"starts at GPS {raw.start}, not at {format_gps(held.start)}")
    whole = Series(held, rate, raw.samples)
    start, stop = (index - first for index in span.indices(rate))
    if raw.mask is not None and raw.mask[start:stop].any():
        return Gap(span, "invalid")
    # A copy: a view would keep all samples of the frames.
    return Series(span, rate, whole.samples[start:stop].copy())


def _plain(name: str, series: Series, span: Span) -> Samples:
    """Return the samples as the library needs them: native, contiguous, writable."""
    if series.span != span:
        raise ValueError(f"{name} over {series.span} in a frame over {span}")
    if series.samples.dtype.str[1:] not in _WRITABLE:
        raise ValueError(f"{name} has the dtype {series.samples.dtype}, which frames do not keep")
    native = series.samples.dtype.newbyteorder("=")
    return np.require(series.samples, native, ("C_CONTIGUOUS", "WRITEABLE", "ALIGNED"))
