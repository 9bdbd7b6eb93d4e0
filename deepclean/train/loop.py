"""The descent: batches, optimiser, validation, early stopping, checkpoints.

pytorch-ignite runs the epochs, stops early and writes the checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepclean.config import TrainConfig
from deepclean.errors import ModelError
from deepclean.train.checkpoint import Best, Resume
from deepclean.train.ignite import QUIET, EarlyStopping, Engine, Events
from deepclean.train.paired import EpochFigures, PairedValidation
from deepclean.train.windows import Windows

RISE = 0.3
"""Share of the one-cycle schedule in which the learning rate rises."""

SILENT = 0.01
"""Output over target, in amplitude, below which a network is silent."""

SPEAKS_BY = 2
"""Epochs after which it must not be: one that learns reaches a tenth in its first."""

HEARD = 4.0
"""Power of the target over that of what the closed form leaves, in the bin where that is largest,
above which a network that gives nothing there has missed something."""

_STEPS = 200
"""Steps that these epochs have at least, as with a quarter of an hour of data: fewer data take more
epochs to make a sound."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a training.

    Args:
        epoch: number of finished epochs.
        epochs: largest number of epochs.
        step: number of finished batches in the current epoch.
        steps: number of batches in an epoch.
        loss: mean over the epoch; None during the epoch.
        asd_ratio: of the epoch's validation; None during the epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None = None
    asd_ratio: float | None = None


def descend(
    network: nn.Module,
    loss: nn.Module,
    windows: Windows,
    validation: PairedValidation,
    learning_rate: float,
    settings: TrainConfig,
    resume: Resume,
    progress: Callable[[Progress], None] | None = None,
) -> Best:
    """Train `network` and return the best of its validations, with which it began included.

    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with a one-cycle learning rate (Smith and
    Topin 2018, arXiv:1708.07120). Batch normalisation first normalises by the batch, which the
    network at the site does not do. From `settings.freeze_after` on it uses the statistics that it
    has gathered, and keeps them.

    Args:
        network: on the device of the windows; it ends in its last state, not its best.
        loss: on the same device.
        windows: the training data.
        validation: judges a network in evaluation mode.
        learning_rate: the highest of the cycle.
        settings: epochs, batches, optimiser, patience.
        resume: the checkpoint.
        progress: told after each batch and each epoch.

    Raises:
        ConfigError: the checkpoint belongs to another training.
        ModelError: the checkpoint cannot be read, the loss is no longer finite, or the network is
            silent.
        OutputError: the checkpoint cannot be written.
    """
    descent = _Descent(network, loss, windows, validation, learning_rate, settings)
    descent.report = progress or _untold
    trainer = Engine(descent.step)
    trainer.logger = QUIET
    stopping = EarlyStopping(settings.patience, descent.score, trainer)
    held: dict[str, Any] = {
        "trainer": trainer,
        "network": network,
        "optimiser": descent.optimiser,
        "schedule": descent.schedule,
        "stopping": stopping,
        "best": descent.best,
    }
    trainer.add_event_handler(Events.EPOCH_STARTED, descent.begin)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, descent.end)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, stopping)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, resume.saver(held))
    resume.restore(held)
    if trainer.state.epoch == 0:
        descent.judge(0)
    if trainer.state.epoch < settings.epochs and stopping.counter < settings.patience:
        steps = descent.steps
        trainer.run(range(steps), max_epochs=settings.epochs, epoch_length=steps)
    return descent.best


class _Descent:
    """The handlers that ignite calls, and their state."""

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        windows: Windows,
        validation: PairedValidation,
        learning_rate: float,
        settings: TrainConfig,
    ) -> None:
        self._network, self._loss, self._windows = network, loss, windows
        self._validation, self._settings = validation, settings
        self.report: Callable[[Progress], None] = _untold
        self._trained = list(network.parameters())
        shared = windows.length * settings.overlap // settings.window
        self.steps = max(1, windows.samples // ((windows.length - shared) * settings.batch_size))
        self.optimiser = torch.optim.AdamW(
            self._trained, lr=learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            learning_rate,
            total_steps=self.steps * settings.epochs,
            pct_start=RISE,
        )
        self.best = Best(float("inf"), float("inf"), 0, _weights(network))
        self._places: tuple[Tensor, ...] = ()
        self._losses: list[float] = []
        self._score = float("inf")

    def begin(self, trainer: Engine) -> None:
        """Draw an epoch's windows and put the network in training mode."""
        settings, epoch = self._settings, trainer.state.epoch
        drawn = self._windows.draw(epoch, self.steps * settings.batch_size)
        self._places = torch.split(drawn, settings.batch_size)
        self._losses = []
        self._network.train()
        if epoch > settings.freeze_after * settings.epochs:
            _freeze_statistics(self._network)

    def step(self, trainer: Engine, index: int) -> None:
        """Train on one batch."""
        witnesses, target = self._windows.batch(self._places[index])
        self.optimiser.zero_grad()
        first, count = self._windows.context.before, self._windows.length
        prediction = self._network(witnesses)[:, first : first + count]
        value = self._loss(prediction, target)
        value.backward()
        nn.utils.clip_grad_norm_(self._trained, self._settings.gradient_norm)
        self.optimiser.step()
        self.schedule.step()
        epoch = trainer.state.epoch
        if not torch.isfinite(value):
            raise ModelError(
                f"the loss is no longer finite in epoch {epoch}: lower training.learning_rate"
            )
        self._losses.append(value.item())
        self.report(Progress(epoch - 1, self._settings.epochs, index + 1, self.steps))

    def end(self, trainer: Engine) -> None:
        """Validate, and store the weights if they are the best so far."""
        epoch, steps = trainer.state.epoch, self.steps
        figures = self.judge(epoch)
        due = epoch >= SPEAKS_BY and epoch * steps >= _STEPS
        if due and self._validation.excess > HEARD and figures.peak_output < SILENT:
            raise ModelError(
                f"the network is silent: after {epoch} epochs its output is "
                f"{100 * figures.peak_output:.2g} % of the noise where that is strongest; lower "
                "training.learning_rate, or train a closed form or a hybrid, which begins with one"
            )
        loss = sum(self._losses) / len(self._losses)
        ratio = figures.asd_ratio
        self.report(Progress(epoch, self._settings.epochs, steps, steps, loss, ratio))

    def judge(self, epoch: int) -> EpochFigures:
        """Return the network's figures, and store its weights if it is the best so far."""
        figures, best = self._validation.figures(self._network.eval()), self.best
        self._score = figures.score
        if figures.score < best.score:
            best.score, best.asd_ratio, best.epoch = figures.score, figures.asd_ratio, epoch
            best.weights = _weights(self._network)
        return figures

    def score(self, trainer: Engine) -> float:
        """Return the negative score of the last validation, which early stopping maximises."""
        return -self._score


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _freeze_statistics(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()


def _untold(progress: Progress) -> None:
    """Do nothing."""
