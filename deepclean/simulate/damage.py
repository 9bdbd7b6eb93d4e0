"""The effect of a fault on samples, and on a file's bytes, name and time. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

import numpy as np

from deepclean.core.block import Samples, Series
from deepclean.core.time import NS, Span, index_from
from deepclean.io.t050017 import FrameName
from deepclean.simulate.faults import Fault

QUARTER = 0.25
"""Share of the peak in each second at which a clipped channel saturates."""

LOUDER = 1000
"""Factor by which a glitch is louder than the channel."""

HOFT_OK = 0b1
"""The state vector's bit that stays when only the observation intent is off."""

_SAMPLES: dict[str, Callable[[Samples, Any], Samples | float]] = {
    "nan": lambda samples, held: np.nan,
    "inf": lambda samples, held: np.inf,
    "zero": lambda samples, held: 0,
    "frozen": lambda samples, held: held,
    "clipped": lambda samples, held: _clipped(samples),
    "glitch": lambda samples, held: LOUDER * samples,
    "not_ready": lambda samples, held: samples & samples.dtype.type(HOFT_OK),
    "unlocked": lambda samples, held: 0,
}


def spoiled(series: Series, fault: Fault, held: Callable[[], Any]) -> Series:
    """Return samples with a fault inside its span; the other samples are unchanged.

    Args:
        series: at most a second of a channel that the fault hits.
        fault: a fault of samples or of the state vector.
        held: gives the value that the channel had when the fault began.
    """
    shared = series.span.overlap(fault.span)
    if shared is None:
        return series
    first, _ = series.span.indices(series.rate)
    inside = slice(*(index_from(t, series.rate) - first for t in (shared.start, shared.end)))
    samples = series.samples.copy()
    if samples[inside].size:
        value = held() if fault.kind == "frozen" else None
        samples[inside] = _SAMPLES[fault.kind](samples[inside], value)
    return Series(series.span, series.rate, samples)


def faster(series: Series) -> Series:
    """Return a channel at twice its rate, with every sample repeated."""
    return Series(series.span, 2 * series.rate, np.repeat(series.samples, 2))


def _clipped(samples: Samples) -> Samples:
    level = QUARTER * np.max(np.abs(samples))
    return np.clip(samples, -level, level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One operation on one file.

    Args:
        do: `publish` writes the file, complete at once; `begin` writes it in place under its final
            name, and `finish` completes that; `delete` removes it; `nothing` stands for a file
            that never appears.
        name: of the file.
        data: content of the file.
        place: the operation happens when the file over this span is due.
        delay: seconds of the clock after that.
        foreign: whether the file does not belong to the stream.
    """

    do: Literal["publish", "begin", "finish", "delete", "nothing"] = "publish"
    name: str
    data: bytes = b""
    place: Span
    delay: float = 0.0
    foreign: bool = False


def acts(
    name: FrameName,
    data: bytes,
    faults: Iterable[Fault],
    whole: Span,
    length: int,
    random: Callable[[str], np.random.Generator],
) -> list[Act]:
    """Return the operations on one file, in order.

    Args:
        name: of the file.
        data: its content.
        faults: faults of files; faults that do not hit this file have no effect.
        whole: span of the stream, which files of `length` fill.
        length: seconds of a file.
        random: gives the random generator of a kind of fault for this file.
    """
    done = [Act(name=str(name), data=data, place=name.span)]
    for fault in faults:
        if fault.kind == "reordered":
            place = swapped(fault.span, name.span, whole, length)
            done = [replace(act, place=place) for act in done]
        elif fault.span.overlap(name.span):
            done = _FILES[fault.kind](done, fault, random(fault.kind))
    return done


def swapped(fault: Span, file: Span, whole: Span, length: int) -> Span:
    """Return the span of the file at whose time a file appears if neighbours swap.

    The first file that the fault hits swaps with the next one, the third with the fourth, and so
    on. The last file that is hit may swap with one that is not hit. The last file of the stream has
    no partner and stays.
    """
    step = length * NS
    first = max((fault.start - whole.start) // step, 0)
    hit = -(-(fault.end - whole.start) // step) - first
    number = (file.start - whole.start) // step
    position = number - first
    start = whole.start + (number + (-1 if position % 2 else 1)) * step
    if not 0 <= position < hit + hit % 2 or start >= whole.end:
        return file
    return Span(start, min(start + step, whole.end))


Fate = Callable[[list[Act], Fault, np.random.Generator], list[Act]]


def _gone(done: list[Act], fault: Fault, random: np.random.Generator) -> list[Act]:
    return [replace(done[0], do="nothing", data=b"")]


def _late(done: list[Act], fault: Fault, random: np.random.Generator) -> list[Act]:
    return [replace(act, delay=act.delay + fault.delay) for act in done]


def _twice(done: list[Act], fault: Fault, random: np.random.Generator) -> list[Act]:
    again = [replace(act, delay=act.delay + fault.delay) for act in done if act.do == "publish"]
    return [*done, *again]


def _cut(done: list[Act], fault: Fault, random: np.random.Generator) -> list[Act]:
    part = random.random()
    return [replace(act, data=_beginning(act.data, part)) for act in done]


def _partial(done: list[Act], fault: Fault, random: np.random.Generator) -> list[Act]:
    part = random.random()
    pieces = []
    for act in done:
        if act.do != "publish" or act.foreign:
            pieces.append(act)
            continue
        pieces.append(replace(act, do="begin", data=_beginning(act.data, part)))
        pieces.append(replace(act, do="finish", delay=act.delay + fault.delay))
    return pieces


def _flipped(done: list[Act], fault: Fault, random: np.random.Generator) -> list[Act]:
    place, bit = random.random(), int(random.integers(8))
    return [replace(act, data=_flip(act.data, place, bit)) for act in done]


def _foreign(done: list[Act], fault: Fault, random: np.random.Generator) -> list[Act]:
    """Add files that a careless reader may take for files of the stream."""
    own = done[0]
    stem = PurePath(own.name).stem
    site, description, start, duration = stem.split("-")
    junk = random.bytes(256)
    others = {
        f"{site}-{description}_FOREIGN-{start}-{duration}.gwf": own.data,
        f"{own.name}.tmp": junk,
        f"{stem}.xml": junk,
        f"{site}-{description}-{start}.gwf": junk,
    }
    beside = replace(own, do="publish", foreign=True)
    return [*done, *(replace(beside, name=name, data=data) for name, data in others.items())]


def _deleted(done: list[Act], fault: Fault, random: np.random.Generator) -> list[Act]:
    last = max(done, key=lambda act: act.delay)
    return [*done, replace(done[0], do="delete", data=b"", delay=last.delay)]


_FILES: dict[str, Fate] = {
    "missing": _gone,
    "outage": _gone,
    "late": _late,
    "duplicate": _twice,
    "truncated": _cut,
    "partial": _partial,
    "flipped": _flipped,
    "foreign": _foreign,
    "deleted": _deleted,
}


def _beginning(data: bytes, part: float) -> bytes:
    """Return the first part of the bytes, never all of them."""
    return data[: int(part * len(data))]


def _flip(data: bytes, place: float, bit: int) -> bytes:
    changed = bytearray(data)
    if changed:
        changed[int(place * len(changed))] ^= 1 << bit
    return bytes(changed)
