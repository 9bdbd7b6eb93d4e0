"""What an interrupted training leaves, and how it goes on from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepclean.errors import ConfigError, ModelError, OutputError
from deepclean.train.ignite import Checkpoint, DiskSaver

CHECKPOINT = "checkpoint.pt"


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

    def saver(self, held: Mapping[str, Any]) -> Checkpoint:
        """Return ignite's handler that keeps one checkpoint of some objects.

        Raises:
            OutputError: the directory cannot be made.
        """
        facts = {**held, "fingerprint": _Fingerprint(self.fingerprint)}
        return Checkpoint(facts, _Disk(self.directory), filename_pattern=CHECKPOINT, n_saved=None)

    def restore(self, held: Mapping[str, Any]) -> None:
        """Give objects the state of the checkpoint, where that is wanted and there is one.

        Raises:
            ConfigError: it is of another training.
            ModelError: it cannot be read.
        """
        path = self.directory / CHECKPOINT
        if not self.wanted or not path.exists():
            return
        # Damage shows as any of several kinds of exception without a common base.
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"the checkpoint cannot be read: {reason}", path=path) from error
        _Fingerprint(self.fingerprint).load_state_dict(state["fingerprint"])
        Checkpoint.load_objects(held, state)


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


class _Disk(DiskSaver):
    """ignite's writer, by an atomic rename; what the disk refuses is our kind of fault."""

    def __init__(self, directory: Path) -> None:
        with _writing(directory):
            super().__init__(directory, require_empty=False)

    def __call__(self, checkpoint: Mapping[str, Any], filename: str, metadata: Any = None) -> None:
        with _writing(self.dirname / filename):
            super().__call__(checkpoint, filename, metadata)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the checkpoint could not be written: {error.strerror}", path=path, errno=error.errno
        ) from error
