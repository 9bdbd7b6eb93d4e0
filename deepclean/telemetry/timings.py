"""How long things take, as histograms that Prometheus reads. Nothing here can stop the run."""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import accumulate
from typing import Literal, get_args

from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

_log = logging.getLogger(__name__)

Stage = Literal["read", "clean", "render", "write"]
"""The stages of the work: `read` an input file; `clean` an input frame with the engine; `render` an
output frame's channels; `write` its file."""

STAGES: tuple[Stage, ...] = get_args(Stage)

_LATENCIES = (0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 30, 60, 120)
"""Bounds in seconds, finest where one-second frames with their look-ahead come out."""

_DURATIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Timings:
    """Two histograms: the output's latency and the duration of each stage.

    Args:
        timer: returns seconds that never go back.
    """

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._failing = False
        self._latency = _Counts(_LATENCIES)
        self._stages = {stage: _Counts(_DURATIONS) for stage in STAGES}

    def latency(self, seconds: float) -> None:
        """Note the latency of a frame that was written."""
        self._observe(self._latency, seconds)

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Note the duration of the block, also where it raises."""
        return _Stopwatch(self._timer, partial(self._observe, self._stages[stage]))

    def collect(self) -> Iterator[Metric]:
        """Yield both."""
        latency = HistogramMetricFamily(
            "deepclean_output_latency_seconds",
            "From the raw strain frame's appearance to the cleaned frame's rename.",
        )
        latency.add_metric([], self._latency.buckets(), self._latency.sum)
        yield latency
        stages = HistogramMetricFamily(
            "deepclean_stage_duration_seconds", "One piece of work of a stage.", labels=["stage"]
        )
        for stage, counts in self._stages.items():
            stages.add_metric([stage], counts.buckets(), counts.sum)
        yield stages

    def _observe(self, counts: _Counts, seconds: float) -> None:
        try:
            counts.add(seconds)
        except Exception:  # noqa: BLE001  (whatever it is, cleaning goes on)
            if not self._failing:
                _log.exception("a duration cannot be noted; no more will be said of it")
            self._failing = True


class _Counts:
    """How often durations lay between bounds, and their sum.

    The histogram of prometheus_client takes a lock for every bucket. That is needed where several
    threads add, and took a hundredth of a block of 1/16 s. Here one thread adds.

    Args:
        bounds: the upper bounds of the buckets, in seconds, ascending.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration in the bucket of the lowest bound that it does not exceed."""
        self.sum += seconds
        self._counts[bisect_left(self._bounds, seconds)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Return how many durations were at most each bound, as Prometheus writes both."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(map(float, self._counts)), strict=True))


class _Stopwatch(AbstractContextManager[None]):
    """Tells of the seconds that a block took."""

    def __init__(self, timer: Callable[[], float], told: Callable[[float], None]) -> None:
        self._timer, self._told = timer, told

    def __enter__(self) -> None:
        self._start = self._timer()

    def __exit__(self, *raised: object) -> None:
        self._told(self._timer() - self._start)
