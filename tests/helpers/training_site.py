"""A coupling small enough to be trained in seconds: a line, a slow motion, and their product."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np
from scipy import signal

from deepclean.config import Config, load
from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel, Reading
from deepclean.models.store import versions
from deepclean.simulate.injection import Injection
from deepclean.train import TrainingData, train
from deepclean.validate.criteria import limits
from deepclean.validate.run import ValidationRequest, ValidationResult, validate
from deepclean.validate.shards import ValidationRun
from tests.helpers.site_runs import open_source

START = 1_400_000_000
STRAIN, STATE = "H1:GDS-CALIB_STRAIN", "H1:GDS-CALIB_STATE_VECTOR"
LINE, MOTION = "H1:LINE", "H1:MOTION"
RATES = {STRAIN: 512, STATE: 16, LINE: 256, MOTION: 64}
FLOOR = 1e-22


def toy_config(place: Path, *overrides: str) -> Config:
    """Write and load the toy's configuration."""
    path = place / "toy.yaml"
    path.write_text(
        """
interferometer: H1
strain: {rate: 512}
input:
  strain: {directory: strain}
output: {directory: cleaned}
models: {directory: models}
engine: {rate: 256, ramp: 0.125, resample: {zeros: 8}}
couplings:
  30Hz:
    band: [25, 35]
    witnesses: [LINE, MOTION]
    predict: {edge: 0.25}
    bandpass: {transition: 16, tolerance: 0.01}
training:
  window: 4
  batch_size: 4
  epochs: 3
  seed: 5
  device: cpu
"""
    )
    return load(path, overrides, environ={})


@cache
def channels(seconds: int, line: float = 6.0, product: float = 12.0) -> dict[str, np.ndarray]:
    """Return all channels over `seconds`, and the `floor` in the strain.

    Args:
        seconds: how much.
        line: what the line adds to the strain, in units of the floor.
        product: what line times motion adds.
    """
    rng = np.random.default_rng(1)
    rate = RATES[STRAIN]
    time = np.arange(seconds * rate) / rate
    carrier = np.cos(2 * np.pi * 30 * time)
    sections = signal.butter(2, (0.7, 2.0), btype="band", fs=rate, output="sos")
    motion = signal.sosfiltfilt(sections, rng.standard_normal(len(time)))
    motion /= motion.std()
    floor = rng.standard_normal(len(time)) * FLOOR
    late = np.cos(2 * np.pi * 30 * time - 0.5)
    strain = floor + FLOOR * late * (line + product * motion)
    slow = signal.resample_poly(motion, RATES[MOTION], rate)
    return {
        STRAIN: strain,
        STATE: np.full(16 * seconds, 7, dtype=np.uint32),
        LINE: (50.0 + carrier[::2] + 1e-3 * rng.standard_normal(len(time) // 2)).astype("f4"),
        MOTION: (slow + 1e-3 * rng.standard_normal(len(slow))).astype("f4"),
        "floor": floor,
    }


@cache
def wandering(seconds: int) -> dict[str, np.ndarray]:
    """Return the toy's channels with a line that wanders as mains do, louder than its sidebands."""
    rng, rate = np.random.default_rng(3), RATES[STRAIN]
    count = seconds * rate
    low = signal.butter(2, 0.05, fs=rate, output="sos")
    size, angle = signal.sosfiltfilt(low, rng.standard_normal((2, count)), axis=1)
    phase = 2 * np.pi * 30 * np.arange(count) / rate + angle / angle.std()
    size = 1 + 0.2 * size / size.std()
    toy = channels(seconds)
    motion = signal.resample_poly(toy[MOTION].astype("f8"), rate, RATES[MOTION])
    late = size * np.cos(phase - 0.5)
    return toy | {
        LINE: (50.0 + (size * np.cos(phase))[::2]).astype("f4"),
        STRAIN: toy["floor"] + FLOOR * late * (6.0 + 2.0 * motion),
    }


class Toy:
    """A source of the toy's channels; satisfies io.source.ChannelHistory.

    Args:
        made: samples by channel, from `START` on.
        seconds: that they last.
        gaps: by channel, GPS seconds that are missing.
    """

    def __init__(
        self,
        made: Mapping[str, np.ndarray],
        seconds: int,
        gaps: Mapping[str, Collection[int]] | None = None,
    ) -> None:
        self.made, self.seconds, self.gaps = dict(made), seconds, gaps or {}
        self.faults: list[InputError] = []

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        held = [name for name in self.made if name in RATES]
        return {name: RATES[name] for name in held if wanted is None or name in wanted}

    def require(self, wanted: Collection[str]) -> dict[str, int]:
        return self.channels(wanted)

    def spans(self, channel: str | None = None) -> list[Span]:
        return [Span.of_seconds(START, self.seconds)]

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series | Gap]:
        return {name: self._one(name, span) for name in wanted}

    def pieces(self, wanted: Collection[str], span: Span) -> Reading:
        return Reading({name: [each] for name, each in self.read(wanted, span).items()})

    def _one(self, name: str, span: Span) -> Series | Gap:
        missing = any(
            Span.of_seconds(second, 1).overlap(span) for second in self.gaps.get(name, ())
        )
        if missing or not Span.of_seconds(START, self.seconds).covers(span):
            return Gap(span, "missing")
        first, stop = span.indices(RATES[name])
        origin = START * RATES[name]
        return Series(span, RATES[name], self.made[name][first - origin : stop - origin])


def toy_data(
    seconds: int,
    *,
    line: float = 6.0,
    product: float = 12.0,
    gaps: Mapping[str, Collection[int]] | None = None,
    replaced: Mapping[str, np.ndarray] | None = None,
) -> TrainingData:
    """Return a training's data: the toy over `seconds`, some channels replaced."""
    made = channels(seconds, line, product) | dict(replaced or {})
    source = Toy(made, seconds, gaps)
    return TrainingData(source, source)


def seconds_of(spans: Collection[Span]) -> list[tuple[int, int]]:
    """Return spans as whole seconds after `START`."""
    return [((s.start // NS) - START, (s.end // NS) - START) for s in spans]


# as files, with a linear model and gates, to be validated

SECONDS = 136
"""How long the data last; the gates of the toy open after some 10 s."""

GATES = ("gate.window=4", "gate.dwell=4", "gate.memory=8")

LINE_ONLY = 0.0
"""The product's share: then a linear filter removes everything."""


def make_site(place: Path, replaced: Mapping[str, np.ndarray] | None = None) -> Config:
    """Write the toy's files and a linear model of it; return its configuration."""
    config = toy_config(place, "training.architecture=wiener", *GATES)
    write(config, channels(SECONDS, product=LINE_ONLY) | dict(replaced or {}))
    train(config, "30Hz", toy_data(SECONDS, product=LINE_ONLY))
    versions.set_pointer(config.models.directory / "H1" / "30Hz", "production", 1)
    return config


def write(
    config: Config,
    made: Mapping[str, np.ndarray],
    without: Collection[tuple[str, int]] = (),
    seconds: int = SECONDS,
) -> None:
    """Write files of 8 s with all channels, except for those of (channel, file)."""
    directory = config.input.strain_frames.directory
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
