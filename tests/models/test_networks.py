from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from deepclean.core.reach import Reach
from deepclean.errors import ModelError
from deepclean.factory import make_coupling
from deepclean.models.architectures.as_products import Layer, run
from deepclean.models.architectures.autoencoder import Autoencoder
from deepclean.models.loading import load_models
from deepclean.models.networks import ARCHITECTURES, Receptive, build, measure
from tests.helpers import small_site

PUBLISHED: dict[str, object] = {"name": "autoencoder"}


def made(architecture: dict[str, object], channels: int) -> torch.nn.Module:
    torch.manual_seed(3)
    return build(architecture, channels)


def test_the_published_network_has_the_published_layers() -> None:
    kinds = (torch.nn.Conv1d, torch.nn.ConvTranspose1d)
    layers = [m for m in build(PUBLISHED, 21).modules() if isinstance(m, kinds)]
    shapes = [(m.in_channels, m.out_channels, m.stride[0], m.kernel_size[0]) for m in layers]
    down = [(21, 8, 2, 7), (8, 16, 2, 7), (16, 32, 2, 7), (32, 64, 2, 7)]
    up = [(64, 32, 2, 7), (32, 16, 2, 7), (16, 8, 2, 7), (8, 21, 2, 7)]
    assert shapes == [(21, 21, 1, 7), *down, *up, (21, 1, 1, 7)]
    assert sum(isinstance(m, torch.nn.BatchNorm1d) for m in build(PUBLISHED, 21).modules()) == 9
    assert sum(isinstance(m, torch.nn.Tanh) for m in build(PUBLISHED, 21).modules()) == 9


@settings(max_examples=10)
@given(channels=st.integers(1, 5), periods=st.integers(1, 40), batch=st.integers(1, 3))
def test_one_output_sample_per_input_sample(channels: int, periods: int, batch: int) -> None:
    networks = build(PUBLISHED, channels), build({"name": "wiener", "taps": 9}, channels)
    for network in networks:
        network.eval()
        shape = (batch, 16 * periods)
        assert network(torch.zeros(batch, channels, 16 * periods)).shape == shape


def test_the_published_network_looks_96_samples_far_and_repeats_every_16() -> None:
    network = made(PUBLISHED, 6)
    # 3 (input) + 3 * (1 + 2 + 4 + 8) (down) + as much (up) + 3 (output).
    assert measure(network, 6, 1024) == Receptive(Reach.both(96), period=16)
    assert measure(network, 6, 1024) == measure(network, 6, 1024)


@pytest.mark.parametrize(("depth", "period"), [(1, 2), (2, 4), (5, 32), (7, None)])
def test_each_strided_layer_doubles_the_period(depth: int, period: int | None) -> None:
    network = made({"name": "autoencoder", "hidden": [4] * depth}, 2)
    assert measure(network, 2, 1024 if depth < 7 else 2048).period == period


@pytest.mark.parametrize("taps", [1, 9, 65])
def test_a_fir_looks_half_its_length_far_and_repeats_at_every_sample(taps: int) -> None:
    network = made({"name": "wiener", "taps": taps}, 3)
    assert measure(network, 3, 512) == Receptive(Reach.both(taps // 2), period=1)


def test_measuring_sees_what_the_weights_do_not_what_they_could() -> None:
    network = made({"name": "wiener", "taps": 65}, 3)
    with torch.no_grad():
        network.get_parameter("fir.weight")[..., :20] = 0
        network.get_parameter("fir.weight")[..., -25:] = 0
    assert measure(network, 3, 512).reach == Reach.both(12)


class Memory(torch.nn.Module):
    """Its output depends on the whole window."""

    def forward(self, witnesses: torch.Tensor) -> torch.Tensor:
        return witnesses.sum(1) - witnesses.mean(dim=(1, 2))[:, None]


class Fixed(torch.nn.Module):
    """Takes its kernel's length and no other."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(64, 64)

    def forward(self, witnesses: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.mix(witnesses[:, 0])
        return mixed


def test_a_network_that_sees_its_whole_window_has_no_period() -> None:
    assert measure(Memory(), 2, 64) == Receptive(Reach.both(32), period=None)
    assert measure(Fixed(), 2, 64) == Receptive(Reach.both(32), period=None)


def test_measuring_leaves_the_network_as_it_was() -> None:
    network = made(PUBLISHED, 2).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure(network, 2, 256)
    assert network.training
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_windows_and_one_long_pass_agree_inside_the_measured_field() -> None:
    network = made(PUBLISHED, 4).eval()
    seen = measure(network, 4, 512)
    inputs = torch.randn(1, 4, 4096, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        whole = network(inputs)
        inside = slice(seen.reach.before, 512 - seen.reach.after)
        for start in range(0, 4096 - 512, 16 * 7):
            window = network(inputs[..., start : start + 512])
            difference = (window - whole[:, start : start + 512])[:, inside].abs().max()
            assert difference < 1e-5 * whole.std()  # float32 rounding


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"name": "autoencodr"}, "unknown 'autoencodr'; did you mean autoencoder?"),
        ({}, "unknown ''; there are autoencoder, closed_form, hybrid, wiener"),
        ({"name": "autoencoder", "hiden": [8]}, "unknown 'hiden'; did you mean hidden?"),
        ({"name": "wiener", "channels": 3}, "architecture.wiener: unknown 'channels'"),
        ({"name": "wiener", "taps": 64}, "architecture.taps: 64 is not a positive odd integer"),
        ({"name": "wiener", "taps": "65"}, "architecture.taps: '65'"),
        ({"name": "autoencoder", "hidden": []}, "architecture.hidden: []"),
        ({"name": "autoencoder", "hidden": [8, 0]}, "architecture.hidden"),
        ({"name": "autoencoder", "kernel_size": True}, "architecture.kernel_size"),
    ],
)
def test_wrong_architecture_is_one_message(architecture: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        build(architecture, 3)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_needs_a_witness() -> None:
    with pytest.raises(ModelError, match="at least one witness"):
        build(PUBLISHED, 0)


def test_a_kernel_that_the_strides_do_not_divide_is_refused() -> None:
    with pytest.raises(ModelError, match="multiple of its total stride"):
        measure(build(PUBLISHED, 2), 2, 1000)


def test_a_network_for_other_channels_is_refused() -> None:
    with pytest.raises(ModelError, match="refuses"):
        measure(build(PUBLISHED, 2), 3, 256)


def test_architectures_can_be_added() -> None:
    class Sum(torch.nn.Module):
        def __init__(self, channels: int, *, scale: float = 1.0) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, witnesses: torch.Tensor) -> torch.Tensor:
            return self.scale * witnesses.sum(1)

    ARCHITECTURES["sum"] = Sum
    try:
        network = build({"name": "sum", "scale": 2.0}, 3)
        assert torch.equal(network(torch.ones(1, 3, 4)), torch.full((1, 4), 6.0))
        assert measure(network, 3, 64) == Receptive(Reach.both(0), 1)
    finally:
        del ARCHITECTURES["sum"]


class Past(nn.Module):
    """A sum of the last samples: it looks back and hardly ahead, and says how far."""

    def __init__(self, before: int, after: int, states: int) -> None:
        super().__init__()
        self.before, self.after = states, after
        self.fir = nn.Conv1d(2, 1, before + after + 1, bias=False)
        nn.init.ones_(self.fir.weight)
        self.pad = (before, after)

    def forward(self, witnesses: torch.Tensor) -> torch.Tensor:
        noise: torch.Tensor = self.fir(nn.functional.pad(witnesses, self.pad))
        return noise[:, 0]


def test_a_network_that_states_its_reach_has_two_ends() -> None:
    assert measure(Past(700, 3, 700), 2, 512) == Receptive(Reach(700, 3), 1)
    with pytest.raises(ModelError, match=r"looks \(700, 3\) samples far and states \(699, 3\)"):
        measure(Past(700, 3, 699), 2, 512)


@settings(max_examples=40)
@given(
    channels=st.integers(1, 40),
    outputs=st.integers(1, 40),
    half=st.integers(0, 4),
    stride=st.integers(1, 4),
    transposed=st.booleans(),
    steps=st.integers(1, 20),
    batch=st.integers(1, 3),
)
def test_a_convolution_as_a_product_is_that_convolution(
    channels: int,
    outputs: int,
    half: int,
    stride: int,
    transposed: bool,
    steps: int,
    batch: int,
) -> None:
    taps, time = 2 * half + 1, stride * steps
    layer: torch.nn.Conv1d | torch.nn.ConvTranspose1d
    if transposed:
        layer = torch.nn.ConvTranspose1d(channels, outputs, taps, 2, half, 1)
    else:
        layer = torch.nn.Conv1d(channels, outputs, taps, stride, half)
    # Small whole numbers, whose sums are exact: so the products are equal, not only close.
    for tensor in layer.parameters():
        tensor.data = torch.randint(-8, 9, tensor.shape).float()
    values = torch.randint(-8, 9, (batch, channels, time)).float()
    assert layer.bias is not None
    made = Layer.of(layer, layer.weight, layer.bias)
    given_by = run([made], values.numpy()).transpose(0, 2, 1)
    assert np.array_equal(given_by, layer(values).detach().numpy())


def test_a_sequence_has_equal_bits_whatever_is_beside_it() -> None:
    network = build({"name": "autoencoder"}, 21).eval()
    witnesses = torch.randn(5, 21, 448)
    with torch.inference_mode():
        together = network(witnesses)
        for row, alone in enumerate(witnesses):
            assert torch.equal(network(alone[None])[0], together[row])


def test_folded_normalisations_are_those_of_training_to_rounding() -> None:
    torch.manual_seed(3)
    network = build({"name": "autoencoder"}, 3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                assert tensor is not None
                tensor.data.uniform_(0.5, 2.0)
    witnesses = torch.randn(2, 3, 256)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        network.eval()
        with torch.inference_mode():
            folded = network(witnesses)
        return folded, network(witnesses).detach()  # with gradients nothing is folded

    folded, plain = both()
    assert not torch.equal(folded, plain)
    assert torch.allclose(folded, plain, rtol=0, atol=1e-5 * float(plain.std()))
    # Changed weights are folded anew, however they change.
    changed = {name: 1.1 * tensor for name, tensor in network.state_dict().items()}
    network.load_state_dict(changed)
    loaded, plain = both()
    assert not torch.allclose(loaded, folded, rtol=0, atol=1e-3 * float(plain.std()))
    assert torch.allclose(loaded, plain, rtol=0, atol=1e-5 * float(plain.std()))
    network.double()
    with torch.inference_mode():
        assert network(witnesses.double()).dtype == torch.float64


def test_a_dimension_too_many_is_named() -> None:
    class Kept(nn.Module):
        def forward(self, witnesses: torch.Tensor) -> torch.Tensor:
            return witnesses[:, :1]

    with pytest.raises(ModelError, match=r"output is \(batch, time\)"):
        measure(Kept(), 2, 1024)


def test_a_network_that_runs_in_windows_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = small_site.small_config(tmp_path)
    small_site.publish_model(config)
    made = replace(load_models(config)["60Hz"], period=None, version=31)
    for _ in range(2):
        make_coupling(config, "60Hz", made)
    (said,) = [record.message for record in caplog.records]
    # Of a kernel of 1 s an edge of 1/4 s is dropped at either end: half of it is kept.
    assert "coupling 60Hz: version 31 is not translation-equivariant" in said
    assert "computes 2.0 samples for each that it gives" in said


def test_without_torch_a_network_gives_the_same_bits() -> None:
    torch.manual_seed(3)
    network = Autoencoder(5).eval()
    witnesses = np.random.default_rng(3).standard_normal((2, 7, 64)).astype(np.float32)[:, 1:6]
    with torch.inference_mode():
        expected = network(torch.from_numpy(witnesses)).numpy()
    assert np.array_equal(network.on_arrays(witnesses), expected)
    with pytest.raises(RuntimeError, match="4 channels, expected 5"):
        network.on_arrays(witnesses[:, :4])
