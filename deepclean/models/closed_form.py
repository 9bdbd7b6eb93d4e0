"""The closed-form model: finite impulse responses over features of the witnesses, and their sum.

A *stream* is a witness behind a low-pass filter, at the internal rate, which is the model rate
divided by `decimation`: `wide` passes everything up to the coupling's bands, `slow` only what can
modulate a carrier into them. A *feature* is a product of streams: a witness itself, a carrier times
a slow witness, a witness squared, and so on. The estimate is

    p(t) = sum_i sum_j w_ij z_i(t + l_ij),

with the lags `l_ij` in internal samples, those into the past negative. A *base* is such a sum too,
in units of its scale and clipped; its Hermite polynomials may be factors of further features, so
that saturation and powers of the estimate are features like others. The result is brought back to
the model rate by an interpolating filter. A few matrix products do all of that: at the internal
rate the lags cost next to nothing, whatever their reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepclean.errors import ModelError
from deepclean.models.closed.lagged_sum import Lag, LaggedSum
from deepclean.models.reduced.equations import Equations

STREAMS = ("wide", "slow")
"""The low-pass filters that a witness may stand behind."""

POWER = "power"
"""What a factor is that is a polynomial of a base."""

CLIP = 3.0
"""Scales at which a base is clipped: beyond them there is too little data to learn from."""

_BLOCK = 32
"""Internal samples that one matrix product makes: longer wastes products, shorter copies."""


class ClosedForm(nn.Module):
    """A closed-form model.

    Args:
        channels: number of witnesses.
        decimation: model-rate samples per internal sample.
        features: each a list of factors: `[channel, stream, shift]`, with `wide` or `slow` for the
            stream and the internal samples by which it is taken later, or `[base, "power",
            degree]`.
        taps: for each feature its lags in internal samples; negative ones lie in the past. None
            for one that only a base needs.
        halves: half-lengths in samples of the filters: of each stream, and `out`, the
            interpolation's, a multiple of `decimation`.
        bases: each a list of `[feature, lag]`; of features that have no powers themselves.

    Attributes:
        features: the factors of each feature.
        lags: a feature and a lag in internal samples for each weight.
        equations: what the weights were solved from; None where it is not known.

    Raises:
        ModelError: an option out of range.
    """

    weights: Tensor
    base_weights: Tensor
    base_scales: Tensor
    out: Tensor

    def __init__(
        self,
        channels: int,
        *,
        decimation: int,
        features: Sequence[Sequence[Sequence[Any]]],
        taps: Sequence[Sequence[int]],
        halves: Mapping[str, int],
        bases: Sequence[Sequence[Sequence[int]]] = (),
    ) -> None:
        super().__init__()
        _check(channels, decimation, features, taps, halves, bases)
        self.decimation, self.halves = decimation, dict(halves)
        self.features = [[(int(a), str(b), int(c)) for a, b, c in f] for f in features]
        factors = {factor for feature in self.features for factor in feature}
        self._streams = {
            name: sorted((a, c) for a, stream, c in factors if stream == name) for name in STREAMS
        }
        self._powers = sorted((a, c) for a, stream, c in factors if stream == POWER)
        self._rows, self._factors = self._places()
        raised = [any(stream == POWER for _, stream, _ in f) for f in self.features]
        self._plain = [index for index, power in enumerate(raised) if not power]
        self._raised = [index for index, power in enumerate(raised) if power]
        self.lags: list[Lag] = [(i, lag) for i, lags in enumerate(taps) for lag in lags]
        self.bases: list[list[Lag]] = [[(i, lag) for i, lag in base] for base in bases]
        self._sum = LaggedSum(self._plain, self.lags)
        self._raised_sum = LaggedSum(self._raised, self.lags)
        self._base_sums = [LaggedSum(self._plain, base) for base in self.bases]
        self._filters: dict[str, Tensor] = {}
        self.equations: Equations | None = None
        self.register_load_state_dict_post_hook(_forget_filters)  # type: ignore[no-untyped-call]
        for stream in STREAMS:
            self.register_buffer(stream, torch.zeros(2 * halves[stream] + 1))
        self.register_buffer("out", torch.zeros(2 * halves["out"] + 1))
        self.register_buffer("weights", torch.zeros(len(self.lags)))
        self.register_buffer("base_weights", torch.zeros(sum(map(len, self.bases))))
        self.register_buffer("base_scales", torch.ones(len(self.bases)))

    @property
    def before(self) -> int:
        """Samples before an output sample that it may rest on."""
        return self._reach(-1)

    @property
    def after(self) -> int:
        """Samples after an output sample that it may rest on."""
        return self._reach(1)

    @property
    def carriers(self) -> tuple[int, ...]:
        """The channels that multiply slow ones."""
        products = [f for f in self.features if any(stream == "slow" for _, stream, _ in f)]
        return tuple(sorted({a for f in products for a, stream, _ in f if stream == "wide"}))

    def forward(self, witnesses: Tensor) -> Tensor:
        """Return the noise, `(batch, time)`, for `(batch, channels, time)`.

        `time` is a multiple of `decimation`.

        Raises:
            RuntimeError: it is not.
        """
        return self.interpolated(self.estimated(witnesses)[1])

    @property
    def products(self) -> list[int]:
        """Places of the features with more than one factor among those that `estimated` gives."""
        return [at for at, i in enumerate(self._plain) if len(self.features[i]) > 1]

    def estimated(self, witnesses: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and the noise at the internal rate.

        Returns:
            The features without powers, `(batch, features, internal samples)`, and the noise,
            `(batch, internal samples)`.

        Raises:
            RuntimeError: the time is not a multiple of the decimation.
        """
        features, raised = self._all_features(witnesses)
        noise = self._sum(features, self.weights)
        if raised is not None:
            noise = noise + self._raised_sum(raised, self.weights)
        return features, noise

    def added(self, witnesses: Tensor) -> Tensor:
        """Return what each feature adds to the noise, `(batch, features, internal samples)`."""
        features, raised = self._all_features(witnesses)
        made = self._sum.parts(features, self.weights)
        if raised is None:
            return made
        made = torch.cat([made, self._raised_sum.parts(raised, self.weights)], dim=1)
        order = self._plain + self._raised
        return made[:, [order.index(number) for number in range(len(order))]]

    def _all_features(self, witnesses: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the features without powers and those with powers, if there are any."""
        if witnesses.shape[-1] % self.decimation:
            raise RuntimeError(
                f"{witnesses.shape[-1]} samples are not a multiple of {self.decimation}"
            )
        rows = [self._lowered_streams(witnesses, name) for name in STREAMS]
        one = witnesses.new_ones(len(witnesses), 1, witnesses.shape[-1] // self.decimation)
        streams = torch.cat([one, *rows], dim=1)
        features = self._products(streams, self._plain)
        if not self._raised:
            return features, None
        powers = self._polynomials(features)
        return features, self._products(torch.cat([streams, powers], dim=1), self._raised)

    def _places(self) -> tuple[dict[tuple[int, str, int], int], list[list[int]]]:
        """Return the row of each factor, and for each place of a product the features' rows.

        Row 0 is 1: it fills the places of features that have fewer factors than the longest.
        """
        order = [(a, name, c) for name in STREAMS for a, c in self._streams[name]]
        order += [(a, POWER, c) for a, c in self._powers]
        rows = {factor: row for row, factor in enumerate(order, start=1)}
        length = max(map(len, self.features))
        filled = [[rows[f] for f in fs] + [0] * (length - len(fs)) for fs in self.features]
        return rows, [list(column) for column in zip(*filled, strict=True)]

    def _lowered_streams(self, witnesses: Tensor, name: str) -> Tensor:
        """Return the streams behind one of the filters, `(batch, streams, internal samples)`."""
        wanted = self._streams[name]
        used = sorted({channel for channel, _ in wanted})
        if not used:
            return witnesses.new_zeros(len(witnesses), 0, witnesses.shape[-1] // self.decimation)
        low = self.lowered(witnesses[:, used], name)
        if not any(shift for _, shift in wanted):
            return low
        rows = [_later(low[:, used.index(channel)], shift) for channel, shift in wanted]
        return torch.stack(rows, dim=1)

    def lowered(self, witnesses: Tensor, name: str) -> Tensor:
        """Return channels behind a low-pass filter at the internal rate."""
        step, half = self.decimation, self.halves[name]
        count = witnesses.shape[-1] // step
        blocks = -(-count // _BLOCK)
        padded = functional.pad(witnesses, (half, half + (blocks * _BLOCK - count) * step))
        matrix = self._filter(name)
        frames = padded.unfold(-1, len(matrix), _BLOCK * step).reshape(-1, len(matrix))
        return (frames @ matrix).reshape(*witnesses.shape[:2], -1)[..., :count]

    def _filter(self, name: str) -> Tensor:
        """Return the matrix that a filter's frames are multiplied by, made when it is first used.

        Of a low-pass: row r and column j hold tap `r - j step`. Of the interpolation: an output
        `j step + r` is `sum_k out[r - k step] z[j + k]`, and a frame's row is `j + k + reach`.
        """
        if name not in self._filters:
            # It is kept, and a gradient may be wanted later (`deepclean witnesses --model`), so it
            # must not be a tensor of the inference mode in which it is first used.
            with torch.inference_mode(mode=False):
                self._filters[name] = self._matrix(name)
        return self._filters[name]

    def _matrix(self, name: str) -> Tensor:
        taps: Tensor = getattr(self, name)
        step, device = self.decimation, taps.device
        if name == "out":
            reach = self.halves[name] // step
            rows = torch.arange(_BLOCK + 2 * reach, device=device)[:, None] - reach
            index = torch.arange(_BLOCK * step, device=device) - rows * step
            index += self.halves[name]
        else:
            rows = torch.arange((_BLOCK - 1) * step + len(taps), device=device)[:, None]
            index = rows - step * torch.arange(_BLOCK, device=device)
        inside = (index >= 0) & (index < len(taps))
        return torch.where(inside, taps[index.clamp(0, len(taps) - 1)], 0)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.forget_filters()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forget_filters(self) -> None:
        """Make the filters' matrices anew from their taps, which have changed."""
        self._filters.clear()

    def _products(self, rows: Tensor, wanted: Sequence[int]) -> Tensor:
        """Return some features, `(batch, features, internal samples)`."""
        first, *others = [[column[index] for index in wanted] for column in self._factors]
        product = rows[:, first]
        for column in others:
            if any(column):
                product = product * rows[:, column]
        return product

    def _polynomials(self, features: Tensor) -> Tensor:
        """Return the Hermite polynomials of the bases: `H_(k+1) = x H_k - k H_(k-1)`."""
        parts = torch.split(self.base_weights, list(map(len, self.bases)))
        values = [
            (lagged_sum(features, weights) / scale).clamp(-CLIP, CLIP)
            for lagged_sum, weights, scale in zip(
                self._base_sums, parts, self.base_scales, strict=True
            )
        ]
        made: dict[tuple[int, int], Tensor] = {}
        for number, value in enumerate(values):
            before, now = torch.ones_like(value), value
            for degree in range(1, 1 + max(d for b, d in self._powers if b == number)):
                made[number, degree] = now
                before, now = now, value * now - degree * before
        return torch.stack([made[power] for power in self._powers], dim=1)

    def interpolated(self, noise: Tensor) -> Tensor:
        """Return the noise at the model rate."""
        step, count = self.decimation, noise.shape[-1]
        if step == 1:
            return noise
        reach = self.halves["out"] // step
        blocks = -(-count // _BLOCK)
        padded = functional.pad(noise, (reach, reach + blocks * _BLOCK - count))
        matrix = self._filter("out")
        frames = padded.unfold(-1, len(matrix), _BLOCK).reshape(-1, len(matrix))
        return (frames @ matrix).reshape(len(noise), -1)[:, : count * step]

    def _reach(self, sign: int) -> int:
        """Return how far it looks, before (-1) or after (1), in samples."""
        bases = [max(self._end(i, lag, sign) for i, lag in base) for base in self.bases]
        ends = [self._end(i, lag, sign, bases) for i, lag in self.lags]
        return max(0, max(ends) + (self.halves["out"] if self.decimation > 1 else 0))

    def _end(self, feature: int, lag: int, sign: int, bases: Sequence[int] = ()) -> int:
        """Return how far a feature at a lag looks to one side, in samples."""
        ends = []
        for number, stream, shift in self.features[feature]:
            if stream == POWER:
                ends.append(sign * lag * self.decimation + bases[number])
            else:
                ends.append(sign * (lag - shift) * self.decimation + self.halves[stream])
        return max(ends)


def _forget_filters(module: nn.Module, incompatible: object) -> None:
    """Follow a change of the taps."""
    assert isinstance(module, ClosedForm)
    module.forget_filters()


def _later(samples: Tensor, shift: int) -> Tensor:
    """Return samples `(batch, time)` later by `shift`, which may be negative; zeros come in."""
    count = samples.shape[-1]
    padded = functional.pad(samples, (max(shift, 0), max(-shift, 0)))
    return padded[..., max(-shift, 0) : max(-shift, 0) + count]


def _check(
    channels: int,
    decimation: int,
    features: Sequence[Sequence[Sequence[Any]]],
    taps: Sequence[Sequence[int]],
    halves: Mapping[str, int],
    bases: Sequence[Sequence[Sequence[int]]],
) -> None:
    """Raise ModelError where the options do not describe a model."""
    if decimation < 1:
        raise ModelError(f"architecture.decimation: {decimation!r} is not a positive integer")
    if set(halves) != {*STREAMS, "out"} or min(halves.values()) < 0:
        raise ModelError(f"architecture.halves: {dict(halves)!r} does not give {STREAMS} and out")
    if halves["out"] % decimation:
        raise ModelError("architecture.halves.out is not a multiple of the decimation")
    if len(features) != len(taps) or not any(taps):
        raise ModelError(
            f"architecture: {len(features)} features and {len(taps)} lists of taps: not one for "
            "each feature, or all empty"
        )
    limits = {**dict.fromkeys(STREAMS, channels), POWER: len(bases)}
    for factors in features:
        known = [0 <= number < limits.get(stream, 0) for number, stream, _ in factors]
        if not known or not all(known):
            raise ModelError(
                f"architecture.features: {list(factors)!r} with {channels} channels and "
                f"{len(bases)} bases"
            )
    plain = {i for i, f in enumerate(features) if all(name != POWER for _, name, _ in f)}
    if not all(base and plain.issuperset(index for index, _ in base) for base in bases):
        raise ModelError("architecture.bases: a base is made of features without powers")
