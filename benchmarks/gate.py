#!/usr/bin/env python3
"""Measure the gate: what it lets through when things go wrong, what it costs when nothing does.

The cases are those of tests/helpers/adversary.py, on the demo's simulated site with the model.

    benchmarks/gate.py                        all cases, as a table
    benchmarks/gate.py --figure docs/gate.png draw some of them too
    benchmarks/gate.py --quiet 6              hours of quiet data, one seed an hour
    benchmarks/gate.py --mergers 1000         signal-to-noise ratios before and after
    benchmarks/gate.py --bursts 1000          how many of so many on the line close the gate
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from deepclean.core.block import Block
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.forecast import ForecastSettings
from deepclean.core.time import NS, Span
from deepclean.factory import make_engine
from deepclean.models.loading import load_models
from deepclean.simulate.simulator import Simulator
from tests.helpers import adversary
from tests.helpers.adversary import T0, Outcome
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quiet", type=int, metavar="HOURS", help="watch quiet data instead")
    parser.add_argument("--mergers", type=int, metavar="N", help="add mergers instead")
    parser.add_argument("--bursts", type=int, metavar="N", help="add sine-Gaussians instead")
    parser.add_argument("--figure", type=Path, help="where to draw some of the cases")
    parser.add_argument("--zero-wait", action="store_true", help="of an engine that does not wait")
    parser.add_argument("--seeds", type=int, default=1, help="of the noise, per case")
    parser.add_argument("names", nargs="*", help="only cases whose name or group holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quiet:
        quiet(options.quiet)
    elif options.mergers:
        mergers(options.mergers)
    elif options.bursts:
        bursts(options.bursts)
    else:
        cases(options.names, options.seeds, options.figure, zero_wait=options.zero_wait)


def cases(names: list[str], seeds: int, figure: Path | None, *, zero_wait: bool) -> None:
    """Run the cases and print the table; the worst of the seeds."""

    def settings(usual: EngineSettings) -> EngineSettings:
        return replace(usual, forecast=ForecastSettings()) if zero_wait else usual

    print(
        "| | case | excess without the gate | with it | as measured | closed after | for "
        "| needlessly | bits |\n|---|---|---|---|---|---|---|---|---|"
    )
    drawn = {}
    for case in adversary.CASES:
        if names and not any(name in f"{case.group}: {case.name}" for name in names):
            continue
        found = [case.outcome(7 + seed, settings) for seed in range(seeds)]
        print(row(case.group, case.name, found), flush=True)
        if case.name in DRAWN:
            drawn[case.name] = found[0]
        adversary.scene.cache_clear()
    if figure:
        draw(drawn, figure)


def row(group: str, name: str, found: list[Outcome]) -> str:
    """Return a line of the table."""
    first = found[0]
    late = [low - T0 for low, _ in first.closed if low > T0 - 1]
    cells = [
        group,
        name,
        f"{100 * max(one.excess_free for one in found):+.1f} %",
        f"{100 * max(one.excess for one in found):+.1f} %",
        f"{100 * max(one.excess_measured for one in found):+.1f} %",
        f"{late[0]:.1f} s" if late else "",
        f"{np.mean([one.lost for one in found]):.0f} s" if first.lost else "",
        f"{np.mean([one.wrongly for one in found]):.0f} s" if first.lost else "",
        "equal" if all(one.exact for one in found) else "DIFFER",
    ]
    return "| " + " | ".join(cells) + " |"


def draw(found: dict[str, Outcome], path: Path) -> None:
    """Draw the ratio over 8 s with and without the gate, and the gate."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(found), 1, figsize=(8, 1.9 * len(found)), sharex=True)
    for axis, (name, one) in zip(axes, found.items(), strict=True):
        middles = np.arange(len(one.ratio)) / 2 + 4 - T0
        gate = one.gate[:: len(one.gate) // 600]
        axis.fill_between(
            np.linspace(-T0, len(one.gate) / adversary.RATE - T0, len(gate)),
            gate * 2,
            color="0.9",
            lw=0,
            label="gate",
        )
        axis.plot(middles, one.free, color="tab:red", lw=1, label="without the gate")
        axis.plot(middles, one.ratio, color="tab:blue", lw=1.5, label="official product")
        axis.axhline(1, color="k", lw=0.5)
        axis.set(ylim=(0.5, 2), xlim=(-12, 36), title=name, ylabel="ASD ratio")
        axis.title.set_fontsize(9)
    axes[0].legend(fontsize=7, loc="upper right")
    axes[-1].set_xlabel("middle of the 8 s, seconds since it went wrong")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def quiet(hours: int) -> None:
    """Print how often the gate closes on quiet data, and what that costs."""
    config = adversary.configuration()
    names = [config.strain.channel, *config.witness_channels]
    models = load_models(config)
    seen = lost = 0.0
    closings = 0
    for seed in range(100, 100 + hours):
        simulator, engine = Simulator(adversary.demo_site(seed)), make_engine(config, models)
        was = False
        for second in range(adversary.START, adversary.START + 3640):
            span = Span.of_seconds(second, 1)
            read = simulator.read(names, span)
            witnesses = {name: read[name] for name in names[1:]}
            for block in engine.push(Block(span, read[names[0]], witnesses)):
                gate = block.estimates["60Hz"].gate
                assert gate is not None
                if block.span.start < (adversary.START + 39) * NS:
                    continue
                seen, lost = seen + 1, lost + float((1 - gate).mean())
                shut = bool((gate == 0).any())
                closings, was = closings + (shut and not was), shut
        print(
            f"{seen / 3600:.2f} hours: {closings} closings, {lost:.1f} s lost, "
            f"{100 * lost / seen:.4f} %",
            flush=True,
        )


def mergers(count: int) -> None:
    """Print what cleaning does to the signal-to-noise ratio of mergers, a hundred a stream."""
    for strength, distance in ((1.0, FAR), (1.0, NEAR), (0.0, FAR)):
        found = []
        for seed in range(max(1, count // 100)):
            found.append(recovered(100, 10.0, strength, seed, distance))
            adversary.scene.cache_clear()
        ratios = np.concatenate([one.ratios for one in found])
        what = "the demo's coupling" if strength else "nothing to clean"
        print(
            f"{what}, {len(ratios)} mergers at {distance[0]:g} to {distance[1]:g} Mpc: the gain "
            f"differs in {sum(one.moved for one in found)} of "
            f"{sum(one.seconds for one in found)} s; cleaned / raw: mean {ratios.mean():.5f}, "
            f"least {ratios.min():.5f}, highest {ratios.max():.5f}",
            flush=True,
        )


def bursts(count: int) -> None:
    """Print how many sine-Gaussians in the band, as loud as can be, close the gate."""
    closings, total = 0, 0
    for seed in range(max(1, count // 100)):
        rng = np.random.default_rng(seed)
        changed = adversary.scene(1060, seed=20 + seed)
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
        made = adversary.engine()
        cleaned = [one for block in changed.blocks() for one in made.push(block)]
        outcome = Outcome(cleaned, adversary.scene(1060, seed=20 + seed), changed)
        closings, total = closings + len(outcome.closed), total + 100
        adversary.scene.cache_clear()
        print(f"{total} sine-Gaussians: {closings} closings", flush=True)


if __name__ == "__main__":
    main()
