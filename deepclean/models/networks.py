"""The networks, by name, and the measurement of a network's receptive field.

A network maps standardised witnesses, shape `(batch, channels, time)` float32, to the
standardised noise in the strain, shape `(batch, time)`. A model directory names its network by an
*architecture*: a mapping with the `name` and that network's options, so that nothing executable
has to be stored with the weights.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepclean.core.reach import Reach
from deepclean.errors import ModelError, hint, one_line
from deepclean.models import packaged
from deepclean.models.architectures.autoencoder import Autoencoder, counts, require_odd
from deepclean.models.architectures.hybrid import Hybrid
from deepclean.models.closed_form import ClosedForm

PERIODS = (1, 2, 4, 8, 16, 32, 64)
"""Shifts, in samples, that `measure` tries."""

TOLERANCE = 1e-6
"""Difference between a window and a long pass that counts as none, in units of the output rms."""


class Wiener(nn.Module):
    """The linear baseline: one finite impulse response per witness, and their sum.

    Args:
        channels: number of witnesses.
        taps: length of each response, odd; its middle tap is zero delay.

    Raises:
        ModelError: `taps` is not a positive odd integer.
    """

    def __init__(self, channels: int, *, taps: int = 65) -> None:
        super().__init__()
        require_odd("taps", taps)
        self.fir = nn.Conv1d(channels, 1, taps, padding=taps // 2, bias=False)

    def forward(self, witnesses: Tensor) -> Tensor:
        """Return the noise, `(batch, time)`, for `(batch, channels, time)`."""
        noise: Tensor = self.fir(witnesses)
        return noise[:, 0]


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "autoencoder": Autoencoder,
    "closed_form": ClosedForm,
    "hybrid": Hybrid,
    "wiener": Wiener,
}
"""The networks of this package by name, beside those of others (models.packaged). Each takes the
number of witnesses, then its options by keyword."""


def build(architecture: Mapping[str, Any], channels: int) -> nn.Module:
    """Return a new network with random weights (torch's generator).

    Args:
        architecture: `name`, one of `ARCHITECTURES` or `PACKAGE:NAME`, and that network's options.
        channels: number of witnesses.

    Raises:
        ModelError: unknown name or option (with the nearest valid one), an option out of range, or
            a package that is not there or that the configuration does not name.
    """
    if not counts(channels):
        raise ModelError(f"a network needs at least one witness channel, not {channels}")
    options = dict(architecture)
    name = str(options.pop("name", ""))
    if packaged.is_packaged(name):
        network = packaged.find(name)
    elif name in ARCHITECTURES:
        network = ARCHITECTURES[name]
    else:
        raise ModelError(f"architecture.name: unknown {name!r}{hint(name, ARCHITECTURES)}")
    valid = list(inspect.signature(network).parameters)[1:]
    for option in options:
        if option not in valid:
            raise ModelError(f"architecture.{name}: unknown {option!r}{hint(option, valid)}")
    if not packaged.is_packaged(name):
        return network(channels, **options)
    try:
        return network(channels, **options)
    except Exception as error:  # whatever another package's class raises
        said = f"{type(error).__name__}: {one_line(error)}"
        raise ModelError(f"architecture.{name}: the network cannot be made: {said}") from error


@dataclass(frozen=True, slots=True)
class Receptive:
    """The receptive field of a network, and the shifts at which it repeats itself.

    Args:
        reach: samples at the start and at the end of a window that a longer input would change;
            half the window where no sample of it agrees with a longer input.
        period: smallest shift, in samples, at which the network is translation-equivariant, or
            None where it is not: its windows must then be run one by one.
    """

    reach: Reach
    period: int | None


def measure(network: nn.Module, channels: int, kernel: int) -> Receptive:
    """Measure the effective receptive field and the shift period of a network.

    Windows of `kernel` samples are cut from a long, fixed, random, standardised input; their
    outputs are compared with one pass over the whole. The arithmetic is float64, so that the
    result is a property of the weights, not of rounding; the network itself is left as it is.
    A network that accepts only its kernel's length has no period.

    A network may state its reach, as `before` and `after`: then it is held to that, and the two
    ends may differ. The reach of any other is the longer end of what is measured.

    Args:
        network: a copy of it is measured, in evaluation mode on the CPU.
        channels: number of witnesses.
        kernel: window length in samples.

    Raises:
        ModelError: the network does not give `(batch, kernel)` for `(batch, channels, kernel)`, or
            it looks further than it states.
    """
    probe = copy.deepcopy(network).to("cpu", torch.float64).eval()
    stated = stated_reach(network)
    if stated is not None:
        kernel = 1024 * -(-max(kernel, 2 * (sum(stated) + 1)) // 1024)
    margin = 1024 * -(-kernel // 1024)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, channels, 3 * margin, generator=generator, dtype=torch.float64)
    nothing = Receptive(Reach.both(kernel // 2), None)
    with torch.inference_mode():
        _require_kernel(probe, inputs[..., :kernel])
        try:
            whole = probe(inputs)
        except RuntimeError:
            return nothing
        if whole.shape != (2, 3 * margin):
            return nothing
        found = _wrong(probe, inputs, whole, margin, kernel)
        for period in PERIODS:
            ends = map(max, found, _wrong(probe, inputs, whole, margin + period, kernel))
            shifted = Reach(*ends)
            if 2 * max(shifted) < kernel:
                return Receptive(_held(stated, shifted), period)
    return Receptive(Reach.both(max(found)), None)


def windows_in_words(effort: float) -> str:
    """Return what it means that a network is not translation-equivariant.

    Args:
        effort: samples that are computed for each that is kept.
    """
    return (
        f"is not translation-equivariant: it runs window by window and computes {effort:.1f} "
        "samples for each that it gives, and an estimate depends on where its window begins "
        "(couplings.*.predict; docs/architectures.md)"
    )


def stated_reach(network: nn.Module) -> Reach | None:
    """Return the reach that a network states; None where it states none."""
    before, after = getattr(network, "before", None), getattr(network, "after", None)
    return None if before is None or after is None else Reach(int(before), int(after))


def _held(stated: Reach | None, found: Reach) -> Reach:
    """Return the reach that counts, given the one that was measured.

    Raises:
        ModelError: the network looks further than it states.
    """
    if stated is None:
        return Reach.both(max(found))
    if found.before > stated.before or found.after > stated.after:
        raise ModelError(f"the network looks {tuple(found)} samples far and states {tuple(stated)}")
    return stated


def _wrong(probe: nn.Module, inputs: Tensor, whole: Tensor, offset: int, kernel: int) -> Reach:
    """Return how many samples at either end of the window at `offset` disagree with `whole`."""
    window = probe(inputs[..., offset : offset + kernel])
    limit = TOLERANCE * whole.square().mean().sqrt()
    differs = (window - whole[:, offset : offset + kernel]).abs() > limit
    index = torch.nonzero(differs.any(0) | ~window.isfinite().all(0)).flatten()
    start, end = index[2 * index < kernel], index[2 * index >= kernel]
    before = 0 if start.numel() == 0 else int(start.max()) + 1
    return Reach(before, 0 if end.numel() == 0 else kernel - int(end.min()))


def _require_kernel(probe: nn.Module, window: Tensor) -> None:
    """Raise ModelError unless the network gives one sample per sample of a kernel."""
    expected = (window.shape[0], window.shape[2])
    try:
        shape = tuple(probe(window).shape)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(
            f"the network refuses input of shape {tuple(window.shape)}: {reason}"
        ) from error
    if len(shape) != len(expected):
        raise ModelError(
            f"the network gives shape {shape}, not {expected}: its output is (batch, time), "
            "without a dimension for channels"
        )
    if shape != expected:
        raise ModelError(
            f"the network gives shape {shape}, not {expected}, for a kernel of {expected[1]} "
            "samples: choose a kernel that is a multiple of its total stride"
        )
