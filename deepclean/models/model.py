"""A model ready for use, wherever it was loaded from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from deepclean.core.reach import Reach
from deepclean.errors import ModelError
from deepclean.models import tensors
from deepclean.models.closed_form import ClosedForm
from deepclean.models.networks import stated_reach
from deepclean.models.reduced.equations import Equations
from deepclean.models.tensors import Scalers


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model ready for use.

    `predict(...) * scalers.strain_std + scalers.strain_mean` is noise in strain units.

    Args:
        path: the directory that it was loaded from.
        interferometer: `H1`, `L1`, `V1`, `K1`.
        coupling: the subtraction problem.
        version: 0 for a training directory of deepcleanv2.
        hash: sha256 of the manifest, which holds those of the files.
        weights_hash: sha256 of the weights' file.
        architecture: `networks.build`'s argument; empty for TorchScript.
        channels: witnesses, full names, in the order of the network's input.
        scalers: standardise the network's input and its target.
        sample_rate: in Hz.
        bands: `(low, high)` in Hz.
        kernel: window length in samples.
        edge: samples to drop at each end of a window.
        reach: samples before and after an output sample that it may rest on.
        period: shift period in samples; None where the network must run window by window.
        network: in evaluation mode, without gradients, on `device`.
        device: where the network runs.
        loudest: root mean square of the loudest sixteenth of a second of its estimate, in strain,
            where cleaning was better than raw in the data that were held out; 0 where unknown.
    """

    path: Path
    interferometer: str
    coupling: str
    version: int
    hash: str
    weights_hash: str
    architecture: Mapping[str, Any]
    channels: tuple[str, ...]
    scalers: Scalers
    sample_rate: int
    bands: tuple[tuple[float, float], ...]
    kernel: int
    edge: int
    reach: Reach
    period: int | None
    network: nn.Module
    device: str
    loudest: float = 0.0

    @property
    def carriers(self) -> tuple[int, ...]:
        """The channels, by number, that carry others in the network's products; () if unknown."""
        return tuple(getattr(self.network, "carriers", ()))

    @property
    def equations(self) -> Equations | None:
        """The normal equations of a closed form; None where the model has none."""
        return self.network.equations if isinstance(self.network, ClosedForm) else None

    @property
    def ahead(self) -> int:
        """Samples that it looks ahead by its own statement; 0 where it states nothing."""
        return 0 if stated_reach(self.network) is None else self.reach.after

    def predict(self, witnesses: Tensor) -> Tensor:
        """Return the standardised noise, `(batch, time)`.

        Args:
            witnesses: standardised, `(batch, channels, time)` float32, on the model's device.
        """
        return tensors.infer(self.network, witnesses)

    def require(
        self,
        channels: Collection[str],
        sample_rate: int,
        bands: Collection[tuple[float, float]] = (),
    ) -> None:
        """Raise ModelError unless the model was made for these witnesses, rate and bands.

        A band may be a part of one that the model was trained for: outside of those nobody has
        taught it anything.
        """
        if sample_rate != self.sample_rate:
            raise ModelError(
                f"runs at {self.sample_rate} Hz, the configuration says {sample_rate} Hz",
                path=self.path,
            )
        for low, high in bands:
            if not any(least <= low and high <= most for least, most in self.bands):
                trained = ", ".join(f"{least:g}-{most:g}" for least, most in self.bands)
                raise ModelError(
                    f"was trained for {trained} Hz, the configuration cleans {low:g}-{high:g} Hz",
                    path=self.path,
                )
        missing = [name for name in self.channels if name not in channels]
        if missing:
            named = ", ".join(missing)
            raise ModelError(f"needs witnesses that are not configured: {named}", path=self.path)
        extra = sorted(set(channels) - set(self.channels))
        if extra:
            raise ModelError(f"was trained without {', '.join(extra)}", path=self.path)


class CpuNetwork:
    """A model's network on the CPU, as the engine runs it.

    Args:
        model: the model.

    Attributes:
        on_arrays: runs it without torch; None where its architecture cannot.
    """

    def __init__(self, model: Model) -> None:
        self._predict = model.predict
        self.on_arrays = getattr(model.network, "on_arrays", None)

    def __call__(self, witnesses: Tensor) -> Tensor:
        """Return the standardised noise, as `Model.predict`."""
        return self._predict(witnesses)


def freeze(network: nn.Module) -> nn.Module:
    """Put a network in evaluation mode, without gradients, and return it."""
    return network.eval().requires_grad_(False)
