"""How the cleaning computes: rates, steps in time, filters, and samples that are of no use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_serializer

from deepclean.config.types import (
    Channel,
    Count,
    Duration,
    FrozenMap,
    Pause,
    Positive,
    Section,
    seconds,
)


class ResampleConfig(Section):
    """The filter that brings a witness to the engine's rate."""

    zeros: Count = 16
    """Half its length, in samples at the slower of both rates."""

    max_delay: Duration = seconds(0.25)
    """Seconds that half the filter may span at most: it shortens the filters of slow witnesses."""

    attenuation: Positive = 80.0
    """Of the images and aliases, in dB."""

    slowest_rate: Count = 16
    """Hz of the slowest witness that is taken; it fixes the look-ahead."""


class InterpolationConfig(Section):
    """The filter that brings the predicted noise to the strain's rate."""

    zeros: Count = 16
    """Half its length, in samples at the slower of both rates."""

    attenuation: Positive = 80.0
    """Of the images, in dB."""


class WitnessesConfig(Section):
    """Which samples of the witnesses are unusable: they count as missing."""

    frozen: Duration | None = seconds(2.0)
    """Seconds after which a value that stays the same, and is not zero, is frozen; null: never."""

    limits: Annotated[Mapping[Channel, Positive], AfterValidator(FrozenMap)] = Field(
        default={}, validate_default=True
    )
    """By channel, the magnitude from which its samples are clipped, in the channel's unit: the end
    of its converter's range."""

    @field_serializer("limits", mode="wrap")
    def _plain(self, limits: Mapping[str, float], handler: Any) -> Any:
        return handler(dict(limits))


class EngineConfig(Section):
    """How the cleaning computes: its rate, its steps in time, its filters."""

    rate: Count = 4096
    """Samples per second at which networks run."""

    hop: Duration = seconds(1.0)
    """Seconds computed at a time, anchored to GPS 0: 1/16, 1/8, 1/4, 1/2 or whole up to 64."""

    ramp: Pause = seconds(0.25)
    """Seconds of raised cosine on each side of a gap."""

    witnesses: WitnessesConfig = WitnessesConfig()
    """Which samples of the witnesses are unusable."""

    resample: ResampleConfig = ResampleConfig()
    """From a witness's rate to the engine's."""

    interpolation: InterpolationConfig = InterpolationConfig()
    """From the engine's rate to the strain's."""
