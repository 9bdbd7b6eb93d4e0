"""How long things take, as histograms that Prometheus reads. Nothing here can stop the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Literal, get_args

from prometheus_client import Histogram, Metric

_log = logging.getLogger(__name__)

Stage = Literal["read", "clean", "render", "write", "prepare"]
"""The stages of the work: `read` an input file; `clean` an input frame with the engine; `render` an
output frame's channels; `write` its file; `prepare` the next frame when that is done."""

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
        self._latency = Histogram(
            "deepclean_output_latency_seconds",
            "From the raw strain frame's appearance to the cleaned frame's rename.",
            buckets=_LATENCIES,
            registry=None,
        )
        self._stages = Histogram(
            "deepclean_stage_duration_seconds",
            "One piece of work of a stage.",
            ["stage"],
            buckets=_DURATIONS,
            registry=None,
        )
        self._by_stage = {stage: self._stages.labels(stage) for stage in STAGES}

    def latency(self, seconds: float) -> None:
        """Note the latency of a frame that was written."""
        self._observe(self._latency, seconds)

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Note the duration of the block, also where it raises."""
        return _Stopwatch(self._timer, partial(self._observe, self._by_stage[stage]))

    def collect(self) -> Iterator[Metric]:
        """Yield both, without the creation times: they say no more than the process's start."""
        for metric in (*self._latency.collect(), *self._stages.collect()):
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric

    def _observe(self, histogram: Histogram, seconds: float) -> None:
        try:
            histogram.observe(seconds)
        except Exception:  # noqa: BLE001  (whatever it is, cleaning goes on)
            if not self._failing:
                _log.exception("a duration cannot be noted; no more will be said of it")
            self._failing = True


class _Stopwatch(AbstractContextManager[None]):
    """Tells of the seconds that a block took."""

    def __init__(self, timer: Callable[[], float], told: Callable[[float], None]) -> None:
        self._timer, self._told = timer, told

    def __enter__(self) -> None:
        self._start = self._timer()

    def __exit__(self, *raised: object) -> None:
        self._told(self._timer() - self._start)
