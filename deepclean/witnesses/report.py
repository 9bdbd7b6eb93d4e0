"""The result of a search, as plain values for JSON and as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepclean.core.filters.bandpass import Band
from deepclean.core.time import NS, Span
from deepclean.system.utc import utc
from deepclean.witnesses import significance
from deepclean.witnesses.coherence import RankedChannel, Ranking
from deepclean.witnesses.joint import Joint, JointStep

if TYPE_CHECKING:
    from rich.table import Table

    from deepclean.core.block import Float64
    from deepclean.witnesses.saliency import Attribution, WitnessWorth

SCHEMA = 1
"""Version of the JSON's layout."""


@dataclass(frozen=True, slots=True)
class WitnessReport:
    """The result of a search.

    Args:
        strain: full name of the strain channel.
        span: the requested span.
        bands: `(low, high)` in Hz.
        frequencies: frequencies of the bands' bins in Hz.
        skipped: seconds without a transform of the strain, by reason.
        faults: messages about input that could not be read.
        ranking: of the candidates.
        joint: the chosen set, if one was requested.
        attribution: the use of the witnesses by a model, if one was given.
    """

    strain: str
    span: Span
    bands: Sequence[Band]
    frequencies: Float64
    skipped: Mapping[str, int]
    faults: Sequence[str]
    ranking: Ranking
    joint: Joint | None = None
    attribution: Attribution | None = None

    @property
    def level(self) -> float:
        """Peak coherence that one unrelated channel in a hundred exceeds."""
        return significance.level(significance.RARE, self.ranking.averages, len(self.frequencies))

    def shown(self, top: int) -> list[RankedChannel]:
        """Return the most coherent candidates, then the model's other witnesses."""
        best = self.ranking.sound[:top]
        worths = {} if self.attribution is None else self.attribution.worths
        missing = worths.keys() - {one.candidate.channel for one in best}
        rest = [
            one
            for one in self.ranking.ranked
            if one.candidate.carrier is None and one.candidate.channel in missing
        ]
        return best + rest


def facts(found: WitnessReport) -> dict[str, Any]:
    """Return the result as plain values for JSON."""
    worths = {} if found.attribution is None else found.attribution.worths
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
    if found.attribution is not None:
        keys = ("version", "seconds", "asd_ratio")
        said["model"] = {key: getattr(found.attribution, key) for key in keys}
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
            "chance": one.p_value,
            "residual": one.residual,
            "coherence": one.coherence.tolist(),
        }
    worth = worths.get(one.candidate.channel)
    if worth is not None:
        said |= {"saliency": worth.saliency, "without": worth.without}
    return said


def _step(step: JointStep) -> dict[str, Any]:
    return {
        "channel": step.candidate.channel,
        "carrier": step.candidate.carrier,
        "partial": float(step.partial.mean()),
        "multiple": float(step.multiple.mean()),
        "residual": step.residual,
        "chance": step.p_value,
    }


def _table(name: str, *numbers: str) -> Table:
    """Return a table with a column of names and columns of numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 1))
    made.add_column(name, overflow="fold")
    for title in numbers:
        made.add_column(title, justify="right", overflow="fold")
    return made


def table(found: WitnessReport, top: int) -> Table:
    """Return a table of the most coherent candidates."""
    titles = ["Hz", "mean", "peak", "at Hz", "chance", "alone"]
    titles += ["saliency", "without"] if found.attribution is not None else []
    worths = {} if found.attribution is None else found.attribution.worths
    made = _table("channel", *titles)
    for one in found.shown(top):
        cells = [one.candidate.label, str(one.candidate.rate)]
        if one.fault is None:
            at = found.frequencies[one.coherence.argmax()]
            cells += [f"{one.mean:.3f}", f"{one.peak:.3f}", f"{at:g}"]
            cells += [_probability(one.p_value), f"{one.residual:.3f}"]
        else:
            cells += ["", "", "", "", one.fault.replace("_", " ")]
        worth = worths.get(one.candidate.channel)
        if worth is not None:
            cells += [f"{worth.saliency:.3f}", f"{worth.without:.3f}"]
        made.add_row(*cells)
    return made


def joint_table(joint: Joint) -> Table:
    """Return a table of a set of witnesses."""
    made = _table("together, one more a line", "adds", "all so far", "chance", "ASD ratio")
    for step in joint.steps:
        made.add_row(
            step.candidate.label,
            f"{step.partial.mean():.3f}",
            f"{step.multiple.mean():.3f}",
            _probability(step.p_value),
            f"{step.residual:.3f}",
        )
    return made


def notes(found: WitnessReport) -> list[str]:
    """Return the notes that belong to the tables."""
    ranking = found.ranking
    bands = ", ".join(f"{low:g}-{high:g} Hz" for low, high in found.bands)
    said = [
        f"{bands}, GPS {found.span.start // NS} to {found.span.end // NS}: "
        f"{ranking.transforms} transforms, {ranking.averages:.1f} independent averages",
        f"{utc(found.span.start // NS)} to {utc(found.span.end // NS)} UTC",
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
        for one in ranking.sound
        if one.transforms < ranking.transforms
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
    if found.attribution is not None:
        model = found.attribution
        said.append(
            f"model version {model.version} over {model.seconds} s: ASD ratio "
            f"{model.asd_ratio:.3f} with all its witnesses"
        )
    return said


def _few(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _probability(value: float) -> str:
    return f"{value:.2f}" if value >= 0.005 else "<0.01"
