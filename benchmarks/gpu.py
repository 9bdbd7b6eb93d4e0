#!/usr/bin/env python3
"""Measure a CUDA GPU beside the CPU: samples, latency, memory, faults, training.

It takes at most five minutes. All is done in memory with the engine, so little needs to be there:
torch with CUDA, numpy, scipy, safetensors, h5py, gwframe, igwn-segments, pydantic, ruamel.yaml and
pytorch-ignite. Without a GPU
only the CPU's figures are measured. The status is 1 where a check of the GPU fails:

- by the demonstration's model, the GPU's noise estimate is the CPU's to `WORST` and `RMS`;
- with all memory of the GPU taken, every frame comes out with the CPU's estimate, for the CPU
  steps in; with the memory given back, the GPU is used again;
- a version that is loaded while the stream runs is in force from the next frame on.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common

common.limit_threads()

import numpy as np
import torch

from benchmarks.common import CONFIGURATIONS, ROOT, Figures, spread, table
from benchmarks.processes import resident
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
from deepclean.models.tensors import GOLDEN_TOLERANCE, infer
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

WORST = GOLDEN_TOLERANCE
"""Largest difference between the devices' estimates in units of the rms, as for golden outputs."""

RMS = WORST / 10
"""Root mean square of the difference: sums of float32 in another order differ by less."""

GPU = "cuda"


def main() -> int:
    """Measure what is there; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="few frames, no 266 witnesses")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = common.run("gpu", options, measure, markdown)
    return 0 if all(figures["checks"].values()) else 1


def measure(options: argparse.Namespace) -> Figures:
    """Return the figures by device, and the checks of the GPU: whether each is passed."""
    figures: Figures = {"checks": {}}
    with common.scratch() as place:
        for device in ["cpu", *([GPU] if torch.cuda.is_available() else [])]:
            figures[device] = measure_device(place / device, device, quick=options.quick)
        if GPU in figures:
            figures["gpu"] = torch.cuda.get_device_name()
            figures["checks"] = checks(figures[GPU])
    return figures


def measure_device(place: Path, device: str, *, quick: bool) -> Figures:
    """Return the figures of a device."""
    frames = 4 if quick else 100
    cases = [case for case in CASES if case != "266" or not quick]
    found: Figures = {}
    for case in cases:
        config = configuration(case)
        began = time.perf_counter()
        loaded = write_random_models(config, place / case, device)
        found[f"{case} witnesses, all models made and loaded (s)"] = time.perf_counter() - began
        took = latency(make_engine(config, loaded), config, frames)
        found |= {f"{case} witnesses, 1-s frame, {name} (ms)": ms for name, ms in took.items()}
    for count in (1, 21) if quick else (1, 21, 266):
        alone = network_alone(count, device, frames)
        found[f"{count} witnesses, network alone, median (ms)"] = alone["median"]
    found |= against_cpu(device, 4 if quick else 64)
    found |= reload(place / "reload", device)
    found["toy, one epoch (s)"] = epoch(place / "toy", device, 16 if quick else 256)
    found["resident (MB)"] = resident()
    if device == GPU:
        found["GPU memory allocated, at most (MB)"] = torch.cuda.max_memory_allocated() / 1e6
        found["GPU memory reserved, at most (MB)"] = torch.cuda.max_memory_reserved() / 1e6
        found |= out_of_memory(place / "short", device)
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


def network_alone(count: int, device: str, repeat: int) -> dict[str, float]:
    """Return what a pass over a hop of one second takes on data that are on the device, in ms."""
    network = freeze(build(AUTOENCODER, count)).to(device)
    rate = configuration("1").engine.rate
    inputs = torch.randn(1, count, rate + 256, device=device)
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


def epoch(place: Path, device: str, seconds: int) -> float:
    """Return what an epoch of the published training takes, on noise of 8 witnesses, in seconds."""
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


@contextmanager
def full(device: str) -> Iterator[None]:
    """Take all of a GPU's memory that there is, to the last small piece."""
    held, size = [], 1 << 32
    torch.cuda.empty_cache()
    while size >= 512:
        try:
            held.append(torch.empty(size, dtype=torch.uint8, device=device))
        except torch.OutOfMemoryError:
            size //= 2
    yield
    held.clear()
    torch.cuda.empty_cache()


def out_of_memory(
    place: Path, device: str, taken: Callable[[str], AbstractContextManager[None]] = full
) -> Figures:
    """Clean with the device's memory taken for some frames; return what came of it."""
    config = configuration("21")
    loaded = write_random_models(config, place, device)
    on_cpu = {name: models.load(model.path) for name, model in loaded.items()}
    blocks, said = list(noise(config, 16)), list[str]()
    log, handler = logging.getLogger("deepclean.models.device"), logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    engine, out = make_engine(config, loaded), list[CleanedBlock]()
    for block in blocks[:6]:
        out += engine.push(block)
    with taken(device):
        for block in blocks[6:11]:
            out += engine.push(block)
    for block in blocks[11:]:
        out += engine.push(block)
    out += engine.release()
    log.removeHandler(handler)
    expected = estimates(cleaned(make_engine(config, on_cpu), blocks), COUPLING)
    apart = difference(estimates(out, COUPLING), expected)
    return {
        "out of memory: difference from the CPU's, worst (rms = 1)": apart["worst"],
        "out of memory: frames out": len(out),
        "out of memory: CPU stepped in": sum("on the CPU for now" in one for one in said),
        "out of memory: GPU again": sum("has memory again" in one for one in said),
    }


def checks(gpu: Figures) -> dict[str, bool]:
    """Return what must hold of the GPU's figures, and whether it does."""
    return {
        f"worst difference at most {WORST:g}": gpu["difference from the CPU's, worst (rms = 1)"]
        <= WORST,
        f"rms difference at most {RMS:g}": gpu["difference from the CPU's, rms (rms = 1)"] <= RMS,
        "version 2 after the reload": gpu["version after it"] == 2,
        "out of memory: the CPU stepped in, then the GPU again": (
            gpu["out of memory: CPU stepped in"] == gpu["out of memory: GPU again"] == 1
        ),
        "out of memory: every frame, with the CPU's estimate": (
            gpu["out of memory: frames out"] == 16
            and gpu["out of memory: difference from the CPU's, worst (rms = 1)"] <= WORST
        ),
    }


def markdown(run: Figures) -> str:
    """Return a run as a table of both devices."""
    figures = run["figures"]
    cpu, gpu = figures["cpu"], figures.get(GPU)
    said = figures.get("gpu", "no CUDA device: its figures and checks are skipped")
    rows = []
    for name in cpu if gpu is None else gpu:
        shown = "skipped" if gpu is None else f"{gpu[name]:.4g}"
        rows.append((name, f"{cpu[name]:.4g}" if name in cpu else "-", shown))
    told = [f"{'passed' if good else 'FAILED'}: {what}" for what, good in figures["checks"].items()]
    head = f"{common.load_of(run)}; {said}"
    return "\n".join([head, "", table(("", "CPU", "GPU"), rows), *told])


if __name__ == "__main__":
    sys.exit(main())
