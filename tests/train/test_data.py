from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.core.witness_checks import WitnessSettings
from deepclean.errors import InputError
from deepclean.train.data import SiteData, TrainingData, split
from tests.helpers.training_site import (
    LINE,
    MOTION,
    RATES,
    START,
    STATE,
    STRAIN,
    Toy,
    channels,
    seconds_of,
    toy_data,
)

WITNESSES = (MOTION, LINE)


def site(data: TrainingData, state: str | None = STATE) -> SiteData:
    return SiteData(data, STRAIN, WITNESSES, state)


def changed(name: str, second: int, value: float) -> dict[str, np.ndarray]:
    """Return one channel with another value in the middle of a second."""
    samples = channels(200)[name].copy()
    samples[second * RATES[name] + RATES[name] // 2] = value
    return {name: samples}


def test_all_good_data_is_one_stretch() -> None:
    assert seconds_of(site(toy_data(200)).usable()) == [(0, 200)]
    assert site(toy_data(200)).rates == {STRAIN: 512, MOTION: 64, LINE: 256}


def test_a_span_limits_what_is_used_to_its_whole_seconds() -> None:
    data = toy_data(200)
    span = Span((START + 10) * NS + 1, (START + 20) * NS - 1)
    limited = TrainingData(data.strain, data.witnesses, span)
    assert seconds_of(site(limited).usable()) == [(11, 19)]


@pytest.mark.parametrize("name", [STRAIN, LINE, MOTION])
def test_a_gap_in_any_channel_is_left_out_to_the_second(name: str) -> None:
    data = toy_data(200, gaps={name: [START + 77, START + 150]})
    assert seconds_of(site(data).usable()) == [(0, 77), (78, 150), (151, 200)]


@pytest.mark.parametrize("name", [STRAIN, LINE])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_costs_its_second(name: str, value: float) -> None:
    data = toy_data(200, replaced=changed(name, 63, value))
    assert seconds_of(site(data).usable()) == [(0, 63), (64, 200)]


@pytest.mark.parametrize("bits", [0, 1, 2, 4, 5, 6])
def test_only_analysis_ready_seconds_are_used(bits: int) -> None:
    data = toy_data(200, replaced=changed(STATE, 5, bits))
    assert seconds_of(site(data).usable()) == [(0, 5), (6, 200)]
    assert seconds_of(site(data, None).usable()) == [(0, 200)]


def test_other_bits_of_the_state_do_not_matter() -> None:
    assert seconds_of(site(toy_data(200, replaced=changed(STATE, 5, 0b1011))).usable()) == [
        (0, 200)
    ]


def test_a_source_without_the_state_vector_is_refused_with_the_remedy() -> None:
    """A run would find no time ready for analysis; a training that takes all is another rule."""
    with pytest.raises(InputError, match=r"OTHER_STATE.*set strain\.state_vector=null"):
        site(toy_data(200), "H1:OTHER_STATE")
    assert seconds_of(site(toy_data(200), None).usable()) == [(0, 200)]


def test_strain_and_witnesses_may_come_from_two_sources() -> None:
    made = channels(200)
    of_strain = Toy({name: made[name] for name in (STRAIN, STATE)}, 200)
    of_witnesses = Toy({name: made[name] for name in WITNESSES}, 150, {LINE: [START + 3]})
    found = site(TrainingData(of_strain, of_witnesses)).usable()
    assert seconds_of(found) == [(0, 3), (4, 150)]


def test_a_block_holds_every_channel() -> None:
    block = site(toy_data(200)).read(Span.of_seconds(START + 1, 2))
    assert block is not None
    assert isinstance(block.strain, Series)
    assert np.array_equal(block.strain.samples, channels(200)[STRAIN][512 : 3 * 512])
    assert set(block.witnesses) == set(WITNESSES)


def test_nothing_usable_says_so() -> None:
    data = toy_data(200, replaced={STATE: np.zeros(3200, dtype=np.uint32)})
    with pytest.raises(InputError, match="no analysis-ready data with all 2 witnesses"):
        site(data).usable()


def test_absent_channels_are_all_named_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        SiteData(toy_data(200), STRAIN, ["H1:LINNE", "H1:XYZ", MOTION], None)
    assert caught.value.channels == ("H1:LINNE", "H1:XYZ")
    assert "H1:LINNE (did you mean H1:LINE?)" in str(caught.value)


SPANS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 50)), min_size=1, max_size=8)


@given(shape=SPANS, fraction=st.floats(0.01, 0.99))
def test_split_holds_out_the_last_seconds(shape: list[tuple[int, int]], fraction: float) -> None:
    spans, at = [], START
    for gap, length in shape:
        spans.append(Span.of_seconds(at + gap, length))
        at += gap + length
    training, held_out = split(spans, fraction)
    total = sum(span.duration for span in spans)
    assert sum(span.duration for span in training + held_out) == total
    assert sum(span.duration for span in held_out) == round(fraction * (total // NS)) * NS
    both = training + held_out
    assert all(a.end <= b.start for a, b in pairwise(both))
    assert all(any(span.covers(part) for span in spans) for part in both)


CHECKS = WitnessSettings(frozen=2 * NS, limits={LINE: 60.0})


def held(name: str, low: int, high: int) -> dict[str, np.ndarray]:
    """Return one channel that keeps its value from a second's middle on."""
    samples, rate = channels(200)[name].copy(), RATES[name]
    samples[low * rate + rate // 2 : high * rate] = samples[low * rate + rate // 2]
    return {name: samples}


def checked(data: TrainingData) -> SiteData:
    return SiteData(data, STRAIN, WITNESSES, STATE, CHECKS)


@pytest.mark.parametrize(("low", "high"), [(20, 27), (60, 70), (100, 170)])
def test_a_frozen_witness_costs_its_own_seconds_from_the_first_on(low: int, high: int) -> None:
    data = toy_data(200, replaced=held(MOTION, low, high))
    assert seconds_of(checked(data).usable()) == [(0, low), (high, 200)]
    assert seconds_of(site(data).usable()) == [(0, 200)]


def test_a_clipped_witness_costs_its_own_seconds() -> None:
    data = toy_data(200, replaced=changed(LINE, 63, -60.0))
    assert seconds_of(checked(data).usable()) == [(0, 63), (64, 200)]


@pytest.mark.parametrize("gone", [False, True])
def test_a_witness_that_fails_in_most_of_the_time_costs_itself(gone: bool) -> None:
    missing = {MOTION: range(START + 10, START + 150)}
    data = toy_data(200, gaps=missing) if gone else toy_data(200, replaced=held(MOTION, 10, 150))
    found = checked(data)
    assert seconds_of(found.usable()) == [(0, 200)]
    assert found.unusable == {MOTION: 0.7}
    block = found.read(Span.of_seconds(START + 100, 2))
    assert block is not None
    series = block.witnesses[MOTION]
    assert isinstance(series, Series)
    assert not series.samples.any()
    assert set(block.witnesses) == set(WITNESSES)


def test_where_all_witnesses_are_absent_none_is_at_fault() -> None:
    missing = range(START + 10, START + 150)
    data = toy_data(200, gaps={MOTION: missing, LINE: [*missing, START + 5]})
    found = checked(data)
    assert seconds_of(found.usable()) == [(0, 5), (6, 10), (150, 200)]
    assert found.unusable == {}


def test_a_witness_that_fails_most_of_the_time_makes_no_stretch_complete() -> None:
    data = toy_data(200, gaps={LINE: range(START + 50, START + 200)})
    span = Span.of_seconds(START, 200)
    assert seconds_of(site(data).usable_in(span)) == [(0, 200)]
    complete = site(data)
    assert seconds_of(complete.complete_in(span)) == [(0, 50)]
    assert complete.failed == {LINE: 150}


def test_what_nothing_depends_on_is_not_read_and_reads_as_zeros() -> None:
    whole = channels(200)
    held = Toy({name: each for name, each in whole.items() if name != MOTION}, 200)
    without = SiteData(TrainingData(held, held), STRAIN, WITNESSES, STATE, without=[MOTION])
    span = Span.of_seconds(START + 10, 4)
    assert without.complete_in(span) == [span]
    block = without.read(span)
    assert block is not None
    series = block.witnesses[MOTION]
    assert isinstance(series, Series)
    assert not series.samples.any()
    assert without.failed == {}
