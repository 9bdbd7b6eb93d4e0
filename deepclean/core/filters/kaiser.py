"""Kaiser's window: the formulas that say which one has a given attenuation and transition."""

from __future__ import annotations

from math import log10, pi

MOST_ATTENUATION = 300.0
"""dB. A double has 16 digits, 320 dB; some thousand dB more, and the window overflows."""


def kaiser_beta(attenuation: float) -> float:
    """Return the Kaiser window's `beta` for a stop-band attenuation in dB.

    scipy.signal has the same function, but takes half a second to import.

    >>> [round(kaiser_beta(attenuation), 5) for attenuation in (80.0, 30.0, 20.0)]
    [7.85726, 2.11662, 0.0]
    """
    # Kaiser's fit (1974) to the ripple that a windowed ideal filter has, A dB below 1. A greater
    # beta has lower side lobes and a wider transition; the rectangular window has 21 dB.
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return float(0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21))
    return 0.0


def kaiser_transition(half: int, rate: int, tolerance: float) -> float:
    """Return the transition width in Hz of a Kaiser filter of that half-length.

    >>> round(kaiser_transition(159, 512, 1e-3), 2)
    5.84

    Args:
        half: half-length in samples.
        rate: samples per second.
        tolerance: largest deviation of the response from 1 or 0.
    """
    # Kaiser (1974): a filter of N + 1 taps whose ripple is A = -20 log10(tolerance) dB needs
    #     N = (A - 7.95) / (2.285 D),    D = 2 pi transition / R radians a sample,
    # and N = 2 half here. Below 21 dB, the rectangular window's ripple, the formula does not hold.
    attenuation = max(-20 * log10(tolerance), 21.0)
    return (attenuation - 7.95) / (2.285 * 2 * half) * rate / (2 * pi)
