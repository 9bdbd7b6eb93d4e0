"""A coupling that goes on without the witnesses that are missing.

A model that has networks for part of its witnesses (core.predict.ReducedNetworks) is not closed by
a missing one. Each prediction is made by the network for the witnesses that it can rest on; where
no such network is of use, the estimate is invalid, as that of any other model.

Every witness has an *availability* `a_w` at each prediction: 0 where a sample of it is missing that
the prediction rests on, else 1, with raised-cosine ramps between. Let `u` be drawn evenly from
[0, 1]. The prediction is the mean over `u` of the predictions without the witnesses `{w: a_w < u}`.
With the availabilities sorted this is a finite sum,

    p = sum_i (a_(i+1) - a_(i)) p_i,    a_(0) = 0,    a_(n+1) = 1,

where `p_i` does without the `i` least available witnesses. No network with a weight above 0 rests
on a missing sample, the weights add up to 1, and they change as smoothly as the availabilities.

After a gap the ramp is the engine's. Before a gap it is as long as the hop of predictions in which
the gap begins to count allows, because the predictions before that hop are made; the bandpass
rounds off what is left of a step. All of this is a function of the input within the reach of the
hop (core.engine.schedule), so it does not depend on how the stream was cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from deepclean.core.block import Float64, Samples
from deepclean.core.engine.schedule import CouplingSchedule, EngineSettings, hop_start
from deepclean.core.nonfinite import runs
from deepclean.core.predict import Network, ReducedNetworks
from deepclean.core.time import NS

_MOST = 8
"""Sets of witnesses that a hop may need one after the other. Where there are more, because several
witnesses come and go within the hop, it does without all that are missing in any part of it, if
that is of use. So a hop costs no more than so many networks and solutions."""

ALWAYS = 1 << 62
"""After all time: GPS nanoseconds, or an index."""


class Loss(NamedTuple):
    """Predictions that cannot rest on a witness.

    Args:
        first: index of the first.
        stop: index after the last.
        fall: predictions before the first over which the witness's share falls.
        reason: why its samples are missing.
        until: the end of the estimates that it may make invalid, GPS nanoseconds.
    """

    first: int
    stop: int
    fall: int
    reason: str
    until: int = ALWAYS


Losses = dict[int, list[Loss]]
"""The losses of each witness, by its number in the network's order."""

Share = tuple[frozenset[int], Float64]
"""Witnesses that are left out, and the weight of the prediction without them, shape `(n,)`."""


class Part(NamedTuple):
    """One network's part in a hop of predictions.

    Args:
        missing: the witnesses that it does without.
        network: the network; None for the whole one.
        weight: of its predictions, shape `(hop,)`.
    """

    missing: frozenset[int]
    network: Network | None
    weight: Float64


class MissingWitnesses:
    """Decides by which networks of one version each hop is predicted.

    Args:
        settings: the engine's settings.
        schedule: the schedule of the coupling.
        networks: the networks for part of the witnesses.
    """

    def __init__(
        self, settings: EngineSettings, schedule: CouplingSchedule, networks: ReducedNetworks
    ) -> None:
        self._settings, self._schedule, self._networks = settings, schedule, networks
        self._rise = settings.ramp * settings.model_rate // NS

    def mark(self, losses: Losses, witness: int, first: int, stop: int, reason: str) -> None:
        """Note that samples `[first, stop)` of a witness at the model rate are missing.

        Args:
            losses: the losses so far.
            witness: its number.
            first: index of the first sample that rests on missing input.
            stop: index after the last.
            reason: why.
        """
        if witness not in self._networks.uses:
            return
        low, high = self._schedule.geometry.spoilt(first, stop)
        fall = low - hop_start(low, self._schedule.predicted, self._settings.hop_model)
        found = losses.setdefault(witness, [])
        if found and found[-1].reason == reason and found[-1].first <= low <= found[-1].stop:
            # The ramp before this one lies in the loss before, or ends at its end.
            last = found.pop()
            found.append(last._replace(stop=max(last.stop, high)))
        else:
            found.append(Loss(low, high, min(fall, self._rise), reason))

    def trim(self, losses: Losses, start: int) -> None:
        """Drop the losses that no prediction from `start` on depends on."""
        for witness, found in list(losses.items()):
            losses[witness] = [loss for loss in found if loss.stop + self._rise > start]
            if not losses[witness]:
                del losses[witness]

    def present(self, losses: Losses, witness: int, first: int, samples: Samples) -> Samples:
        """Return standardised samples of a witness times its availability.

        What stands in the place of missing samples is then 0, as it is for the network.

        Args:
            losses: all losses that begin before the samples' end, and perhaps later ones.
            witness: its number.
            first: index of the first sample.
            samples: shape `(n,)`.
        """
        available = self._available(losses, witness, first, len(samples))
        return samples if available is None else samples * available

    def parts(self, losses: Losses, start: int, count: int) -> tuple[list[Part], list[Loss]] | None:
        """Return the networks of a hop of predictions, and the losses that make it invalid.

        Args:
            losses: all losses that begin before the hop's end, and perhaps later ones.
            start: index of the hop's first prediction.
            count: the number of predictions.

        Returns:
            The parts, whose weights add up to 1, and what is left of the losses where no useful
            network can do without the witness, cut to the hop. None where every witness is there.
        """
        available = self._availabilities(losses, start, count)
        if not available:
            return None
        found = shares(available)
        if len(found) > _MOST:
            # Where that is of use, so is each of its subsets: nothing is valid or invalid for it.
            everything = frozenset(available)
            if self._networks.without(everything) is not None:
                found = [(everything, np.ones(count))]
        parts = [Part(frozenset(), None, np.zeros(count))]
        for missing, weight in found:
            network = self._networks.without(missing) if missing else None
            if not missing:
                parts[0] = Part(missing, None, weight)
            elif network is not None:
                parts.append(Part(missing, network, weight))
        # The weights of networks that are of no use go to the others. Where there are no others,
        # the whole network predicts, and that is invalid where it rests on missing samples.
        total = np.sum([part.weight for part in parts], axis=0)
        nothing = total == 0
        parts[0] = parts[0]._replace(weight=np.where(nothing, 1.0, parts[0].weight))
        total[nothing] = 1.0
        parts = [part._replace(weight=part.weight / total) for part in parts]
        invalid = [
            loss._replace(first=start + max(low, first), stop=start + min(high, stop))
            for low, high in runs(nothing)
            for loss in (loss for found in losses.values() for loss in found)
            for first, stop in [(loss.first - start, loss.stop - start)]
            if first < high and stop > low
        ]
        return [part for part in parts if part.weight.any()], invalid

    def _availabilities(self, losses: Losses, start: int, count: int) -> dict[int, Float64]:
        """Return the availability over a hop of each witness that is not there throughout."""
        each = {one: self._available(losses, one, start, count) for one in losses}
        return {witness: found for witness, found in each.items() if found is not None}

    def _available(self, losses: Losses, witness: int, start: int, count: int) -> Float64 | None:
        """Return the availability of a witness over some predictions; None: it is there."""
        near = [
            loss
            for loss in losses.get(witness, ())
            if loss.first - loss.fall < start + count and loss.stop + self._rise > start
        ]
        return availability(near, start, count, self._rise) if near else None


def availability(losses: Sequence[Loss], start: int, count: int, rise: int) -> Float64:
    """Return the availability of a witness over the predictions `[start, start + count)`.

    >>> availability([Loss(12, 14, fall=2, reason="")], 9, 8, rise=2).round(3).tolist()
    [1.0, 1.0, 0.5, 0.0, 0.0, 0.5, 1.0, 1.0]

    Args:
        losses: the witness's losses near these.
        start: index of the first prediction.
        count: the number of predictions.
        rise: predictions after a loss over which the availability rises.
    """
    available = np.ones(count)
    for first, stop, fall, *_ in losses:
        before = np.arange(max(first - fall, start), min(first, start + count))
        after = np.arange(max(stop, start), min(stop + rise, start + count))
        for index, distance, length in (
            (before, first - before, fall),
            (after, after - stop + 1, rise),
        ):
            ramp = np.sin(0.5 * np.pi * distance / max(length, 1)) ** 2
            part = slice(index[0] - start, index[-1] + 1 - start) if len(index) else slice(0)
            available[part] = np.minimum(available[part], ramp)
        available[max(first - start, 0) : max(stop - start, 0)] = 0.0
    return available


def shares(available: Mapping[int, Float64]) -> list[Share]:
    """Return the sets of witnesses that are left out, and the weight of each.

    >>> found = shares({3: np.array([0.0, 0.25]), 5: np.array([1.0, 0.5])})
    >>> [(sorted(missing), weight.tolist()) for missing, weight in found]
    [([], [0.0, 0.25]), ([3], [1.0, 0.25]), ([3, 5], [0.0, 0.5])]

    Args:
        available: by witness, each of shape `(n,)`.
    """
    witnesses = sorted(available)
    levels = np.stack([available[witness] for witness in witnesses])
    order = np.argsort(levels, axis=0, kind="stable")
    edge = np.zeros((1, levels.shape[1]))
    ordered = np.concatenate([edge, np.take_along_axis(levels, order, axis=0), edge + 1])
    weights = np.diff(ordered, axis=0)
    # Between two changes of the order, or of the weights that are 0, the sets are the same.
    same = (order[:, 1:] == order[:, :-1]).all(axis=0)
    same &= ((weights[:, 1:] > 0) == (weights[:, :-1] > 0)).all(axis=0)
    edges = [0, *(np.flatnonzero(~same) + 1).tolist(), levels.shape[1]]
    found: dict[frozenset[int], Float64] = {}
    for low, high in pairwise(edges):
        for count in np.flatnonzero(weights[:, low] > 0):
            missing = frozenset(witnesses[place] for place in order[:count, low])
            weight = found.setdefault(missing, np.zeros(levels.shape[1]))
            weight[low:high] = weights[count, low:high]
    return sorted(found.items(), key=lambda share: sorted(share[0]))
