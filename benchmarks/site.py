"""The site of the live benchmarks: the demo's, seen by 21 witnesses, its data made ahead.

The demo's network cleans it: widened to 21 inputs, of which those that it was not trained with have
no weight. That costs what a network of 21 witnesses costs, and the gate is open, as it is not where
weights are random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from deepclean.config import Config
    from deepclean.models.load import Model
    from deepclean.simulate.site import Site

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config" / "H1.yaml"
COUPLING = "60Hz"
START = 1_400_000_000

SHORT = (
    "engine.hop=0.0625",
    "engine.ramp=0.0625",
    "engine.resample.slowest_rate=512",
    f"couplings.{COUPLING}.bandpass.transition=9",
)
"""What makes the look-ahead short enough for half a second (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Made:
    """A site on disk.

    Args:
        place: its directories: `strain`, `witnesses`, `cleaned`, `models`, and `store`, where the
            input lies that has not appeared yet.
        overrides: of `CONFIG`, as `--set` takes them.
        config: the two together.
    """

    place: Path
    overrides: tuple[str, ...]
    config: Config


def make(place: Path, extra: Sequence[str] = ()) -> Made:
    """Make the directories and the model of the site below an empty directory.

    Args:
        place: the directory.
        extra: overrides that the benchmark's user asked for.

    Raises:
        ConfigError: an override that cannot be.
    """
    from deepclean.config import load
    from deepclean.models.versions import set_pointer

    overrides = [
        f"couplings.{name}.enabled=false" for name in load(CONFIG).couplings if name != COUPLING
    ]
    overrides += [
        f"input.strain.directory={place / 'strain'}",
        f"input.witnesses=[{{directory: {place / 'witnesses'}, description: H1_lldetchar}}]",
        f"output.directory={place / 'cleaned'}",
        f"models.directory={place / 'models'}",
        *extra,
    ]
    config = load(CONFIG, overrides, environ={})
    for name in ("strain", "witnesses", "cleaned", "store/strain", "store/witnesses"):
        (place / name).mkdir(parents=True)
    _write_model(place / "models", config)
    set_pointer(place / "models" / config.interferometer / COUPLING, "production", 1)
    return Made(place, tuple(overrides), config)


def site_of(config: Config) -> Site:
    """Return the demo's site with the witnesses that it lacks of a configuration's.

    None is slower than what the configuration takes.
    """
    from deepclean.config import load
    from deepclean.simulate import configured

    site = configured.site_of(config, motions=3)
    demo = configured.site_of(load(ROOT / "config" / "demo.yaml"), motions=3)
    known = {witness.channel: witness for witness in demo.witnesses}
    slowest = config.engine.resample.slowest_rate
    seen = (known.get(witness.channel, witness) for witness in site.witnesses)
    faster = tuple(replace(witness, rate=max(witness.rate, slowest)) for witness in seen)
    return replace(site, witnesses=faster)


def _write_model(models_directory: Path, config: Config) -> None:
    import numpy as np

    from deepclean.models import load as models
    from deepclean.models.manifest import Channel, Description

    demo = models.load(ROOT / "models" / "H1" / COUPLING / "1")
    coupling = config.couplings[COUPLING]
    rates = {witness.channel: witness.rate for witness in site_of(config).witnesses}
    ours = [coupling.witnesses.index(name) for name in demo.channels]
    mean, std = np.zeros(len(coupling.witnesses)), np.ones(len(coupling.witnesses))
    mean[ours], std[ours] = demo.scalers.witness_mean, demo.scalers.witness_std
    models.write_model(
        models_directory,
        widened(demo, len(coupling.witnesses), ours),
        replace(demo.scalers, witness_mean=mean, witness_std=std),
        Description(
            interferometer=config.interferometer,
            coupling=COUPLING,
            version=1,
            architecture=dict(demo.architecture),
            strain=Channel(name=config.strain.channel, rate=config.strain.rate),
            channels=[Channel(name=name, rate=rates[name]) for name in coupling.witnesses],
            sample_rate=config.engine.rate,
            bands=coupling.bands,
            kernel=demo.kernel,
            edge=demo.edge,
        ),
    )


def widened(model: Model, channels: int, ours: Sequence[int]) -> torch.nn.Module:
    """Return a model's network with more inputs, the same function of those it had.

    Args:
        model: whose network has one channel within for each input at its first and last layers.
        channels: how many inputs.
        ours: which of them are the model's own, in its order.
    """
    import torch

    from deepclean.models.networks import build

    network = build(dict(model.architecture), channels)
    weights: dict[str, Any] = network.state_dict()
    for name, narrow in model.network.state_dict().items():
        wide = weights[name]
        if wide.shape == narrow.shape:
            wide.copy_(narrow)
            continue
        wide.fill_(1.0 if name.endswith("running_var") else 0.0)
        places = [
            torch.tensor(ours) if one != other else torch.arange(one)
            for one, other in zip(wide.shape, narrow.shape, strict=True)
        ]
        wide[torch.meshgrid(*places, indexing="ij")] = narrow
    network.load_state_dict(weights)
    return network.eval()
