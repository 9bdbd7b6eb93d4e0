"""Run a coupling's network over its standardised witnesses and keep the samples away from the ends.

core.geometry says which samples are kept of which kernel, in each of the three modes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.geometry import Geometry
from deepclean.core.reach import Reach

Network = Callable[[torch.Tensor], torch.Tensor]
"""Maps `(batch, channels, time)` float32 to `(batch, time)`, or to `(batch, parts, time)`. One that
needs no torch has an attribute `on_arrays`, which does the same to numpy's arrays."""


class ReducedNetworks(Protocol):
    """The networks of a model for part of its witnesses; equal witnesses, equal bits."""

    @property
    def uses(self) -> frozenset[int]:
        """The witnesses, by their number, on which the network's output depends."""
        ...

    def without(self, missing: frozenset[int]) -> Network | None:
        """Return the network without some witnesses; None where nothing useful is left.

        Where nothing useful is left, nothing is left without more witnesses either.
        """
        ...


_BATCH = 16
"""The number of kernels in one call of the network, which bounds the memory of small strides."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A network with its scalers, which turns witnesses into a noise estimate.

    >>> double = Predictor(lambda x: 2 * x[:, 0], np.array([1.0]), np.array([4.0]), 0.5, 10.0)
    >>> double.standardise(np.array([[1.0, 5.0, 9.0]])).tolist()
    [[0.0, 1.0, 2.0]]
    >>> from deepclean.core.geometry import PredictSettings, geometry
    >>> settings = PredictSettings("pass", 8, edge=1, stride=None)
    >>> laid = geometry(settings, hop=1, reach=Reach.both(0), period=1)
    >>> double.predict(np.array([[0.0, 1.0, 2.0]], dtype=np.float32), laid).tolist()
    [20.5]

    Args:
        network: the network, from standardised witnesses to the standardised prediction.
        witness_mean: the witnesses' means in their units, shape `(channels,)`, in the network's
            channel order.
        witness_std: the witnesses' standard deviations, shape `(channels,)`.
        strain_mean: the mean of the bandpassed strain that the network was trained on.
        strain_std: the standard deviation of that strain. `prediction * strain_std + strain_mean`
            is in strain units.
        reach: the receptive field before and after a sample; None where unknown.
        period: the shift of translation equivariance in samples; None where there is none.
        version: the model version, for the frame.
        device: the device of the network's parameters.
        reduced: the networks for part of the witnesses; None where there are none.
        parts: the number of parts in which the network gives its estimate; 0 where it gives the
            estimate itself. Parts are predicted in one pass.
        loudest: root mean square of the loudest sixteenth of a second of the estimate, in strain,
            that was right when the model was judged; 0 where unknown.
    """

    network: Network
    witness_mean: Float64
    witness_std: Float64
    strain_mean: float
    strain_std: float
    reach: Reach | None = None
    period: int | None = None
    version: int = 0
    device: str = "cpu"
    reduced: ReducedNetworks | None = None
    parts: int = 0
    loudest: float = 0.0

    def standardise(self, witnesses: Float64) -> NDArray[np.float32]:
        """Return `(witnesses - mean) / std` as float32, both of shape `(channels, n)`."""
        # In float64 up to the last step, because a mean may be many standard deviations.
        scaled = witnesses - self.witness_mean[:, None]
        scaled /= self.witness_std[:, None]
        return scaled.astype(np.float32)

    def predict(self, window: NDArray[np.float32], shape: Geometry) -> Float64:
        """Return the prediction of one hop.

        Args:
            window: standardised witnesses, shape `(channels, before + hop + after)`, float32.
            shape: the geometry.

        Returns:
            Shape `(hop,)`, or `(parts, hop)`, float64, in strain units. It may hold samples that
            are not finite. The parts do without the mean, which no bandpass lets through.
        """
        hop = window.shape[1] - shape.before - shape.after
        if shape.mode == "pass":
            outputs = self._run(window[None])[0, ..., shape.before : shape.before + hop]
        else:
            outputs = self._run_kernels(window, shape, hop)
        scaled = outputs.astype(np.float64) * self.strain_std
        return scaled if self.parts else scaled + self.strain_mean

    def _run_kernels(
        self, window: NDArray[np.float32], shape: Geometry, hop: int
    ) -> NDArray[np.float32]:
        """Return one hop, shape `(hop,)`, from the kernels that lie in a window."""
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
        # The outputs [edge, kernel - edge) of a kernel stand at [low, high) of the hop, which may
        # begin before it and end after it.
        total = np.zeros(hop)
        for start, output in zip(starts, outputs, strict=True):
            low, high = start + edge - shape.before, start + kernel - edge - shape.before
            total[max(low, 0) : min(high, hop)] += output[edge : kernel - edge][
                max(-low, 0) : kernel - 2 * edge - max(high - hop, 0)
            ]
        return (total / ((kernel - 2 * edge) // stride)).astype(np.float32)

    def _run(self, kernels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's output for kernels `(batch, channels, time)`."""
        on_arrays = getattr(self.network, "on_arrays", None)
        if on_arrays is not None:
            return np.asarray(on_arrays(kernels), dtype=np.float32)
        with torch.inference_mode():
            inputs = torch.from_numpy(np.ascontiguousarray(kernels)).to(self.device)
            outputs = self.network(inputs).cpu().numpy()
        return np.asarray(outputs, dtype=np.float32)
