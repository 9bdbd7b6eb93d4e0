"""The descent: batches, optimiser, validation by the engine, early stopping, checkpoints.

pytorch-ignite runs the epochs, stops early and keeps the checkpoints; here is what it is told.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepclean.config import Training
from deepclean.errors import ConfigError, ModelError
from deepclean.train.windows import Windows

with warnings.catch_warnings():
    # ignite imports torch.distributed.optim, which still calls the deprecated torch.jit.script.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ignite.engine import Engine, Events
    from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping

CHECKPOINT = "checkpoint.pt"

RISE = 0.3
"""Share of the one-cycle schedule over which the learning rate rises."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is.

    Args:
        epoch: epochs done.
        epochs: at most.
        loss: mean over the epoch; None in its course.
        asd_ratio: of the epoch's validation; None in its course.
        step: batches done in the epoch that runs.
        steps: batches in an epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None = None
    asd_ratio: float | None = None


@dataclass(slots=True)
class Best:
    """The best validation so far, and the weights that gave it.

    Args:
        asd_ratio: what the validation gave; infinite before the first.
        epoch: counted from 1.
        weights: the network's state.
    """

    asd_ratio: float
    epoch: int
    weights: dict[str, Tensor]

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of this."""
        return {"asd_ratio": self.asd_ratio, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what a checkpoint held."""
        self.asd_ratio, self.epoch = state["asd_ratio"], state["epoch"]
        self.weights = state["weights"]


@dataclass(frozen=True, slots=True)
class Resume:
    """Where checkpoints lie and which training they belong to.

    Args:
        directory: of the checkpoint.
        fingerprint: of everything that the result depends on; a checkpoint with another is
            refused.
        wanted: continue from the checkpoint, where there is one.
    """

    directory: Path
    fingerprint: str
    wanted: bool


def descend(
    network: nn.Module,
    loss: nn.Module,
    windows: Windows,
    validate: Callable[[nn.Module], float],
    settings: Training,
    window: int,
    resume: Resume,
    progress: Callable[[Progress], None] | None = None,
) -> Best:
    """Train `network` and return the best of its validations.

    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with a one-cycle learning rate (Smith and
    Topin 2018, arXiv:1708.07120). From `settings.freeze_after` on, batch normalisation uses and
    keeps the statistics that it has gathered: until then it normalises by the batch, which the
    network that runs at the site does not.

    Args:
        network: on the device where the windows are; it ends in its last state, not its best.
        loss: on the same device.
        windows: the training data.
        validate: gives the ASD ratio of the network, which it finds in evaluation mode.
        settings: epochs, batches, optimiser, patience, seed.
        window: samples per window.
        resume: checkpoints.
        progress: told after each batch and each epoch.

    Raises:
        ConfigError: the checkpoint is of another training.
        ModelError: the checkpoint cannot be read, or the loss is no longer finite.
    """
    per_window = window * (settings.window_ns - settings.overlap_ns) // settings.window_ns
    steps = max(1, windows.samples // (max(per_window, 1) * settings.batch_size))
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=steps * settings.epochs, pct_start=RISE
    )
    best = Best(float("inf"), 0, _weights(network))
    report = progress or _silent
    places: list[Tensor] = []
    losses: list[float] = []
    ratios: list[float] = []

    def step(trainer: Engine, index: int) -> None:
        witnesses, target = windows.batch(places[index])
        optimiser.zero_grad()
        value = loss(network(witnesses), target)
        value.backward()
        optimiser.step()
        schedule.step()
        losses.append(value.item())
        if not torch.isfinite(value):
            raise ModelError(
                f"the loss is no longer finite in epoch {trainer.state.epoch}: lower "
                "training.learning_rate"
            )
        report(Progress(trainer.state.epoch - 1, settings.epochs, index + 1, steps))

    trainer = Engine(step)

    def begin(trainer: Engine) -> None:
        drawn = windows.draw(trainer.state.epoch, steps * settings.batch_size)
        places[:] = torch.split(drawn, settings.batch_size)
        losses.clear()
        network.train()
        if trainer.state.epoch > settings.freeze_after * settings.epochs:
            _freeze_statistics(network)

    def end(trainer: Engine) -> None:
        network.eval()
        ratio, epoch = validate(network), trainer.state.epoch
        if ratio < best.asd_ratio:
            best.asd_ratio, best.epoch, best.weights = ratio, epoch, _weights(network)
        ratios.append(ratio)
        report(Progress(epoch, settings.epochs, steps, steps, sum(losses) / len(losses), ratio))

    stopping = EarlyStopping(settings.patience, lambda _: -ratios[-1], trainer)
    held = {
        "trainer": trainer,
        "network": network,
        "optimiser": optimiser,
        "schedule": schedule,
        "stopping": stopping,
        "best": best,
        "fingerprint": _Fingerprint(resume.fingerprint),
    }
    trainer.add_event_handler(Events.EPOCH_STARTED, begin)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, end)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, stopping)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, _saver(resume.directory, held))
    if resume.wanted and (resume.directory / CHECKPOINT).exists():
        _restore(resume.directory / CHECKPOINT, held)
    if trainer.state.epoch < settings.epochs and stopping.counter < settings.patience:
        trainer.run(range(steps), max_epochs=settings.epochs, epoch_length=steps)
    return best


class _Fingerprint:
    """Says in a checkpoint which training it is of, and refuses another's."""

    def __init__(self, value: str) -> None:
        self._value = value

    def state_dict(self) -> dict[str, str]:
        return {"sha256": self._value}

    def load_state_dict(self, state: dict[str, str]) -> None:
        if state["sha256"] != self._value:
            raise ConfigError(
                "the checkpoint is of a training with other settings or data: start again "
                "without --resume"
            )


def _saver(directory: Path, held: dict[str, Any]) -> Checkpoint:
    """Return the handler that keeps one checkpoint, replaced by an atomic rename."""
    disk = DiskSaver(directory, require_empty=False)
    return Checkpoint(held, disk, filename_pattern=CHECKPOINT, n_saved=None)


def _restore(path: Path, held: dict[str, Any]) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the checkpoint cannot be read: {reason}", path=path) from error
    # First, before anything is changed.
    held["fingerprint"].load_state_dict(state["fingerprint"])
    Checkpoint.load_objects(held, state)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _freeze_statistics(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()


def _silent(progress: Progress) -> None:
    """Do nothing."""
