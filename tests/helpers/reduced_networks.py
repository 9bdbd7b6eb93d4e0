"""A small coupling whose network has others for part of its witnesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch

from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.geometry import PredictSettings
from deepclean.core.predict import Network
from tests.helpers.builders import SMALL, Small, wiener
from tests.helpers.settings import predict_settings


class Subsets:
    """Networks for part of the witnesses, each with weights of its own.

    Args:
        count: the number of witnesses.
        vital: those without which nothing useful is left.
        idle: those that no network needs.
    """

    def __init__(self, count: int, vital: Sequence[int] = (), idle: Sequence[int] = ()) -> None:
        self.uses = frozenset(range(count)) - set(idle)
        self._count, self._vital, self._idle = count, frozenset(vital), frozenset(idle)

    def without(self, missing: frozenset[int]) -> Network | None:
        """Return the network without some witnesses; None where nothing useful is left."""
        if missing & self._vital or missing >= self.uses:
            return None
        return self.network(missing)

    @lru_cache  # noqa: B019  (lives as long as the test)
    def network(self, missing: frozenset[int] = frozenset()) -> torch.nn.Module:
        """Return a linear network that does not listen to some witnesses."""
        network, _, _ = wiener(self._count, seed=1 + sum(1 << number for number in missing))
        for weights in network.parameters():
            if weights.ndim == 3:
                weights.requires_grad_(False)[:, sorted(missing | self._idle)] = 0.0
        return network


def coupling(
    names: Sequence[str],
    subsets: Subsets | None,
    settings: EngineSettings = SMALL,
    predict: PredictSettings | None = None,
    whole: Network | None = None,
) -> Coupling:
    """Return a coupling whose network has these others; None: it has none."""
    network = whole or (subsets or Subsets(len(names))).network()
    predict = predict or predict_settings(kernel=512, edge=112)
    spec = Small(witnesses=names, network=(network, 16, 1), predict=predict)
    made = spec.coupling(settings.model_rate)
    return replace(made, predictor=replace(made.predictor, reduced=subsets))


def engine(
    names: Sequence[str],
    subsets: Subsets | None,
    settings: EngineSettings = SMALL,
    predict: PredictSettings | None = None,
) -> Engine:
    """Return an engine of one such coupling."""
    return Engine(settings, [coupling(names, subsets, settings, predict)])
