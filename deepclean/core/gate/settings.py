"""The limits by which the gate decides."""

from __future__ import annotations

from dataclasses import dataclass

from deepclean.core.time import NS


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Configured by `gate`; durations in nanoseconds."""

    window: int
    open_below: float
    close_above: float
    worst_above: float
    guard: float
    jump: float
    sigma: float
    dwell: int
    memory: int
    fade: int

    @property
    def reach(self) -> int:
        """How far back, in nanoseconds, the gate's gain depends on the data.

        >>> window, dwell, memory, fade = 8 * NS, 8 * NS, 32 * NS, 2 * NS
        >>> limits = (1.001, 1.003, 3.0, 6.0, 6.0, 5.0)
        >>> GateSettings(window, *limits, dwell, memory, fade).reach // NS
        78
        """
        # Gain: a ramp of `fade` after a closure, which itself acts up to a `fade` after its
        # verdict. State: `memory + dwell` of verdicts. Verdict: the looks of one window, each with
        # the lowest floor of two windows, each of these the spectra of one window. The start of
        # the stream is rounded up to a whole half second, to a whole second for the spectra.
        return 2 * self.fade + self.memory + self.dwell + (1 + 2 + 1) * self.window + 2 * NS
