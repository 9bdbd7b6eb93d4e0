"""Run a coupling's network over its standardised witnesses and keep the samples it knows well.

A network with zero padding predicts badly near the ends of a kernel, so those `edge` samples are
dropped. With kernel `K`, edge `E` and stride `S`, kernel `k` starts at sample `k * S` counted from
GPS 0 and contributes `[k S + K - E - S, k S + K - E)`: every sample comes from exactly one kernel,
as early as it can. Three ways, one geometry each:

- `windows`: these kernels, in batches;
- `pass`: one long kernel per hop. For a translation-equivariant network whose receptive field is
  inside the edge it gives the windows' samples (to rounding) at a fraction of the arithmetic;
- `average`: the mean over all overlapping kernels, edges dropped, as the 2023 microservice did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepclean.core.block import Float64

Network = Callable[[torch.Tensor], torch.Tensor]
"""Maps `(batch, channels, time)` float32 to `(batch, time)`."""

_BATCH = 16
"""Kernels in one call of the network: bounds the memory of small strides."""


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """Configured by `couplings.*.predict`; lengths in samples at the model rate.

    A stride of None is the longest that divides the hop.
    """

    mode: str
    kernel: int
    edge: int
    stride: int | None


@dataclass(frozen=True, slots=True)
class Geometry:
    """Which input a hop of prediction needs, and where hops of prediction may begin.

    Args:
        mode: `pass`, `windows` or `average`, decided.
        before: input samples needed before the first output sample.
        after: input samples needed after the last.
        modulus: a hop of outputs begins at an index congruent to `residue` modulo this.
        residue: see `modulus`.
        stride: between kernels (`windows`, `average`); the hop itself in a pass.
        kernel: samples that the network sees at once (`windows`, `average`).
        edge: samples dropped at either end.
    """

    mode: str
    before: int
    after: int
    modulus: int
    residue: int
    stride: int
    kernel: int
    edge: int

    def align(self, offset: int) -> int:
        """Return the smallest permitted offset that is not below `offset`."""
        return offset + (self.residue - offset) % self.modulus

    @property
    def trail(self) -> int:
        """How far after an input sample predictions may still rest on it."""
        return self.edge if self.mode == "pass" else self.kernel - self.edge

    def spoilt(self, first: int, stop: int) -> tuple[int, int]:
        """Return which predicted samples rest on any input sample of `[first, stop)`."""
        if self.mode == "pass":
            return first - self.edge, stop + self.edge
        earliest = (first - self.kernel) // self.stride + 1
        latest = -(-stop // self.stride) - 1
        kept = self.stride if self.mode == "windows" else self.kernel - 2 * self.edge
        end_of_kernel = self.kernel - self.edge
        return (
            earliest * self.stride + end_of_kernel - kept,
            latest * self.stride + end_of_kernel,
        )


def geometry(
    settings: PredictSettings, hop: int, field: int | None, period: int | None
) -> Geometry:
    """Decide how hops of `hop` samples are predicted.

    Args:
        settings: the configured mode and lengths.
        hop: samples per hop at the model rate.
        field: the network's measured receptive field, samples a side; None where unknown.
        period: shift at which it is translation-equivariant; None where it is not.

    Raises:
        ValueError: the configured mode does not suit the network or the hop.
    """
    kernel, edge = settings.kernel, settings.edge
    if 2 * edge >= kernel:
        raise ValueError(f"an edge of {edge} samples leaves nothing of a kernel of {kernel}")
    suits = field is not None and period is not None and field <= edge and hop % period == 0
    if settings.mode == "pass" and not suits:
        raise ValueError(
            f"mode 'pass' needs an equivariant network whose receptive field fits the edge: field "
            f"{field}, period {period}, edge {edge}, hop {hop} samples; use mode 'auto'"
        )
    if settings.mode == "pass" or (settings.mode == "auto" and suits):
        assert period is not None
        margin = -(-edge // period) * period
        return Geometry("pass", margin, margin, period, 0, hop, hop + 2 * margin, margin)
    if settings.mode not in ("auto", "windows", "average"):
        raise ValueError(f"unknown mode {settings.mode!r}: auto, pass, windows or average")
    kept = kernel - 2 * edge
    stride = settings.stride or _longest_stride(hop, kept, averaged=settings.mode == "average")
    if stride > kept or hop % stride:
        raise ValueError(
            f"a stride of {stride} samples must divide the hop ({hop}) and not exceed what the "
            f"edges leave of a kernel ({kept})"
        )
    before = kernel - edge - stride
    if settings.mode != "average":
        residue = (kernel - edge) % stride
        return Geometry("windows", before, edge, stride, residue, stride, kernel, edge)
    if kept % stride:
        raise ValueError(f"averaging needs a stride ({stride}) that divides {kept} samples")
    return Geometry("average", before, before, stride, edge % stride, stride, kernel, edge)


def _longest_stride(hop: int, kept: int, *, averaged: bool) -> int:
    """Return the longest stride that suits; where kernels are averaged, two at least overlap."""
    limit = min(hop, max(kept // 2, 1) if averaged else kept)
    return max(d for d in range(1, limit + 1) if hop % d == 0 and not (averaged and kept % d))


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A network with its scalers: what turns witnesses into a noise estimate.

    Args:
        network: maps standardised witnesses to the standardised prediction.
        witness_mean: shape `(channels,)`, in the network's channel order.
        witness_std: shape `(channels,)`.
        strain_mean: of the bandpassed strain that the network was trained on.
        strain_std: likewise; `prediction * std + mean` is in strain units.
        field: measured receptive field, samples a side; None where unknown.
        period: shift of translation equivariance; None where there is none.
        version: the model version, for the frame.
        device: where the network's parameters are.
    """

    network: Network
    witness_mean: Float64
    witness_std: Float64
    strain_mean: float
    strain_std: float
    field: int | None = None
    period: int | None = None
    version: int = 0
    device: str = "cpu"

    def standardise(self, witnesses: Float64) -> NDArray[np.float32]:
        """Return `(witnesses - mean) / std` as float32, shape `(channels, n)`."""
        scaled = witnesses - self.witness_mean[:, None]
        scaled /= self.witness_std[:, None]
        return scaled.astype(np.float32)

    def predict(self, window: NDArray[np.float32], shape: Geometry) -> Float64:
        """Predict one hop.

        Args:
            window: standardised witnesses, shape `(channels, before + hop + after)`.
            shape: from `geometry`.

        Returns:
            Shape `(hop,)`, float64, in strain units; it may hold non-finite values.
        """
        hop = window.shape[1] - shape.before - shape.after
        if shape.mode == "pass":
            outputs = self._run(window[None])[0, shape.before : shape.before + hop]
        else:
            outputs = self._run_kernels(window, shape, hop)
        return outputs.astype(np.float64) * self.strain_std + self.strain_mean

    def _run_kernels(
        self, window: NDArray[np.float32], shape: Geometry, hop: int
    ) -> NDArray[np.float32]:
        kernel, edge, stride = shape.kernel, shape.edge, shape.stride
        starts = range(0, window.shape[1] - kernel + 1, stride)
        outputs = np.concatenate(
            [
                self._run(np.stack([window[:, s : s + kernel] for s in starts[i : i + _BATCH]]))
                for i in range(0, len(starts), _BATCH)
            ]
        )
        if shape.mode == "windows":
            return outputs[:, kernel - edge - stride : kernel - edge].reshape(-1)
        total = np.zeros(hop)
        for start, output in zip(starts, outputs, strict=True):
            low, high = start + edge - shape.before, start + kernel - edge - shape.before
            total[max(low, 0) : min(high, hop)] += output[edge : kernel - edge][
                max(-low, 0) : kernel - 2 * edge - max(high - hop, 0)
            ]
        return (total / ((kernel - 2 * edge) // stride)).astype(np.float32)

    def _run(self, kernels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            inputs = torch.from_numpy(np.ascontiguousarray(kernels)).to(self.device)
            outputs = self.network(inputs).cpu().numpy()
        return np.asarray(outputs, dtype=np.float32)
