"""The checkpoint of an interrupted training, and its continuation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepclean.errors import ConfigError, ModelError, one_line, output_errors
from deepclean.train.ignite import Checkpoint, DiskSaver

CHECKPOINT = "checkpoint.pt"

_FAULT = "the checkpoint could not be written"


@dataclass(slots=True)
class Best:
    """The best validation so far, and the weights that gave it.

    Args:
        score: result of the validation, the smaller the better; infinite before the first one.
        asd_ratio: of the same validation.
        epoch: epoch of the validation; 0 is the network that the training began with.
        weights: state of the network.
    """

    score: float
    asd_ratio: float
    epoch: int
    weights: dict[str, Tensor]

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {name: getattr(self, name) for name in ("score", "asd_ratio", "epoch", "weights")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self.score, self.asd_ratio = state["score"], state["asd_ratio"]
        self.epoch, self.weights = state["epoch"], state["weights"]


@dataclass(frozen=True, slots=True)
class Resume:
    """The checkpoint of a training.

    Args:
        directory: directory of the checkpoint.
        fingerprint: hash of everything that the result depends on; a checkpoint with another hash
            is refused.
        wanted: whether to continue from an existing checkpoint.
    """

    directory: Path
    fingerprint: str
    wanted: bool

    def saver(self, held: Mapping[str, Any]) -> Checkpoint:
        """Return ignite's handler that writes a checkpoint of some objects.

        Raises:
            OutputError: the directory cannot be made.
        """
        facts = {**held, "fingerprint": _Fingerprint(self.fingerprint)}
        return Checkpoint(facts, _Disk(self.directory), filename_pattern=CHECKPOINT, n_saved=None)

    def restore(self, held: Mapping[str, Any]) -> None:
        """Restore the state of objects from the checkpoint, if that is wanted and it exists.

        Raises:
            ConfigError: the checkpoint belongs to another training.
            ModelError: the checkpoint cannot be read.
        """
        path = self.directory / CHECKPOINT
        if not self.wanted or not path.exists():
            return
        # The exceptions that a damaged file causes have no common base.
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ModelError(
                f"the checkpoint cannot be read: {one_line(error)[:200]}", path=path
            ) from error
        _Fingerprint(self.fingerprint).load_state_dict(state["fingerprint"])
        Checkpoint.load_objects(held, state)


class _Fingerprint:
    """The hash of a training in its checkpoint. It refuses the checkpoint of another training."""

    def __init__(self, value: str) -> None:
        self._value = value

    def state_dict(self) -> dict[str, str]:
        return {"sha256": self._value}

    def load_state_dict(self, state: dict[str, str]) -> None:
        if state["sha256"] != self._value:
            raise ConfigError(
                "the checkpoint belongs to a training with other settings or data: start again "
                "without --resume"
            )


class _Disk(DiskSaver):
    """ignite's writer, which renames atomically. It raises OutputError."""

    def __init__(self, directory: Path) -> None:
        with output_errors(directory, _FAULT):
            super().__init__(directory, require_empty=False)

    def __call__(self, checkpoint: Mapping[str, Any], filename: str, metadata: Any = None) -> None:
        with output_errors(self.dirname / filename, _FAULT):
            super().__call__(checkpoint, filename, metadata)
