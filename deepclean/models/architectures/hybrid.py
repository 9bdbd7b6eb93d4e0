"""The hybrid: a closed form, which is fixed, and a network that adds what the closed form leaves.

The network is the published autoencoder at the closed form's internal rate. Its inputs are the
witnesses, the products that the closed form is made of, and the closed form's own estimate, so a
saturation that multiplies a line is a function of a few of its inputs. Its last layer begins at
zero: an untrained hybrid is the closed form, sample for sample.

At that rate, an eighth of the engine's for a line at 60 Hz, a network costs an eighth, and one or
two strides see as much time as the published four. It looks as far ahead as behind, so its inputs
are late by `delay` samples, and it adds little or nothing to the closed form's look-ahead: causes
precede their effects, and what is periodic is as well seen a little earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepclean.errors import ModelError
from deepclean.models.architectures.autoencoder import Autoencoder, counts
from deepclean.models.closed_form import ClosedForm


class Hybrid(nn.Module):
    """A closed form plus a network from zero.

    Args:
        channels: number of witnesses.
        closed_form: the options of the closed form.
        hidden: channels after each strided convolution of the network.
        kernel_size: taps of every convolution of the network, odd.
        delay: internal samples by which the network's inputs are late.

    Attributes:
        scale: what the network's output is multiplied by: the standard deviation of what the closed
            form leaves, in units of the target's.

    Raises:
        ModelError: an option out of range.
    """

    scale: Tensor

    def __init__(
        self,
        channels: int,
        *,
        closed_form: Mapping[str, Any],
        hidden: Sequence[int] = (16,),
        kernel_size: int = 7,
        delay: int = 0,
    ) -> None:
        super().__init__()
        if delay != 0 and not counts(delay):
            raise ModelError(f"architecture.delay: {delay!r} is not a whole number of samples")
        self.closed_form = ClosedForm(channels, **closed_form)
        self._products = self.closed_form.products
        inputs = channels + len(self._products) + 1
        self.network = Autoencoder(inputs, hidden=hidden, kernel_size=kernel_size)
        for tensor in self.network.last.parameters():
            nn.init.zeros_(tensor)
        self.register_buffer("scale", torch.ones(()))
        self.delay, self._period = delay, 2 ** len(hidden)
        # A convolution before each stride and one after it, of (kernel_size - 1) / 2 samples a side
        # at the rate that it runs at: with n strides (kernel_size - 1) 2^n samples in all.
        self.field = (kernel_size - 1) * self._period

    @property
    def before(self) -> int:
        """Samples before an output sample that it may rest on."""
        return self._reach(self.closed_form.before, self.field + self.delay)

    @property
    def after(self) -> int:
        """Samples after an output sample that it may rest on."""
        return self._reach(self.closed_form.after, self.field - self.delay)

    def forward(self, witnesses: Tensor) -> Tensor:
        """Return the noise, `(batch, time)`, for `(batch, channels, time)`.

        `time` is a multiple of the decimation and of the network's strides.

        Raises:
            RuntimeError: it is not.
        """
        model = self.closed_form
        if witnesses.shape[-1] % (model.decimation * self._period):
            raise RuntimeError(
                f"{witnesses.shape[-1]} samples are not a multiple of "
                f"{model.decimation * self._period}"
            )
        features, noise = model.estimated(witnesses)
        seen = [model.lowered(witnesses, "wide"), features[:, self._products], noise[:, None]]
        inputs = torch.cat(seen, dim=1)
        # The network sees its last inputs too, behind the end of its output.
        late = functional.pad(inputs, (self.delay, -self.delay % self._period))
        added = self.network(late)[..., : inputs.shape[-1]]
        return model.interpolated(noise + self.scale * added)

    def _reach(self, closed: int, field: int) -> int:
        """Return how far it looks to one side.

        The closed form's estimate is an input, and so are streams at zero lag.
        """
        model = self.closed_form
        streams = max(model.halves["wide"], model.halves["slow"]) + model.halves["out"]
        return max(closed, max(closed, streams) + field * model.decimation)
