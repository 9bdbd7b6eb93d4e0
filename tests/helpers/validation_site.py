"""The toy of helpers.training_site as files, with a linear model and gates, to be validated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.simulate.injection import Injection
from deepclean.train.run import train
from deepclean.validate.criteria import limits
from deepclean.validate.run import ValidationRequest, ValidationResult, validate
from deepclean.validate.shards import ValidationRun
from tests.helpers.site_runs import open_source
from tests.helpers.training_site import RATES, START, STATE, channels, toy_config, toy_data

SECONDS = 136
"""Of data; the gates of the toy open after some 10 s."""

GATES = ("gate.window=4", "gate.dwell=4", "gate.memory=8")

LINE_ONLY = 0.0
"""Of the product: then a linear filter removes everything."""


def make_site(place: Path, replaced: Mapping[str, np.ndarray] | None = None) -> Config:
    """Write the toy's files and a linear model of it; return its configuration."""
    config = toy_config(place, "training.architecture=wiener", *GATES)
    write(config, channels(SECONDS, product=LINE_ONLY) | dict(replaced or {}))
    train(config, "30Hz", toy_data(SECONDS, product=LINE_ONLY))
    from deepclean.models import versions

    versions.set_pointer(config.models.directory / "H1" / "30Hz", "production", 1)
    return config


def write(
    config: Config,
    made: Mapping[str, np.ndarray],
    without: Collection[tuple[str, int]] = (),
    seconds: int = SECONDS,
) -> None:
    """Write files of 8 s with all channels, except for those of (channel, file)."""
    directory = config.input.strain.directory
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(seconds // 8):
        span = Span.of_seconds(START + 8 * number, 8)
        held = {}
        for name, rate in RATES.items():
            if (name, number) not in without:
                part = np.ascontiguousarray(made[name][8 * number * rate : 8 * (number + 1) * rate])
                held[name] = OutputChannel(Series(span, rate, part))
        path = directory / f"H-H1_llhoft-{START + 8 * number}-8.gwf"
        gwf.publish(path, gwf.serialise(span, held))


def run_of(config: Config, name: str = "validated") -> ValidationRun:
    """Return what is to be validated."""
    return ValidationRun(name, config, partial(open_source, config))


def validated(
    config: Config,
    *,
    low: int = 0,
    high: int = SECONDS,
    counting: Collection[tuple[int, int]] = (),
    injections: Collection[Injection] = (),
    criteria: Collection[str] = (),
    against: Config | None = None,
    processes: int = 1,
) -> ValidationResult:
    """Validate seconds `[low, high)` of the toy."""
    span = Span((START + low) * NS, (START + high) * NS)
    counts = [Span((START + a) * NS, (START + b) * NS) for a, b in counting] or [span]
    runs = [run_of(config)] + ([run_of(against, "other")] if against else [])
    return validate(
        runs, ValidationRequest(span, counts, tuple(injections), limits(criteria)), processes
    )


__all__ = ["STATE", "make_site", "validated", "write"]
