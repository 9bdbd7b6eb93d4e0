"""Why a version must not be put in force, from the figures of its validation."""

from __future__ import annotations

from collections.abc import Mapping

from deepclean.train.judging.meter import MEASURES

BEYOND_CHANCE = 3.0
"""Standard errors by which a model must be better: one in 700 passes by chance."""

MOSTLY_OPEN = 0.5
"""Share of the time for which the site's gate must let a model through."""


def objection(figures: Mapping[str, float]) -> str:
    """Return why a model must not be put in force; empty if it may be.

    It must beat no cleaning beyond chance, and so the version that it would replace. Where there
    are data enough to judge the site's gate, that must be open for most of the time.

    Args:
        figures: what its manifest says of its validation.
    """
    ratio, sigma = figures.get("asd_ratio"), figures.get("gain_sigma", 0.0)
    if ratio is None:
        return "its output is not finite"
    if sigma < BEYOND_CHANCE:
        return (
            f"it does not beat no cleaning beyond chance: ASD ratio {ratio:.4f} over "
            f"{figures.get('seconds', 0.0):.0f} s, {_needed(sigma)}"
        )
    # A gate of which nothing is known begins closed and judges for itself.
    if figures.get("gate_seconds") and figures.get("gate_open", 1.0) < MOSTLY_OPEN:
        return f"the site's gate would be shut most of the time: {gate_in_words(figures)}"
    over = figures.get("production_sigma", BEYOND_CHANCE)
    if over < BEYOND_CHANCE:
        return (
            f"it does not beat version {figures['production_version']:.0f}, which is in "
            f"production, beyond chance: ASD ratio {figures.get('out_dq_ratio', ratio):.4f}, "
            f"production {figures['production_ratio']:.4f}, {_needed(over)}"
        )
    return ""


def gate_in_words(figures: Mapping[str, float]) -> str:
    """Return what the site's gate did over the held-out data; empty where there is none.

    Args:
        figures: as `objection` takes them.
    """
    if "gate_open" not in figures:
        return ""
    if not figures["gate_seconds"]:
        return "not judged: no held-out stretch is longer than the engine's history"
    said = f"open for {figures['gate_open']:.1%} of {figures['gate_seconds']:.0f} s"
    closed = [
        f"{key.removeprefix('closed_')} for {value:.0f} s"
        for key, value in figures.items()
        if key.startswith("closed_gate")
    ]
    if closed:
        said += f"; closed by {', '.join(closed)}"
    seen = [
        f"{measure.replace('_', ' ')} {figures[f'closed_{measure}']:.3f}"
        for measure in MEASURES
        if f"closed_{measure}" in figures
    ]
    return said + (f", ratios then: {', '.join(seen)}" if seen else "")


def _needed(sigma: float) -> str:
    return f"{sigma:.1f} standard errors where {BEYOND_CHANCE:.0f} are needed"
