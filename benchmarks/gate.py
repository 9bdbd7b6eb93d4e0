#!/usr/bin/env python3
"""Measure the gate: what it lets through when things go wrong, what it costs when nothing does.

The cases are those that the tests hold the gate to (tests/helpers/adversary.py), on the
demonstration's site with its model.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common

common.limit_threads()

import numpy as np
import torch

from benchmarks.common import Figures
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.forecast import ForecastSettings
from tests.helpers import adversary
from tests.helpers.adversary import T0, Case, Outcome
from tests.helpers.cbc_injection import FAR, NEAR, recovered

DRAWN = (
    "output times -1",
    "output from 1 to 4 over 30 s",
    "line off for 20 s",
    "pitch calibrated at 3 Hz",
    "36 + 29 solar masses at 4 Mpc",
)


def main() -> None:
    """Do what is asked."""
    parser = common.parser(__doc__)
    parser.add_argument("--quiet", type=int, metavar="HOURS", help="watch quiet data instead")
    parser.add_argument("--mergers", type=int, metavar="N", help="add mergers instead")
    parser.add_argument("--bursts", type=int, metavar="N", help="add sine-Gaussians instead")
    parser.add_argument("--figure", type=Path, help="where to draw some of the cases")
    parser.add_argument("--zero-wait", action="store_true", help="of an engine that does not wait")
    parser.add_argument("--seeds", type=int, default=1, help="of the noise, per case")
    parser.add_argument("names", nargs="*", help="only cases whose name or group holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    asked = ((options.quiet, quiet), (options.mergers, mergers), (options.bursts, bursts))
    chosen = [partial(measure, count) for count, measure in asked if count]
    if chosen:
        common.run("gate", options, lambda _: chosen[0]())
    else:
        common.run("gate", options, cases, common.load_of)


def cases(options: argparse.Namespace) -> Figures:
    """Run the cases and print the table; of several seeds the worst excess, and mean times."""

    def settings(usual: EngineSettings) -> EngineSettings:
        return replace(usual, forecast=ForecastSettings()) if options.zero_wait else usual

    head = "|case|without the gate|with it|measured|closed after|for|needlessly|bits".split("|")
    print("excess of 8 s in the band over the raw strain, %; times in s\n")
    print(common.table(head, []))
    drawn, figures = {}, {}
    for case in adversary.CASES:
        name = f"{case.group}: {case.name}"
        if options.names and not any(part in name for part in options.names):
            continue
        found = [case.outcome(7 + seed, settings) for seed in range(options.seeds)]
        figures[name] = figures_of(found)
        shown = ("" if value is None else f"{value:.1f}" for value in figures[name].values())
        equal = "equal" if all(one.exact for one in found) else "DIFFER"
        print("| " + " | ".join((case.group, case.name, *shown, equal)) + " |", flush=True)
        if case.name in DRAWN:
            drawn[case.name] = found[0]
        adversary.scene.cache_clear()
    if options.figure:
        draw(drawn, options.figure)
    return figures


def figures_of(found: list[Outcome]) -> dict[str, float | None]:
    """Return the figures of a case: excess in percent, seconds; None where the gate stays open."""
    late = [low - T0 for low, _ in found[0].closed if low > T0 - 1]
    shut = bool(found[0].lost)
    return {
        "excess_free": 100 * max(one.excess_free for one in found),
        "excess": 100 * max(one.excess for one in found),
        "excess_measured": 100 * max(one.excess_measured for one in found),
        "closed_after_s": late[0] if late else None,
        "lost_s": float(np.mean([one.lost for one in found])) if shut else None,
        "needlessly_s": float(np.mean([one.wrongly for one in found])) if shut else None,
    }


def draw(found: dict[str, Outcome], path: Path) -> None:
    """Draw the ratio over 8 s with and without the gate, and the gate."""
    count = len(found)
    figure, axes = common.pyplot().subplots(
        count, 1, figsize=(8, 1.9 * count), sharex=True, squeeze=False
    )
    axes = axes[:, 0]
    for axis, (name, one) in zip(axes, found.items(), strict=True):
        middles = np.arange(len(one.ratio)) / 2 + 4 - T0
        gate = one.gate[:: len(one.gate) // 600]
        at = np.linspace(-T0, len(one.gate) / adversary.RATE - T0, len(gate))
        axis.fill_between(at, gate * 2, color="0.9", lw=0, label="gate")
        axis.plot(middles, one.free, color="tab:red", lw=1, label="without the gate")
        axis.plot(middles, one.ratio, color="tab:blue", lw=1.5, label="official product")
        axis.axhline(1, color="k", lw=0.5)
        axis.set(ylim=(0.5, 2), xlim=(-12, 36), title=name, ylabel="ASD ratio")
        axis.title.set_fontsize(9)
    axes[0].legend(fontsize=7, loc="upper right")
    axes[-1].set_xlabel("middle of the 8 s, seconds since it went wrong")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def quiet(hours: int) -> Figures:
    """Return how often the gate closes on quiet data, and what that costs."""
    case = Case("quiet", "nothing", lambda scene: scene, seconds=1840)  # 1800 of them count
    closings, lost, seconds = 0, 0.0, 0
    for seed in range(100, 100 + 2 * hours):
        outcome = case.outcome(seed)
        gate = outcome.gate[39 * adversary.RATE :]
        closings, lost = closings + len(outcome.closed), lost + float((1 - gate).sum())
        seconds += len(gate) // adversary.RATE
        adversary.scene.cache_clear()
    return {"seconds": seconds, "closings": closings, "lost_s": lost / adversary.RATE}


def mergers(count: int) -> Figures:
    """Return what cleaning does to the signal-to-noise ratio of mergers, cleaned over raw."""
    figures = {}
    for strength, distance in ((1.0, FAR), (1.0, NEAR), (0.0, FAR)):
        found = []
        for seed in range(max(1, count // 100)):  # a hundred a stream
            found.append(recovered(100, 10.0, strength, seed, distance))
            adversary.scene.cache_clear()
        ratios = np.concatenate([one.ratios for one in found])
        what = "the demo's coupling" if strength else "nothing to clean"
        figures[f"{what}, mergers at {distance[0]:g} to {distance[1]:g} Mpc"] = {
            "mergers": len(ratios),
            "seconds": sum(one.seconds for one in found),
            "seconds in which the gain differs": sum(one.moved for one in found),
            "mean": float(ratios.mean()),
            "least": float(ratios.min()),
            "highest": float(ratios.max()),
        }
    return figures


def bursts(count: int) -> Figures:
    """Return how often sine-Gaussians in the band, as loud as can be, close the gate."""
    closings, total = 0, 0
    for seed in range(max(1, count // 100)):
        rng = np.random.default_rng(seed)
        usual = changed = adversary.scene(1060, seed=20 + seed)
        for instant in 30 + 10 * (np.arange(100) + rng.uniform(0, 0.2, 100)):
            quality = float(np.exp(rng.uniform(np.log(5), np.log(100))))
            frequency, amplitude = rng.uniform(55, 65), 10 ** rng.uniform(-23, -18)
            around = slice(*(round((instant + side) * adversary.RATE) for side in (-4, 4)))
            t = changed.time[around] - instant
            width = quality / (np.sqrt(2) * np.pi * frequency)
            wave = np.zeros_like(changed.strain)
            phase = 2 * np.pi * (frequency * t + rng.uniform())
            wave[around] = amplitude * np.exp(-((t / width) ** 2)) * np.sin(phase)
            changed = changed.plus(wave)
        engine = adversary.engine()
        cleaned = [one for block in changed.blocks() for one in engine.push(block)]
        closings, total = closings + len(Outcome(cleaned, usual, changed).closed), total + 100
        adversary.scene.cache_clear()
    return {"bursts": total, "closings": closings}


if __name__ == "__main__":
    main()
