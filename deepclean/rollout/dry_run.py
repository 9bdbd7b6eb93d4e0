"""A new version is tried before it runs: at the shapes of production, on the last live data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Block, CleanedBlock, Series
from deepclean.core.engine.coupling import Coupling, schedule_of
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.spectra import Bins, density, transform
from deepclean.errors import ModelError

_OF_THE_MODEL = (reasons.NONFINITE, reasons.MODEL_ERROR)


def warm_up(settings: EngineSettings, coupling: Coupling) -> None:
    """Run a network at the shapes that it will run at, so that its first real call is no slower.

    Raises:
        Exception: whatever it raises.
    """
    plan = schedule_of(settings, coupling)
    low, high = plan.window(settings)
    shape = plan.geometry
    length = high - low if settings.forecast else shape.before + settings.hop_model + shape.after
    window = np.zeros((len(coupling.witnesses), length), dtype=np.float32)
    for _ in range(2):
        coupling.predictor.predict(window, shape)


def dry_run(
    settings: EngineSettings,
    coupling: Coupling,
    blocks: Iterable[Block],
    plausible: float,
    path: Path,
) -> None:
    """Clean some seconds with a version; where there is no data for that, there is nothing to say.

    Args:
        settings: of the engine that it is for.
        coupling: with the version.
        blocks: of live data, in order.
        plausible: times the strain's own level in the band that its estimate may have.
        path: of the version, for the error.

    Raises:
        ModelError: the network fails, gives what is no number, or is implausibly loud.
    """
    engine = Engine(replace(settings, gate=None), [coupling])
    cleaned = [one for block in blocks for one in engine.push(block)]
    cleaned = [one for one in cleaned if isinstance(one.source.strain, Series)]
    for error in engine.model_errors.values():
        raise ModelError(f"the network fails on live data: {error}", path=path) from error
    for one in cleaned:
        if any(reason in _OF_THE_MODEL for reason in one.estimates[coupling.name].reasons):
            raise ModelError("gives values that are no numbers on live data", path=path)
    powers = np.array([_powers(settings, coupling, one) for one in cleaned]).reshape(-1, 2)
    estimate, strain = powers.sum(axis=0)
    if estimate > plausible**2 * strain:
        ratio = float(np.sqrt(estimate / strain)) if strain else float("inf")
        raise ModelError(
            f"its estimate on live data is {ratio:.3g} times as loud as the strain in the band; "
            f"{plausible:g} times is plausible",
            path=path,
        )


def _powers(
    settings: EngineSettings, coupling: Coupling, block: CleanedBlock
) -> tuple[float, float]:
    """Return the power in the band of estimate and strain; zeros where it does not count."""
    one, strain = block.estimates[coupling.name], block.source.strain
    assert isinstance(strain, Series)
    if not coupling.bands or (one.gain < 1).any() or not np.isfinite(strain.samples).all():
        return 0.0, 0.0
    stop = 0.45 * min(settings.strain_rate, settings.model_rate)
    inside = Bins(coupling.bands, 0.0, stop, block.span.duration).inside
    found = [
        density(transform(samples, strain.rate, stop)[inside], block.span.duration).sum()
        for samples in (one.noise, np.asarray(strain.samples, dtype=np.float64))
    ]
    return float(found[0]), float(found[1])
