"""How `deepclean train` fits a coupling's network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deepclean.config.values import (
    Count,
    Duration,
    Fraction,
    NotNegative,
    Options,
    Pause,
    Positive,
    Section,
    Seed,
)
from deepclean.core.time import seconds_to_ns


class Training(Section):
    """How a network is fitted. A command-line option of `deepclean train` goes before it."""

    architecture: str = "autoencoder"
    """The network, by name."""

    architecture_options: Options = Field(default={}, validate_default=True)
    """That network's options."""

    loss: str = "asd_ratio"
    """The loss, by name: asd_ratio is the published mean of residual ASD over target ASD."""

    loss_options: Options = Field(default={}, validate_default=True)
    """That loss's options."""

    epochs: Count = 100
    """Passes over the training data at most."""

    patience: Count = 20
    """Epochs without a better validation after which it stops."""

    batch_size: Count = 32
    """Windows per step."""

    learning_rate: Positive = 1e-3
    """Of the optimiser."""

    weight_decay: NotNegative = 1e-5
    """Of the optimiser."""

    window: Duration = 8.0
    """Seconds of data per training example."""

    overlap: Pause = 4.0
    """Seconds that consecutive examples share."""

    validation_fraction: Fraction = 0.2
    """Share of the data, at its end, that is kept for validation."""

    seed: Seed = 0
    """Of all random numbers."""

    device: Literal["cpu", "cuda", "auto"] = "auto"
    """Where it runs; auto: a GPU where there is one."""

    @property
    def window_ns(self) -> int:
        """Length of a training example in nanoseconds."""
        return seconds_to_ns(self.window)

    @property
    def overlap_ns(self) -> int:
        """What consecutive examples share, in nanoseconds."""
        return seconds_to_ns(self.overlap)
