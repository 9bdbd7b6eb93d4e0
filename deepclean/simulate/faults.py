"""The data faults of a simulated site: their kinds, times and targets.

A fault is a value. Its effect on samples and files is in `damage`, and `files` and `stream` write
the files. The truth is never changed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deepclean.core.time import NS, Span, format_gps, seconds_to_ns
from deepclean.errors import ConfigError, hint
from deepclean.simulate.noise import generator
from deepclean.simulate.site import Site

ActsOn = Literal["file", "channel", "samples", "state"]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault.

    Args:
        acts_on: a whole `file`; a `channel` throughout its file; `samples` inside the fault's
            span; or the samples of the `state` vector.
        does: what happens, for the list of faults.
        must: what the daemon must then do, for the list of faults.
        seconds: default duration, and longest duration of a random fault.
        target: default target.
        live: whether the fault concerns the time at which files appear.
    """

    acts_on: ActsOn
    does: str
    must: str
    seconds: int = 1
    target: str = "witnesses"
    live: bool = False


def _file(does: str, must: str, *, seconds: int = 1, live: bool = False) -> FaultKind:
    return FaultKind("file", does, must, seconds, "strain", live)


_GAP = "gap; witnesses: gain 0"
_USE = "gain 0"
_STRAIN_GAP = "gain 0; strain: gap"
_STRAIN_RAW = "gain 0; strain: as it is, not valid"
_READY = "go on, ANALYSIS_READY off"

KINDS: dict[str, FaultKind] = {
    "missing": _file("never appears", _GAP),
    "outage": FaultKind("file", "no file of either stream", "wait; gap; go on", 60, "both"),
    "late": _file("appears after the deadline", f"{_GAP}; then ignore it", live=True),
    "duplicate": _file("appears again later, the same bytes", "ignore and count it", live=True),
    "reordered": _file("swaps with the next", "go on by GPS, clean both", seconds=2, live=True),
    "truncated": _file("cut at a random offset and left so", _GAP),
    "partial": _file("in place, cut at first, whole before the deadline", "clean it", live=True),
    "flipped": _file("one random bit is flipped", _GAP),
    "foreign": _file("files of other names lie beside it", "ignore those"),
    "deleted": _file("deleted as soon as it has appeared", f"clean it, or {_GAP}", live=True),
    "absent": FaultKind("channel", "left out of the file", _STRAIN_GAP),
    "rate": FaultKind("channel", "at twice its sampling rate", _STRAIN_GAP),
    "invalid": FaultKind("channel", "flagged invalid in the file", _STRAIN_GAP),
    "nan": FaultKind("samples", "not a number", _STRAIN_RAW),
    "inf": FaultKind("samples", "infinite", _STRAIN_RAW),
    "zero": FaultKind("samples", "all zero", _USE, 10),
    "frozen": FaultKind("samples", "holds the value that it had when it froze", _USE, 10),
    "clipped": FaultKind("samples", "saturates at a quarter of its peak", _USE, 10),
    "glitch": FaultKind("samples", "a thousand times as loud", "no artifact"),
    "not_ready": FaultKind("state", "observation intent is off", _READY, 30, "state"),
    "unlocked": FaultKind("state", "all bits are 0", _READY, 30, "state"),
}
"""The kinds of faults by name."""

WORDS = (
    "gap: no frame, its seconds counted. gain 0: the raw strain passes while the gain of the "
    "coupling ramps to 0 and back, counted with the reason."
)
"""Explanation of the words in `FaultKind.must`."""

STREAMS = ("strain", "witnesses", "both")

LATE_BY = 3.0
"""Delay after the deadline in seconds: one more than the arrival of the next frame allows."""

_LONGEST = max(kind.seconds for kind in KINDS.values())
_TEXT = re.compile(r"([^:@]+)(?::([^@]+))?@(\+?)([\d.]+)(?:\+([\d.]+))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault.

    Args:
        kind: one of `KINDS`.
        span: time of the fault. A file is hit if it shares any time with it.
        target: `strain`, `witnesses` or `both`; if the kind does not act on whole files, also a
            channel's name with or without its prefix, or `state`.
        delay: seconds of the clock by which a file is late, or after which it appears again or is
            completed.
    """

    kind: str
    span: Span
    target: str
    delay: float = 0.0

    def __str__(self) -> str:
        start, duration = format_gps(self.span.start), format_gps(self.span.duration)
        return f"{self.kind}:{self.target}@{start}+{duration}"


def delay_of(kind: str, deadline: float) -> float:
    """Return a fault's delay if the daemon waits `deadline` seconds for missing files."""
    return deadline / 2 if kind == "partial" else deadline + LATE_BY


def parse_fault(text: str, span: Span, deadline: float) -> Fault:
    """Return the fault that a text `KIND[:TARGET]@GPS[+SECONDS]` describes.

    Args:
        text: the text; `@+30` is 30 s after the span's start.
        span: of the stream.
        deadline: seconds that the daemon waits for missing files.

    Raises:
        ConfigError: another form, an unknown kind, or a fault outside the span.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ConfigError(f"fault {text}: expected KIND[:TARGET]@GPS[+SECONDS]")
    kind, target, relative, at, seconds = match.groups()
    if kind not in KINDS:
        raise ConfigError(f"fault {text}: no kind {_unknown(kind)}")
    try:
        start = seconds_to_ns(at) + (span.start if relative else 0)
        when = Span(start, start + seconds_to_ns(seconds or KINDS[kind].seconds))
    except ValueError as error:
        raise ConfigError(f"fault {text}: {error}") from error
    if not span.covers(Span(when.start, when.start + 1)):
        raise ConfigError(f"fault {text}: does not begin within {span}")
    return Fault(kind, when, target or KINDS[kind].target, delay_of(kind, deadline))


def random_faults(
    seed: int, rate: float, span: Span, site: Site, *, deadline: float = 2.0, live: bool = True
) -> tuple[Fault, ...]:
    """Return random faults.

    The faults that begin in a GPS second depend on seed, rate, site and that second alone, so two
    spans agree on their shared time.

    Args:
        seed: of the faults.
        rate: mean number of faults that begin in 1000 s.
        span: of the stream; a fault may begin before it.
        site: the site whose streams and witnesses are hit.
        deadline: seconds that the daemon waits for missing files.
        live: whether faults of the time at which files appear are included.

    Raises:
        ConfigError: a rate that is not from 0 to 1000.
    """
    if not 0 <= rate <= 1000:
        raise ConfigError(f"fault rate: {rate} is not from 0 to 1000 in 1000 s")
    found = []
    for second in range(span.start // NS - _LONGEST, -(-span.end // NS)):
        random = generator(seed, "faults", second)
        for _ in range(random.poisson(rate / 1000)):
            fault = _drawn(random, second, site, deadline)
            if fault.span.overlap(span) and (live or not KINDS[fault.kind].live):
                found.append(fault)
    return tuple(found)


def _drawn(random: np.random.Generator, second: int, site: Site, deadline: float) -> Fault:
    name = list(KINDS)[random.integers(len(KINDS))]
    kind = KINDS[name]
    when = Span.of_seconds(second, 1 + int(random.integers(kind.seconds)))
    of_strain = random.random() < 0.5 or not site.witnesses
    target = kind.target
    if kind.acts_on in {"channel", "samples"} and not of_strain:
        target = site.witnesses[random.integers(len(site.witnesses))].channel
    elif target in {"strain", "witnesses"}:
        target = "strain" if of_strain else "witnesses"
    return Fault(name, when, target, delay_of(name, deadline))


class FaultSchedule:
    """The faults of a stream by time.

    Args:
        faults: in the order in which they act on the same samples or file.
        site: the site.

    Raises:
        ConfigError: unknown kinds or targets; the message names all of them.
    """

    def __init__(self, faults: Iterable[Fault], site: Site) -> None:
        self._site = site
        self._faults = tuple(faults)
        wrong = [said for fault in dict.fromkeys(self._faults) if (said := _wrong(fault, site))]
        if wrong:
            raise ConfigError(wrong)
        self._numbers: defaultdict[int, list[int]] = defaultdict(list)
        for number, fault in enumerate(self._faults):
            for second in range(fault.span.start // NS, -(-fault.span.end // NS)):
                self._numbers[second].append(number)

    def over(self, span: Span, *acts_on: ActsOn) -> list[Fault]:
        """Return the faults of a span that act on these objects, in the given order."""
        if not self._faults:
            return []
        seconds = range(span.start // NS, -(-span.end // NS))
        numbers = {number for second in seconds for number in self._numbers.get(second, ())}
        found = [self._faults[number] for number in sorted(numbers)]
        return [fault for fault in found if KINDS[fault.kind].acts_on in acts_on]

    def channels(self, fault: Fault) -> frozenset[str]:
        """Return the full names of the channels that a fault hits; of a file, all of them."""
        return _channels(fault.target, self._site)


def _channels(target: str, site: Site) -> frozenset[str]:
    witnesses = [witness.channel for witness in site.witnesses]
    known = {
        "strain": [site.strain],
        "witnesses": witnesses,
        "both": [site.strain, *witnesses],
        "state": [site.state],
    }
    if target in known:
        return frozenset(known[target])
    return frozenset({target, f"{site.ifo}:{target}"} & set(site.channels))


def _wrong(fault: Fault, site: Site) -> str | None:
    """Return the error in a fault, or None."""
    if fault.kind not in KINDS:
        return f"fault {fault}: no kind {_unknown(fault.kind)}"
    acts_on = KINDS[fault.kind].acts_on
    valid = {"file": STREAMS, "state": ("state",)}.get(acts_on)
    if valid is not None:
        on = f"fault {fault}: acts on {acts_on}s" if acts_on == "file" else f"fault {fault}"
        return None if fault.target in valid else f"{on}; its target is {' or '.join(valid)}"
    found = _channels(fault.target, site)
    if acts_on == "samples" and site.state in found:
        return f"fault {fault}: the state vector has faults of its own, not_ready and unlocked"
    targets = [*STREAMS, *site.channels, *(name.split(":")[1] for name in site.channels)]
    unknown = f"fault {fault}: no channel {fault.target}{hint(fault.target, targets)}"
    return None if found else unknown


def _unknown(kind: str) -> str:
    """Return an unknown kind with the nearest one, and all kinds."""
    return f"{kind}{hint(kind, KINDS)}; there are {', '.join(KINDS)}"
