"""What was found, as plain values for JSON, and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepclean.core.bandpass import Band
from deepclean.core.time import NS, Span
from deepclean.witnesses import significance
from deepclean.witnesses.coherence import RankedChannel, Ranking
from deepclean.witnesses.joint import Joint, Step

if TYPE_CHECKING:
    from rich.table import Table

    from deepclean.core.block import Float64
    from deepclean.witnesses.saliency import Attribution, WitnessWorth

SCHEMA = 1
"""Of the JSON."""


@dataclass(frozen=True, slots=True)
class WitnessReport:
    """All that a command found.

    Args:
        strain: full name.
        span: that was asked for.
        bands: `(low, high)` in Hz.
        frequencies: of their bins.
        skipped: seconds without a transform of the strain, by reason.
        faults: messages of what could not be read.
        ranking: of the candidates.
        joint: where a set was asked for.
        asked: where a model was given.
    """

    strain: str
    span: Span
    bands: Sequence[Band]
    frequencies: Float64
    skipped: Mapping[str, int]
    faults: Sequence[str]
    ranking: Ranking
    joint: Joint | None = None
    asked: Attribution | None = None

    @property
    def level(self) -> float:
        """Peak coherence that one unrelated channel in a hundred exceeds."""
        return significance.level(significance.RARE, self.ranking.averages, len(self.frequencies))

    def shown(self, top: int) -> list[RankedChannel]:
        """Return the most coherent candidates, and the model's channels that are not in them."""
        sound = [one for one in self.ranking.ranked if one.fault is None]
        shown = {one.candidate.channel for one in sound[:top]}
        asked = {} if self.asked is None else self.asked.worths
        rest = [
            one
            for one in self.ranking.ranked
            if one.candidate.carrier is None
            and one.candidate.channel in asked
            and one.candidate.channel not in shown
        ]
        return sound[:top] + rest


def facts(found: WitnessReport) -> dict[str, Any]:
    """Return everything as values that JSON holds."""
    worths = {} if found.asked is None else found.asked.worths
    said: dict[str, Any] = {
        "schema": SCHEMA,
        "strain": found.strain,
        "span": [found.span.start // NS, found.span.end // NS],
        "bands": [list(band) for band in found.bands],
        "transforms": found.ranking.transforms,
        "averages": found.ranking.averages,
        "chance": {"mean": 1 / found.ranking.averages, "peak": found.level},
        "skipped": dict(found.skipped),
        "faults": list(found.faults),
        "frequencies": found.frequencies.tolist(),
        "candidates": [_candidate(one, worths) for one in found.ranking.ranked],
    }
    if found.joint is not None:
        said["joint"] = {
            "among": found.joint.among,
            "transforms": found.joint.transforms,
            "steps": [_step(step) for step in found.joint.steps],
        }
    if found.asked is not None:
        said["model"] = {
            "version": found.asked.version,
            "seconds": found.asked.seconds,
            "asd_ratio": found.asked.asd_ratio,
        }
    return said


def _candidate(one: RankedChannel, worths: Mapping[str, WitnessWorth]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "channel": one.candidate.channel,
        "carrier": one.candidate.carrier,
        "rate": one.candidate.rate,
        "fault": one.fault,
        "transforms": one.transforms,
    }
    if one.fault is None:
        said |= {
            "mean": one.mean,
            "peak": one.peak,
            "peak_bin": int(one.coherence.argmax()),
            "chance": one.chance,
            "residual": one.residual,
            "coherence": one.coherence.tolist(),
        }
    worth = worths.get(one.candidate.channel)
    if worth is not None:
        said |= {"saliency": worth.saliency, "without": worth.without}
    return said


def _step(step: Step) -> dict[str, Any]:
    return {
        "channel": step.candidate.channel,
        "carrier": step.candidate.carrier,
        "partial": float(step.partial.mean()),
        "multiple": float(step.multiple.mean()),
        "residual": step.residual,
        "chance": step.chance,
    }


def table(found: WitnessReport, top: int) -> Table:
    """Return the most coherent candidates as a table."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 1))
    made.add_column("channel", overflow="fold")
    titles = ["Hz", "mean", "peak", "at Hz", "chance", "alone"]
    titles += ["saliency", "without"] if found.asked is not None else []
    for title in titles:
        made.add_column(title, justify="right", no_wrap=True)
    for one in found.shown(top):
        cells = [one.candidate.label, str(one.candidate.rate)]
        if one.fault is None:
            at = found.frequencies[one.coherence.argmax()]
            cells += [f"{one.mean:.3f}", f"{one.peak:.3f}", f"{at:g}"]
            cells += [_probability(one.chance), f"{one.residual:.3f}"]
        else:
            cells += ["", "", "", "", one.fault.replace("_", " ")]
        worth = None if found.asked is None else found.asked.worths.get(one.candidate.channel)
        if worth is not None:
            cells += [f"{worth.saliency:.3f}", f"{worth.without:.3f}"]
        made.add_row(*cells)
    return made


def joint_table(joint: Joint) -> Table:
    """Return a set of witnesses as a table."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 1))
    made.add_column("together, one more a line", overflow="fold")
    for title in ("adds", "all so far", "chance", "ASD ratio"):
        made.add_column(title, justify="right", no_wrap=True)
    for step in joint.steps:
        made.add_row(
            step.candidate.label,
            f"{step.partial.mean():.3f}",
            f"{step.multiple.mean():.3f}",
            _probability(step.chance),
            f"{step.residual:.3f}",
        )
    return made


def notes(found: WitnessReport) -> list[str]:
    """Return what a person has to know beside the tables."""
    ranking = found.ranking
    bands = ", ".join(f"{low:g}-{high:g} Hz" for low, high in found.bands)
    said = [
        f"{bands}, GPS {found.span.start // NS} to {found.span.end // NS}: "
        f"{ranking.transforms} transforms, {ranking.averages:.1f} independent averages",
        f"by chance: mean {1 / ranking.averages:.3f}, peak up to {found.level:.3f} "
        "(99% of unrelated channels)",
    ]
    carriers = {one.candidate.carrier for one in ranking.ranked} - {None}
    said += [f"carrier: {name}" for name in carriers]
    if found.skipped:
        listed = ", ".join(f"{reason} {n} s" for reason, n in sorted(found.skipped.items()))
        said.append(f"strain skipped: {listed}")
    for fault in ("constant", "too_slow", "too_little"):
        names = [one.candidate.name for one in ranking.ranked if one.fault == fault]
        if names:
            said.append(f"{fault.replace('_', ' ')}: {_few(names)}")
    partly = [
        f"{one.candidate.name} ({one.transforms})"
        for one in ranking.ranked
        if one.fault is None and one.transforms < ranking.transforms
    ]
    if partly:
        said.append(f"with gaps (transforms): {_few(partly)}")
    if found.faults:
        said.append(f"not readable: {_few(found.faults)}")
    if found.joint is not None:
        said.append(
            f"together: from the best {found.joint.among}, over the {found.joint.transforms} "
            "transforms that all of them have"
        )
    if found.asked is not None:
        asked = found.asked
        said.append(
            f"model version {asked.version} over {asked.seconds} s: ASD ratio "
            f"{asked.asd_ratio:.3f} with all its witnesses"
        )
    return said


def _few(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _probability(value: float) -> str:
    return f"{value:.2f}" if value >= 0.005 else "<0.01"
