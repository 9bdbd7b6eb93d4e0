"""Where the time goes: the stages of the cleaning, timed in place."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stages() -> Iterator[dict[str, float]]:
    """Time the stages while entered; a stage that contains another is charged for the rest."""
    from benchmarks.blocks import BlockSink
    from deepclean.core.bandpass import FirBandpass
    from deepclean.core.engine.coupling import CouplingPipeline
    from deepclean.core.engine.engine import Engine
    from deepclean.core.engine.intake import Intake
    from deepclean.core.engine.pipeline import Pipeline
    from deepclean.core.gate.monitor import GateMonitor
    from deepclean.io.sink import FrameSink
    from deepclean.io.source import HistorySource
    from deepclean.run import cleaner

    spent: dict[str, float] = defaultdict(float)
    stack: list[str] = []

    def timed(stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            stack.append(stage)
            try:
                return call(*args, **kwargs)
            finally:
                stack.pop()
                took = time.perf_counter() - began
                spent[stage] += took
                if stack:
                    spent[stack[-1]] -= took

        return wrapper

    places: list[tuple[Any, str, str]] = [
        (HistorySource, "_block", "read"),
        (Engine, "push", "take in"),
        (Pipeline, "_compute", "standardise"),
        (Intake, "resample", "resample"),
        (Intake, "foresee", "forecast, resample"),
        (CouplingPipeline, "_predict", "predict"),
        (FirBandpass, "apply", "bandpass"),
        (CouplingPipeline, "_interpolate", "interpolate"),
        (GateMonitor, "advance", "quality, gate"),
        (Engine, "_finish", "gain, subtract"),
        (cleaner, "render", "render"),
        (FrameSink, "write", "write"),
        (BlockSink, "write", "write"),
    ]
    originals = [getattr(owner, name) for owner, name, _ in places]
    for (owner, name, stage), original in zip(places, originals, strict=True):
        setattr(owner, name, timed(stage, original))
    try:
        yield spent
    finally:
        for (owner, name, _), original in zip(places, originals, strict=True):
            setattr(owner, name, original)
