"""Faults of a site's frame files, one second of one stream at a time, for the soak."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepclean.core.block import Series
from scripts.soak_site import Site, content

Channels = dict[str, Series]


@dataclass(frozen=True, slots=True)
class File:
    """A file that is to appear.

    Args:
        path: its final name.
        data: its content.
        delay: seconds by which it comes late.
        in_halves: written in place, half of it later, rather than renamed.
    """

    path: Path
    data: bytes
    delay: float = 0.0
    in_halves: bool = False


@dataclass(slots=True)
class Second:
    """What appears of one second of data.

    Args:
        number: GPS second.
        files: witnesses first, so that in time is never a matter of chance.
        readable: whether its strain can be read, so that it must have an output; None: perhaps,
            as it comes so late.
        finite: whether all samples of its strain are numbers.
    """

    number: int
    files: list[File] = field(default_factory=list)
    readable: bool | None = True
    finite: bool = True


# Faults of the content: they change the channels of a file.


def _some(channels: Channels, chance: random.Random) -> str:
    """Return one of the channels; never the state vector, which has faults of its own."""
    return chance.choice([name for name, one in channels.items() if one.samples.dtype.kind == "f"])


def _put(channels: Channels, name: str, change: Callable[[np.ndarray], None]) -> None:
    series = channels[name]
    samples = series.samples.copy()
    change(samples)
    channels[name] = Series(series.span, series.rate, samples)


def not_a_number(channels: Channels, chance: random.Random) -> None:
    """Make some samples NaN."""

    def spoil(samples: np.ndarray) -> None:
        first = chance.randrange(len(samples))
        samples[first : first + chance.randint(1, 200)] = np.nan

    _put(channels, _some(channels, chance), spoil)


def frozen(channels: Channels, chance: random.Random) -> None:
    """Repeat one sample throughout."""
    _put(channels, _some(channels, chance), lambda samples: samples.fill(samples[0]))


def zeros(channels: Channels, chance: random.Random) -> None:
    """Make all samples 0."""
    _put(channels, _some(channels, chance), lambda samples: samples.fill(0))


def absent(channels: Channels, chance: random.Random) -> None:
    """Leave a channel out."""
    del channels[_some(channels, chance)]


def other_rate(channels: Channels, chance: random.Random) -> None:
    """Halve the rate of the fastest channel."""
    name = max(channels, key=lambda name: channels[name].rate)
    series = channels[name]
    channels[name] = Series(series.span, series.rate // 2, series.samples[::2].copy())


def not_ready(channels: Channels, chance: random.Random) -> None:
    """Clear the state vector."""
    for name, series in list(channels.items()):
        if series.samples.dtype.kind == "u":
            _put(channels, name, lambda samples: samples.fill(0))


CONTENT: Mapping[str, Callable[[Channels, random.Random], None]] = {
    "not a number": not_a_number,
    "frozen": frozen,
    "zeros": zeros,
    "absent channel": absent,
    "other rate": other_rate,
}

# Faults of the file: they change what appears in the directory.


def missing(file: File, chance: random.Random) -> list[File]:
    """Let nothing appear."""
    return []


def late(file: File, chance: random.Random) -> list[File]:
    """Let it come around the deadline or far behind it."""
    return [File(file.path, file.data, chance.choice((0.05, 0.2, 0.5)))]


def cut(file: File, chance: random.Random) -> list[File]:
    """Leave the end away, or all."""
    return [File(file.path, file.data[: chance.randrange(len(file.data))])]


def flipped(file: File, chance: random.Random) -> list[File]:
    """Flip one bit."""
    data = bytearray(file.data)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return [File(file.path, bytes(data))]


def twice(file: File, chance: random.Random) -> list[File]:
    """Let it appear again, at once and when it is long past."""
    return [file, file, File(file.path, file.data, 0.5)]


def in_halves(file: File, chance: random.Random) -> list[File]:
    """Write it in place and in two goes."""
    return [File(file.path, file.data, in_halves=True)]


def foreign(file: File, chance: random.Random) -> list[File]:
    """Let what is none of ours appear beside it."""
    directory, name = file.path.parent, file.path.name
    strange = (name.replace("H1_", "H1_OTHER_"), f"{name}.tmp", f".{name}.part", "notes.txt")
    return [*(File(directory / each, b"IGWD\0") for each in strange), file]


FILES: Mapping[str, Callable[[File, random.Random], list[File]]] = {
    "missing": missing,
    "late": late,
    "cut": cut,
    "flipped bit": flipped,
    "twice": twice,
    "in halves": in_halves,
    "foreign files": foreign,
}

_UNREADABLE = {"missing", "cut", "flipped bit", "absent channel", "other rate"}
_UNCERTAIN = {"late", "in halves"}

STREAMS = ("strain", "witnesses")
KINDS = (
    *(f"{stream}: {fault}" for stream in STREAMS for fault in (*CONTENT, *FILES)),
    "strain: not ready",
    "outage",
    "burst",
)
"""Every fault. An outage and a burst are the stream's: the soak itself makes them."""


def make(site: Site, number: int, fault: str, chance: random.Random) -> Second:
    """Return a second of data with a fault (any of `KINDS`, or empty: none)."""
    stream, _, kind = fault.partition(": ")
    second = Second(number)
    for each, path, channels in (
        ("witnesses", site.witness_path(number), site.witnesses(number)),
        ("strain", site.strain_path(number), site.strain(number)),
    ):
        if each != stream:
            second.files.append(File(path, content(channels)))
            continue
        if kind == "not ready":
            not_ready(channels, chance)
        elif kind in CONTENT:
            CONTENT[kind](channels, chance)
        file = File(path, content(channels))
        second.files += FILES[kind](file, chance) if kind in FILES else [file]
    if stream == "strain":
        second.readable = None if kind in _UNCERTAIN else kind not in _UNREADABLE
        second.finite = kind != "not a number"
    return second


def deck(chance: random.Random) -> Iterator[str]:
    """Yield faults at random, each as often as any other."""
    while True:
        yield from chance.sample(KINDS, len(KINDS))
