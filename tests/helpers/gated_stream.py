"""A stream that a gate watches: strain that is a witness and a little noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import CleanedBlock, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.gate.band_power import BandPower
from deepclean.core.gate.measures import Quality
from deepclean.core.gate.verdicts import CORRELATED
from deepclean.core.time import NS, Span
from tests.helpers.builders import NOISE, START, Record, transparent
from tests.helpers.settings import engine_settings, gate_settings

RATE = 512

GATES = gate_settings(window=4 * NS, dwell=2 * NS, memory=6 * NS, fade=NS // 2)

GATED = engine_settings(strain_rate=RATE, model_rate=RATE, ramp=NS // 8, gate=GATES)

BANDS = ((55.0, 65.0),)


def engine(settings: EngineSettings = GATED) -> Engine:
    """Return an engine whose estimate is the witness as it is."""
    return transparent(settings, "FAST", bands=BANDS)


def record(seconds: int = 40, *, seed: int = 0) -> Record:
    """Return strain that is the witness and a tenth as much noise of its own."""
    rng = np.random.default_rng(seed)
    span = Span.of_seconds(START, seconds)
    witness = rng.standard_normal(seconds * RATE)
    strain = NOISE * (witness + 0.1 * rng.standard_normal(seconds * RATE))
    return Record(span, Series(span, RATE, strain), {"FAST": Series(span, RATE, witness)})


def scaled(data: Record, low: float, high: float, factor: float) -> Record:
    """Return a record whose witness is multiplied from `low` to `high`, seconds from its start."""
    witness = data.witnesses["FAST"]
    assert isinstance(witness, Series)
    samples = witness.samples.copy()
    samples[round(low * RATE) : round(high * RATE)] *= factor
    return data.replaced(FAST=Series(data.span, RATE, samples))


def gate_of(blocks: Sequence[CleanedBlock]) -> NDArray[np.float64]:
    """Return the gate's gain over consecutive blocks."""
    gates = [block.estimates["all"].gate for block in blocks]
    return np.concatenate([gate for gate in gates if gate is not None])


def shut(gain: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return where a gain is 0: `[from, to)` in seconds from its start."""
    steps = np.diff(np.concatenate(([0], (gain == 0).astype(np.int8), [0])))
    edges = zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True)
    return [(float(low) / RATE, float(high) / RATE) for low, high in edges]


WELL = Quality(in_band=0.7, worst=1.2, guard=1.0, outside=1.0, net=0.6)
"""A window in which cleaning makes the strain better."""


def look(
    raw: float, clean: float, chance: float, *, power: float = 50.0, worst: float = 0.0
) -> BandPower:
    """Return the powers of a second whose harm has a standard deviation `chance`."""
    return BandPower(
        sums=2 * (raw, clean, power, chance**2 / CORRELATED),
        excess=clean - raw + 0.0 * (raw + clean + power + chance),
        worst=worst,
        noise=np.ones(11),
    )
