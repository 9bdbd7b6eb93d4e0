"""How the cleaning computes: rates, steps in time, filters, unusable samples; and the gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_serializer

from deepclean.config.types import (
    Channel,
    Count,
    Duration,
    Flag,
    FrozenMap,
    NotNegative,
    Positive,
    Section,
    seconds,
)


class ResampleConfig(Section):
    """The filter that brings a witness to the engine's rate."""

    zeros: Count = 16
    """Half the filter's length, in samples at the slower of both rates."""

    max_delay: Duration = seconds(0.25)
    """Seconds that half the filter may span at most: it shortens the filters of slow witnesses."""

    attenuation: Positive = 80.0
    """Attenuation of the images and aliases, in dB."""

    slowest_rate: Count = 16
    """Hz of the slowest witness that is taken; it fixes the look-ahead."""


class InterpolationConfig(Section):
    """The filter that brings the predicted noise to the strain's rate."""

    zeros: Count = 16
    """Half the filter's length, in samples at the slower of both rates."""

    attenuation: Positive = 80.0
    """Attenuation of the images, in dB."""


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

    # Without a ramp a gate would open and close within a sample: a step in the strain.
    ramp: Duration = seconds(0.25)
    """Seconds of raised cosine on each side of a gap."""

    witnesses: WitnessesConfig = WitnessesConfig()
    """Which samples of the witnesses are unusable."""

    resample: ResampleConfig = ResampleConfig()
    """From a witness's rate to the engine's."""

    interpolation: InterpolationConfig = InterpolationConfig()
    """From the engine's rate to the strain's."""


class GateConfig(Section):
    """When a coupling's estimate is kept out of the official product (OUT_DQ)."""

    enabled: Flag = True
    """Whether there are gates; without, OUT_DQ is as PRODUCTION."""

    # Seven transforms of 2 s. A glitch is in two of them, or in three, and moves no median of 7.
    window: Duration = seconds(8.0)
    """Seconds over which spectra are averaged, a whole number, at least 4."""

    # An estimate of nothing has a ratio of exactly 1. A thousandth above that counts as no harm;
    # three thousandths are the harm that the gate lets stand.
    open_below: Positive = 1.001
    """Net effect up to which the estimate is good: the ratio of cleaned over raw ASD in all bins of
    the band that would be worth as much to a search as what cleaning does at all frequencies."""

    close_above: Positive = 1.003
    """Net effect above which the estimate is bad."""

    guard: NotNegative = 6.0
    """Width in Hz of the guard band on either side of a band: the bandpass's transition."""

    # Nine times the raw power in a single bin, by the median of the window and by its mean.
    worst_above: Positive = 3.0
    """Ratio of any single bin of the band or its guard bands above which the estimate is bad."""

    # A slot is shorter than noise of a 10-Hz band takes to change, so the square of its level is
    # exponentially distributed, with a median of ln 2 of its mean. Above 6 times the median level
    # are exp(-36 ln 2) = 2^-36 of all slots: one in 136 years.
    jump: Positive = 6.0
    """Factor over the level that is known of an estimate at which it is not believed."""

    # P(Gaussian > 5) = 2.9e-7. A day has 172,800 verdicts, each in two units: 0.1 false alarms in a
    # coupling too faint to gain anything. Four standard deviations would give 11.
    sigma: Positive = 5.0
    """Standard deviations by which one or a few seconds must differ from what a good estimate gains
    to be bad."""

    # After one window nothing of what was bad is in the measure any more.
    dwell: Duration = seconds(8.0)
    """Seconds that a gate stays closed after something bad, at least."""

    # Four windows that share nothing, and none of them with a gain beyond chance.
    memory: Duration = seconds(32.0)
    """Seconds that a gate stays open without anything good, at most. With `dwell`, four windows and
    two fades it is the history that a restart reads."""

    # The slow transform's length: a line that fades over 2 s stays within its own bins.
    fade: Duration = seconds(2.0)
    """Seconds of the ramp by which a gate opens, and closes where nothing is urgent. Where it is
    shorter, a strong line spills more into the bins beside it. At most `dwell`."""
