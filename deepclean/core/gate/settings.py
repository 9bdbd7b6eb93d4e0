"""The limits by which the gate decides, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass

from deepclean.core.time import NS


@dataclass(frozen=True, slots=True)
class GateSettings:
    """When the gate opens and closes.

    Args:
        window: nanoseconds of the running spectra, whole seconds.
        open_below: mean ratio of cleaned over raw ASD in the band up to which it is good.
        close_above: one from which on it is bad, there or outside band and guard bands.
        guard_above: one in the guard bands that is bad; few bins fluctuate.
        worst_above: ratio of any one bin of the band that is bad.
        guard: width of the guard band on either side of a band, Hz.
        jump: factor over its usual level at which an estimate has jumped.
        sigma: standard deviations that a second or few must be from what a good estimate gains.
        dwell: nanoseconds that the gate stays closed after a bad verdict, at least.
        memory: nanoseconds that it stays open without a good one, at most.
        fade: nanoseconds of the ramp up, and of that down where nothing is urgent.
    """

    # Seven transforms of 2 s. A glitch is in two of them, or in three, and moves no median of 7.
    window: int = 8 * NS
    # An estimate of nothing has a ratio of exactly 1. A thousandth above that counts as no harm;
    # three thousandths are the harm that the gate lets stand.
    open_below: float = 1.001
    close_above: float = 1.003
    # Ten times that in the guard bands: their 24 bins fluctuate more than the many outside.
    guard_above: float = 1.03
    # Nine times the raw power in a single bin, by the median of the window and by its mean.
    worst_above: float = 3.0
    guard: float = 6.0
    # A slot is shorter than noise of a 10-Hz band takes to change, so the square of its level is
    # exponentially distributed, with a median of ln 2 of its mean. Above 6 times the median level
    # are exp(-36 ln 2) = 2^-36 of all slots: one in 136 years.
    jump: float = 6.0
    # P(Gaussian > 5) = 2.9e-7. A day has 172,800 verdicts, each in two units: 0.1 false alarms in a
    # coupling too faint to gain anything. Four standard deviations would give 11.
    sigma: float = 5.0
    # After one window nothing of what was bad is in the measure any more.
    dwell: int = 8 * NS
    # Four windows that share nothing, and none of them with a gain beyond chance.
    memory: int = 32 * NS
    # The slow transform's length: a line that fades over 2 s stays within its own bins.
    fade: int = 2 * NS

    @property
    def reach(self) -> int:
        """How far back, in nanoseconds, the gate's gain depends on the data.

        >>> GateSettings().reach // NS
        78
        """
        # Gain: a ramp of `fade` after a closure, which itself acts up to a `fade` after its
        # verdict. State: `memory + dwell` of verdicts. Verdict: the looks of one window, each with
        # the lowest floor of two windows, each of these the spectra of one window. The start of
        # the stream is rounded up to a whole half second, to a whole second for the spectra.
        return 2 * self.fade + self.memory + self.dwell + (1 + 2 + 1) * self.window + 2 * NS
