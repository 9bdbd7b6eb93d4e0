"""The quality gates: core.gate.table has the table that these limits act in."""

from __future__ import annotations

from deepclean.config.types import Duration, Flag, NotNegative, Positive, Section, seconds


class GateConfig(Section):
    """When a coupling's estimate is kept out of the official product (OUT_DQ)."""

    enabled: Flag = True
    """Whether there are gates; without, OUT_DQ is as PRODUCTION."""

    window: Duration = seconds(8.0)
    """Seconds over which spectra are averaged, a whole number, at least 4."""

    open_below: Positive = 1.001
    """Mean ratio of cleaned over raw ASD in the band, below which the estimate is good."""

    close_above: Positive = 1.003
    """One above which it is bad, in the band or far from it."""

    guard: NotNegative = 6.0
    """Hz beside a band that are judged by themselves: the bandpass's transition."""

    guard_above: Positive = 1.03
    """Mean ratio there that is bad."""

    worst_above: Positive = 3.0
    """Ratio of any single bin of the band that is bad."""

    jump: Positive = 6.0
    """Factor over its usual level at which an estimate is not believed."""

    sigma: Positive = 5.0
    """Standard deviations of chance that one or a few seconds must be from what a good estimate
    gains to be bad."""

    dwell: Duration = seconds(8.0)
    """Seconds that a gate stays closed after something bad, at least."""

    memory: Duration = seconds(32.0)
    """Seconds that a gate stays open without anything good, at most. With `dwell`, four windows and
    two fades it is the history that a restart reads."""

    fade: Duration = seconds(2.0)
    """Seconds of the ramp by which a gate opens, and closes where nothing presses. Where it is
    shorter, a strong line spills more into the bins beside it. At most `dwell`."""
