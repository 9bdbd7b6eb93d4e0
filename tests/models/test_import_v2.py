"""deepcleanv2's directories become versions of ours where their network is the published one."""

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepclean.errors import ModelError
from deepclean.models import files as models
from deepclean.models import import_v2
from deepclean.models.content import read_version
from deepclean.models.store import changes as store
from tests.helpers.deepcleanv2_directory import (
    WITNESSES,
    Autoencoder,
    config,
    directory,
    network,
    original,
    script,
)

__all__ = ["directory", "original"]


def import_into(root: Path, source: Path) -> Path:
    return store.add(root, *import_v2.read(source, "H1", "60Hz", 16384), what="import")


def test_what_is_imported_gives_the_same_samples(directory: Path, tmp_path: Path) -> None:
    path = import_into(tmp_path / "store", directory)
    ours, theirs = models.load(path, store=tmp_path / "store"), models.load(directory)
    inputs = torch.randn(2, 3, 4096, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        original = network().eval()(inputs)
    scale = float(original.square().mean().sqrt())
    for output in (theirs.predict(inputs), ours.predict(inputs)):
        assert float((output - original).abs().max()) < 1e-6 * scale
    assert ours.architecture == {"name": "autoencoder", "hidden": [8, 16], "kernel_size": 7}
    for fact in "channels sample_rate kernel edge bands reach period".split():
        assert getattr(ours, fact) == getattr(theirs, fact), fact
    for name in "witness_mean witness_std strain_mean strain_std".split():
        np.testing.assert_array_equal(getattr(ours.scalers, name), getattr(theirs.scalers, name))
    assert ours.channels == WITNESSES


def test_the_manifest_says_what_is_known(directory: Path, tmp_path: Path) -> None:
    path = import_into(tmp_path / "store", directory)
    _, manifest, _ = read_version(path)
    assert manifest.origin is not None
    assert (manifest.origin.format, manifest.origin.coupling) == ("deepcleanv2", "60Hz-run")
    assert manifest.origin.version is None
    assert manifest.origin.sha256 == models.load(directory).hash
    assert (manifest.strain.name, manifest.strain.rate) == ("H1:GDS-CALIB_STRAIN", 16384)
    assert {channel.rate for channel in manifest.channels} == {None}
    assert manifest.bandpass == {"filter": "butterworth", "order": 8}


def test_an_output_with_a_channel_dimension_is_imported(directory: Path, tmp_path: Path) -> None:
    torch.manual_seed(4)
    script(Autoencoder(3, keep=True), directory / "model.pt")
    assert models.load(import_into(tmp_path / "store", directory)).period == 4


class Squared(Autoencoder):
    """The published weights, used otherwise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.output_conv(self.upsampler(self.downsampler(self.input_conv(x))))
        return y[:, 0] ** 2


class Normless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(3, 3, 7, 1, 3),
            nn.Conv1d(3, 4, 7, 1, 3),
            nn.Conv1d(4, 3, 7, 1, 3),
            nn.Conv1d(3, 1, 7, 1, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layers(x)
        return y[:, 0]


class Single(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv1d(3, 1, 33, padding=16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.only(x)
        return y[:, 0]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: Squared(3), "the same weights give other samples"),
        (Normless, "its layers are others"),
        (Single, "it has 1 convolutions"),
    ],
)
def test_another_network_stays_torchscript(
    directory: Path, tmp_path: Path, other: type[nn.Module], said: str
) -> None:
    torch.manual_seed(4)
    script(other(), directory / "model.pt")
    with pytest.raises(ModelError, match=said) as caught:
        import_into(tmp_path / "store", directory)
    assert "it runs as TorchScript as it is" in str(caught.value)
    assert not (tmp_path / "store").exists()
    models.load(directory)  # as it says


def test_another_interferometers_is_refused(directory: Path) -> None:
    config(directory, channels=["L1:STRAIN", "L1:A", "L1:B", "L1:C"])
    with pytest.raises(ModelError, match="is of L1, not H1"):
        import_v2.read(directory, "H1", "60Hz", 16384)


def traced(source: nn.Module, path: Path) -> None:
    """Write a network as deepcleanv2's code does: traced, without eval()."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracing, and that it is deprecated
        torch.jit.trace(  # type: ignore[no-untyped-call]
            source, torch.randn(1, 3, 4096), check_trace=False
        ).save(str(path))


def with_statistics() -> Autoencoder:
    """Return the network as it is after a training: its statistics are those of the data."""
    trained = network()
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return trained


def test_a_network_traced_in_training_mode_is_imported_as_evaluated(
    directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = with_statistics()
    traced(copy.deepcopy(trained).train(), directory / "model.pt")
    with pytest.raises(ModelError, match="traced in training mode"):
        models.load(directory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        held = torch.jit.load(str(directory / "model.pt")).state_dict()  # type: ignore[no-untyped-call]
    trained.load_state_dict(held)  # the trace itself ran it once
    ours = models.load(import_into(tmp_path / "store", directory))
    inputs = torch.randn(2, 3, 4096, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected = trained.eval()(inputs)
    assert torch.allclose(ours.predict(inputs), expected, rtol=0, atol=1e-5)
    assert "was traced in training mode" in caplog.text


def test_weights_that_are_not_float32_are_refused_at_once(directory: Path) -> None:
    script(network().double().eval(), directory / "model.pt")
    with pytest.raises(ModelError, match="does not run on float32"):
        models.load(directory)


class Dropping(nn.Module):
    """A network whose dropout is on whatever its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 1, 5, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.dropout(self.conv(x), 0.5, True)[:, 0]
        return y


def test_dropout_that_was_left_on_is_refused_at_once(directory: Path) -> None:
    script(Dropping(), directory / "model.pt")
    with pytest.raises(ModelError, match=r"depends on what else|other samples each time"):
        models.load(directory)


def test_the_rate_may_be_stated(
    directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """deepcleanv2's configuration does not hold it."""
    content, manifest = import_v2.read(directory, "H1", "60Hz", 16384)
    assert manifest.sample_rate == 4096
    assert "states no rate; 4096 Hz is taken" in caplog.text
    caplog.clear()
    content, manifest = import_v2.read(directory, "H1", "60Hz", 16384, rate=2048)
    assert (manifest.sample_rate, manifest.kernel) == (2048, 2048)
    assert caplog.text == ""
    assert store.add(tmp_path / "store", content, manifest, what="import").is_dir()
