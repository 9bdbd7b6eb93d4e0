"""What frame files and HDF5 files share: a channel to write, a whole rate, an absent channel."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepclean.core.align import Piece
from deepclean.core.block import Float64, Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, listed


@dataclass(frozen=True, slots=True, eq=False)
class OutputChannel:
    """Samples to write, and their physical unit (`strain`; empty where there is none).

    Raises:
        ValueError: the samples are a masked array. No file keeps its mask.
    """

    series: Series
    unit: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.series.samples, np.ma.MaskedArray):
            raise ValueError("a masked array cannot be written; a gap is a value of its own")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What files have of some channels.

    Args:
        pieces: by channel its samples and its gaps with their reasons; nothing for a channel that
            the files do not hold.
        faults: what was met in the files.
        readable: False where no file could be read, so that another try may give more.
    """

    pieces: Mapping[str, Sequence[Piece]]
    faults: Sequence[InputError] = ()
    readable: bool = True


def filled(pieces: Iterable[Piece], span: Span, rate: int) -> Float64:
    """Return the samples over a span, float64, NaN where there are none.

    Args:
        pieces: of one channel; those of another rate count as gaps.
        span: whole samples at that rate, around all pieces.
        rate: samples per second.
    """
    samples = np.full(span.samples(rate), np.nan)
    first, _ = span.indices(rate)
    for piece in pieces:
        if isinstance(piece, Series) and piece.rate == rate:
            low, high = piece.span.indices(rate)
            samples[low - first : high - first] = piece.samples
    return samples


def whole_rate(spacing: float) -> int:
    """Return the rate in Hz that a stored spacing in seconds means.

    Raises:
        ValueError: the rate is not a whole number of Hz. A spacing kept in single precision may be
            off by 1e-7.
    """
    rate = round(1 / spacing) if spacing > 1 / NS else 0
    if rate < 1 or abs(rate * spacing - 1) > 1e-7:
        raise ValueError(f"a spacing of {spacing} s is not a whole number of samples per second")
    return rate


def unusable_channels(faults: Mapping[str, object], path: Path) -> InputError:
    """Return the error that names every faulty channel with its fault."""
    said = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
    return InputError(said, path=path, channels=faults)


def absent_channels(
    absent: Iterable[str], present: Collection[str], path: Path, note: str = ""
) -> InputError:
    """Return the error that names every absent channel and the present ones most like it.

    Args:
        absent: full names.
        present: the names of the channels that are there.
        path: where they were looked for.
        note: why they were looked for there.
    """
    absent = sorted(absent)
    said = f"no such channel: {listed(absent, present)}{note and f' ({note})'}"
    return InputError(said, path=path, channels=absent)
