"""The Kaiser window's shape for a wanted attenuation."""

from __future__ import annotations


def kaiser_beta(attenuation: float) -> float:
    """Return the window's `beta` for a stop-band attenuation in dB (Kaiser 1974).

    scipy.signal has it too, and takes half a second to import.
    """
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return float(0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21))
    return 0.0
