"""A training directory of deepcleanv2, made as deepcleanv2 makes one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepclean.config import Config
from deepclean.config import load as configured
from deepclean.core.block import Float64, Series
from deepclean.core.time import Span
from deepclean.errors import ModelError
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.models.deepcleanv2 import read_settings
from deepclean.models.files import load
from deepclean.models.loading import load_models
from deepclean.simulate.configured import site_of
from deepclean.simulate.files import Layout
from deepclean.simulate.history import write_history
from deepclean.simulate.simulator import Simulator
from tests.helpers.deepcleanv2_directory import (
    CHANNELS,
    WITNESSES,
    Autoencoder,
    Danger,
    config,
    directory,
    network,
    original,
    script,
    write_deepcleanv2,
)
from tests.helpers.site_runs import OUT_DQ, clean
from tests.helpers.sites import CONFIGURATIONS
from tests.helpers.small_site import START

__all__ = ["directory", "original"]


def fault(directory: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(directory)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value)
    return str(caught.value)


def test_it_loads_as_it_is(directory: Path) -> None:
    model = load(directory)
    assert model.channels == WITNESSES
    assert (model.interferometer, model.coupling, model.version) == ("H1", "60Hz-run", 0)
    assert (model.sample_rate, model.kernel) == (4096, 4096)
    assert model.bands == ((58.0, 62.0),)
    assert model.period == 4
    assert model.reach.after <= model.edge < model.reach.after + 4
    assert model.scalers.witness_mean.tolist() == [1.0, -2.0, 3.0]
    assert model.scalers.witness_std.tolist() == [0.5, 4.0, 1.0]  # constant in training: unscaled
    assert model.scalers.strain_mean == pytest.approx(2e-25)
    assert model.scalers.strain_std == pytest.approx(3e-22)
    assert read_settings(directory).filt_order == 8


def test_it_predicts_as_deepcleanv2_does(directory: Path) -> None:
    inputs = torch.randn(2, 3, 4096, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network().eval()(inputs)
    output = load(directory).predict(inputs)
    assert torch.allclose(output, expected, rtol=0, atol=1e-6)


def test_an_output_with_a_channel_dimension_is_flattened(directory: Path) -> None:
    torch.manual_seed(4)
    script(Autoencoder(3, keep=True), directory / "model.pt")
    model = load(directory)
    assert model.predict(torch.zeros(2, 3, 4096)).shape == (2, 4096)
    assert model.period == 4


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_scalers_of_either_shape_are_taken(directory: Path, shape: tuple[int, ...]) -> None:
    values = torch.arange(1.0, 4.0).reshape(shape)
    torch.save({"mean": values, "std": values}, directory / "X_scaler.pt")
    torch.save({"mean": torch.tensor(0.0), "std": torch.tensor(2.0)}, directory / "y_scaler.pt")
    model = load(directory)
    assert np.array_equal(model.scalers.witness_std, [1.0, 2.0, 3.0])
    assert model.scalers.strain_std == 2.0


@pytest.mark.parametrize(
    ("changed", "rate", "kernel"),
    [
        ({"sample_rate": 2048}, 2048, 2048),
        ({"clean_kernel_length": None}, 4096, 8 * 4096),
        ({"clean_kernel_length": None, "kernel_length": None}, 4096, 4096),
        ({"clean_kernel_length": 0.5}, 4096, 2048),
    ],
)
def test_rate_and_kernel_are_read_where_they_are_stated(
    directory: Path, changed: dict[str, Any], rate: int, kernel: int
) -> None:
    config(directory, **changed)
    model = load(directory)
    assert (model.sample_rate, model.kernel) == (rate, kernel)


def test_several_bands_are_read(directory: Path) -> None:
    config(directory, freq_low=[58, 118], freq_high=[62, 122])
    assert load(directory).bands == ((58.0, 62.0), (118.0, 122.0))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"channels": None}, "data.channels: Field required"),
        ({"freq_low": "low"}, "data.freq_low"),
        ({"freq_low": [58, 118]}, "differ in length"),
        ({"sample_rate": 4096.5}, "not a whole number"),
        ({"clean_kernel_length": 0.3}, "not a whole number"),
        ({"channels": CHANNELS[:3]}, "3 witness mean values for 2 channels"),
    ],
)
def test_unsuitable_config_is_refused(directory: Path, changed: dict[str, Any], said: str) -> None:
    config(directory, **changed)
    assert said in fault(directory)


@pytest.mark.parametrize("content", [b"{", b"data: [1", b"just words", b"\xff\xfe\x00"])
def test_a_config_that_is_none_is_refused(directory: Path, content: bytes) -> None:
    (directory / "config.yaml").write_bytes(content)
    assert "config.yaml" in fault(directory)


@pytest.mark.parametrize("name", ["model.pt", "X_scaler.pt", "y_scaler.pt"])
@pytest.mark.parametrize("content", [b"", b"not a file of torch's"])
def test_a_damaged_file_is_named(directory: Path, name: str, content: bytes) -> None:
    (directory / name).write_bytes(content)
    assert name in fault(directory)


@pytest.mark.parametrize("name", ["config.yaml", "X_scaler.pt", "y_scaler.pt"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    message = fault(directory)
    assert name in message
    assert "No such file" in message


def test_nothing_is_unpickled(directory: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    torch.save({"mean": Danger(trap), "std": torch.ones(3)}, directory / "X_scaler.pt")
    assert "not a state dict with mean and std" in fault(directory)
    assert not trap.exists()


def test_a_network_for_other_channels_is_refused(directory: Path) -> None:
    script(Autoencoder(4), directory / "model.pt")
    assert "model.pt" in fault(directory)


def official(config: Config, place: Path, into: Path) -> Float64:
    """Replay four seconds; return the official product."""
    source = HistorySource(
        channels_of(config), History([place / "strain"]), History([place / "witnesses"])
    )
    clean(config, START + 4, START + 8, into, source=source)
    series = History([into]).read([OUT_DQ], Span.of_seconds(START + 4, 4))[OUT_DQ]
    assert isinstance(series, Series)
    return series.samples


@pytest.mark.slow
def test_it_cleans_what_our_own_format_cleans(tmp_path: Path) -> None:
    """Named in the configuration, it cleans frames as the same model of our own format does."""
    demo = CONFIGURATIONS / "demo.yaml"
    network = CONFIGURATIONS.parent / "models" / "H1" / "60Hz" / "1"
    config = configured(demo, [f"couplings.60Hz.model={network}"], environ={})
    layout = Layout(strain=tmp_path / "strain", witnesses=tmp_path / "witnesses")
    simulator = Simulator(site_of(config, motions=3))
    for _ in write_history(simulator, layout, Span.of_seconds(START, 10)):
        pass
    own = official(config, tmp_path, tmp_path / "own")

    directory = tmp_path / "deepcleanv2"
    write_deepcleanv2(load_models(config)["60Hz"], config.strain.channel, directory)
    named = configured(demo, [f"couplings.60Hz.model={directory}"], environ={})
    theirs = official(named, tmp_path, tmp_path / "theirs")

    raw = simulator.read([config.strain.channel], Span.of_seconds(START + 4, 4))
    noise = raw[config.strain.channel].samples - own
    assert noise.std() > 1e-23
    assert np.abs(theirs - own).max() < 1e-6 * noise.std()
