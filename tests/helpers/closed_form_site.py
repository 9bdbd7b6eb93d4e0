"""The small site with a closed-form model that knows its normal equations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from deepclean.config import Config
from deepclean.core.time import NS
from deepclean.models import files as models
from deepclean.models.closed_form import ClosedForm
from deepclean.models.manifest import Channel, Description
from deepclean.models.reduced.equations import Equations
from deepclean.models.store import versions
from deepclean.models.tensors import Scalers
from tests.helpers.small_site import RATES

LAGS = (-2, 0, 2)


def equations(channels: int, seed: int = 0) -> Equations:
    """Return the equations of a filter with three taps for each witness, all of them needed."""
    rng = np.random.default_rng(seed)
    count = channels * len(LAGS)
    mixing = np.eye(count) + 0.1 * rng.standard_normal((count, count))
    matrix = mixing @ mixing.T
    scale = 1 / np.sqrt(np.diagonal(matrix))
    matrix *= scale * scale[:, None]
    right = matrix @ rng.uniform(20.0, 40.0, count)
    return Equations(
        matrix=matrix,
        right=right,
        scale=0.01 * scale,
        load=np.full(count, 1e-6),
        places=np.arange(count),
        needs=np.repeat(np.eye(channels, dtype=bool), len(LAGS), axis=0),
        power=1.1 * float(right @ np.linalg.solve(matrix, right)),
        floor=1000.0,
    )


def network(channels: int, held: Equations | None) -> ClosedForm:
    """Return the filter that solves some equations, which it knows."""
    made = ClosedForm(channels, **options(channels))
    weights, _ = (held or equations(channels)).solve()
    ones = {name: torch.ones(1) for name in ("wide", "slow", "out")}
    empty = {"base_weights": torch.zeros(0), "base_scales": torch.ones(0)}
    made.load_state_dict({**ones, **empty, "weights": torch.from_numpy(weights).float()})
    made.equations = held
    return made.eval()


def options(channels: int) -> dict[str, Any]:
    """Return the architecture's options."""
    return {
        "decimation": 1,
        "features": [[[channel, "wide", 0]] for channel in range(channels)],
        "taps": [list(LAGS)] * channels,
        "halves": {"wide": 0, "slow": 0, "out": 0},
    }


def publish_closed_form(
    config: Config,
    version: int = 1,
    rates: Mapping[str, int] = MappingProxyType(RATES),
    *,
    known: bool = True,
) -> Path:
    """Write the 60-Hz coupling's closed form, with its equations or without, and promote it."""
    witnesses = config.couplings["60Hz"].witnesses
    count = len(witnesses)
    path = models.write_model(
        config.models.directory,
        network(count, equations(count) if known else None),
        Scalers(np.zeros(count), np.ones(count), 0.0, 1e-22),
        Description(
            interferometer=config.interferometer,
            coupling="60Hz",
            version=version,
            architecture={"name": "closed_form", **options(count)},
            strain=Channel(name=config.strain.channel, rate=config.strain.rate),
            channels=tuple(Channel(name=name, rate=rates[name]) for name in witnesses),
            sample_rate=config.engine.rate,
            bands=config.couplings["60Hz"].bands,
            kernel=config.engine.rate,
            edge=config.couplings["60Hz"].predict.edge * config.engine.rate // NS,
        ),
    )
    versions.set_pointer(path.parent, "production", version)
    return path
