"""Several models of a coupling over the same held-out data, by the engine of the site."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite

import torch

from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.predict import Network
from deepclean.core.time import NS
from deepclean.errors import InputError
from deepclean.train.judging.heldout import HeldOut
from deepclean.train.judging.meter import HeldOutMeter, ValidationFigures


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a model did.

    Args:
        figures: over the held-out data.
        meter: what they were made from.
        cost: processor milliseconds of the network per second of data.
    """

    figures: ValidationFigures
    meter: HeldOutMeter
    cost: float


def evaluate(
    settings: EngineSettings, models: Mapping[str, Coupling], guard: float, held_out: HeldOut
) -> dict[str, Evaluation]:
    """Clean held-out data with each of some models and measure what they do.

    Only data with a valid estimate count. The gate is judged from when on its state cannot depend
    on where the data began: after the engine's history.

    Args:
        settings: of the engine, with the gates that are wanted.
        models: the coupling with each model, by a name for it.
        guard: width in Hz beside each band that counts neither as inside nor as outside.
        held_out: the data.

    Raises:
        InputError: no stretch is long enough.
    """
    clocks = {name: _TimedNetwork(each.predictor.network) for name, each in models.items()}
    engines = {
        name: Engine(settings, [_with_network(each, clocks[name])]) for name, each in models.items()
    }
    meters = {
        name: HeldOutMeter(each.name, each.bands, guard, settings.strain_rate)
        for name, each in models.items()
    }
    before = max(engine.history for engine in engines.values())
    after = max(engine.lookahead for engine in engines.values())
    read = 0
    for stretch in held_out.stretches(before, after):
        read += stretch.read.duration
        for name, engine in engines.items():
            engine.restart()
            meters[name].begin(stretch.counted, stretch.read.start + engine.history)
        for block in stretch.blocks:
            for name, engine in engines.items():
                meters[name].push(engine.push(block))
        for name, engine in engines.items():
            meters[name].push(engine.release())
    found = {}
    for name, meter in meters.items():
        figures = meter.figures()
        if figures is None:
            raise InputError(
                "no held-out stretch leaves 4 s after the engine's history and look-ahead: give "
                "more data or a larger training.validation_fraction"
            )
        found[name] = Evaluation(figures, meter, 1e3 * clocks[name].seconds / (read / NS))
    return found


def figures_against(
    judged: Mapping[str, Evaluation], name: str, production: str | None, version: int
) -> dict[str, float]:
    """Return a model's figures for its manifest, also in comparison with the one in production.

    Args:
        judged: what the models did, by name.
        name: of the model.
        production: name of the one in production; None where it is not compared.
        version: its number.
    """
    figures = judged[name].figures.numbers()
    if production is not None:
        old = judged[production]
        figures["production_version"] = float(version)
        figures["production_sigma"] = judged[name].meter.significance_over(old.meter)
        # Where its output is not finite, the gate keeps it out and OUT_DQ is raw.
        ratio = old.figures.out_dq_ratio
        figures["production_ratio"] = ratio if isfinite(ratio) else 1.0
    return figures


def engine_validation(
    settings: EngineSettings, coupling: Coupling, guard: float, held_out: HeldOut
) -> ValidationFigures:
    """Return what a model does by itself.

    A gate would hide its errors, gains that adapt would mend them, a forecast would add its own.

    Args:
        settings: of the site's engine.
        coupling: with the model.
        guard: as `evaluate`.
        held_out: the data.

    Raises:
        InputError: no stretch is long enough.
    """
    alone, fixed = replace(settings, gate=None, forecast=None), replace(coupling, adapt=None)
    return evaluate(alone, {coupling.name: fixed}, guard, held_out)[coupling.name].figures


class _TimedNetwork:
    """A network that counts the processor time that it takes."""

    def __init__(self, network: Network) -> None:
        self._network, self.seconds = network, 0.0

    def __call__(self, witnesses: torch.Tensor) -> torch.Tensor:
        begun = time.process_time()
        noise = self._network(witnesses)
        self.seconds += time.process_time() - begun
        return noise


def _with_network(coupling: Coupling, network: Network) -> Coupling:
    return replace(coupling, predictor=replace(coupling.predictor, network=network))
