"""Simulated sites on disk and their models: what benchmarks, soaks and rehearsals clean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import CONFIGURATIONS, ROOT
from deepclean.config import Config, load
from deepclean.core.block import Block
from deepclean.core.time import Span
from deepclean.io.retention import held
from deepclean.models import files as models
from deepclean.models.manifest import Channel, Description
from deepclean.models.model import Model
from deepclean.models.networks import build
from deepclean.models.store.versions import set_pointer
from deepclean.models.tensors import Scalers
from deepclean.simulate import Fault, Layout, Simulator, Site, site_of, write_history

START = 1_420_000_000
"""GPS second at which the data begin."""

DEMO = CONFIGURATIONS / "demo.yaml"
COUPLING = "60Hz"
AUTOENCODER = {"name": "autoencoder"}

SIXTEENTHS = CONFIGURATIONS / "H1-sixteenths.yaml"
"""The configuration for blocks of 1/16 s (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class SiteDirectory:
    """A simulated site with directories of its own."""

    root: Path  # holds `strain`, `witnesses`, `cleaned` and, where it is asked for, `truth`
    path: Path  # file of the configuration
    overrides: tuple[str, ...]  # of that file, as `--set` takes them
    config: Config  # the two together
    simulator: Simulator  # makes the data

    def write(
        self,
        span: Span,
        length: int = 1,
        *,
        into: Path | None = None,
        truth: bool = False,
        faults: Sequence[Fault] = (),
    ) -> list[Path]:
        """Write the frame files of a span, of a length in s; return their paths in order of time.

        They go below the root or below another directory, with what the strain is the sum of
        (`truth`) where that is asked for.
        """
        layout = self.layout(into, length, truth=truth)
        return list(write_history(self.simulator, layout, span, faults=faults))

    def layout(self, into: Path | None = None, length: int = 1, *, truth: bool = False) -> Layout:
        """Return where the files go, as `write` takes it."""
        into = into or self.root
        return Layout(
            strain=into / "strain",
            witnesses=into / "witnesses",
            truth=into / "truth" if truth else None,
            strain_length=length,
            witness_length=length,
        )

    def block(self, span: Span) -> Block:
        """Return the data of a span as the daemon would read them."""
        strain, state = self.config.strain.channel, str(self.config.strain.state_vector)
        read = self.simulator.read([strain, state, *self.config.witness_channels], span)
        witnesses = {name: read[name] for name in self.config.witness_channels}
        return Block(span, read[strain], witnesses, read[state])

    def outputs(self) -> dict[int, Path]:
        """Return the cleaned frames that are there, by GPS second."""
        output = self.config.output
        names = held(output.directory, output.description)
        return {name.start: output.directory / str(name) for name in names}


def lay_out(
    root: Path,
    path: Path,
    overrides: Sequence[str] = (),
    *,
    motions: int | None = None,
    seed: int = 0,
    simulator: Callable[[Site], Simulator] = Simulator,
) -> SiteDirectory:
    """Return the site that a configuration's file describes, its directories below an empty one.

    `motions` and `seed` are those of `deepclean.simulate.site_of`; `simulator` makes the site's
    simulator, and may change the site.
    """
    described = load(path, environ={}).interferometer + "_lldetchar"
    overrides = (
        f"input.strain.directory={root / 'strain'}",
        f"input.witnesses=[{{directory: {root / 'witnesses'}, description: {described}}}]",
        f"output.directory={root / 'cleaned'}",
        *overrides,
    )
    config = load(path, overrides, environ={})
    for name in ("strain", "witnesses", "cleaned"):
        (root / name).mkdir()
    site = site_of(config, motions=motions, seed=seed)
    return SiteDirectory(root, path, overrides, config, simulator(site))


def demo_site(root: Path, overrides: Sequence[str] = ()) -> SiteDirectory:
    """Return the demonstration's site, with noise that its network was not trained on."""
    return lay_out(root, DEMO, overrides, motions=3, seed=7)


def wide_site(
    root: Path, overrides: Sequence[str] = (), path: Path = CONFIGURATIONS / "H1.yaml"
) -> SiteDirectory:
    """Return the site of the live benchmarks: the demonstration's, seen by 21 witnesses.

    The demonstration's network cleans it, widened to 21 inputs, of which those that it was not
    trained with have no weight. That costs what a network of 21 witnesses costs, and the gate is
    open, as it is not where weights are random. No witness is slower than the configuration takes.
    """
    demo = {w.channel: w for w in site_of(load(DEMO, environ={}), motions=3).witnesses}
    store = f"models.directory={root / 'models'}"

    def like_demo(site: Site) -> Simulator:
        known = (demo.get(witness.channel, witness) for witness in site.witnesses)
        faster = tuple(replace(witness, rate=max(witness.rate, slowest)) for witness in known)
        return Simulator(replace(site, witnesses=faster))

    overrides = (*only(path, COUPLING), store, *overrides)
    slowest = load(path, overrides, environ={}).engine.resample.slowest_rate
    made = lay_out(root, path, overrides, motions=3, simulator=like_demo)
    _write_wide_model(root / "models", made.config)
    set_pointer(root / "models" / made.config.interferometer / COUPLING, "production", 1)
    return made


def only(path: Path, coupling: str) -> list[str]:
    """Return the overrides of a configuration that leave one of its couplings enabled."""
    names = load(path, environ={}).couplings
    return [f"couplings.{name}.enabled={str(name == coupling).lower()}" for name in names]


def write_random_models(
    config: Config, directory: Path, device: str = "cpu", version: int = 1
) -> dict[str, Model]:
    """Write and load networks of the published architecture with random weights.

    They cost what trained ones do.
    """
    loaded = {}
    for name, coupling in config.enabled_couplings.items():
        torch.manual_seed(version - 1)
        count = len(coupling.witnesses)
        scalers = Scalers(np.zeros(count), np.ones(count), 0.0, 1e-23)
        described = _description(config, name, config.engine.rate, 128, version)
        path = models.write_model(directory, build(AUTOENCODER, count), scalers, described)
        loaded[name] = models.load(path, device)
    return loaded


def _write_wide_model(directory: Path, config: Config) -> None:
    demo = models.load(ROOT / "models" / "H1" / COUPLING / "1")
    witnesses = config.couplings[COUPLING].witnesses
    ours = [witnesses.index(name) for name in demo.channels]
    mean, std = np.zeros(len(witnesses)), np.ones(len(witnesses))
    mean[ours], std[ours] = demo.scalers.witness_mean, demo.scalers.witness_std
    scalers = replace(demo.scalers, witness_mean=mean, witness_std=std)
    network = widened(demo, len(witnesses), ours)
    described = _description(config, COUPLING, demo.kernel, demo.edge)
    models.write_model(directory, network, scalers, described)


def _description(
    config: Config, name: str, kernel: int, edge: int, version: int = 1
) -> Description:
    coupling = config.couplings[name]
    return Description(
        interferometer=config.interferometer,
        coupling=name,
        version=version,
        architecture=AUTOENCODER,
        strain=Channel(name=config.strain.channel, rate=config.strain.rate),
        channels=tuple(Channel(name=witness) for witness in coupling.witnesses),
        sample_rate=config.engine.rate,
        bands=coupling.bands,
        kernel=kernel,
        edge=edge,
    )


def widened(model: Model, channels: int, ours: Sequence[int]) -> torch.nn.Module:
    """Return a model's network with more inputs, the same function of those it had (`ours`).

    Its first and last layers have one channel for each input.
    """
    network = build(dict(model.architecture), channels)
    weights: dict[str, Any] = network.state_dict()
    for name, narrow in model.network.state_dict().items():
        wide = weights[name]
        if wide.shape == narrow.shape:
            wide.copy_(narrow)
            continue
        wide.fill_(1.0 if name.endswith("running_var") else 0.0)
        sizes = zip(wide.shape, narrow.shape, strict=True)
        places = [torch.tensor(ours) if one != other else torch.arange(one) for one, other in sizes]
        wide[torch.meshgrid(*places, indexing="ij")] = narrow
    network.load_state_dict(weights)
    return network.eval()
