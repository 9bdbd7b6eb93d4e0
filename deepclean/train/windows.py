"""Training examples: windows at random places, drawn anew in each epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deepclean.core.reach import Reach
from deepclean.errors import InputError
from deepclean.train.prepare import TrainingStretch

_NONE = Reach(0, 0)


class Windows:
    """Draws batches of windows from stretches of data.

    The places of the windows depend on the seed and the epoch alone. A training that is resumed
    between epochs therefore sees the same windows as one that was not interrupted.

    Args:
        stretches: prepared data; stretches shorter than a window are left out.
        length: samples of a window.
        seed: of the places.
        device: device that holds all the data.
        context: samples of the witnesses before and after a window, which a network needs for it.

    Raises:
        InputError: no stretch holds a window.
    """

    def __init__(
        self,
        stretches: Sequence[TrainingStretch],
        length: int,
        seed: int,
        device: str,
        context: Reach = _NONE,
    ) -> None:
        whole = length + sum(context)
        held = [stretch for stretch in stretches if len(stretch.target) >= whole]
        if not held:
            raise InputError(
                f"no training stretch holds one window of {whole} samples: give more data or a "
                "smaller training.window"
            )
        self._witnesses = [torch.from_numpy(s.witnesses).to(device) for s in held]
        self._targets = [torch.from_numpy(s.target).to(device) for s in held]
        self.length, self._seed = length, seed
        """Samples of a window."""
        self.context = context
        places = torch.tensor([len(stretch.target) - whole + 1 for stretch in held])
        self._ends = places.cumsum(0)
        self.samples = sum(len(stretch.target) for stretch in held)
        """Total number of samples."""

    def draw(self, epoch: int, count: int) -> Tensor:
        """Return `count` random places for an epoch, the argument of `batch`."""
        # numpy mixes both numbers into its state; torch's generator would drop all but 32 bits.
        generator = np.random.default_rng([self._seed, epoch])
        return torch.from_numpy(generator.integers(int(self._ends[-1]), size=count))

    def batch(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return witnesses, `(batch, channels, time)`, and targets, `(batch, time)`.

        The witnesses have the context too.
        """
        which = torch.searchsorted(self._ends, places, right=True)
        before = torch.cat([torch.zeros(1, dtype=torch.long), self._ends])[which]
        ahead, whole = self.context.before, self.length + sum(self.context)
        cuts = list(zip(which.tolist(), (places - before).tolist(), strict=True))
        witnesses = [self._witnesses[index][:, start : start + whole] for index, start in cuts]
        targets = [self._targets[index][start + ahead :][: self.length] for index, start in cuts]
        return torch.stack(witnesses), torch.stack(targets)
