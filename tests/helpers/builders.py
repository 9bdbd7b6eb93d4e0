"""Small things to clean and to clean them with: records of random data, networks, engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import cycle, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.block import Block, CleanedBlock, Estimate, Float64, Gap, Series
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.bandpass import Band, Bandpass, BandpassSettings, make_bandpass
from deepclean.core.filters.transformed import Transformed
from deepclean.core.geometry import PredictSettings
from deepclean.core.predict import Network, Predictor, ReducedNetworks
from deepclean.core.reach import Reach
from deepclean.core.time import NS, Span
from deepclean.models.networks import build, measure
from tests.helpers.settings import bandpass_settings, engine_settings, predict_settings

START = 1_400_000_000
"""GPS second at which records begin."""

SIXTEENTH = NS // 16

RATES = {"SLOW": 16, "ODD": 1040, "FAST": 2048}
"""Witnesses of the small engine: one below its model rate, one at an odd ratio, one above."""

_WHOLE = predict_settings(edge=0)

SMALL = engine_settings(strain_rate=1024, model_rate=512, ramp=NS // 8)

NOISE = 1e-21
"""Scale of strain."""


@dataclass(frozen=True)
class Record:
    """A stretch of a site's data, to be cut into blocks."""

    span: Span
    strain: Series | Gap
    witnesses: Mapping[str, Series | Gap]

    def block(self, span: Span) -> Block:
        """Return the part over `span`."""
        return Block(
            span, part(self.strain, span), {n: part(w, span) for n, w in self.witnesses.items()}
        )

    def blocks(self, sixteenths: Sequence[int] = (16,)) -> list[Block]:
        """Cut into blocks of these lengths, over and over, in sixteenths of a second."""
        lengths = cycle(sixteenths)
        edges = [self.span.start]
        while edges[-1] < self.span.end:
            edges.append(min(edges[-1] + next(lengths) * SIXTEENTH, self.span.end))
        return [self.block(Span(low, high)) for low, high in pairwise(edges)]

    def between(self, start: int, end: int) -> Record:
        """Return the part from `start` to `end`, ns from the record's start."""
        span = Span(self.span.start + start, self.span.start + end)
        block = self.block(span)
        return Record(span, block.strain, block.witnesses)

    def replaced(self, **witnesses: Series | Gap) -> Record:
        """Return this record with other witnesses under the same names."""
        return Record(self.span, self.strain, {**self.witnesses, **witnesses})


def part(channel: Series | Gap, span: Span) -> Series | Gap:
    """Return a channel over `span`."""
    return Gap(span, channel.reason) if isinstance(channel, Gap) else channel.cut(span)


def make_record(
    seconds: int,
    rates: Mapping[str, int] = RATES,
    *,
    strain_rate: int = SMALL.strain_rate,
    seed: int = 0,
    start: int = START,
) -> Record:
    """Return `seconds` of white witnesses, the first with a 60 Hz line, and white strain."""
    rng = np.random.default_rng(seed)
    span = Span.of_seconds(start, seconds)
    witnesses: dict[str, Series] = {}
    for name, rate in rates.items():
        samples = rng.standard_normal(seconds * rate)
        if rate > 120:
            samples += 2.0 * np.sin(2 * np.pi * 60 * np.arange(len(samples)) / rate)
        witnesses[name] = Series(span, rate, samples)
    strain = NOISE * rng.standard_normal(seconds * strain_rate)
    return Record(span, Series(span, strain_rate, strain), witnesses)


def changed(series: Series | Gap, span: Span, samples: Any) -> Series:
    """Return a copy of a series with other samples over `span`."""
    assert isinstance(series, Series)
    first, _ = series.span.indices(series.rate)
    low, high = span.indices(series.rate)
    values = np.array(series.samples)
    values[low - first : high - first] = samples
    return Series(series.span, series.rate, values)


def first_channel(inputs: torch.Tensor) -> torch.Tensor:
    """A network that hands its first channel through."""
    return inputs[:, 0]


def kernel_start(inputs: torch.Tensor) -> torch.Tensor:
    """A network that gives the first channel's first sample everywhere."""
    return inputs[:, 0, :1].expand(-1, inputs.shape[2])


@lru_cache
def autoencoder(channels: int, seed: int = 0) -> tuple[torch.nn.Module, int, int]:
    """Return the published network with seeded weights, its receptive field and its period."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = build({"name": "autoencoder"}, channels).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean = 0.1 * torch.randn(module.num_features, generator=generator)
            module.running_var = 0.2 + 0.2 * torch.rand(module.num_features, generator=generator)
    return _measured(network, channels)


@lru_cache
def wiener(channels: int, taps: int = 33, seed: int = 0) -> tuple[torch.nn.Module, int, int]:
    """Return a linear network with seeded weights, its receptive field and its period."""
    torch.manual_seed(seed)
    return _measured(build({"name": "wiener", "taps": taps}, channels).eval(), channels)


def _measured(network: torch.nn.Module, channels: int) -> tuple[torch.nn.Module, int, int]:
    found = measure(network, channels, 1024)
    assert found.period is not None
    return network, max(found.reach), found.period


def make_predictor(
    network: Network,
    channels: int,
    reach: int | None = None,
    period: int | None = None,
    *,
    std: float = NOISE,
    version: int = 1,
) -> Predictor:
    """Return a predictor whose scalers are all different."""
    return Predictor(
        network=network,
        witness_mean=np.linspace(0.0, 0.5, channels),
        witness_std=np.linspace(1.0, 2.0, channels),
        strain_mean=0.0,
        strain_std=std,
        reach=None if reach is None else Reach.both(reach),
        period=period,
        version=version,
    )


@dataclass(frozen=True)
class Small:
    """The makings of a coupling of the small engine; each can be replaced."""

    name: str = "60Hz"
    witnesses: Sequence[str] = tuple(RATES)
    network: tuple[Network, int | None, int | None] | None = None
    predict: PredictSettings = field(default_factory=lambda: predict_settings(kernel=512, edge=112))
    bands: Sequence[Band] = ((55.0, 65.0),)
    bandpass: BandpassSettings = field(default_factory=lambda: bandpass_settings(transition=10.0))
    version: int = 1
    adapt: AdaptSettings | None = None
    carriers: Sequence[int] = ()
    parts: int = 0
    reduced: ReducedNetworks | None = None

    def coupling(self, rate: int = SMALL.model_rate) -> Coupling:
        """Return the coupling."""
        count = len(self.witnesses)
        network, reach, period = self.network or autoencoder(count)
        predictor = replace(
            make_predictor(network, count, reach, period, version=self.version),
            parts=self.parts,
            reduced=self.reduced,
        )
        bandpass = make_bandpass(self.bandpass, self.bands, rate)
        witnesses = tuple(self.witnesses)
        return Coupling(
            self.name,
            witnesses,
            predictor,
            self.predict,
            bandpass,
            self.bands,
            self.adapt,
            self.carriers,
        )


def make_engine(settings: EngineSettings = SMALL, *couplings: Small) -> Engine:
    """Return an engine of small couplings, one by default."""
    return Engine(settings, [c.coupling(settings.model_rate) for c in couplings or (Small(),)])


@dataclass
class Box:
    """A bandpass that is the mean over `settle_in` samples either side: all count alike."""

    settle_in: int = 0

    def apply(self, window: Float64) -> Float64:
        """Return the moving mean."""
        count = 2 * self.settle_in + 1
        return np.convolve(window, np.full(count, 1 / count), mode="valid")

    def filtered(self, window: Transformed) -> Float64:
        """Return it too."""
        return self.apply(window.samples)

    def response(self, frequencies: Float64) -> Float64:
        """Return what nobody asks a box for."""
        raise NotImplementedError


def transparent(
    settings: EngineSettings,
    *witnesses: str,
    settle_in: int = 0,
    predict: PredictSettings = _WHOLE,
    network: Network = first_channel,
    bands: Sequence[Band] = (),
) -> Engine:
    """Return an engine whose estimate is its first witness, resampled and averaged."""
    names = witnesses or ("FAST",)
    count = len(names)
    predictor = Predictor(
        network, np.zeros(count), np.ones(count), 0.0, NOISE, Reach.both(predict.edge), 1
    )
    bandpass: Bandpass = Box(settle_in)
    return Engine(settings, [Coupling("all", names, predictor, predict, bandpass, bands)])


def push_all(engine: Engine, blocks: Iterable[Block]) -> list[CleanedBlock]:
    """Return what the blocks complete; after every other one the next is prepared, as it may be."""
    found = []
    for number, block in enumerate(blocks):
        found += engine.push(block)
        if number % 2:
            engine.prepare()
    return found


def play(
    engine: Engine, blocks: Sequence[Block], acts: Mapping[int, Callable[[], object]]
) -> list[CleanedBlock]:
    """Return what the blocks complete; before the block of a second (from the first), act."""
    found = []
    for block in blocks:
        second, rest = divmod(block.span.start - blocks[0].span.start, NS)
        if not rest and second in acts:
            acts[second]()
        found += engine.push(block)
    return found


def clean(engine: Engine, blocks: Iterable[Block]) -> list[CleanedBlock]:
    """Return all blocks cleaned, the last without look-ahead."""
    return push_all(engine, blocks) + engine.release()


def estimate(cleaned: Sequence[CleanedBlock], name: str = "60Hz") -> Estimate:
    """Return the estimates of consecutive blocks as one."""
    parts = [block.estimates[name] for block in cleaned]
    return Estimate(
        np.concatenate([p.noise for p in parts]),
        np.concatenate([p.gain for p in parts]),
        parts[0].version,
    )


def strain_of(cleaned: Sequence[CleanedBlock]) -> Float64:
    """Return the cleaned strain of consecutive blocks as one."""
    pieces = [block.cleaned for block in cleaned]
    return np.concatenate([piece for piece in pieces if piece is not None])


def over(cleaned: Sequence[CleanedBlock], span: Span) -> list[Float64]:
    """Return the cleaned strain, the noise and the gain of one coupling over a span of blocks."""
    inside = [block for block in cleaned if block.span.overlap(span)]
    assert Span(inside[0].span.start, inside[-1].span.end).covers(span)
    assert all(one.span.end == other.span.start for one, other in pairwise(inside))
    strain = inside[0].source.strain
    assert isinstance(strain, Series)
    first, _ = inside[0].span.indices(strain.rate)
    low, high = (index - first for index in span.indices(strain.rate))
    found = estimate(inside, *inside[0].estimates)
    return [samples[low:high] for samples in (strain_of(inside), found.noise, found.gain)]


def raw_of(cleaned: Sequence[CleanedBlock]) -> NDArray[Any]:
    """Return the raw strain of consecutive blocks as one."""
    pieces = [block.source.strain for block in cleaned]
    return np.concatenate([piece.samples for piece in pieces if isinstance(piece, Series)])


def assert_same_bits(found: Sequence[Float64], expected: Sequence[Float64]) -> None:
    """Assert that two lists of arrays have the same bits, one by one."""
    for one, other in zip(found, expected, strict=True):
        assert same_bits(one, other)


def same_series(one: Series | Gap, other: Series | Gap) -> bool:
    """Return whether two series have the same span, rate and bits."""
    assert isinstance(one, Series)
    assert isinstance(other, Series)
    same_place = (one.span, one.rate) == (other.span, other.rate)
    return same_place and same_bits(one.samples, other.samples)


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two arrays have the same dtype, shape and bits (also NaN and -0)."""
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )
