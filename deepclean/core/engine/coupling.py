"""A coupling as the engine takes it: a subtraction problem with a model that solves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.block import Version
from deepclean.core.engine.schedule import CouplingSchedule, EngineSettings
from deepclean.core.filters.bandpass import Band, Bandpass
from deepclean.core.geometry import PredictSettings, geometry
from deepclean.core.predict import Predictor
from deepclean.core.time import NS


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """One subtraction problem, and a model that solves it.

    Args:
        name: the coupling's name in frames and in the log.
        witnesses: the channel names of the witnesses in the network's order.
        predictor: the network with its scalers.
        predict: the settings by which the network is laid over the stream.
        bandpass: the filter that confines the prediction to the bands.
        bands: the bands `(low, high)` in Hz, for the gate, the splice and the adaptation.
        adapt: the windows from which the estimate's gains are learnt; None: they are fixed.
        carriers: the rows of the witnesses that carry the others, each with a gain of its own.
    """

    name: str
    witnesses: tuple[str, ...]
    predictor: Predictor
    predict: PredictSettings
    bandpass: Bandpass
    bands: Sequence[Band] = ()
    adapt: AdaptSettings | None = None
    carriers: Sequence[int] = ()

    @property
    def version(self) -> Version:
        """The version of the model."""
        return Version(self.name, self.predictor.version)


def schedule_of(settings: EngineSettings, coupling: Coupling) -> CouplingSchedule:
    """Return the schedule of a coupling's stages.

    Raises:
        ValueError: the network does not suit its configured mode.
    """
    predictor = coupling.predictor
    shape = geometry(coupling.predict, settings.hop_model, predictor.reach, predictor.period)
    memory = 0 if coupling.adapt is None else coupling.adapt.memory * NS
    return CouplingSchedule.of(settings, coupling.bandpass.settle_in, shape, memory)
