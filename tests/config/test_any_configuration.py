"""Random configurations: each is refused with a message, or cleans ten seconds without a fault."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepclean.config import Config, load
from deepclean.core import reasons
from deepclean.core.block import Block, Series
from deepclean.core.engine.frames import Assembler
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.output.products import render
from deepclean.core.reach import Reach
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError
from deepclean.factory import make_engine
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.frame_channels import estimate_rates
from deepclean.models.model import Model
from deepclean.models.tensors import Scalers

START = 1_400_000_000
STRAIN, STATE = "H1:GDS-CALIB_STRAIN", "H1:GDS-CALIB_STATE_VECTOR"
SECONDS = 10

RATES = (16384, 4096, 2048, 1024, 512, 20000, 16000, 10000, 8192, 4000, 2000, 1000, 500, 250, 100)
ODD = (30, 48, 63, 333, 1001, 4095, 44100)
WITNESS_RATES = (*RATES, *ODD, 256, 128, 64, 50, 32, 25, 16, 10, 8, 4, 3, 2, 1)
STATE_RATES = (16, 1, 4, 8, 50, 3, 2, 32, 256)


MANY = [range(start, start + 500) for start in range(0, 5000, 500)]
"""5,000 configurations, in parts that test processes share; the first 2,000 are slow tests."""


class Sum(torch.nn.Module):
    """A network that adds the witnesses, smoothed over three samples."""

    def forward(self, witnesses: torch.Tensor) -> torch.Tensor:
        """Return `(batch, time)`."""
        padded = torch.nn.functional.pad(witnesses.sum(dim=1), (1, 1))
        return (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3


def model(config: Config, name: str) -> Model:
    coupling = config.couplings[name]
    count = len(coupling.witnesses)
    rate = config.engine.rate
    return Model(
        path=Path(name),
        interferometer="H1",
        coupling=name,
        version=1,
        hash="",
        weights_hash="",
        architecture={},
        channels=coupling.witnesses,
        scalers=Scalers(np.zeros(count), np.ones(count), 0.0, 1e-22),
        sample_rate=rate,
        bands=coupling.bands,
        kernel=coupling.predict.kernel * rate // NS,
        edge=coupling.predict.edge * rate // NS,
        reach=Reach.both(1),
        period=1,
        network=Sum(),
        device="cpu",
    )


def drawn(rng: random.Random) -> dict[str, Any]:
    """Return a random configuration: what a person may write, and what nobody would."""

    def seldom(usual: Any, *others: Any) -> Any:
        return usual if rng.random() < 0.92 else rng.choice(others)

    strain = rng.choice(RATES) if rng.random() < 0.8 else rng.choice(ODD)
    rate = rng.choice((4096, 2048, 1024, 512, 256, 4000, 2000, 1000, 500, 400, 64, *ODD[:4]))
    highest = min(strain, rate) / 2
    couplings = {}
    for number in range(rng.choice([1, 1, 1, 2, 3])):
        width = seldom(10.0, 0.1, 0.5, 1.0, 40.0)
        third = highest / 3
        low = round(rng.uniform(7.0, max(third - width, 8.0)) + number * third, rng.choice([0, 3]))
        couplings[seldom(f"a{number}", f"A{number}", f"b-{number}")] = {
            "bands": [[low, round(low + width, 3)]],
            "witnesses": rng.sample([f"W{n}" for n in range(5)], rng.choice([1, 2, 3])),
            "wait": seldom(1, 0),
            "predict": {
                "mode": seldom("auto", "pass", "windows", "average"),
                "kernel": seldom(1.0, 0.0625, 0.1, 0.25, 2.0, 4.0),
                "edge": seldom(rng.choice([0.25, 0.125, 0.0]), 0.03125, 0.1, 0.01),
                "stride": seldom("auto", 0.5, 0.1, 0.0625),
            },
            "bandpass": {
                "filter": seldom("fir", "butterworth"),
                "order": seldom(8, 1, 2, 12, 20),
                "transition": seldom(6.0, 1.0, 2.0, 20.0, 200.0),
                "tolerance": seldom(1e-3, 1e-6, 1e-1, 0.5, 1e-12),
                "settle_in": seldom("auto", 0.1, 0.25, 1.0, 4.0),
            },
        }
    return {
        "interferometer": "H1",
        "strain": {"rate": strain, "state_vector": seldom(STATE, None)},
        "input": {"strain": {"directory": "strain"}},
        "output": {
            "directory": "cleaned",
            "products": seldom(["OUT_DQ"], ["OUT_DQ", "CANARY"]),
            "estimates": ["all"],
        },
        "engine": {
            "rate": rate,
            "hop": seldom(1.0, 0.0625, 0.125, 0.25, 0.5, 2.0, 4.0),
            "ramp": seldom(rng.choice([0.25, 1.0]), 0.0, 0.0625, 0.5, 0.1, 1.0, 3.0),
            "witnesses": {"frozen": seldom(2.0, None, 0.01, 30.0)},
            "resample": {
                "zeros": seldom(16, 1, 2, 4, 64),
                "max_delay": seldom(0.25, 0.01, 0.0625, 1.0, 4.0),
                "attenuation": seldom(80.0, 1.0, 20.0, 200.0),
                "slowest_rate": seldom(16, 1, 4, 64, 256, 1000),
            },
            "interpolation": {
                "zeros": seldom(16, 1, 2, 64),
                "attenuation": seldom(80.0, 1.0, 20.0, 200.0),
            },
        },
        "gate": {
            "enabled": seldom(True, False),
            "window": seldom(8.0, 4.0, 5.0, 30.0),
            "guard": seldom(6.0, 0.0, 0.3, 100.0),
            "dwell": seldom(8.0, 2.0, 0.1),
            "memory": seldom(32.0, 1.0, 0.1, 100.0),
            "fade": seldom(2.0, 0.5, 0.1, 0.01),
        },
        "couplings": couplings,
    }


@lru_cache(maxsize=256)
def noise(channel: str, rate: int, scale: float) -> np.ndarray:
    key = [sum(map(ord, channel)), rate]
    made: np.ndarray = np.random.Generator(np.random.Philox(key=key)).standard_normal(
        SECONDS * rate
    )
    return made * scale


def blocks(config: Config, rates: Mapping[str, int], state_rate: int) -> list[Block]:
    made = []
    for second in range(SECONDS):
        span = Span.of_seconds(START + second, 1)

        def series(
            channel: str, rate: int, scale: float, at: int = second, s: Span = span
        ) -> Series:
            return Series(s, rate, noise(channel, rate, scale)[at * rate : (at + 1) * rate])

        made.append(
            Block(
                span,
                series(STRAIN, config.strain.rate, 1e-21),
                {name: series(name, rates[name], 1.0) for name in config.witness_channels},
                None
                if config.strain.state_vector is None
                else Series(span, state_rate, np.full(state_rate, 7, dtype=np.uint32)),
            )
        )
    return made


def cleaned(config: Config, rates: Mapping[str, int], state_rate: int) -> list[CleanedFrame]:
    """Clean ten seconds; what the engine's stages, the products and the writer raise is raised."""
    engine = make_engine(config, {name: model(config, name) for name in config.enabled_couplings})
    assembler, done = Assembler(engine), list[CleanedFrame]()
    for block in blocks(config, rates, state_rate):
        done += assembler.push(InputFrame(block.span, [block]))
        for error in engine.model_errors.values():
            raise error
    done += assembler.release()
    assert len(done) == SECONDS
    for frame in done:
        strain, rates = config.strain.channel, estimate_rates(config)
        channels = render(frame, strain, config.output.products, rates)
        assert all(np.isfinite(series.samples).all() for series in channels.values())
        gwf.serialise(frame.span, {n: OutputChannel(s) for n, s in channels.items()})
    return done


def outcome(place: Path, seed: int) -> str:
    """Draw a configuration; return what became of it."""
    rng = random.Random(seed)
    path = place / "any.yaml"
    path.write_text(json.dumps(drawn(rng)))
    rates = {f"H1:W{n}": rng.choice(WITNESS_RATES) for n in range(5)}
    state_rate = rng.choice(STATE_RATES)
    try:
        config = load(path, (), environ={})
        done = cleaned(config, rates, state_rate)
    except ConfigError as error:
        return "refused" if all(error.faults) else "refused without a word"
    found = {r for f in done for b in f.blocks for e in b.estimates.values() for r in e.reasons}
    assert not found & {reasons.ENGINE_ERROR, reasons.MODEL_ERROR}
    return "cleaned"


@pytest.mark.parametrize(
    "seeds",
    [
        [*range(100), 233, 782],  # two with a band above what gates see
        *(pytest.param(part, marks=pytest.mark.slow) for part in MANY[:1]),
        *(pytest.param(part, marks=pytest.mark.exhaustive) for part in MANY[1:]),
    ],
    ids=["few", *(f"from {part.start}" for part in MANY)],
)
def test_any_configuration_is_refused_or_works(tmp_path: Path, seeds: Sequence[int]) -> None:
    ended: Counter[str] = Counter()
    for seed in seeds:
        try:
            ended[outcome(tmp_path, seed)] += 1
        except Exception as error:
            raise AssertionError(
                f"configuration {seed}: {type(error).__name__}: {error}"
            ) from error
    print(dict(ended))
    assert ended.keys() == {"cleaned", "refused"}
    assert ended["cleaned"] > len(seeds) // 20
