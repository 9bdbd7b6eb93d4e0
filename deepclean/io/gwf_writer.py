"""Frame files (GWF), written: the library writes a strided array wrong, so each is made plain."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import gwframe
import numpy as np
from gwframe.types import Compression as Scheme

from deepclean.core.block import Samples, Series
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import OutputError, one_line
from deepclean.io.channels import OutputChannel

Compression = Literal["none", "gzip"]

_SCHEMES: Mapping[str, int] = {
    "none": Scheme.RAW,
    "gzip": Scheme.ZERO_SUPPRESS_OTHERWISE_GZIP,
}

_WRITABLE = frozenset(["f4", "f8", "c8", "c16", "i2", "i4", "i8", "u2", "u4", "u8"])
"""The dtypes that lalframe and gwpy read back unchanged: all but integers of 8 bits."""


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
    path: Path | BytesIO,
    frames: Iterable[tuple[Span, Mapping[str, OutputChannel]]],
    *,
    history: Mapping[str, str] = MappingProxyType({}),
    compression: Compression = "none",
) -> None:
    """Write a file of several frames, one by one: the file need not fit into memory.

    The file is not checked. The caller writes it under a hidden name, reads it back and renames it.

    Args:
        path: the file, or a buffer in its place.
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


def _plain(name: str, series: Series, span: Span) -> Samples:
    """Return the samples as the library needs them: native, contiguous, writable."""
    if series.span != span:
        raise ValueError(f"{name} over {series.span} in a frame over {span}")
    if series.samples.dtype.str[1:] not in _WRITABLE:
        raise ValueError(f"{name} has the dtype {series.samples.dtype}, which frames do not keep")
    native = series.samples.dtype.newbyteorder("=")
    return np.require(series.samples, native, ("C_CONTIGUOUS", "WRITEABLE", "ALIGNED"))
