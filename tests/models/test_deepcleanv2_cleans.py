"""A deepcleanv2 training directory, named in the configuration, cleans frames as our own does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ruamel.yaml import YAML
from torch import Tensor, nn

from deepclean.config import Config, load
from deepclean.core.block import Float64, Series
from deepclean.core.channels import product_names
from deepclean.core.time import Span
from deepclean.factory import make_engine
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.models.load import Model
from deepclean.models.loading import load_models
from deepclean.run.cleaner import channels_of, sink_of
from deepclean.run.replay import replay
from deepclean.simulate.configured import site_of
from deepclean.simulate.files import Layout
from deepclean.simulate.history import write_history
from deepclean.simulate.simulator import Simulator
from tests.helpers.small_site import START

ROOT = Path(__file__).resolve().parents[2]


class Reordered(nn.Module):
    """A network that takes its witnesses sorted by name, as deepcleanv2 gives them."""

    def __init__(self, network: nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.order = list(order)

    def forward(self, witnesses: Tensor) -> Tensor:
        noise: Tensor = self.network(witnesses[:, self.order])
        return noise


def write_deepcleanv2(model: Model, strain: str, directory: Path) -> None:
    """Write a model as deepcleanv2 leaves one."""
    directory.mkdir()
    witnesses = sorted(model.channels)
    order = [witnesses.index(name) for name in model.channels]
    with warnings.catch_warnings():
        # What deepcleanv2 used; deprecated since.
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(Reordered(model.network, order))
        scripted.save(str(directory / "model.pt"))  # type: ignore[no-untyped-call]
    position = [model.channels.index(name) for name in witnesses]
    scalers = model.scalers
    for name, mean, std in (
        ("X_scaler.pt", scalers.witness_mean[position], scalers.witness_std[position]),
        (
            "y_scaler.pt",
            np.array([scalers.strain_mean]),
            np.array([scalers.strain_std]),
        ),
    ):
        state = {"mean": torch.from_numpy(mean), "std": torch.from_numpy(std)}
        torch.save(state, directory / name)
    bands = {"freq_low": [low for low, _ in model.bands], "freq_high": [h for _, h in model.bands]}
    data = {"channels": [strain, *witnesses], **bands, "filt_order": 8}
    with (directory / "config.yaml").open("w") as file:
        YAML().dump({"data": data}, file)


def clean(config: Config, place: Path, into: Path) -> Float64:
    """Replay four seconds; return the official product."""
    loaded = load_models(config)
    source = HistorySource(
        channels_of(config), History([place / "strain"]), History([place / "witnesses"])
    )
    span = Span.of_seconds(START + 4, 4)
    sink = sink_of(config, loaded, into)
    replay(config, lambda: make_engine(config, loaded), source, sink, span)
    name = product_names(config.strain.channel, ["OUT_DQ"])["OUT_DQ"]
    series = History([into]).read([name], span)[name]
    assert isinstance(series, Series)
    return series.samples


def test_it_cleans_what_our_own_format_cleans(tmp_path: Path) -> None:
    config = load(ROOT / "config" / "demo.yaml", environ={})
    layout = Layout(strain=tmp_path / "strain", witnesses=tmp_path / "witnesses")
    simulator = Simulator(site_of(config, motions=3))
    for _ in write_history(simulator, layout, Span.of_seconds(START, 10)):
        pass
    own = clean(config, tmp_path, tmp_path / "own")

    directory = tmp_path / "deepcleanv2"
    write_deepcleanv2(load_models(config)["60Hz"], config.strain.channel, directory)
    named = load(ROOT / "config" / "demo.yaml", [f"couplings.60Hz.model={directory}"], environ={})
    theirs = clean(named, tmp_path, tmp_path / "theirs")

    raw = simulator.read([config.strain.channel], Span.of_seconds(START + 4, 4))
    noise = raw[config.strain.channel].samples - own
    assert noise.std() > 1e-23
    assert np.abs(theirs - own).max() < 1e-6 * noise.std()
