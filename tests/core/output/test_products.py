"""What a cleaned frame says of itself: every bit on its own, names, rates, versions, gains."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepclean.core import channels
from deepclean.core.block import (
    Block,
    CleanedBlock,
    Estimate,
    Gap,
    Series,
    StrainProducts,
    WitnessFault,
)
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.output.products import State, outcome, render, state_bits
from deepclean.core.reasons import CLEANED
from deepclean.core.subtract import subtract
from deepclean.core.time import NS, Span
from tests.helpers.builders import START, same_bits

RATE = 256
PER_STATE = RATE // 16
STEP = NS // 16
SECOND = Span.of_seconds(START, 1)
STRAIN = "H1:GDS-CALIB_STRAIN"
BOTH = ("OUT_DQ", "PRODUCTION")

Gains = Mapping[str, NDArray[np.float64] | float]


def series(rate: int, value: Any = 1.0, span: Span = SECOND) -> Series:
    return Series(span, rate, np.full(span.samples(rate), value))


def with_one(samples: NDArray[Any], index: int, value: float) -> NDArray[Any]:
    changed = samples.copy()
    changed[index] = value
    return changed


def cleaned_block(
    gains: Gains | None = None,
    *,
    span: Span = SECOND,
    strain: NDArray[Any] | None = None,
    state: Series | Gap | None = None,
    reasons: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> CleanedBlock:
    """Return a block whose estimates are 0.25 with these gains, cleaned."""
    count = span.samples(RATE)
    raw = np.ones(count) if strain is None else strain
    estimates = {
        name: Estimate(
            np.full(count, 0.25), np.full(count, 1.0) * gain, 3 + number, reasons.get(name, ())
        )
        for number, (name, gain) in enumerate((gains or {"60Hz": 1.0}).items())
    }
    block = Block(span, Series(span, RATE, raw), {}, state)
    cleaned = subtract(raw, estimates.values())
    return CleanedBlock(block, StrainProducts(cleaned, cleaned, cleaned), estimates)


def frame(*blocks: CleanedBlock) -> CleanedFrame:
    span = Span(blocks[0].span.start, blocks[-1].span.end)
    return CleanedFrame(InputFrame(span, [b.source for b in blocks]), blocks)


def lacking(block: CleanedBlock) -> list[set[str]]:
    """Return, per sixteenth of a second, which bits are not set, of those that can be."""
    never = State.IN_SPEC | State.SETTLED  # without gates
    assert not (state_bits(block) & never).any()
    return [{s.name or "" for s in State if not s & never and not b & s} for b in state_bits(block)]


READY = series(16, np.uint32(0b111))
GOOD: list[set[str]] = [set()] * 16


def at(index: int, *names: str) -> list[set[str]]:
    """Return what `lacking` gives where only one sixteenth lacks these bits."""
    return [set(names) if i == index else set() for i in range(16)]


def test_all_is_well() -> None:
    assert lacking(cleaned_block(state=READY)) == GOOD
    assert state_bits(cleaned_block(state=READY)).dtype == np.uint32


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", [0, PER_STATE - 1, PER_STATE, RATE - 1])
def test_strain_that_is_no_number_is_said_where_it_is(value: float, index: int) -> None:
    block = cleaned_block(strain=with_one(np.ones(RATE), index, value), state=READY)
    assert lacking(block) == at(index // PER_STATE, "OUTPUT_VALID", "STRAIN_GOOD")


def test_an_output_that_is_no_number_is_not_the_strains_fault() -> None:
    spoilt = with_one(np.ones(RATE), RATE - 1, np.nan)
    products = StrainProducts(spoilt, spoilt, spoilt)
    block = replace(cleaned_block(state=READY), products=products)
    assert lacking(block) == at(15, "OUTPUT_VALID")


@pytest.mark.parametrize(
    ("start", "end", "marked"),
    [(0, NS, range(16)), (7 * STEP, 8 * STEP, [7]), (8 * STEP - 1, 8 * STEP + 1, [7, 8])],
)
def test_a_faulty_witness_is_said_where_it_is(start: int, end: int, marked: list[int]) -> None:
    span = Span(SECOND.start + start, SECOND.start + end)
    faults = (WitnessFault("B", "missing", span), WitnessFault("A", "witness_zero", SECOND))
    block = replace(cleaned_block(state=READY), faults=faults)
    lacks: list[set[str]] = [{"WITNESSES_GOOD"} if i in marked else set() for i in range(16)]
    assert lacking(block) == lacks


@pytest.mark.parametrize(
    ("gain", "bits"),
    [(0.0, ["CLEANED"]), (0.5, ["CLEANED", "STEADY"]), (1 - 1e-9, ["CLEANED", "STEADY"])],
)
def test_a_gain_that_is_not_1_is_said_where_it_is(gain: float, bits: list[str]) -> None:
    index = 5 * PER_STATE + 3
    gains: Gains = {"60Hz": 1.0, "105Hz": with_one(np.ones(RATE), index, gain)}
    # One sample at 0 beside samples at 1 is steady: neither is on a ramp.
    assert lacking(cleaned_block(gains, state=READY)) == at(5, *bits)


@pytest.mark.parametrize(
    ("value", "ready"), [(0, False), (1, False), (2, False), (3, True), (7, True), (4, False)]
)
@pytest.mark.parametrize("rate", [16, 64])
def test_analysis_ready_is_bits_0_and_1_of_the_source(value: int, ready: bool, rate: int) -> None:
    state = series(rate, np.uint32(7))
    state.samples[9 * rate // 16] = value
    found = lacking(cleaned_block(state=state))
    assert found == (GOOD if ready else at(9, "ANALYSIS_READY"))


@pytest.mark.parametrize("rate", [1, 4, 8, 50])
def test_a_state_vector_of_any_rate_says_where_it_is_not_ready(rate: int) -> None:
    state = series(rate, np.uint32(7))
    assert lacking(cleaned_block(state=state)) == GOOD
    state.samples[rate // 2] = 1
    begin, end = rate // 2 * 16 / rate, (rate // 2 + 1) * 16 / rate
    marked = [i for i in range(16) if i + 1 > begin and i < end]
    expected = [{"ANALYSIS_READY"} if i in marked else set[str]() for i in range(16)]
    assert lacking(cleaned_block(state=state)) == expected


def test_a_state_vector_that_is_no_number_is_not_ready_and_warns_of_nothing() -> None:
    state = series(16, np.float64(7))
    state.samples[3] = np.nan
    assert lacking(cleaned_block(state=state)) == at(3, "ANALYSIS_READY")


@pytest.mark.parametrize("rate", [100, 333, 1001, 4095])
def test_rates_that_are_no_multiple_of_16_have_their_bits(rate: int) -> None:
    gain = np.ones(rate)
    gain[rate // 2] = 0.5
    strain = Series(SECOND, rate, np.ones(rate))
    products = StrainProducts(*[np.ones(rate)] * 3)
    estimate = Estimate(np.zeros(rate), gain, 1, gate=np.ones(rate))
    block = CleanedBlock(Block(SECOND, strain), products, {"60Hz": estimate})
    marked = rate // 2 * 16 // rate
    bits = [State(int(value)) for value in state_bits(block)]
    assert [i for i, one in enumerate(bits) if State.STEADY not in one] == [marked]
    assert all(State.STRAIN_GOOD | State.OUTPUT_VALID in one for one in bits)


@pytest.mark.parametrize("state", [None, Gap(SECOND, "missing")])
def test_no_state_vector_is_not_ready(state: Series | Gap | None) -> None:
    assert lacking(cleaned_block(state=state)) == [{"ANALYSIS_READY"}] * 16


def test_state_bits_are_those_of_the_table() -> None:
    names = [
        *"OUTPUT_VALID STRAIN_GOOD WITNESSES_GOOD MODEL_LOADED IN_SPEC".split(),
        *"CLEANED STEADY ANALYSIS_READY SETTLED COMPLETE AUTOMATIC FOLLOWING".split(),
    ]
    assert {s.name: s.value for s in State} == {name: 1 << bit for bit, name in enumerate(names)}


def test_a_frame_renders_whole() -> None:
    half = [
        Span(SECOND.start, SECOND.start + 500_000_000),
        Span(SECOND.start + 500_000_000, SECOND.end),
    ]
    ramp = np.arange(128) / 127
    gains: list[Gains] = [{"60Hz": 1.0, "137-139Hz": g * ramp} for g in (0.5, 1.0)]
    blocks = [cleaned_block(g, span=s) for g, s in zip(gains, half, strict=True)]
    rendered = render(frame(*blocks), STRAIN, BOTH)
    assert set(rendered) == {
        f"{STRAIN}_DEEPCLEAN_PRODUCTION",
        f"{STRAIN}_DEEPCLEAN_PRODUCTION_OUT_DQ",
        "H1:DEEPCLEAN-STATE_VECTOR",
        "H1:DEEPCLEAN-60HZ_MODEL_VERSION",
        "H1:DEEPCLEAN-60HZ_GAIN",
        "H1:DEEPCLEAN-137_139HZ_MODEL_VERSION",
        "H1:DEEPCLEAN-137_139HZ_GAIN",
    }
    assert all(channel.span == SECOND for channel in rendered.values())
    cleaned = np.concatenate([b.cleaned for b in blocks if b.cleaned is not None])
    for name in channels.product_names(STRAIN, BOTH).values():
        assert rendered[name].rate == RATE
        assert same_bits(rendered[name].samples, cleaned)
    state = rendered["H1:DEEPCLEAN-STATE_VECTOR"]
    assert (state.rate, state.samples.dtype.name) == (16, "uint32")
    assert state.samples.tolist() == [*state_bits(blocks[0]), *state_bits(blocks[1])]
    versions = [rendered[f"H1:DEEPCLEAN-{c}_MODEL_VERSION"] for c in ("60HZ", "137_139HZ")]
    assert [(v.rate, v.samples.dtype.name) for v in versions] == [(16, "int32")] * 2
    assert [v.samples.tolist() for v in versions] == [[3] * 16, [4] * 16]
    gain = rendered["H1:DEEPCLEAN-137_139HZ_GAIN"]
    assert (gain.rate, gain.samples.dtype.name) == (16, "float32")
    # The lowest gain within each sixteenth.
    lowest = np.arange(0, 128, 16) / 127
    np.testing.assert_allclose(gain.samples, [*(0.5 * lowest), *lowest], rtol=1e-6)


def test_only_the_products_asked_for_are_made() -> None:
    rendered = render(frame(cleaned_block()), STRAIN, ["OUT_DQ"])
    assert [n for n in rendered if n.startswith(STRAIN)] == [
        f"{STRAIN}_DEEPCLEAN_PRODUCTION_OUT_DQ"
    ]


def test_without_strain_there_is_no_frame() -> None:
    block = Block(SECOND, Gap(SECOND, "strain_missing"))
    with pytest.raises(ValueError, match="no strain over"):
        render(frame(CleanedBlock(block, None, {})), STRAIN, BOTH)


@pytest.mark.parametrize(
    ("coupling", "spelt"),
    [("60Hz", "60HZ"), ("137-139Hz", "137_139HZ"), ("a.b c__d", "A_B_C_D"), ("-x-", "X")],
)
def test_couplings_are_spelt_for_frames(coupling: str, spelt: str) -> None:
    assert channels.frame_part(coupling) == spelt
    assert channels.gain("V1", coupling) == f"V1:DEEPCLEAN-{spelt}_GAIN"
    assert channels.model_version("V1", coupling) == f"V1:DEEPCLEAN-{spelt}_MODEL_VERSION"


def test_the_outcome_is_the_first_reason() -> None:
    later = Span.of_seconds(START + 1, 1)
    spoilt = cleaned_block({"60Hz": 0.5, "105Hz": 0.0}, reasons={"105Hz": ("corrupt", "missing")})
    fine = cleaned_block({"60Hz": 1.0, "105Hz": 1.0}, span=later)
    assert outcome(frame(spoilt)) == "corrupt"
    assert outcome(frame(spoilt, fine)) == "corrupt"
    assert outcome(frame(fine)) == CLEANED
