"""The simulated site of `scripts.rehearse_models`: its configuration, drift and timetable."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.site import START, lay_out
from deepclean.core.block import Series
from deepclean.core.time import Span
from deepclean.simulate import Simulator, Site
from deepclean.simulate.site import Hum, noise_channel

COUPLING = "Table"
"""The hum of a table that shakes; a linear filter of its witnesses removes it."""

WIDTH = 5.0
"""Hz, of the hum: so wide that every bin of the band holds more of it than of the floor."""

DRIFTED = 2.5
"""Times the coupling's former strength that it has after the drift."""

_CONFIGURATION = """
interferometer: H1
strain: {{rate: {rate}, state_vector: GDS-CALIB_STATE_VECTOR}}
input:
  strain: {{directory: strain, description: H1_llhoft}}
  witnesses: [{{directory: witnesses, description: H1_lldetchar}}]
output:
  directory: cleaned
  products: [OUT_DQ, PRODUCTION, CANARY]
  retention: {{age: null}}
models: {{directory: models}}
metrics: {{enabled: false}}
training: {{architecture: wiener, device: cpu}}
runtime: {{device: cpu}}
couplings:
  Table:
    adapt: 'off'
    band: [72, 88]
    predict: {{edge: 0.25}}
    witnesses: [PEM-CS_ACC_PSL_TABLE1_X_DQ, PEM-CS_ACC_PSL_TABLE1_Y_DQ, PEM-CS_ACC_PSL_TABLE1_Z_DQ]
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """When what happens, in seconds since the run's start."""

    rate: int  # Hz, of the strain
    witness_rate: int  # Hz
    overrides: tuple[str, ...]  # of the configuration
    history: int  # seconds of data before the start, of which the first model is made
    drift: tuple[int, int]  # the coupling grows from here to there
    every: int  # seconds from one retraining to the next; the first is at the start
    bad_at: int  # the bad canary is published
    swap_at: int  # the coupling falls to its former strength, at once
    end: int  # of the run
    follows: float  # times the floor that adaptation may leave of the drift, on average


_FULL = ("retrain.span=480", "retrain.within=480", "retrain.min_ready=400", "retrain.held_out=128")
FULL = Plan(
    4096, 512, _FULL, 480, (60, 240), every=720, bad_at=900, swap_at=1620, end=1740, follows=1.05
)
"""All rules as they are where nothing is configured, but for retraining on 8 minutes of data."""

_FAST = (
    *("engine.rate=256", "engine.resample.zeros=8", "gate.dwell=4", "gate.memory=16"),
    *("models.trial.validation_time=20", "models.trial.patience=60"),
    *("models.trial.rollback_after=8", "models.trial.probation=600"),
    *("retrain.span=240", "retrain.within=240", "retrain.min_ready=200", "retrain.held_out=64"),
)
FAST = Plan(
    512, 256, _FAST, 240, (30, 90), every=330, bad_at=400, swap_at=500, end=550, follows=1.1
)
"""At low rates, with all times of the rules five to ten times shorter."""


class Drifting(Simulator):
    """A site of one coupling whose strength changes with time.

    The knots are seconds since `START` and the strength at each; it is linear between them.
    """

    def __init__(self, site: Site, knots: tuple[tuple[float, float], ...]) -> None:
        super().__init__(site)
        self._knots = np.array(knots).T
        self._noise_channel = noise_channel(site, site.couplings[0])
        self._background_channel = next(iter(site.truth))

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series]:
        """Return channels over a span, as Simulator.read does."""
        truth = (self._background_channel, self._noise_channel)
        read = super().read([*wanted, *(n for n in truth if n not in wanted)], span)
        background, noise = (read[name] for name in truth)
        seconds = np.arange(*span.indices(noise.rate)) / noise.rate - START
        grown = noise.samples * np.interp(seconds, *self._knots)
        read[self._noise_channel] = Series(span, noise.rate, grown)
        read[self.site.strain] = Series(span, noise.rate, background.samples + grown)
        return {name: read[name] for name in wanted}


class Place:
    """Where the rehearsal has its files, below an empty directory."""

    def __init__(self, root: Path, plan: Plan) -> None:
        (low, high), swap = plan.drift, plan.swap_at
        knots = ((low, 1.0), (high, DRIFTED), (swap - 1e-6, DRIFTED), (swap, 1.0))

        def drifting(site: Site) -> Simulator:
            (hum,) = site.carriers
            assert isinstance(hum, Hum)
            witnesses = tuple(replace(w, rate=plan.witness_rate) for w in site.witnesses)
            wide = replace(site, carriers=(replace(hum, width=WIDTH),), witnesses=witnesses)
            return Drifting(wide, knots)

        path = root / "site.yaml"
        path.write_text(_CONFIGURATION.format(rate=plan.rate))
        self.plan, self.span = plan, Span.of_seconds(START, plan.end)
        self.site = lay_out(root, path, plan.overrides, simulator=drifting)
        self.config = self.site.config
        self.models = self.config.models.directory / self.config.interferometer / COUPLING

    def write(self) -> None:
        """Write the frame files of all data, and the truth behind them."""
        seconds = self.plan.history + self.plan.end + 4
        self.site.write(Span.of_seconds(START - self.plan.history, seconds), truth=True)
