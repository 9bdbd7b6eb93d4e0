"""The differences between two versions of a coupling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from deepclean.models import files as models
from deepclean.models import tensors
from deepclean.models.content import GOLDEN, read_version
from deepclean.models.manifest import Manifest
from deepclean.models.model import Model

_FIGURES = {"version", "validation", "files"}
"""Fields of the manifest that always differ, or are compared by themselves."""


@dataclass(frozen=True, slots=True)
class ModelDifference:
    """Two versions compared.

    Args:
        fields: the first's and the second's value of every field of the manifest that differs.
        validation: the first's and the second's value of every validation figure; None where a
            version has none.
        weights: norm of the weights' difference, in units of the first's norm; None where their
            shapes differ.
        output: rms of the outputs' difference on the first's golden input, in units of the first's
            rms; None where the second cannot take it. Different weights may give equal outputs.
    """

    fields: Mapping[str, tuple[Any, Any]]
    validation: Mapping[str, tuple[float | None, float | None]]
    weights: float | None
    output: float | None


def compare(one: Path, other: Path, store: Path) -> ModelDifference:
    """Compare two versions of a store.

    Args:
        one: the first version's directory.
        other: the second version's directory.
        store: the store that holds both.

    Raises:
        ModelError: a version cannot be loaded.
    """
    _, old, content = read_version(one, store)
    _, new, _ = read_version(other, store)
    first, second = models.load(one, store=store), models.load(other, store=store)
    names = [*old.validation, *(name for name in new.validation if name not in old.validation)]
    return ModelDifference(
        fields=_fields(old, new),
        validation={name: (old.validation.get(name), new.validation.get(name)) for name in names},
        weights=_weights(first, second),
        output=_output(first, second, content[GOLDEN]),
    )


def _fields(old: Manifest, new: Manifest) -> dict[str, tuple[Any, Any]]:
    before, after = (manifest.model_dump(mode="json", exclude=_FIGURES) for manifest in (old, new))
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def _weights(first: Model, second: Model) -> float | None:
    old, new = _floats(first), _floats(second)
    if {name: tensor.shape for name, tensor in old.items()} != {
        name: tensor.shape for name, tensor in new.items()
    }:
        return None
    moved = sum(float((new[name].double() - old[name].double()).square().sum()) for name in old)
    size = sum(float(tensor.double().square().sum()) for tensor in old.values())
    return (moved / size) ** 0.5 if size else None


def _floats(model: Model) -> dict[str, Tensor]:
    """Return the weights, without the counters that batch normalisation keeps beside them."""
    held = model.network.state_dict()
    return {name: tensor for name, tensor in held.items() if tensor.is_floating_point()}


def _output(first: Model, second: Model, golden: bytes) -> float | None:
    if first.channels != second.channels or first.sample_rate != second.sample_rate:
        return None
    inputs = tensors.parse(golden, first.path)["input"]
    try:
        old, new = first.predict(inputs), second.predict(inputs)
    except RuntimeError:  # another stride, to which this length is no multiple
        return None
    size = float(old.square().mean().sqrt())
    if old.shape != new.shape or not size:
        return None
    return float((new - old).square().mean().sqrt()) / size
