"""The estimates in the frames give the raw strain back, whatever happened to the stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from deepclean.core.adapt.settings import AdaptSettings, Member
from deepclean.core.block import Block, CleanedBlock, Float64, Gap, Samples, Series, Version
from deepclean.core.channels import noise, product_names, subtracted
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.output.estimates import estimate_rate
from deepclean.core.output.products import render
from deepclean.core.time import NS, Span
from tests.helpers.builders import NOISE, START, Small, same_bits
from tests.helpers.settings import bandpass_settings, engine_settings, gate_settings

STRAIN = "H1:STRAIN"
OUT_DQ = product_names(STRAIN, ["OUT_DQ"])["OUT_DQ"]
RATE, MODEL_RATE = 2048, 512
BANDS = {"25Hz": ((20.0, 30.0),), "105Hz": ((100.0, 110.0),)}
RATES = {name: estimate_rate(RATE, bands) for name, bands in BANDS.items()}
GATE = gate_settings(window=4 * NS, dwell=2 * NS, memory=6 * NS, fade=NS // 2)
SETTINGS = engine_settings(strain_rate=RATE, model_rate=MODEL_RATE, ramp=NS // 8, gate=GATE)
ADAPT = AdaptSettings(members=(Member(16, slope=True), Member(8)), judged=8)

Frame = dict[str, Series]


def coupling(name: str, version: int = 1) -> Coupling:
    """Return a version of a coupling; its estimate is the witness, one a tenth less than the other.

    That of 25 Hz is adapted.
    """

    def network(inputs: torch.Tensor) -> torch.Tensor:
        return (1.0 - 0.1 * (version - 1)) * inputs[:, 0]

    small = Small(
        name,
        (name,),
        (network, 0, 1),
        bands=BANDS[name],
        bandpass=bandpass_settings(transition=10.0),
        version=version,
        adapt=ADAPT if name == "25Hz" else None,
    )
    return small.coupling(MODEL_RATE)


def second(number: int) -> Block:
    """Return a second of strain that holds both witnesses, one of them by a gain that drifts.

    From time to time something is wrong with it. So many seconds from the start, in each minute:
    witnesses absent (15), a stuck one (22), samples that are no numbers (30), no strain (37), a
    witness that the strain does not hold, for four seconds (42).
    """
    span, minute = Span.of_seconds(START + number, 1), number % 60
    random = np.random.default_rng([7, number])
    heard = {name: random.standard_normal(RATE) for name in BANDS}
    drift = 1.0 + 0.2 * np.sin(2 * np.pi * number / 97)
    samples = NOISE * (drift * heard["25Hz"] + heard["105Hz"] + 0.1 * random.standard_normal(RATE))
    witnesses: dict[str, Series | Gap] = {n: Series(span, RATE, h) for n, h in heard.items()}
    strain: Series | Gap = Series(span, RATE, samples)
    if minute == 15:
        witnesses["105Hz"] = Gap(span, "missing")
    elif minute == 22:
        witnesses["25Hz"] = Series(span, RATE, np.where(np.arange(RATE) < 900, heard["25Hz"], 0.5))
    elif minute == 30:
        samples[700:710] = np.nan
    elif minute == 37:
        strain = Gap(span, "strain_missing")
    elif 42 <= minute < 46:
        witnesses["105Hz"] = Series(span, RATE, 5.0 * random.standard_normal(RATE))
    return Block(span, strain, witnesses)


def pieces(count: int, lengths: Sequence[int]) -> Iterator[Block]:
    """Yield the first `count` seconds, each cut into parts of these sixteenths."""
    for number in range(count):
        block = second(number)
        low = block.span.start
        for length in lengths:
            high = low + length * NS // 16
            yield block.cut(Span(low, high))
            low = high


def frames(engine: Engine, count: int, lengths: Sequence[int] = (16,)) -> Iterator[CleanedBlock]:
    """Yield the cleaned blocks; every 50 s another version of one coupling takes over.

    Every other one does so before its gate is open: old and new have different gains then.
    """
    current = dict.fromkeys(BANDS, 1)
    for block in pieces(count, lengths):
        seconds, rest = divmod(block.span.start - START * NS, NS)
        name = list(BANDS)[seconds // 50 % 2]
        if rest == 0 and seconds % 50 == 5:
            engine.versions.add(coupling(name, 3 - current[name]))
        if rest == 0 and seconds % 50 == (8 if seconds // 50 % 4 in (1, 2) else 49):
            old, current[name] = current[name], 3 - current[name]
            engine.versions.promote(Version(name, current[name]))
            engine.versions.remove(Version(name, old))
        yield from engine.push(block)
    yield from engine.release()


def rendered(block: CleanedBlock) -> Frame:
    """Return what a frame holds of a block with strain."""
    frame = CleanedFrame(InputFrame(block.span, [block.source]), [block])
    return render(frame, STRAIN, ["OUT_DQ"], RATES, subtracted=True)


def engine(*, forecasting: bool = False) -> Engine:
    """Return an engine of both couplings, with gates."""
    forecast = ForecastSettings() if forecasting else None
    return Engine(replace(SETTINGS, forecast=forecast), [coupling(name) for name in BANDS])


def by_coupling(found: Frame, name: str) -> Float64:
    """Return factor times noise of a coupling, at the rate of its channel."""
    samples, factor = (found[channel].samples for channel in noise("H1", name))
    return factor.astype(np.float64) * samples


def subtracted_noise(block: CleanedBlock, name: str) -> Float64:
    return block.estimates[name].subtracted()


@dataclass
class Tally:
    """What was seen of a run."""

    worst: float = 0.0
    scales: list[float] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def note(self, block: CleanedBlock) -> None:
        """Compare one second's frame with the raw strain."""
        assert isinstance(block.source.strain, Series)
        found, raw = rendered(block), block.source.strain.samples
        cleaned, total = found[OUT_DQ].samples, found[subtracted(STRAIN)].samples
        finite = np.isfinite(raw)
        back = cleaned + total
        limit = np.spacing(np.maximum(np.abs(cleaned), np.abs(total)))
        assert (np.abs(back - raw)[finite] <= limit[finite]).all()
        slowest = min(RATES.values())
        parts = [by_coupling(found, name)[:: RATES[name] // slowest] for name in BANDS]
        every = RATE // slowest
        errors = (cleaned[::every] + sum(parts) - raw[::every])[finite[::every]]
        self.worst = max(self.worst, float(np.abs(errors).max()))
        self.scales.append(float(np.std(total)))
        for name in BANDS:
            one = block.estimates[name]
            self.seen["crossfade"] += bool(one.parts)
            self.seen["ramp"] += bool(((one.gain > 0) & (one.gain < 1)).any())
            self.seen["whole"] += bool((one.gain == 1).all())
            self.seen["nothing"] += bool((one.gain == 0).all())
            self.seen["gate"] += bool(one.gate is not None and (one.gate < 1).any())
            self.seen["adapted"] += any(abs(knot.whole - 1) > 0.02 for knot in one.knots or ())
        self.seen["no number"] += not finite.all()


@pytest.mark.parametrize("forecasting", [False, True], ids=["waits", "forecasts"])
@pytest.mark.parametrize(
    "seconds",
    [120, pytest.param(3600, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)])],
)
def test_out_dq_and_the_estimates_are_the_raw_strain(seconds: int, forecasting: bool) -> None:
    tally, strainless = Tally(), 0
    for block in frames(engine(forecasting=forecasting), seconds):
        if isinstance(block.source.strain, Gap):
            strainless += 1
            continue
        tally.note(block)
    assert strainless == seconds // 60
    assert tally.worst < 1e-6 * np.median(tally.scales)
    seen = tally.seen
    least = {"crossfade": 2, "ramp": 8, "whole": 20, "nothing": 4, "gate": 8, "adapted": 10}
    assert all(seen[what] >= count * seconds // 120 for what, count in least.items()), seen
    assert seen["no number"] == seconds // 60


def test_a_frame_has_the_same_estimates_however_the_stream_was_cut() -> None:
    def run(lengths: Sequence[int]) -> dict[str, list[Samples]]:
        found: dict[str, list[Samples]] = {}
        for block in frames(engine(), 60, lengths):
            if isinstance(block.source.strain, Series):
                for name, series in rendered(block).items():
                    found.setdefault(name, []).append(series.samples)
        return found

    whole, cut = run([16]), run([3, 8, 5])
    for name, samples in whole.items():
        assert same_bits(np.concatenate(samples), np.concatenate(cut[name])), name


def test_some_of_the_noise_can_be_put_back() -> None:
    """The strain without one coupling's noise alone, from OUT_DQ and the other's estimate."""
    blocks = [b for b in frames(engine(), 30) if b.span.start >= (START + 16) * NS][:6]
    found = [rendered(block) for block in blocks]
    whole: dict[str, NDArray[np.float64]] = {}
    for name in BANDS:
        low = np.concatenate([by_coupling(frame, name) for frame in found])
        # As docs/products.md says it.
        whole[name] = resample_poly(low, RATE // RATES[name], 1, window=("kaiser", 14.0))
    cleaned = np.concatenate([frame[OUT_DQ].samples for frame in found])
    inside = slice(RATE, -RATE)
    for name, other in (("25Hz", "105Hz"), ("105Hz", "25Hz")):
        raw = np.concatenate([block.source.strain.samples for block in blocks])  # type: ignore[union-attr]
        removed = np.concatenate([subtracted_noise(block, other) for block in blocks])
        errors = (cleaned + whole[name]) - (raw - removed)
        exact = np.concatenate([subtracted_noise(block, name) for block in blocks])
        assert np.std(errors[inside]) < 1e-3 * np.std(exact[inside])
