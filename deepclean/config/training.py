"""How `deepclean train` fits a coupling's network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deepclean.config.types import (
    Count,
    Duration,
    Fraction,
    NotNegative,
    Options,
    Pause,
    Positive,
    Section,
    Seed,
    seconds,
)


class TrainConfig(Section):
    """How a network is fitted. A command-line option of `deepclean train` goes before it."""

    architecture: str = "autoencoder"
    """The network, by name."""

    architecture_options: Options = Field(default={}, validate_default=True)
    """That network's options."""

    loss: str = "asd_ratio"
    """The loss, by name: asd_ratio is the published mean of residual ASD over target ASD;
    log_asd_ratio, the mean of its logarithm, learns strong lines sooner; mse."""

    loss_options: Options = Field(default={}, validate_default=True)
    """That loss's options."""

    epochs: Count = 30
    """Passes over the training data at most; the learning rate's cycle spans them all."""

    patience: Count = 20
    """Epochs without a better validation after which it stops."""

    batch_size: Count = 2
    """Windows per step."""

    learning_rate: Positive = 0.01
    """Of the optimiser (AdamW), at its highest: it rises over the first 30 % and falls to 0."""

    weight_decay: NotNegative = 1e-5
    """Of the optimiser."""

    window: Duration = seconds(4.0)
    """Seconds of data per training example."""

    overlap: Pause = seconds(0.0)
    """Seconds that consecutive examples would share, were they not drawn at random: the more, the
    more of them make an epoch."""

    freeze_after: Fraction = 0.5
    """Share of the epochs after which batch normalisation keeps its statistics, so that the network
    that is trained is the one that will run."""

    validation_fraction: Fraction = 0.2
    """Share of the data, at its end, that is kept for validation."""

    validation_seconds: Duration = seconds(64.0)
    """Seconds of it, at most, that the engine cleans after each epoch; after the last, all."""

    seed: Seed = 0
    """Of all random numbers."""

    device: Literal["cpu", "cuda", "auto"] = "auto"
    """Where it runs; auto: a GPU where there is one."""
