"""A device that has no memory, and one that is lost, while a stream runs.

On a GPU both are real: all its memory is taken, and a kernel fails an assertion, after which the
process gets nothing but errors from it. On a CPU torch's own exceptions are raised in their place.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest.mock import patch

from benchmarks import common

common.limit_threads()

import numpy as np
import torch

from benchmarks.common import Figures
from benchmarks.gpu.measure import cleaned, configuration, difference, estimates, noise
from benchmarks.site import COUPLING, write_random_models
from deepclean.core.block import CleanedBlock, Series
from deepclean.factory import make_engine
from deepclean.models import files as models
from deepclean.models.device import is_lost
from deepclean.models.model import Model

SHORT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")
LOST = torch.AcceleratorError("CUDA error: device-side assert triggered")

Taken = Callable[[str], AbstractContextManager[None]]
"""Keeps a device from working, within the context."""


def on_cpu(device: str) -> bool:
    """Tell whether a device is the CPU."""
    return torch.device(device).type == "cpu"


@contextmanager
def refusing(error: Exception) -> Iterator[None]:
    """Let every network on the device under test raise an error."""

    def refuse(model: Model, witnesses: torch.Tensor) -> torch.Tensor:
        raise error

    with patch.object(Model, "predict", refuse):
        yield


@contextmanager
def full(device: str) -> Iterator[None]:
    """Take all of a device's memory that there is, to the last small piece."""
    if on_cpu(device):
        with refusing(SHORT):
            yield
        return
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


@contextmanager
def poisoned(device: str) -> Iterator[None]:
    """Let a kernel fail an assertion: this process never gets the device back."""
    if on_cpu(device):
        with refusing(LOST):
            yield
        return
    try:
        beyond = torch.full((1,), 7, device=device)
        torch.zeros(1, device=device)[beyond].cpu()
    except torch.AcceleratorError as error:
        print(f"the device is poisoned: {str(error).partition(chr(10))[0]}", file=sys.stderr)
    yield


def out_of_memory(place: Path, device: str, taken: Taken = full) -> Figures:
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
        "out of memory: device again": sum("has memory again" in one for one in said),
    }


def lost(place: Path, device: str, taken: Taken = poisoned) -> Figures:
    """Clean with a device that is lost in the middle; return what came of it.

    On a GPU this is for a process of its own.
    """
    config = configuration("21")
    engine = make_engine(config, write_random_models(config, place, device))
    blocks, out = list(noise(config, 16)), list[CleanedBlock]()
    for block in blocks[:8]:
        out += engine.push(block)
    with taken(device):
        for block in blocks[8:]:
            out += engine.push(block)
        out += engine.release()
    raw = [_is_raw(block) for block in out]
    return {
        "lost device: frames out": len(out),
        "lost device: networks whose error says so": sum(
            map(is_lost, engine.model_errors.values())
        ),
        "lost device: frames cleaned before": raw[:6].count(False),
        "lost device: frames as they came, after": raw[9:].count(True),
    }


def _is_raw(block: CleanedBlock) -> bool:
    """Tell whether the product that is always subtracted equals the strain."""
    assert isinstance(block.source.strain, Series)
    assert block.products is not None
    return np.array_equal(block.products.production, block.source.strain.samples)


def lost_apart(device: str) -> Figures:
    """Return what `lost` does, in a process of its own."""
    return common.run_inside("benchmarks.gpu.faults", device)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with common.scratch() as scratch:
        print(json.dumps(lost(scratch, sys.argv[1])), flush=True)
    os._exit(0)  # the libraries' own end may fail on a device that is lost
