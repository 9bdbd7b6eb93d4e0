"""A network's device that has no memory left, or only gives errors.

A lack of memory may pass and costs only speed: the same network on the CPU runs instead, call by
call. A poisoned context (an illegal memory access, a failed assertion on the device) stays: every
later call fails until the process ends. Only a new process gets a new context.
"""

from __future__ import annotations

import copy
import logging

import torch
from torch import Tensor

from deepclean.core.predict import Network
from deepclean.models import tensors
from deepclean.models.model import Model

_log = logging.getLogger(__name__)

_SHORT = ("out of memory", "ALLOC_FAILED")
"""Parts of the libraries' messages about a lack of memory."""


class CpuFallback:
    """A network that runs on the CPU while its device is out of memory.

    Args:
        name: the coupling, for the log.
        network: the network on its device.
        spare: the same network on the CPU, with the same samples to rounding.
    """

    def __init__(self, name: str, network: Network, spare: Network) -> None:
        self._name = name
        self._network = network
        self._spare = spare
        self._short = False

    def __call__(self, witnesses: Tensor) -> Tensor:
        """Return the network's output for the witnesses; each call tries the device first."""
        try:
            output = self._network(witnesses)
        except RuntimeError as error:
            if not is_short(error):
                raise
            if not self._short:
                _log.warning("coupling %s: %s; on the CPU for now", self._name, _first_line(error))
            self._short = True
            return self._spare(witnesses)
        if self._short:
            _log.info("coupling %s: the device has memory again", self._name)
        self._short = False
        return output


def with_cpu_fallback(model: Model) -> Network:
    """Return a model's network on its device, with itself on the CPU as the spare.

    Its input and its output are on the CPU.
    """
    spare = copy.deepcopy(model.network).cpu()

    def on_device(witnesses: Tensor) -> Tensor:
        return model.predict(witnesses.to(model.device)).cpu()

    def on_cpu(witnesses: Tensor) -> Tensor:
        return tensors.infer(spare, witnesses)

    return CpuFallback(model.coupling, on_device, on_cpu)


def is_short(error: Exception) -> bool:
    """Tell whether an error says that the device is out of memory."""
    said = isinstance(error, RuntimeError) and any(word in str(error) for word in _SHORT)
    return said or isinstance(error, torch.OutOfMemoryError)


def is_lost(error: Exception) -> bool:
    """Tell whether after this error a device may serve errors only, until the process ends."""
    return isinstance(error, torch.AcceleratorError) and not is_short(error)


def release_memory(place: str) -> None:
    """Give a device its unused memory back; on a CPU that is done already."""
    if place != "cpu":
        torch.cuda.empty_cache()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
