"""A small site for tests: real frame files, a real model directory, cheap rates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import inf
from pathlib import Path
from types import MappingProxyType

import numpy as np

from deepclean.config import Config, load
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.models.store import versions

START = 1_400_000_000
STRAIN = "H1:GDS-CALIB_STRAIN"
STATE = "H1:GDS-CALIB_STATE_VECTOR"
RATES = {"H1:SLOW": 16, "H1:MIDDLE": 128, "H1:FAST": 256}
STRAIN_RATE = 2048


def small_config(place: Path, *overrides: str) -> Config:
    """Write and load the configuration of the small site."""
    path = place / "small.yaml"
    path.write_text(
        """
interferometer: H1
strain: {rate: 2048}
input:
  strain: {directory: strain, description: H1_llhoft}
  witnesses: [{directory: witnesses, description: H1_lldetchar}]
  deadline: 2.0
output: {directory: cleaned}
engine: {rate: 512, resample: {zeros: 4}}
gate: {enabled: false}
metrics: {enabled: false}
couplings:
  60Hz:
    adapt: "off"
    band: [55, 65]
    witnesses: [SLOW, MIDDLE, FAST]
    predict: {edge: 0.25}
    bandpass: {transition: 20}
"""
    )
    return load(path, overrides, environ={})


def publish_model(
    config: Config, version: int = 1, rates: Mapping[str, int] = MappingProxyType(RATES)
) -> None:
    """Write each coupling's model, the published network with random weights; promote it."""
    import torch

    from deepclean.models import files as models
    from deepclean.models.manifest import Channel, Description
    from deepclean.models.networks import build
    from deepclean.models.tensors import Scalers

    for name, coupling in config.enabled_couplings.items():
        torch.manual_seed(version)
        count = len(coupling.witnesses)
        models.write_model(
            config.models.directory,
            build({"name": "autoencoder"}, count),
            Scalers(
                witness_mean=np.zeros(count),
                witness_std=np.ones(count),
                strain_mean=0.0,
                strain_std=1e-22,
            ),
            Description(
                interferometer=config.interferometer,
                coupling=name,
                version=version,
                architecture={"name": "autoencoder"},
                strain=Channel(name=config.strain.channel, rate=config.strain.rate),
                channels=tuple(Channel(name=w, rate=rates[w]) for w in coupling.witnesses),
                sample_rate=config.engine.rate,
                bands=coupling.bands,
                kernel=config.engine.rate,
                edge=coupling.predict.edge * config.engine.rate // NS,
            ),
        )
        directory = config.models.directory / config.interferometer / name
        versions.set_pointer(directory, "production", version)


def samples(channel: str, second: int, rate: int) -> np.ndarray:
    """Return one second of a channel: a function of its name and the GPS second alone."""
    key = [sum(map(ord, channel)), second]
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(rate)


def strain_frame(start: int, length: int = 1) -> bytes:
    """Return a strain frame file of whole seconds."""
    span = Span.of_seconds(start, length)
    seconds = range(start, start + length)
    strain = np.concatenate([samples(STRAIN, s, STRAIN_RATE) for s in seconds]) * 1e-21
    state = np.full(16 * length, 7, dtype=np.uint32)
    return gwf.serialise(
        span,
        {
            STRAIN: OutputChannel(Series(span, STRAIN_RATE, strain), "strain"),
            STATE: OutputChannel(Series(span, 16, state)),
        },
    )


def witness_frame(start: int, length: int = 1, absent: Collection[str] = ()) -> bytes:
    """Return a witness frame file of whole seconds."""
    span = Span.of_seconds(start, length)
    seconds = range(start, start + length)
    return gwf.serialise(
        span,
        {
            name: OutputChannel(
                Series(
                    span,
                    rate,
                    np.concatenate([samples(name, s, rate) for s in seconds]).astype(np.float32),
                )
            )
            for name, rate in RATES.items()
            if name not in absent
        },
    )


def strain_path(config: Config, start: int, length: int = 1) -> Path:
    """Return where a strain frame belongs."""
    return config.input.strain_frames.directory / f"H-H1_llhoft-{start}-{length}.gwf"


def witness_path(config: Config, start: int, length: int = 1) -> Path:
    """Return where a witness frame belongs."""
    return config.input.witnesses[0].directory / f"H-H1_lldetchar-{start}-{length}.gwf"


def write_site(
    config: Config,
    start: int,
    seconds: int,
    *,
    no_strain: Collection[int] = (),
    no_witnesses: Collection[int] = (),
) -> None:
    """Write one-second frames of strain and witnesses, except those of the seconds named."""
    for path in (strain_path(config, 0), witness_path(config, 0)):
        path.parent.mkdir(parents=True, exist_ok=True)
    for second in range(start, start + seconds):
        if second not in no_strain:
            gwf.publish(strain_path(config, second), strain_frame(second))
        if second not in no_witnesses:
            gwf.publish(witness_path(config, second), witness_frame(second))


def make_site(
    place: Path,
    *overrides: str,
    seconds: int | None = None,
    no_strain: Collection[int] = (),
    no_witnesses: Collection[int] = (),
) -> Config:
    """Write a small site: its configuration, a model, and frames of seconds from START on."""
    config = small_config(place, *overrides)
    publish_model(config)
    if seconds is not None:
        write_site(config, START, seconds, no_strain=no_strain, no_witnesses=no_witnesses)
    return config


class FakeClock:
    """A clock that tests turn: waiting takes no time, and what is due happens during it.

    Args:
        wake: asked at every wait; where it answers yes, the clock is woken and no time passes.
    """

    def __init__(self, wake: Callable[[], bool] = lambda: False) -> None:
        self.now = 1000.0
        self.waits = 0
        self._wake = wake
        self._due: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self.now

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Let something happen this many seconds after the clock's 1000."""
        self._due.append((1000.0 + seconds, action))
        self._due.sort(key=lambda due: due[0])

    def wait(self, seconds: float) -> None:
        self.waits += 1
        assert 0 <= seconds < inf
        if self.waits > 100_000:
            raise AssertionError("waited for ever")
        if self._wake():
            return
        self.now += seconds
        while self._due and self._due[0][0] <= self.now:
            self._due.pop(0)[1]()
