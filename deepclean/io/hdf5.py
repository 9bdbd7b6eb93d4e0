"""HDF5 files: channel archives, and the strain files of the Gravitational Wave Open Science Center.

A channel archive has one dataset a channel, in any group, with the attributes `x0` (GPS seconds of
the first sample) and `dx` (seconds between samples): gwpy writes `TimeSeriesDict` so, and the
earlier DeepClean projects their training data. The dataset's own name is the channel's.

A GWOSC file keeps its strain as `strain/Strain` and its detector in `meta/Detector`; the strain is
`<IFO>:STRAIN` here. In either kind, `<IFO>:STRAIN` is also found under the calibrated strain's
names of that detector (`<IFO>:GDS-CALIB_STRAIN` and the like), so that a configuration for live
frames can be tried on public data. No other channel is answered with the strain.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO, FileIO
from math import gcd
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import h5py
import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span, format_gps, index_at, seconds_to_ns
from deepclean.errors import InputError, one_line, output_errors
from deepclean.io.channels import (
    OutputChannel,
    Reading,
    absent_channels,
    unusable_channels,
    whole_rate,
)
from deepclean.system.atomic import publish

_CALIBRATED = re.compile(r"[A-Z][0-9]:[A-Z]+-CALIB_STRAIN")
"""The calibrated strain's names in frames: GDS-, DCS-, DMT- and the like."""


def channels(path: Path, wanted: Collection[str] | None = None) -> dict[str, int]:
    """Return the rate in Hz of every channel, or of those `wanted` that the file holds.

    Channels that do not start on a whole number of samples from GPS 0 are left out.

    Raises:
        InputError: not a readable HDF5 file.
    """
    with _opened(path) as archive:
        found = archive.channels() if wanted is None else archive.among(wanted)
        return {name: place.rate for name, place in _sound(found).items()}


def span(path: Path) -> Span:
    """Return the span from the earliest start of a channel to the latest end.

    Raises:
        InputError: not a readable HDF5 file, or it holds no channels.
    """
    with _opened(path) as archive:
        return _extent(archive.channels())


def read(path: Path, wanted: Collection[str], span: Span | None = None) -> dict[str, Series | Gap]:
    """Read channels from one HDF5 file, all or nothing; only the part asked for is decompressed.

    Args:
        path: the file.
        wanted: full channel names.
        span: the part to read; all of these channels where it is None.

    Returns:
        By channel, in the order of `wanted`: its samples over the whole span in their own dtype.

    Raises:
        InputError: not a readable HDF5 file; or, naming the channels: absent, not over all of the
            span, damaged, or not on a whole number of samples from GPS 0.
    """
    with _opened(path) as archive:
        found = archive.among(wanted)
        if len(found) < len(set(wanted)):
            raise absent_channels(set(wanted) - set(found), archive.channels(), path)
        if not found:
            return {}
        span = span or _extent(found)
    reading = read_pieces(path, wanted, span)
    for fault in reading.faults:
        raise fault
    short = {
        name: f"held over {', '.join(str(p.span) for p in pieces)}, not all of {span}"
        for name, pieces in reading.pieces.items()
        if [piece.span for piece in pieces] != [span]
    }
    if short:
        raise unusable_channels(short, path)
    return {name: pieces[0] for name, pieces in reading.pieces.items()}


def read_pieces(path: Path, wanted: Collection[str], span: Span) -> Reading:
    """Read what an HDF5 file has of some channels over a span, each channel by itself.

    A channel that is damaged or misplaced is a gap `corrupt`.

    Raises:
        InputError: not a readable HDF5 file.
    """
    pieces: dict[str, list[Series | Gap]] = {}
    faults: dict[str, str] = {}
    with _opened(path) as archive:
        for name in dict.fromkeys(wanted):
            try:
                dataset = archive.find(name)
                if dataset is None:
                    continue
                place = _placed(dataset)
                part = place.span.overlap(span)
                pieces[name] = [] if part is None else [_series(place, part)]
            except (OSError, RuntimeError, ValueError) as error:
                pieces[name], faults[name] = [Gap(span, reasons.CORRUPT)], str(error)
    return Reading(pieces, (unusable_channels(faults, path),) if faults else ())


def write_archive(path: Path, channels: Mapping[str, OutputChannel]) -> None:
    """Write a channel archive that gwpy and the earlier DeepClean projects read too.

    Its samples carry checksums: every reader refuses damaged ones.

    Args:
        path: the final name; the file appears there complete or not at all.
        channels: by full name; their spans and rates may differ.

    Raises:
        ValueError: a float of GPS seconds cannot express a channel's start.
        OutputError: the operating system refused.
    """
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, channel in channels.items():
            _create(file, name, channel, fletcher32=True)
    publish(path, buffer.getbuffer())


def write_pieces(
    path: Path,
    pieces: Iterable[Mapping[str, OutputChannel]],
    *,
    history: Mapping[str, str] = MappingProxyType({}),
    compression: Literal["none", "gzip"] = "none",
) -> None:
    """Write a channel archive piece by piece: it need not fit into memory.

    The file is not checked. The caller writes it under a hidden name, reads it back and renames it.

    Args:
        path: the file.
        pieces: whole seconds, each continuing the one before, the same channels in all.
        history: attributes of the file.
        compression: of the samples, which carry checksums in any case.

    Raises:
        ValueError: as `write_archive`.
        OutputError: the library failed; with `errno`, where the operating system refused.
    """
    filters: dict[str, Any] = {"fletcher32": True}
    if compression == "gzip":
        filters |= {"shuffle": True, "compression": "gzip"}
    with (
        output_errors(path, "cannot be written"),
        _ErrorCapturingFile(path) as disk,
        h5py.File(disk, "w") as file,
    ):
        file.attrs.update(history)
        for piece in pieces:
            for name, channel in piece.items():
                samples = channel.series.samples
                if name in file:
                    dataset = file[name]
                    dataset.resize((len(dataset) + len(samples),))
                    dataset[-len(samples) :] = samples
                else:
                    second = (channel.series.rate,)
                    _create(file, name, channel, maxshape=(None,), chunks=second, **filters)
            disk.check()
        file.close()
        disk.check()


class _ErrorCapturingFile(FileIO):
    """A file for HDF5 on a disk that may refuse data: HDF5 cannot close such a file and leaks it.

    Refused data is lost without an error to the library; `check` raises the error.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the disk's first error, if there was one."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """Write the data, or lose it."""
        left = memoryview(data).cast("B")
        try:
            while left and self._error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self._error = error
        return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or note the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0


def _create(file: Any, name: str, channel: OutputChannel, **options: Any) -> None:
    """Make the dataset of a channel."""
    series = channel.series
    start = series.span.start / NS
    if seconds_to_ns(start) != series.span.start:
        raise ValueError(f"{name} cannot start at GPS {format_gps(series.span.start)}")
    dataset = file.create_dataset(name, data=series.samples, **options)
    dataset.attrs.update({"name": name, "channel": name, "unit": channel.unit, "xunit": "s"})
    dataset.attrs.update({"x0": start, "dx": 1 / series.rate})


@dataclass(frozen=True, slots=True)
class _ChannelDataset:
    """A dataset, its rate, and its span up to the last sample that ends on a nanosecond."""

    dataset: Any
    rate: int
    span: Span


class _ChannelArchive:
    """The channels of an open file. Only wanted datasets are opened: that takes a while."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._paths: dict[str, list[str]] = {}
        if "strain/Strain" in file and "meta/Detector" in file:
            detector = file["meta/Detector"].asstr()[()]
            self._paths[f"{detector}:STRAIN"] = ["strain/Strain"]
        else:
            file.visit(
                lambda path: self._paths.setdefault(path.rpartition("/")[2], []).append(path)
            )

    def channels(self) -> dict[str, Any]:
        """Return every channel's dataset."""
        return self.among(self._paths)

    def among(self, wanted: Iterable[str]) -> dict[str, Any]:
        """Return the datasets of the wanted channels that are here, in that order."""
        found = {name: self.find(name) for name in wanted}
        return {name: dataset for name, dataset in found.items() if dataset is not None}

    def find(self, name: str) -> Any:
        """Return a channel's dataset, or None.

        Raises:
            ValueError: there are two of them.
        """
        if name not in self._paths and _CALIBRATED.fullmatch(name):
            name = f"{name.partition(':')[0]}:STRAIN"
        entries = [self._file[path] for path in self._paths.get(name, [])]
        datasets = [entry for entry in entries if isinstance(entry, h5py.Dataset) and _timed(entry)]
        if len(datasets) > 1:
            paths = " and ".join(dataset.name for dataset in datasets)
            raise ValueError(f"two datasets are called {name}: {paths}")
        return datasets[0] if datasets else None


@contextmanager
def _opened(path: Path) -> Iterator[_ChannelArchive]:
    try:
        # Unlocked: a file system without locks (many NFS) would refuse, and nobody writes in place
        # what has its final name.
        with h5py.File(path, "r", locking=False) as file:
            yield _ChannelArchive(file)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if not path.is_file():
            raise InputError("no such file", path=path) from error
        raise InputError(f"not a readable HDF5 file: {one_line(error)[:200]}", path=path) from error


def _timed(dataset: Any) -> tuple[Any, Any] | None:
    """Return the start and spacing that a channel's dataset states, in seconds."""
    for start, spacing in (("x0", "dx"), ("Xstart", "Xspacing")):
        if start in dataset.attrs and spacing in dataset.attrs:
            return dataset.attrs[start], dataset.attrs[spacing]
    return None


def _placed(dataset: Any) -> _ChannelDataset:
    if dataset.ndim != 1 or dataset.dtype.kind not in "iufc":
        raise ValueError("not a vector of numbers")
    timed = _timed(dataset)
    if timed is None:
        raise ValueError("no start or no spacing")
    start, spacing = (str(np.asarray(value).item()) for value in timed)
    rate = whole_rate(float(spacing))
    first = index_at(seconds_to_ns(start), rate)
    step = rate // gcd(rate, NS)
    last = (first + len(dataset)) // step * step
    return _ChannelDataset(dataset, rate, Span.of_samples(first, last - first, rate))


def _sound(datasets: Mapping[str, Any]) -> dict[str, _ChannelDataset]:
    """Return the datasets that are placed on a whole number of samples from GPS 0."""
    sound = {}
    for name, dataset in datasets.items():
        with suppress(ValueError):
            sound[name] = _placed(dataset)
    return sound


def _extent(datasets: Mapping[str, Any]) -> Span:
    spans = [place.span for place in _sound(datasets).values()]
    if not spans:
        raise ValueError("it holds no channel (a dataset with the attributes x0 and dx)")
    return Span(min(each.start for each in spans), max(each.end for each in spans))


def _series(place: _ChannelDataset, span: Span) -> Series:
    first, _ = place.span.indices(place.rate)
    start, stop = span.indices(place.rate)
    samples = place.dataset[start - first : stop - first]
    return Series(span, place.rate, samples.astype(samples.dtype.newbyteorder("="), copy=False))
