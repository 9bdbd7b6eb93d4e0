"""A model that a training made, before it is written into the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from deepclean.core.engine.coupling import Coupling
from deepclean.models.closed_form import ClosedForm
from deepclean.models.tensors import Scalers
from deepclean.train.task import TrainingTask


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """A candidate of a training.

    Args:
        name: in the table at the end.
        task: with the architecture and the receptive field of this model.
        network: in evaluation mode.
        scalers: of its channels.
        figures: what the fit says of itself, for the manifest.
        carried: share of the removed noise's power in the bands that each feature carries, by the
            feature in words; empty where a model has no features.
    """

    name: str
    task: TrainingTask
    network: nn.Module
    scalers: Scalers
    figures: Mapping[str, float] = field(default_factory=dict)
    carried: Mapping[str, float] = field(default_factory=dict)

    @property
    def coupling(self) -> Coupling:
        """The coupling with this model, as an engine runs it."""
        return self.task.coupling(self.network, self.scalers)


def parameters(network: nn.Module) -> int:
    """Return the number of weights that were fitted."""
    if isinstance(network, ClosedForm):
        return network.weights.numel() + network.base_weights.numel()
    return sum(each.numel() for each in network.parameters())
