"""A store with a few versions of one small network, for the tests of what is done with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from deepclean.edge import models, store, versions
from tests.test_models import description, network, scalers

WHERE = Path("H1", "60Hz")


def other_network(seed: int) -> torch.nn.Module:
    """Return the small network with weights of its own."""
    made = network()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    return made


def make(place: Path, version: int = 1, seed: int = 0, **changed: Any) -> Path:
    """Write a model directory under `place` and return it."""
    return models.write_model(
        place, other_network(seed), scalers(), description(version=version, **changed)
    )


def filled(place: Path, count: int) -> Path:
    """Return a coupling's directory with this many versions; the first is production."""
    for number in range(1, count + 1):
        make(place, number, seed=number)
    store.promote(place / WHERE, 1, anything)
    return place / WHERE


def anything(path: Path) -> None:
    """Pass every version."""


def state(directory: Path) -> tuple[tuple[int, ...], int | None, int | None]:
    """Return versions, production and canary."""
    pointers = (versions.read_pointer(directory, pointer) for pointer in versions.POINTERS)
    return versions.versions(directory), *pointers


def killed_at(step: int, place: Path, action: Callable[[], object]) -> bool:
    """Run an action in a child that dies, without a word, at its so-many-th call on files here.

    Returns:
        Whether it died; else it had fewer steps and ended well.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 9), f"the child ended with {code}"
        return code == 9
    code = 1
    try:
        _die_at(step, str(place))
        action()
        code = 0
    finally:
        os._exit(code)


def _die_at(step: int, place: str) -> None:
    """End this process at the step-th operation of Python on files below `place`."""
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
        if changes and str(arguments[0]).startswith(place):
            count_on()

    def counted_sync(descriptor: int) -> None:
        count_on()
        sync(descriptor)

    os.fsync = counted_sync
    sys.addaudithook(hook)
