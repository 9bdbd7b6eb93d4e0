"""A site's live stream: files that appear one by one, as the LIGO distribution writer leaves them.

Each file is written under a hidden temporary name in its directory and then renamed. Old files are
deleted by count. Time comes from an injected clock, and the data are computed ahead of it.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf
from pathlib import Path
from types import MappingProxyType

from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError
from deepclean.simulate.faults import Fault
from deepclean.simulate.files import Layout, MadeFile, Making, Product, make_files, products
from deepclean.simulate.noise import generator
from deepclean.simulate.simulator import Simulator
from deepclean.system.clock import Clock

_log = logging.getLogger(__name__)

_LATE = 1.0
"""Seconds by which a stream may be late without a word."""

_AT_ONCE = 1e-6
"""Longest time in seconds for which the stream does not wait: a float clock may not resolve it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The pace of a live stream.

    Args:
        speed: seconds of data per second of the clock; `math.inf` for as fast as possible.
        strain_delay: largest delay of a strain file in seconds of the clock; the delay of each file
            is random, and always the same for this file.
        witness_delay: the same of a witness file.
        retention: number of files of each kind that stay; None deletes none.
        ahead: seconds of data that are computed before the stream starts and held ready.

    Raises:
        ConfigError: a value out of range.
    """

    speed: float = 1.0
    strain_delay: float = 0.0
    witness_delay: float = 0.0
    retention: int | None = None
    ahead: int = 16

    def __post_init__(self) -> None:
        for name, least in (("strain_delay", 0), ("witness_delay", 0), ("ahead", 1)):
            if not least <= getattr(self, name) < inf:
                raise ConfigError(f"{name}: {getattr(self, name)} is not at least {least}")
        if not self.speed > 0:
            raise ConfigError(f"speed: {self.speed} is not positive")
        if self.retention is not None and self.retention < 1:
            raise ConfigError(f"retention: {self.retention} is not at least 1")


def stream(
    simulator: Simulator,
    layout: Layout,
    span: Span,
    clock: Clock,
    *,
    pace: Pace = Pace(),
    faults: Sequence[Fault] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Path]:
    """Let the files of a span appear as time goes on.

    The file over `[t, t + d)` appears `(t + d - start) / speed` seconds after the stream has
    started, plus its delay, unless a fault changes that. The stream starts with the first request
    for a path.

    Args:
        simulator: of the site.
        layout: directories and lengths of the files.
        span: whole GPS seconds.
        clock: the clock; waking it ends the wait of a stream that is to stop.
        pace: speed, delays, retention.
        faults: the faults.
        stop: tells whether to stop; called after every file and every wait.

    Returns:
        An iterator that waits and writes. It yields the path of each file when the file has
        appeared, or when a fault lets it appear again or completes it. Faulty arguments raise
        before it starts.

    Raises:
        ConfigError: the span does not consist of whole seconds, or a fault is invalid.
        InputError: the site is not defined over the whole span.
        OutputError: the operating system refused.
    """
    site = simulator.site
    kinds = products(simulator, layout)
    making = make_files(simulator, kinds, span, faults)
    late = {
        kind: pace.strain_delay if site.strain in kind.channels else pace.witness_delay
        for kind in kinds
        if kind.extension == "gwf"
    }
    return play(making, span, clock, pace=pace, late=late, seed=site.seed, stop=stop)


def play(
    making: Making,
    span: Span,
    clock: Clock,
    *,
    pace: Pace,
    late: Mapping[Product, float] = MappingProxyType({}),
    seed: int = 0,
    start: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Path]:
    """Let files appear as time goes on; `stream` says when.

    Args:
        making: makes the files, second by second: yields the GPS second up to which the data are
            complete, and the files that this second completed.
        span: whole GPS seconds, all that is made.
        clock: the clock.
        pace: speed, retention.
        late: by kind of file the largest delay in seconds.
        seed: of the delays.
        start: the reading of the clock at which the span starts; where it has passed already when
            the first data are made, the span starts then.
        stop: as in `stream`.
    """
    queue, retention = _Queue(making, span, pace, late, seed), _StreamRetention(pace.retention)
    started = clock.monotonic()
    cost = 0.0  # seconds that the last second of data took to compute
    while queue.wants_more and not stop():
        queue.make()
        cost, started = clock.monotonic() - started, clock.monotonic()
    started = max(started, start)
    behind = False
    while not stop():
        now = clock.monotonic() - started
        idle = queue.due - now
        if pace.speed < inf and (idle < -_LATE) != behind and idle < inf:
            behind = idle < -_LATE
            if behind:
                _log.warning("the stream is %.1f s late: what is made or taken is too slow", -idle)
            else:
                _log.info("the stream is in time again")
        if idle <= _AT_ONCE:
            file = queue.pop()
            file.publish()
            if file.appears:
                retention.add(file)
                yield file.path
        elif queue.wants_more and idle >= cost:
            queue.make()
            cost = clock.monotonic() - started - now
        elif idle < inf:
            clock.wait(idle)
        else:
            return


class _Queue:
    """The files that are serialised and wait for their time."""

    def __init__(
        self,
        making: Making,
        span: Span,
        pace: Pace,
        late: Mapping[Product, float],
        seed: int,
    ) -> None:
        self._making = making
        self._span = span
        self._pace = pace
        self._late = late
        self._seed = seed
        self._ready: list[tuple[float, int, int, MadeFile]] = []
        self._order = count()
        self._made = self._shown = span.start // NS

    @property
    def due(self) -> float:
        """Seconds after the start at which the next file is due; infinite if it is not complete."""
        if not self._ready:
            return inf
        due, place, _, _ = self._ready[0]
        # A file that takes the place of a later one must not appear before that is complete.
        return due if place <= self._made * NS else inf

    @property
    def wants_more(self) -> bool:
        """Whether data are still to be computed and there is room for them."""
        unfinished = self._made < self._span.end // NS
        return unfinished and (self.due == inf or self._made - self._shown < self._pace.ahead)

    def make(self) -> None:
        """Compute one more second of data."""
        self._made, finished = next(self._making)
        for file in finished:
            item = (self._due(file), file.place.end, next(self._order), file)
            heapq.heappush(self._ready, item)

    def pop(self) -> MadeFile:
        """Remove and return the file that is due next."""
        file = heapq.heappop(self._ready)[3]
        self._shown = max(self._shown, file.span.end // NS)
        return file

    def _due(self, file: MadeFile) -> float:
        since = (file.place.end - self._span.start) / NS
        name = f"{file.product.description} delay"
        share = float(generator(self._seed, name, file.place.start // NS).random())
        late = self._late.get(file.product, 0.0) * share + file.delay
        return since / self._pace.speed + late


class _StreamRetention:
    """Deletes the oldest files of each kind beyond a count."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._kept: dict[Product, deque[Path]] = {}

    def add(self, file: MadeFile) -> None:
        """Add a file that has appeared, and delete the oldest one. Files of the truth stay."""
        if self._most is None or file.product.extension != "gwf":
            return
        kept = self._kept.setdefault(file.product, deque())
        if file.path not in kept:
            kept.append(file.path)
        if len(kept) > self._most:
            kept.popleft().unlink(missing_ok=True)
