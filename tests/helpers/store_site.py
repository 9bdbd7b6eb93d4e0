"""A store with a few versions of one small network, for the tests of what is done with it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepclean.models import files as models
from deepclean.models.manifest import Channel, Description, Manifest
from deepclean.models.networks import build
from deepclean.models.store import changes as store
from deepclean.models.store import directory as coupling_directory
from deepclean.models.store import versions
from deepclean.models.tensors import Scalers

WHERE = Path("H1", "60Hz")
CHANNELS = ("H1:B", "H1:A", "H1:C")
SMALL = {"name": "autoencoder", "hidden": [4, 8]}


def description(**changed: Any) -> Description:
    facts: dict[str, Any] = {
        "interferometer": "H1",
        "coupling": "60Hz",
        "version": 1,
        "architecture": SMALL,
        "strain": Channel(name="H1:STRAIN", rate=2048),
        "channels": tuple(Channel(name=name, rate=256) for name in CHANNELS),
        "sample_rate": 512,
        "bands": ((55.0, 65.0),),
        "bandpass": {"filter": "fir", "settle_in": "auto"},
        "kernel": 512,
        "edge": 32,
        "training": ((1_400_000_000 * 10**9, 1_400_000_064 * 10**9),),
        "validation": {"asd_ratio": 0.25},
        "parent_version": None,
        "seed": 7,
    }
    return Description(**{**facts, **changed})


def scalers(channels: int = 3) -> Scalers:
    return Scalers(
        witness_mean=np.linspace(-1e9, 1e9, channels),
        witness_std=np.geomspace(1e-12, 1e12, channels),
        strain_mean=-1.25e-25,
        strain_std=3.5e-22,
    )


def network(architecture: dict[str, Any] | None = None, channels: int = 3) -> torch.nn.Module:
    torch.manual_seed(1)
    return build(architecture or SMALL, channels)


def other_network(seed: int) -> torch.nn.Module:
    """Return the small network with weights of its own."""
    made = network()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    return made


@cache
def _content(seed: int) -> tuple[dict[str, bytes], Manifest]:
    return models.make(other_network(seed), scalers(), description())


def make(root: Path, version: int = 1, seed: int = 0, **changed: Any) -> Path:
    """Write a version into the store `root` and return its directory."""
    content, manifest = _content(seed)
    manifest = manifest.model_copy(update=changed)
    with coupling_directory.changing(root / WHERE):
        return coupling_directory.appear(root / WHERE, content, manifest, anything, version=version)


def filled(root: Path, count: int) -> Path:
    """Return a coupling's directory with this many versions; the first is production."""
    for number in range(1, count + 1):
        make(root, number, seed=number)
    store.promote(root / WHERE, 1, anything)
    return root / WHERE


def anything(path: Path) -> None:
    """Pass every version."""


def state(directory: Path) -> tuple[tuple[int, ...], int | None, int | None]:
    """Return versions, production and canary."""
    production, canary = (versions.read_pointer(directory, p) for p in versions.POINTERS)
    return versions.versions(directory), production, canary


def child(action: Callable[[], object]) -> int:
    """Run an action in a child process and return its number; it ends with 0 if all is well."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        # From 3.12 on Python warns where another thread runs; none of them is needed there.
        warnings.simplefilter("ignore", DeprecationWarning)
        number = os.fork()
    if number:
        return number
    code = 1
    try:
        action()
        code = 0
    finally:
        os._exit(code)


def killed_at(step: int, root: Path, action: Callable[[], object]) -> bool:
    """Run an action in a child that dies, without a word, at its so-many-th call on files here.

    Returns:
        Whether it died; else it had fewer steps and ended well.
    """

    def doomed() -> None:
        _die_at(step, str(root))
        action()

    _, status = os.waitpid(child(doomed), 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9), f"the child ended with {code}"
    return code == 9


def _die_at(step: int, root: str) -> None:
    """End this process at the step-th operation of Python on files below `root`."""
    count = 0
    sync = os.fsync

    def count_on() -> None:
        nonlocal count
        count += 1
        if count == step:
            os._exit(9)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in ("os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir")
        if event == "open":
            changes = isinstance(arguments[2], int) and bool(arguments[2] & os.O_ACCMODE)
        if changes and str(arguments[0]).startswith(root):
            count_on()

    def counted_sync(descriptor: Any) -> None:
        count_on()
        sync(descriptor)

    setattr(os, "fsync", counted_sync)  # noqa: B010
    sys.addaudithook(hook)
