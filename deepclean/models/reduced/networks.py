"""The networks of a closed-form model for part of its witnesses."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import torch

from deepclean.core.predict import Network
from deepclean.models.model import Model
from deepclean.models.reduced.equations import Equations

_KEPT = 32
"""Networks that are kept. A site in trouble has a few sets of missing witnesses, over and over."""


class SolvedNetworks:
    """The networks of a model without some of its witnesses, each solved for when it is first used.

    Args:
        model: the model.
        equations: its normal equations.
        runs: returns what runs a model's network.

    Attributes:
        uses: the witnesses that the network needs, by their number.
    """

    def __init__(
        self, model: Model, equations: Equations, runs: Callable[[Model], Network]
    ) -> None:
        self._model, self._equations, self._runs = model, equations, runs
        self._kept: OrderedDict[frozenset[int], Network | None] = OrderedDict()
        self.uses = equations.channels

    def without(self, missing: frozenset[int]) -> Network | None:
        """Return the network without some witnesses; None where it is of no use.

        Equal witnesses give equal networks, kept or not.
        """
        if missing not in self._kept:
            self._kept[missing] = self._solved(missing)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(missing)
        return self._kept[missing]

    def _solved(self, missing: frozenset[int]) -> Network | None:
        weights, useful = self._equations.solve(missing)
        if not useful:
            return None
        network = copy.deepcopy(self._model.network)
        solved = torch.from_numpy(weights).float()
        network.load_state_dict({**network.state_dict(), "weights": solved})
        return self._runs(replace(self._model, network=network))
