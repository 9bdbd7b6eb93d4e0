"""What a device does beside the CPU: samples, latency, the reload of a model, training, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import CONFIGURATIONS, ROOT, Figures, spread
from benchmarks.site import AUTOENCODER, COUPLING, DEMO, START, only, write_random_models
from deepclean.config import Config, load
from deepclean.core.block import Block, CleanedBlock, Float64, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.reach import Reach
from deepclean.core.time import NS, Span
from deepclean.factory import make_coupling, make_engine
from deepclean.models import files as models
from deepclean.models.model import freeze
from deepclean.models.networks import build
from deepclean.models.tensors import infer
from deepclean.simulate import site_of
from deepclean.train.checkpoint import Resume
from deepclean.train.loop import descend
from deepclean.train.loss import InBandPower, build_loss
from deepclean.train.network import FROM_NOTHING
from deepclean.train.paired import PairedValidation, SegmentPowers
from deepclean.train.prepare import TrainingStretch
from deepclean.train.windows import Windows

CASES = {"1": ("H1", "60Hz_mains_only"), "21": ("H1", COUPLING), "266": ("V1", None)}
"""By number of witnesses: configuration, and the one coupling that is enabled (None: its own)."""


def frames(place: Path, device: str, count: int, cases: Sequence[str]) -> Figures:
    """Return what loading takes, and a 1-s frame, by the number of witnesses."""
    found: Figures = {}
    for case in cases:
        config = configuration(case)
        began = time.perf_counter()
        loaded = write_random_models(config, place / case, device)
        found[f"{case} witnesses, all models made and loaded (s)"] = time.perf_counter() - began
        took = latency(make_engine(config, loaded), config, count)
        found |= {f"{case} witnesses, 1-s frame, {name} (ms)": ms for name, ms in took.items()}
    return found


def networks(device: str, repeat: int, counts: Sequence[int]) -> Figures:
    """Return what the network alone takes, at the model rate and with half the time steps."""
    rate, found = configuration("1").engine.rate, Figures()
    for count in counts:
        for steps, said in ((rate, ""), (rate // 2, ", half the time steps")):
            alone = network_alone(count, device, repeat, steps)
            found[f"{count} witnesses, network alone{said}, median (ms)"] = alone["median"]
    return found


def configuration(case: str) -> Config:
    """Return the configuration of a case."""
    ifo, coupling = CASES[case]
    path = CONFIGURATIONS / f"{ifo}.yaml"
    return load(path, only(path, coupling) if coupling else (), environ={})


def noise(config: Config, seconds: int) -> Iterator[Block]:
    """Yield seconds of white noise in all channels, at the site's rates."""
    rng = np.random.default_rng(0)
    rates = {witness.channel: witness.rate for witness in site_of(config).witnesses}
    for second in range(START, START + seconds):
        span = Span.of_seconds(second, 1)
        strain = Series(span, config.strain.rate, 1e-22 * rng.standard_normal(config.strain.rate))
        samples = {name: rng.standard_normal(rates[name]) for name in config.witness_channels}
        yield Block(span, strain, {n: Series(span, rates[n], x) for n, x in samples.items()})


def latency(engine: Engine, config: Config, frames: int) -> dict[str, float]:
    """Return what a 1-s frame takes, in ms, after some that fill history and caches."""
    warm = min(frames, 10) + 2
    took = []
    for block in noise(config, warm + frames):
        began = time.perf_counter()
        engine.push(block)
        took.append(1e3 * (time.perf_counter() - began))
    return spread(took[warm:])


def network_alone(count: int, device: str, repeat: int, steps: int) -> dict[str, float]:
    """Return what a pass over a hop takes on data that are on the device, in ms.

    Args:
        count: the number of witnesses.
        device: where the network is.
        repeat: how often it is measured.
        steps: the samples of a hop; the edges are 128 samples more on either side.
    """
    network = freeze(build(AUTOENCODER, count)).to(device)
    inputs = torch.randn(1, count, steps + 256, device=device)
    took = []
    for _ in range(repeat + 5):
        began = time.perf_counter()
        infer(network, inputs).cpu()  # which waits for the device
        took.append(1e3 * (time.perf_counter() - began))
    return spread(took[5:])


def estimates(cleaned: Sequence[CleanedBlock], name: str) -> Float64:
    """Return the noise that was estimated, before any gate."""
    return np.concatenate([block.estimates[name].noise for block in cleaned])


def cleaned(engine: Engine, blocks: Sequence[Block]) -> list[CleanedBlock]:
    """Return all blocks, cleaned."""
    return [*(one for block in blocks for one in engine.push(block)), *engine.release()]


def difference(found: Float64, expected: Float64) -> dict[str, float]:
    """Return how far an estimate is from another, in units of that one's rms."""
    scaled = (found - expected) / np.sqrt(np.mean(expected**2))
    return {"worst": float(np.abs(scaled).max()), "rms": float(np.sqrt(np.mean(scaled**2)))}


def against_cpu(device: str, seconds: int) -> Figures:
    """Return how far the demonstration's estimate is from the CPU's."""
    config = load(DEMO, environ={})
    path = ROOT / "models" / config.interferometer / COUPLING / "1"
    blocks, found = list(noise(config, seconds)), []
    for each in (device, "cpu"):
        engine = make_engine(config, {COUPLING: models.load(path, each)})
        found.append(estimates(cleaned(engine, blocks), COUPLING))
    return {
        f"difference from the CPU's, {name} (rms = 1)": x for name, x in difference(*found).items()
    }


def reload(place: Path, device: str) -> Figures:
    """Put a second version in force while a stream runs; return what that takes."""
    config = configuration("21")
    engine = make_engine(config, write_random_models(config, place, device))
    (second,) = write_random_models(config, place, version=2).values()
    *before, last = noise(config, 8)
    for block in before:
        engine.push(block)
    began = time.perf_counter()
    loaded = models.load(second.path, device)
    took, began = time.perf_counter() - began, time.perf_counter()
    coupling = make_coupling(config, COUPLING, loaded)
    engine.versions.add(coupling)
    engine.versions.promote(coupling.version)
    engine.push(last)
    switch = time.perf_counter() - began
    return {
        "new version read, checked, on the device (ms)": 1e3 * took,
        "frame with the switch to it (ms)": 1e3 * switch,
        "version after it": engine.release()[-1].estimates[COUPLING].version,
    }


def training(place: Path, device: str, seconds: int) -> Figures:
    """Return what an epoch of the published training takes, after a short one."""
    epoch(place / "short", device, 16)
    return {"toy, one epoch (s)": epoch(place / "long", device, seconds)}


def epoch(place: Path, device: str, seconds: int) -> float:
    """Return the seconds that an epoch takes, on noise of 8 witnesses."""
    config = configuration("21")
    settings, rate = config.training.model_copy(update={"epochs": 1}), config.engine.rate
    rng = np.random.default_rng(0)
    witnesses = rng.standard_normal((8, seconds * rate), dtype=np.float32)
    stretch = TrainingStretch(Span.of_seconds(START, seconds), witnesses, witnesses.mean(axis=0))
    window = settings.window * rate // NS
    bands = config.couplings[COUPLING].bands
    few = replace(stretch, witnesses=witnesses[:, : 8 * rate], target=stretch.target[: 8 * rate])
    power = InBandPower(bands, rate, fft_length=2.0, overlap=0.5)
    judged = SegmentPowers([few], power, Reach.both(96), rate, device)
    paired = PairedValidation(judged, judged, None)
    began = time.perf_counter()
    descend(
        build(AUTOENCODER, 8).to(device),
        build_loss(settings.loss, settings.loss_options, bands, rate).to(device),
        Windows([stretch], window, 0, device),
        paired,
        FROM_NOTHING,
        settings,
        Resume(place, "toy", wanted=False),
    )
    return time.perf_counter() - began
