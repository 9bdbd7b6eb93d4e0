"""What the rehearsal of the models' life came to: the residual second by second, and when what was.

The residual is the mean over the band's bins of the density of a product over that of the strain
without the coupling, which the simulator knows: 1 is perfect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks import common
from benchmarks.site import START
from deepclean.core.block import Float64, Series
from deepclean.core.channels import canary_version, model_version, product_names
from deepclean.core.rollout.rollout import Event
from deepclean.core.spectra import band_ratio
from deepclean.core.time import NS
from deepclean.io.history import History
from deepclean.train.retrain import RetrainRecord
from scripts.rehearse_site import COUPLING, DRIFTED, Place, Plan

FIRST, GOOD, BAD = 1, 2, 3
"""The versions: the one that everything begins with, the retrained one, the one made on purpose."""

WINDOW = 8
"""Seconds over which the spectra of a residual are averaged."""

ALLOWED = 1.05
"""Mean residual in units of the floor, to which cleaning has to come back."""

SCATTER = 1.1
"""The residual of 8 s by chance, at most."""

SLOW = 4
"""Seconds that the gate may take to see that production is out of spec."""

FADED = 3
"""Seconds after a switch until the crossfade and the gate's ramp are over."""


@dataclass(frozen=True, slots=True)
class Second:
    """A second of the run; residuals over the `WINDOW` seconds that end with it."""

    gps: int  # its start
    raw: float  # residual of the strain as it came
    cleaned: float  # of OUT_DQ
    adapted: float  # of the OUT_DQ that the first version alone gives with adaptation
    canary: float | None  # of CANARY; None where there is none over all the window
    version: int  # in force at its end
    tried: int  # the canary at its end; 0: none


def measure(place: Place, adapted: Path) -> list[Second]:
    """Measure every frame that was written, but for the first seconds.

    Args:
        place: of the rehearsal.
        adapted: the directory with the frames that the first version alone gives with adaptation.
    """
    config = place.config
    ifo, strain = config.interferometer, config.strain.channel
    names = product_names(strain, ["OUT_DQ", "CANARY"]).values()
    numbers = model_version(ifo, COUPLING), canary_version(ifo, COUPLING)

    def samples(directory: Path, *channels: str) -> list[Float64]:
        read = History([directory]).read(channels, place.span)
        series = [one for one in read.values() if isinstance(one, Series)]
        assert len(series) == len(channels), f"{directory} has gaps: {read}"
        return [np.asarray(one.samples, dtype=np.float64) for one in series]

    out, candidate, version, tried = samples(config.output.directory, *names, *numbers)
    (following,) = samples(adapted, *product_names(strain, ["OUT_DQ"]).values())
    (raw,) = samples(config.input.strain_frames.directory, strain)
    (floor,) = samples(place.site.root / "truth", f"{ifo}:TRUTH-BACKGROUND")
    bands, rate = config.couplings[COUPLING].bands, config.strain.rate
    found = []
    for end in range(WINDOW, place.plan.end + 1):
        inside = slice((end - WINDOW) * rate, end * rate)
        at_test = bool((tried[16 * (end - WINDOW) : 16 * end] > 0).all())
        before, after, followed, canary = (
            band_ratio(one[inside], floor[inside], rate, bands)
            for one in (raw, out, following, candidate)
        )
        versions = int(version[16 * end - 1]), int(tried[16 * end - 1])
        tested = canary if at_test else None
        found.append(Second(START + end - 1, before, after, followed, tested, *versions))
    return found


def assert_sound(place: Place, seconds: Sequence[Second], events: Sequence[Event]) -> None:
    """Raise AssertionError unless all came as it has to in what was measured and recorded."""
    plan, rules = place.plan, place.config.models.trial
    came = [e for e in events if e.what not in ("started", "offered")]
    told = [(e.what, e.version.number) for e in came]
    assert told == [("promoted", GOOD), ("rejected", BAD), ("rolled_back", FIRST)], told
    back = came[-1].instant // NS - START
    late = back - plan.swap_at - rules.rollback_after // NS
    assert 0 <= late <= SLOW, f"rolled back {late} s after `rollback_after` was over"
    assert {one.version for one in seconds} == {FIRST, GOOD}, "the bad one was in force"
    harm = _over_raw(seconds)
    assert harm <= 1.01, f"OUT_DQ is {harm:.3f} times the raw strain"
    found = {name: each for name, (_, _, each) in stretches(plan, events, seconds).items()}
    degraded = min(found.pop("drifted, until the promotion"))
    assert degraded > 2, f"production does not degrade: {degraded:.3f}"
    followed = mean(adapted_over_drift(plan, seconds))
    assert followed <= plan.follows, f"with adaptation the drift leaves {followed:.3f} of the floor"
    for name, each in found.items():
        assert mean(each) <= ALLOWED, f"{name}: {mean(each):.3f} of the floor"
        assert max(each) <= SCATTER, f"{name}: {max(each):.3f} of the floor"


def adapted_over_drift(plan: Plan, seconds: Sequence[Second]) -> list[float]:
    """Return what the adaptation leaves from the drift's begin until the coupling falls back."""
    return [s.adapted for s in seconds if plan.drift[0] <= s.gps - START < plan.swap_at]


def _over_raw(seconds: Sequence[Second]) -> float:
    return max(one.cleaned / one.raw for one in seconds)


def stretches(
    plan: Plan, events: Sequence[Event], seconds: Sequence[Second]
) -> dict[str, tuple[int, int, list[float]]]:
    """Return the residuals of OUT_DQ where nothing changes, away from what changes.

    By name: begin and end in seconds since the start, and the residual of each second; a window
    and a fade after a change are left out.
    """
    promoted, back = (
        next(event.instant // NS - START for event in events if event.what == what)
        for what in ("promoted", "rolled_back")
    )
    spans = {
        "before the drift": (0, plan.drift[0]),
        "drifted, until the promotion": (plan.drift[1], promoted),
        "from the promotion on": (promoted + FADED, plan.swap_at),
        "from the rollback on": (back + FADED, plan.end),
    }
    return {
        name: (low, high, [s.cleaned for s in seconds if low + WINDOW - 1 <= s.gps - START < high])
        for name, (low, high) in spans.items()
    }


def table(
    plan: Plan,
    events: Sequence[Event],
    retrained: Mapping[int, RetrainRecord],
    seconds: Sequence[Second],
) -> str:
    """Return what happened and when, as a table."""
    by_gps = {one.gps: one for one in seconds}
    rows = [(START + second, said) for second, said in _of_the_site(plan)]
    rows += [(gps, f"retrained: {_came_of(each)}") for gps, each in retrained.items()]
    rows += [(event.instant // NS, _said(event)) for event in events]
    lines = []
    for gps, said in sorted(rows, key=lambda row: row[0]):
        one = by_gps.get(gps - 1)  # the last second before it
        figures = (f"{one.cleaned:.3f}", f"{one.raw:.2f}") if one else ("", "")
        lines.append((str(gps), str(gps - START), said, *figures))
    head = ("GPS second", "since start", "what", "OUT_DQ / floor", "raw / floor")
    over = [
        (name, f"{low} to {high}", *(f"{x:.3f}" for x in (mean(each), min(each), max(each))))
        for name, (low, high, each) in stretches(plan, events, seconds).items()
    ]
    low, high, each = plan.drift[0], plan.swap_at, adapted_over_drift(plan, seconds)
    row = (f"{x:.3f}" for x in (mean(each), min(each), max(each)))
    over.append(("version 1 alone, with adaptation", f"{low} to {high}", *row))
    below = ("OUT_DQ / floor", "seconds", "mean", "lowest", "highest 8 s")
    harm = f"OUT_DQ over raw, highest 8 s: {_over_raw(seconds):.3f}"
    return f"{common.table(head, lines)}\n\n{common.table(below, over)}\n\n{harm}"


def draw(plan: Plan, events: Sequence[Event], seconds: Sequence[Second], path: Path) -> None:
    """Draw the residuals over time, with what happened."""
    plt = common.pyplot()
    figure, (axis, below) = plt.subplots(
        2, 1, figsize=(10, 6), sharex=True, height_ratios=(5, 1), layout="constrained"
    )
    time = np.array([one.gps + 1 - START for one in seconds])
    tried = np.array([np.nan if one.canary is None else one.canary for one in seconds])
    axis.plot(time, [one.raw for one in seconds], color="0.6", lw=1, label="raw")
    axis.plot(time, tried, color="tab:orange", lw=1.2, label="CANARY")
    axis.plot(time, [one.cleaned for one in seconds], color="tab:blue", lw=1.5, label="OUT_DQ")
    alone = [one.adapted for one in seconds]
    axis.plot(time, alone, color="tab:green", lw=1.0, label="OUT_DQ, version 1 with adaptation")
    axis.axhspan(1 / ALLOWED, ALLOWED, color="tab:green", alpha=0.3, lw=0, label="floor, 5 %")
    axis.axvspan(*plan.drift, color="0.93", zorder=0)
    axis.set(yscale="log", ylim=(0.9, 80), ylabel="ASD in the band, in units of the floor")
    axis.yaxis.set_major_formatter("{x:g}")
    marks = [(second, said) for second, said in _of_the_site(plan) if second != plan.drift[1]]
    marks += [
        (event.instant // NS - START, f"{event.version.number} {_WORDS[event.what]}")
        for event in events
        if event.what in _WORDS
    ]
    for number, (second, said) in enumerate(sorted(marks)):
        axis.axvline(second, color="k", lw=0.5, ls=":")
        side, height = ("right" if second > 0.8 * plan.end else "left"), 60 / 1.25 ** (number % 4)
        axis.text(second, height, f" {said} ", fontsize=8, va="center", ha=side)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 0.85))
    below.step(time, [one.version for one in seconds], where="post", color="tab:blue", lw=1.5)
    on_trial = [one.tried or np.nan for one in seconds]
    below.step(time, on_trial, where="post", color="tab:orange", lw=1.5)
    below.set(xlabel="seconds since the start", xlim=(0, plan.end))
    below.set(ylabel="version", ylim=(0.5, 3.5), yticks=[1, 2, 3])
    figure.savefig(path, dpi=110)
    plt.close(figure)


_WORDS = {"offered": "tried", "promoted": "promoted", "rejected": "rejected", "rolled_back": "back"}


def _of_the_site(plan: Plan) -> list[tuple[int, str]]:
    low, high = plan.drift
    return [
        (low, "the coupling begins to grow"),
        (high, f"it is {DRIFTED:g} times as strong"),
        (plan.swap_at, "the coupling falls back at once"),
    ]


def _came_of(each: RetrainRecord) -> str:
    ratios = ", ".join(f"{name} {ratio:.3f}" for name, ratio in each.asd_ratio.items() if ratio)
    version = "" if each.version is None else f" version {each.version}"
    return f"{each.verdict}{version}" + (f" (ASD ratio of {ratios})" if ratios else "")


def _said(event: Event) -> str:
    said = f"version {event.version.number} {event.what.replace('_', ' ')}"
    said += " as canary" if event.what == "offered" and event.role == "canary" else ""
    return f"{said}: {event.why}" if event.why else said
