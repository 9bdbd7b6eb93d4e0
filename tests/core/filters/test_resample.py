"""Rate changes: exact index arithmetic, the filter's stated quality, and an independent sum."""

from fractions import Fraction
from math import gcd, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from deepclean.core.block import Float64
from deepclean.core.filters.kaiser import kaiser_beta
from deepclean.core.filters.resample import Resampler
from tests.helpers.builders import same_bits
from tests.helpers.settings import make_resampler, resample_settings

RATES = [
    *((rate, 4096) for rate in (16, 50, 256, 500, 512, 1000, 2048, 10000, 16384, 20000, 4095)),
    (4096, 16384),
    (4096, 20000),
    (4096, 4096),
]
TOLERANCE = 3e-4
"""Three times 80 dB: ripple, images, and what the unit sum of each phase costs."""

TOLERANCE_SLOWEST = 1e-3
"""The same at 16 Hz, where `max_delay` leaves 4 zeros a side rather than 16."""

SECOND = 1_400_000_000

every_rate = pytest.mark.parametrize(("source", "target"), RATES)
small_rates = st.tuples(st.integers(1, 40), st.integers(1, 40))


def first_of(target: int) -> int:
    """Return an index far from 0 and from a whole second."""
    return SECOND * target + 13


def tone(frequency: float, rate: int, first: int, stop: int) -> Float64:
    """Return a sine whose phase is 0 at GPS second SECOND."""
    phase = 2 * pi * frequency * (np.arange(first, stop) - SECOND * rate) / rate
    return np.asarray(np.sin(phase), dtype=np.float64)


def resampled_tone(resampler: Resampler, frequency: float, count: int) -> Float64:
    first = first_of(resampler.target_rate)
    needed = resampler.needs(first, count)
    inputs = tone(frequency, resampler.source_rate, *needed)[None]
    outputs: Float64 = resampler.apply(inputs, first, count)[0]
    return outputs


def transition(resampler: Resampler) -> float:
    """Return half the transition's width (Hz) of an 80 dB Kaiser filter: Kaiser 1974."""
    return (80 - 7.95) / (2.285 * 2 * float(resampler.half_length) * 2 * pi) / 2


def direct(resampler: Resampler, zeros: int, inputs: Float64, first: int, count: int) -> Float64:
    """Return the same outputs by scipy's own design and polyphase filter.

    `inputs` begins at `resampler.needs(first, count)[0]`.
    """
    source, target = resampler.source_rate, resampler.target_rate
    up, down = target // gcd(source, target), source // gcd(source, target)
    half = zeros * max(up, down)
    beta = signal.kaiser_beta(80.0)
    taps = signal.firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", beta), scale=False)
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    begin, _ = resampler.needs(first, count)
    # Output `n` of upfirdn stands `n * down - delay` after its first input, at the common rate: a
    # few leading zeros make the delay such that the first output is one of those.
    lead = (begin * up - half) % down
    offset = (first * down - begin * up + half + lead) // down
    outputs = signal.upfirdn(np.concatenate([np.zeros(lead), taps]), inputs, up, down)
    return np.asarray(outputs[offset : offset + count])


@every_rate
def test_needs_is_sufficient_and_tight(source: int, target: int) -> None:
    resampler = make_resampler(source, target)
    up = resampler.up
    for count in (1, 7):
        for first in range(first_of(target), first_of(target) + min(up, 5)):
            start, stop = resampler.needs(first, count)
            # By definition: inputs nearer than the filter's half-length to any output.
            half = resampler.half_length or Fraction(1, source)
            earliest = (Fraction(first, target) - half) * source
            latest = (Fraction(first + count - 1, target) + half) * source
            assert start - 1 <= earliest < start
            assert stop - 1 < latest <= stop
            # And each of them has a say, also the outermost.
            inputs = np.zeros((1, stop - start))
            for edge in (0, -1):
                inputs[:] = 0.0
                inputs[0, edge] = 1.0
                assert (resampler.apply(inputs, first, count) != 0).any()


@given(small_rates, st.integers(-500, 500), st.integers(1, 60))
def test_an_impulse_reaches_what_needs_says(rates: tuple[int, int], first: int, count: int) -> None:
    resampler = make_resampler(*rates, zeros=3, max_delay=Fraction(100))
    start, stop = resampler.needs(first, count)
    inputs = np.eye(stop - start)
    answers = resampler.apply(inputs, first, count)
    for index, answer in enumerate(answers):
        for output in range(first, first + count):
            low, high = resampler.needs(output, 1)
            reached = low <= start + index < high
            assert reached or answer[output - first] == 0.0


@pytest.mark.parametrize(("source", "target"), [r for r in RATES if r[1] % r[0] == 0])
def test_whole_ratios_keep_the_common_samples(source: int, target: int) -> None:
    resampler = make_resampler(source, target)
    first, count = SECOND * target, 3 * target // resampler.up * resampler.up
    start, stop = resampler.needs(first, count)
    inputs = np.random.default_rng(0).standard_normal((1, stop - start))
    outputs = resampler.apply(inputs, first, count)
    lead = SECOND * source - start
    np.testing.assert_allclose(
        outputs[0, :: resampler.up], inputs[0, lead : lead + count // resampler.up], atol=1e-12
    )


@every_rate
def test_a_constant_is_kept(source: int, target: int) -> None:
    resampler = make_resampler(source, target)
    first, count = first_of(target), min(target, 2000)
    start, stop = resampler.needs(first, count)
    outputs = resampler.apply(np.full((1, stop - start), 3.7), first, count)
    np.testing.assert_allclose(outputs, 3.7, rtol=1e-14)


@every_rate
def test_a_tone_in_band_survives_without_delay(source: int, target: int) -> None:
    resampler = make_resampler(source, target)
    edge = min(source, target) / 2 - (0 if resampler.identity else transition(resampler))
    for fraction in (0.01, 0.5, 0.99):
        outputs = resampled_tone(resampler, fraction * edge, 1000)
        first = first_of(target)
        expected = tone(fraction * edge, target, first, first + 1000)
        tolerance = TOLERANCE_SLOWEST if source == 16 else TOLERANCE
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("source", "target"), [r for r in RATES if r[0] > r[1]])
def test_a_tone_out_of_band_dies(source: int, target: int) -> None:
    resampler = make_resampler(source, target)
    edge = target / 2 + transition(resampler)
    for frequency in (edge, 0.5 * (edge + source / 2), source / 2 - 1.0):
        assert np.abs(resampled_tone(resampler, frequency, 1000)).max() <= TOLERANCE


@pytest.mark.parametrize(("source", "target"), [r for r in RATES if r[0] != r[1]])
def test_is_the_sum_that_scipy_computes(source: int, target: int) -> None:
    resampler = make_resampler(source, target)
    slower = min(source, target)
    zeros = min(16, slower // 4)
    assert resampler.half_length == Fraction(zeros, slower)
    first, count = first_of(target), 700
    start, stop = resampler.needs(first, count)
    inputs = np.random.default_rng(1).standard_normal(stop - start)
    expected = direct(resampler, zeros, inputs, first, count)
    outputs = resampler.apply(inputs[None], first, count)[0]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("source", "target"), [(512, 4096), (20000, 4096), (4096, 4096)])
def test_same_rate_is_untouched_and_any_other_is_not(source: int, target: int) -> None:
    resampler = make_resampler(source, target)
    start, stop = resampler.needs(0, 100)
    inputs = np.random.default_rng(2).standard_normal((2, stop - start))
    outputs = resampler.apply(inputs, 0, 100)
    assert same_bits(outputs, inputs) == (source == target)
    assert not np.shares_memory(outputs, inputs)


@pytest.mark.parametrize(("source", "target"), [(16, 512), (256, 512), (1040, 512), (75, 64)])
@settings(max_examples=30)
@given(data=st.data())
def test_pieces_have_the_bits_of_the_whole(source: int, target: int, data: st.DataObject) -> None:
    resampler = make_resampler(source, target)
    hops, hop = 6, 64
    start, stop = resampler.needs(SECOND * target, hops * hop)
    inputs = np.random.default_rng(3).standard_normal((1, stop - start))

    def piece(number: int, margin: int) -> Float64:
        first = SECOND * target + number * hop
        low, high = resampler.needs(first, hop)
        # The same input out of a longer or a shorter array, at another place in memory.
        window = np.zeros((1, high - low + margin))[:, margin:]
        window[:] = inputs[:, low - start : high - start]
        return resampler.apply(window, first, hop)

    order = data.draw(st.permutations(range(hops)))
    pieces = {number: piece(number, data.draw(st.integers(0, 9))) for number in order}
    for number in range(hops):
        assert same_bits(pieces[number], piece(number, 0))
    whole = resampler.apply(inputs, SECOND * target, hops * hop)
    joined = np.concatenate([pieces[number] for number in range(hops)], axis=1)
    np.testing.assert_allclose(joined, whole, rtol=0, atol=1e-14)


@every_rate
def test_channels_do_not_know_of_one_another(source: int, target: int) -> None:
    resampler = make_resampler(source, target)
    first, count = first_of(target), 512
    start, stop = resampler.needs(first, count)
    inputs = np.random.default_rng(4).standard_normal((5, stop - start))
    together = resampler.apply(inputs, first, count)
    for row in range(5):
        alone = resampler.apply(inputs[row : row + 1], first, count)
        assert same_bits(alone, together[row : row + 1])
    inputs[3] = np.nan
    assert np.isfinite(resampler.apply(inputs, first, count)[[0, 1, 2, 4]]).all()


@pytest.mark.parametrize("rates", [(0, 4096), (4096, 0), (-16, 4096)])
def test_rates_are_positive(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="rates must be positive"):
        make_resampler(*rates)


def test_a_filter_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match=r"16 Hz: a filter of 0\.03125 s holds no sample"):
        make_resampler(16, 4096, max_delay=Fraction(1, 32))


@pytest.mark.parametrize("shape", [(2, 99), (1, 101), (100,)])
def test_the_inputs_are_exactly_those_needed(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        make_resampler(4096, 4096).apply(np.zeros(shape), 0, 100)


@settings(max_examples=30)
@given(st.integers(16, 2000), st.integers(1, 24), st.integers(1, 16))
def test_no_witness_looks_further_than_the_lookahead(rate: int, zeros: int, delay: int) -> None:
    resample = resample_settings(zeros, Fraction(delay, 16), 80.0, 16)
    half_lengths = [
        make_resampler(r, 512, zeros=zeros, max_delay=resample.max_delay).half_length
        for r in (rate, resample.slowest_rate)
    ]
    assert half_lengths[0] <= resample.lookahead == half_lengths[1]


def test_kaiser_beta_is_that_of_scipy() -> None:
    attenuations = [*np.linspace(0.0, 120.0, 1201).tolist(), 21.0, 50.0]
    assert [kaiser_beta(a) for a in attenuations] == [signal.kaiser_beta(a) for a in attenuations]
