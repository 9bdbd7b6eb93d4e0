"""Which predicted sample comes from which kernel, exactly; and that the three ways agree."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.block import Float64
from deepclean.core.geometry import Geometry, PredictSettings, geometry
from deepclean.core.predict import Network, Predictor
from deepclean.core.reach import Reach
from tests.helpers.builders import (
    NOISE,
    autoencoder,
    first_channel,
    kernel_start,
    make_predictor,
    same_bits,
    wiener,
)
from tests.helpers.settings import predict_settings

ROUNDING = 1e-6
"""Root mean square of what float32 in the network costs, in units of the prediction's scale."""

BASE = 1_400_000_000 * 4096
"""Index near which the tests run; float32 could not tell its neighbours apart."""


def plain(network: Network, base: int = 0) -> Predictor:
    """Return a predictor of one witness that standardises by subtracting `base` only."""
    return Predictor(network, np.array([float(base)]), np.ones(1), 0.0, 1.0)


def run(
    predictor: Predictor,
    shape: Geometry,
    first: int,
    hop: int,
    witness: Callable[[int, int], Float64],
) -> Float64:
    """Predict one hop from `first`; `witness` gives samples of a range of indices."""
    samples = witness(first - shape.before, first + hop + shape.after)
    return predictor.predict(predictor.standardise(np.atleast_2d(samples)), shape)


def indices(first: int, stop: int) -> Float64:
    return np.arange(first, stop, dtype=np.float64)


@st.composite
def kernels(draw: st.DrawFn, mode: str) -> tuple[Geometry, int]:
    """Draw a geometry and a hop that suits it."""
    stride = draw(st.integers(1, 12))
    hop = stride * draw(st.integers(1, 6))
    edge = draw(st.integers(0, 20))
    kept = stride * draw(st.integers(1, 4)) if mode == "average" else draw(st.integers(stride, 40))
    chosen = predict_settings(mode, kept + 2 * edge, edge, stride)
    return geometry(chosen, hop, None, None), hop


@pytest.mark.parametrize("mode", ["windows", "average"])
@given(data=st.data(), start=st.integers(-50, 50))
def test_samples_come_from_kernels_stated(mode: str, data: st.DataObject, start: int) -> None:
    """In windows it is the first kernel that keeps the sample; averaged, every one that does."""
    shape, hop = data.draw(kernels(mode))
    first = shape.align(BASE + start)
    for index, answer in enumerate(
        run(plain(kernel_start, BASE), shape, first, hop, indices), first
    ):
        begins = [
            begin
            for begin in range(index - shape.kernel, index + 1)
            if begin % shape.stride == 0 and shape.edge <= index - begin < shape.kernel - shape.edge
        ]
        used = begins[:1] if mode == "windows" else begins
        assert answer == np.float32(np.mean(used) - BASE)


@pytest.mark.parametrize("mode", ["pass", "windows", "average"])
@given(data=st.data())
def test_hop_by_hop_is_the_input_in_its_place(mode: str, data: st.DataObject) -> None:
    if mode == "pass":
        period = data.draw(st.integers(1, 8))
        hop = period * data.draw(st.integers(1, 9))
        shape = geometry(
            predict_settings(mode, 64, data.draw(st.integers(0, 31))), hop, Reach.both(0), period
        )
    else:
        shape, hop = data.draw(kernels(mode))
    start = data.draw(st.integers(-50, 50))
    first = shape.align(BASE + start)
    assert 0 <= first - BASE - start < shape.modulus
    assert first % shape.modulus == shape.residue % shape.modulus
    for number in range(3):
        begin = first + number * hop
        assert shape.align(begin) == begin
        found = run(plain(first_channel, BASE), shape, begin, hop, indices)
        assert found.tolist() == list(range(begin - BASE, begin - BASE + hop))


def spread(reach: int) -> Network:
    """Return a network that sums the first channel over `reach` samples either side."""
    weights = torch.ones(1, 1, 2 * reach + 1)

    def network(inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv1d(inputs[:, :1], weights, padding=reach)[:, 0]

    return network


def whole_kernel(inputs: torch.Tensor) -> torch.Tensor:
    """A network of which every output rests on every input."""
    return inputs[:, 0].sum(dim=1, keepdim=True).expand(-1, inputs.shape[2])


@pytest.mark.parametrize("mode", ["pass", "windows", "average"])
@given(data=st.data())
def test_spoilt_is_what_a_bad_input_reaches(mode: str, data: st.DataObject) -> None:
    if mode == "pass":
        period = data.draw(st.integers(1, 4))
        edge, hop = period * data.draw(st.integers(0, 6)), period * data.draw(st.integers(1, 9))
        shape = geometry(predict_settings(mode, 64, edge), hop, Reach.both(edge), period)
        network = spread(edge)
    else:
        shape, hop = data.draw(kernels(mode))
        network = whole_kernel
    low = data.draw(st.integers(-30, 30))
    high = low + data.draw(st.integers(1, 25))

    def witness(first: int, stop: int) -> Float64:
        place = np.arange(first, stop)
        return np.where((place >= low) & (place < high), np.nan, 0.0)

    first = shape.align(low - 3 * shape.kernel // hop * hop - hop)
    hops = -(-(high + 2 * shape.kernel - first) // hop) + 1
    answers = np.concatenate(
        [run(plain(network), shape, first + k * hop, hop, witness) for k in range(hops)]
    )
    assert np.isfinite(answers[[0, -1]]).all()
    spoilt = (first + np.flatnonzero(~np.isfinite(answers))).tolist()
    assert spoilt == list(range(*shape.spoilt(low, high)))


def assert_same_but_for_rounding(one: Float64, other: Float64) -> None:
    difference = one - other
    assert np.sqrt(np.mean(difference**2)) <= ROUNDING * one.std()
    assert np.abs(difference).max() <= 5 * ROUNDING * one.std()


@settings(max_examples=15)
@given(st.integers(16, 64), st.integers(96, 120), st.sampled_from([64, 512]))
def test_pass_and_windows_give_the_same_samples(sixteens: int, edge: int, hop: int) -> None:
    network, reach, period = autoencoder(3)
    assert (reach, period) == (96, 16)
    predictor = make_predictor(network, 3, reach, period, std=1.0)
    noise = np.random.default_rng(5).standard_normal((3, 6000))
    answers = []
    for mode in ("pass", "windows"):
        chosen = predict_settings(mode, 16 * sixteens + 256, edge, None if mode == "pass" else 64)
        shape = geometry(chosen, hop, Reach.both(reach), period)
        # Hops begin where the kernels do, so both cover what lies between 2112 and 2560.
        first = shape.align(2048)
        hops = [
            run(predictor, shape, begin, hop, lambda a, b: noise[:, a:b])
            for begin in range(first, 2560, hop)
        ]
        answers.append(np.concatenate(hops)[2112 - first :][:448])
    one, other = answers
    assert len(one) == len(other) == 448
    assert_same_but_for_rounding(one, other)


@pytest.mark.parametrize("make", [autoencoder, wiener], ids=["autoencoder", "wiener"])
def test_averages_agree_beyond_the_field(make: Callable[[int], tuple[Network, int, int]]) -> None:
    network, reach, period = make(3)
    predictor = make_predictor(network, 3, reach, period, std=1.0)
    noise = np.random.default_rng(6).standard_normal((3, 6000))
    shapes = [
        geometry(predict_settings("pass", 1024, 112), 512, Reach.both(reach), period),
        geometry(predict_settings("average", 1024, 112, 16), 512, Reach.both(reach), period),
    ]
    one, other = (run(predictor, s, 2048, 512, lambda a, b: noise[:, a:b]) for s in shapes)
    assert_same_but_for_rounding(one, other)


def test_prediction_is_in_strain_units() -> None:
    shape = geometry(predict_settings("pass", 64, 0), 8, Reach.both(0), 1)
    predictor = Predictor(first_channel, np.array([2.0, 9.0]), np.array([4.0, 1.0]), 5e-22, NOISE)
    witnesses = np.stack([np.arange(8.0), np.full(8, 1e9)])
    scaled = predictor.standardise(witnesses)
    assert scaled.dtype == np.float32
    expected = (np.arange(8) - 2) / 4
    assert scaled[0].tolist() == expected.tolist()
    answer = predictor.predict(scaled, shape)
    assert answer.dtype == np.float64
    np.testing.assert_allclose(answer, expected * NOISE + 5e-22, rtol=0, atol=1e-36)


def test_many_kernels_run_in_batches() -> None:
    seen = []

    def network(inputs: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(inputs.shape))
        return inputs[:, 0]

    shape = geometry(predict_settings("windows", 32, 4, 2), 100, None, None)
    run(plain(network), shape, shape.align(0), 100, indices)
    assert seen == [(16, 1, 32)] * 3 + [(2, 1, 32)]


def test_no_gradient_is_kept() -> None:
    weight = torch.ones(1, requires_grad=True)
    shape = geometry(predict_settings("pass", 64, 0), 8, Reach.both(0), 1)
    answer = plain(lambda inputs: inputs[:, 0] * weight).predict(
        np.ones((1, 8), dtype=np.float32), shape
    )
    assert same_bits(answer, np.ones(8))


@pytest.mark.parametrize(
    ("mode", "reach", "period", "expected"),
    [
        ("auto", 96, 16, "pass"),
        ("auto", 128, 16, "pass"),
        ("auto", 129, 16, "windows"),
        ("auto", 96, None, "windows"),
        ("auto", None, 16, "windows"),
        ("auto", 96, 48, "windows"),
        ("pass", 96, 16, "pass"),
        ("windows", 96, 16, "windows"),
    ],
)
def test_mode_suits_network(
    mode: str, reach: int | None, period: int | None, expected: str
) -> None:
    assert (
        geometry(
            predict_settings(mode), 4096, None if reach is None else Reach.both(reach), period
        ).mode
        == expected
    )


def test_averaging_is_done_where_it_is_asked_for_only() -> None:
    chosen = predict_settings("average", 1024, 256, 128)
    assert geometry(chosen, 4096, Reach.both(96), 16).mode == "average"
    assert geometry(predict_settings("auto", 1024, 256, 128), 4096, None, None).mode == "windows"


@given(st.integers(2, 5000), st.integers(0, 60), st.integers(1, 300), st.booleans())
def test_stride_is_the_longest_that_suits(hop: int, edge: int, kept: int, averaged: bool) -> None:
    mode = "average" if averaged else "windows"
    stride = geometry(predict_settings(mode, kept + 2 * edge, edge), hop, None, None).stride
    longest = max(kept // 2, 1) if averaged else kept
    suits = [s for s in range(1, longest + 1) if hop % s == 0 and not (averaged and kept % s != 0)]
    assert stride == max(suits)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (predict_settings("auto", 256, 128), "leaves nothing of a kernel of 256"),
        (predict_settings("pass", 4096, 64), "receptive field fits the edge: field 96"),
        (predict_settings("windows", 4096, 128, 3841), "must divide the hop"),
        (predict_settings("windows", 4096, 128, 1000), "must divide the hop"),
        (predict_settings("average", 4096, 128, 1024), "divides 3840"),
        (predict_settings("often", 4096, 128), "unknown mode 'often'"),
    ],
)
def test_what_does_not_suit_is_refused(chosen: PredictSettings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        geometry(chosen, 4096, Reach.both(96) if chosen.mode == "pass" else None, 16)
