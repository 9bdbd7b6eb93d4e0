"""The small site's stream with a store behind it: models come and go while frames flow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as tensors_of

from deepclean.config import Config
from deepclean.config.settings import trial_settings
from deepclean.control.follower import ControlFollower
from deepclean.control.known import known_controls
from deepclean.control.reload import ConfigReloader
from deepclean.control.updates import ControlUpdates
from deepclean.core.block import Block, Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import Span
from deepclean.factory import make_engine
from deepclean.models import files as models
from deepclean.models.content import SCALERS, WEIGHTS
from deepclean.models.loading import load_models
from deepclean.models.manifest import Channel, Description, Manifest, sha256
from deepclean.models.model import Model
from deepclean.models.networks import build
from deepclean.models.store import directory as coupling_directory
from deepclean.models.store import rejections, versions
from deepclean.models.tensors import Scalers, serialise
from deepclean.rollout.record import ModelRecord, path_in
from deepclean.rollout.store_follower import StoreFollower
from deepclean.rollout.updates import ModelUpdates, RecentBlocks
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.counters import Counters
from tests.helpers.small_site import RATES, START, STRAIN, STRAIN_RATE, samples

WHERE = Path("H1", "60Hz")


def directory(config: Config) -> Path:
    """Return the coupling's directory in the store."""
    return config.models.directory / WHERE


@cache
def _made(seed: int, channels: tuple[str, ...], rate: int) -> tuple[dict[str, bytes], Manifest]:
    torch.manual_seed(seed)
    count = len(channels)
    return models.make(
        build({"name": "wiener", "taps": 33}, count),
        Scalers(np.zeros(count), np.ones(count), 0.0, 1e-22),
        Description(
            interferometer="H1",
            coupling="60Hz",
            version=1,
            architecture={"name": "wiener", "taps": 33},
            strain=Channel(name=STRAIN, rate=STRAIN_RATE),
            channels=tuple(Channel(name=name, rate=RATES.get(name)) for name in channels),
            sample_rate=rate,
            bands=((55.0, 65.0),),
            kernel=512,
            edge=128,
        ),
    )


def put(
    config: Config,
    version: int,
    *,
    seed: int | None = None,
    channels: tuple[str, ...] = tuple(RATES),
    rate: int = 512,
) -> Path:
    """Write a version into the store and return its directory."""
    content, manifest = _made((version % 7) if seed is None else seed, channels, rate)
    with coupling_directory.changing(directory(config)):
        return coupling_directory.appear(
            directory(config), content, manifest, lambda _: None, version=version
        )


def point(config: Config, version: int, pointer: versions.Pointer = "production") -> None:
    """Let a pointer name a version, as the command line does when it is done with its checks."""
    versions.set_pointer(directory(config), pointer, version)


def promote(config: Config, version: int) -> None:
    """Write a version into the store and put it in force."""
    put(config, version)
    point(config, version)


def refusal(config: Config, version: int) -> dict[str, Any]:
    """Return what the store holds of a version's refusal."""
    told = rejections.read(directory(config), version)
    assert told is not None
    return told


def input_frame(second: int) -> InputFrame:
    """Return a second of the small site, as the live source would give it."""
    span = Span.of_seconds(second, 1)
    strain = Series(span, STRAIN_RATE, samples(STRAIN, second, STRAIN_RATE) * 1e-21)
    witnesses = {n: Series(span, r, samples(n, second, r)) for n, r in RATES.items()}
    return InputFrame(span, [Block(span, strain, witnesses)])


class Stream:
    """A daemon's work, but for its source: frames are given to it.

    Args:
        config: of the small site or another; its store has a production version.
        seconds: of the stream that have gone by.
        loaded: what it begins with; by default what the store says.
        threaded: let the follower's own thread follow the store; else it does at each frame.
    """

    def __init__(
        self,
        config: Config,
        seconds: int = 0,
        *,
        threaded: bool = False,
        loaded: Mapping[str, Model] | None = None,
    ) -> None:
        self.config, self.threaded = config, threaded
        loaded = loaded or load_models(config)
        self.engine = make_engine(config, loaded)
        self.figures = Counters(models=loaded)
        self.record = ModelRecord(path_in(config.output.directory, config.output.description))
        self.sink = sink_of(config, loaded)
        self.recent = RecentBlocks()
        self.follower = StoreFollower(config, loaded, self.record, self.recent)
        rules, known = trial_settings(config), known_controls(config, self.record.path)
        self.orders = ControlFollower(config, known.log.answered)
        couplings = config.enabled_couplings
        self.reread: Callable[[], Config] = lambda: config
        self.reloader = ConfigReloader(
            *(config, self._read_again, couplings, self.sink), self.figures.configurations
        )
        self.controls = ControlUpdates(
            *(self.engine, couplings, self.orders, self.record, self.figures, known),
            changed=self.reloader.changed,
        )
        self.updates = ModelUpdates(
            *(self.engine, rules, loaded, self.follower, self.figures, self.recent, self.controls)
        )
        self.cleaning = FrameCleaner(
            *(config, self.engine, self.sink),
            updates=self.updates,
            accounts=Accounts(counters=self.figures),
        )
        self.second = START
        self.written: list[Path] = []
        self.steps(seconds)

    def _read_again(self) -> Config:
        return self.reread()

    def take(self, frame: InputFrame) -> list[Path]:
        """Let a frame come, from wherever; return what is written for it."""
        if not self.threaded:
            self.follower.poll()
            self.orders.poll()
        out = self.cleaning.push(frame)
        self.written += out
        return out

    def step(self) -> None:
        """Let one second come: exactly one frame goes out for it, but for the first."""
        assert len(self.take(input_frame(self.second))) == (self.second > START)
        self.second += 1

    def steps(self, count: int) -> None:
        """Let some seconds come."""
        for _ in range(count):
            self.step()

    def until(self, done: Callable[[], bool], limit: int = 100) -> int:
        """Let seconds come until something is so; return how many."""
        for count in range(limit):
            if done():
                return count
            self.step()
        raise AssertionError(f"not so after {limit} s")

    def count(self, what: str) -> int:
        """Return how often something happened."""
        return self.figures.model_events["60Hz", what]

    def events(self) -> list[dict[str, object]]:
        """Return the lines of the record; what is decided is written down first."""
        self.follower.poll()
        if not self.record.path.exists():
            return []
        return [json.loads(line) for line in self.record.path.read_text().splitlines()]


def _rewritten(path: Path, name: str, data: bytes) -> None:
    """Put other bytes in a file's place, with the manifest's hash of them."""
    (path / name).write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = sha256(data)
    (path / "manifest.json").write_text(json.dumps(manifest))


def _nan_weights(path: Path) -> None:
    tensors = tensors_of((path / WEIGHTS).read_bytes())
    _rewritten(path, WEIGHTS, serialise({n: t * torch.nan for n, t in tensors.items()}))


def _reordered(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["channels"].reverse()
    (path / "manifest.json").write_text(json.dumps(manifest))


def _flipped(path: Path) -> None:
    data = bytearray((path / WEIGHTS).read_bytes())
    data[len(data) // 2] ^= 1
    (path / WEIGHTS).write_bytes(data)


def _truncated(path: Path) -> None:
    os.truncate(path / WEIGHTS, 100)


def _unreadable(path: Path) -> None:
    (path / WEIGHTS).unlink()
    os.mkfifo(path / WEIGHTS)


def _leaving(path: Path) -> None:
    elsewhere = path.parents[3] / f"elsewhere-{path.name}"
    (path / WEIGHTS).rename(elsewhere)
    (path / WEIGHTS).symlink_to(elsewhere)


def _anybodys(path: Path) -> None:
    (path / WEIGHTS).chmod(0o666)


def _loud(path: Path) -> None:
    tensors = tensors_of((path / SCALERS).read_bytes())
    tensors["strain_std"] = tensors["strain_std"] * 1e6
    _rewritten(path, SCALERS, serialise(tensors))


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (_truncated, "does not match the sha256"),
    "a byte flipped": (_flipped, "does not match the sha256"),
    "weights that are no numbers": (_nan_weights, "is not finite"),
    "channels in another order": (_reordered, "another order of them"),
    "unreadable": (_unreadable, "not a regular file"),
    "a symlink out of the store": (_leaving, "leads out of the store"),
    "writable for everybody": (_anybodys, "everybody can write it"),
    "implausibly loud": (_loud, "times as loud as the strain"),
}
"""What can be wrong with a version's files: how it is made so, and what is said of it."""

MISFITS = {
    "a channel too few": ({"channels": ("H1:SLOW", "H1:MIDDLE")}, "trained without H1:FAST"),
    "another channel": ({"channels": ("H1:SLOW", "H1:MIDDLE", "H1:X")}, "not configured: H1:X"),
    "another rate": ({"rate": 1024}, "runs at 1024 Hz"),
}
"""What a sound version may be that does not suit the configuration."""


def faulty(config: Config, version: int, kind: str) -> str:
    """Write a version of that kind into the store and return what will be said of it."""
    if kind in MISFITS:
        changed, said = MISFITS[kind]
        put(config, version, **changed)  # type: ignore[arg-type]
        return said
    break_it, said = BROKEN[kind]
    break_it(put(config, version))
    return said


def kinds() -> Iterator[str]:
    """Return every kind of useless version, over and over."""
    while True:
        yield from (*BROKEN, *MISFITS)
