"""What the gate does to healthy and to imperfect models on every kind of coupling.

    python -m benchmarks.models.gate --seconds 300

prints a table in Markdown: the excess over the true floor (benchmarks.models.bench) of the raw
strain, of PRODUCTION and of OUT_DQ, from `SETTLED` seconds on, and how often and for how long the
gate was closed in that time. The gate is that of an engine which is given a model's output as its
only witness, and does the rest: bandpass, gate, gain, subtraction. The models are

- the closed form, which is within a percent of the floor;
- the same with noise that it spreads over the band and its guard bands, whose level wanders within
  seconds: a network that has not learnt everything;
- the linear filter, which leaves the sidebands of a line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.models.bench import BANDPASS, SOLVED, TESTING, TRAINING, excess, predict
from benchmarks.models.scene import Scene
from benchmarks.models.sites import SITES, STRAIN, Recording, Site, site_named
from deepclean.config.couplings import BandpassConfig, CouplingConfig
from deepclean.config.engine import EngineConfig, GateConfig
from deepclean.config.settings import (
    gate_settings,
    predict_settings,
    ungated_settings,
)
from deepclean.core.block import Block, Float64, Series
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.bandpass import make_bandpass
from deepclean.core.gate.levels import slot_levels
from deepclean.core.predict import Predictor
from deepclean.core.reach import Reach
from deepclean.core.time import Span

RATE = 1024
"""Samples per second of strain and model: the kinds' bands end at 130 Hz."""

SETTLED = 24
"""Seconds from which on the products are compared."""

_START = 1_400_000_000
_TRANSITION = BandpassConfig().transition


class Judged(NamedTuple):
    """What a gate did.

    Args:
        raw: excess of the strain as it is.
        production: of PRODUCTION.
        out_dq: of OUT_DQ.
        closings: how often the gate closed.
        closed: share of the time in which its gain was below 1.
    """

    raw: float
    production: float
    out_dq: float
    closings: int
    closed: float


@dataclass(frozen=True, slots=True, eq=False)
class Estimated:
    """A stretch of a site's data and what models make of it.

    Args:
        site: whose.
        data: the stretch.
        estimates: outputs by the model's name, before the bandpass, strain, shape `(n,)`.
        loudest: level of the loudest sixteenth of a second of the closed form's estimate in the
            training's data, strain: what a manifest would say of it.
    """

    site: Site
    data: Recording
    estimates: dict[str, Float64]
    loudest: float


def estimated(site: Site, hardware: int, training: int, seconds: int) -> Estimated:
    """Fit the models to a site and return what they make of other data."""
    bandpass = make_bandpass(BANDPASS, [site.band], RATE)
    learnt = site.record(hardware, TRAINING, training, RATE)
    data = site.record(hardware, TESTING, seconds, RATE, clean=True)
    models = {name: SOLVED[name](learnt, site, bandpass) for name in ("closed form", "linear")}
    made = {name: predict(model, data)[0] for name, model in models.items()}
    past = bandpass.apply(predict(models["closed form"], learnt)[0])
    count = RATE // 16
    loudest = float(slot_levels(past[: len(past) // count * count], count).max())
    for level in (0.3, 0.8):
        made[f"closed form + {level:g}"] = made["closed form"] + level * spread(site, seconds)
    return Estimated(site, data, made, loudest)


def spread(site: Site, seconds: int) -> Float64:
    """Return noise of the floor's level in and beside a band, whose size wanders within seconds."""
    scene = Scene(np.random.default_rng(3), seconds, RATE)
    low, high = site.band
    noise = scene.broad(max(low - _TRANSITION, 1.0), high + _TRANSITION)
    # 1 + 0.5 sin: of unit mean square but for an eighth.
    wandering = 1 + 0.5 * np.clip(scene.motion(0.0, 0.15), -2, 2)
    return STRAIN * scene.cut(noise * wandering / np.sqrt(1.25))


def engine(site: Site, settings: EngineSettings, loudest: float = 0.0) -> Engine:
    """Return an engine whose only witness is the output of a model, in units of `STRAIN`.

    Args:
        site: whose band is cleaned.
        settings: of the engine.
        loudest: level of a sixteenth of a second, strain, that the model's manifest would state.
    """
    coupling = CouplingConfig(bands=(site.band,), witnesses=("MODEL",))
    chosen = predict_settings(coupling, RATE)

    def network(inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, 0]

    predictor = Predictor(
        network,
        np.zeros(1),
        np.ones(1),
        0.0,
        STRAIN,
        Reach.both(chosen.edge),
        version=1,
        loudest=loudest,
    )
    bandpass = make_bandpass(BANDPASS, [site.band], RATE)
    made = Coupling("all", ("MODEL",), predictor, chosen, bandpass, (site.band,))
    return Engine(settings, [made])


def usual_settings() -> EngineSettings:
    """Return the settings that a configuration has by default, at this rate."""
    config = EngineConfig.model_validate({"rate": RATE})
    gate = gate_settings(GateConfig())
    made = ungated_settings(config, RATE)
    return replace(made, gate=gate)


def judge(
    site: Site,
    data: Recording,
    estimate: Float64,
    settings: EngineSettings,
    loudest: float = 0.0,
) -> Judged:
    """Return what comes out of an engine; `loudest` as `engine` takes it."""
    made = engine(site, settings, loudest)
    found = [one for block in _blocks(data, estimate) for one in made.push(block)]
    parts = [block.estimates["all"] for block in found]
    noise = np.concatenate([part.noise for part in parts])
    first, stop = SETTLED * RATE, len(noise)
    both = (
        np.concatenate([part.gain for part in parts]),
        np.concatenate([part.ungated().gain for part in parts]),
    )
    truth, floor = data.noise[first:stop], data.floor[first:stop]
    out_dq, production = (
        excess(truth - (gain * noise)[first:], floor, RATE, site.band) for gain in both
    )
    shut = both[0][first:] == 0
    closings = int(np.count_nonzero(np.diff(shut.astype(int), prepend=0) > 0))
    raw = excess(truth, floor, RATE, site.band)
    return Judged(raw, production, out_dq, closings, float(np.mean(both[0][first:] < 1)))


def _blocks(data: Recording, estimate: Float64) -> Iterator[Block]:
    counts = (estimate / STRAIN).astype(np.float32)
    for second in range(len(counts) // RATE):
        span = Span.of_seconds(_START + second, 1)
        part = slice(second * RATE, (second + 1) * RATE)
        model = Series(span, RATE, counts[part])
        yield Block(span, Series(span, RATE, data.strain[part]), {"MODEL": model})


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="of data that is cleaned")
    parser.add_argument("--training", type=int, default=512, help="seconds of training data")
    parser.add_argument("--hardware", type=int, default=0, help="seed of the couplings")
    parser.add_argument("--site", nargs="*", default=[site.name for site in SITES])
    parser.add_argument("--model", nargs="*", help="only these, such as 'closed form'")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    _line(["site", "model", "raw", "PRODUCTION", "OUT_DQ", "closings", "closed"])
    _line(["---"] * 7)
    settings = usual_settings()
    for name in options.site:
        made = estimated(site_named(name), options.hardware, options.training, options.seconds)
        for model, estimate in made.estimates.items():
            if options.model and model not in options.model:
                continue
            found = judge(made.site, made.data, estimate, settings, made.loudest)
            figures = (f"{one:.4f}" for one in found[:3])
            _line([name, model, *figures, str(found.closings), f"{100 * found.closed:.1f} %"])


def _line(cells: Sequence[str]) -> None:
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
