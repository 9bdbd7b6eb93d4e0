"""The criteria of a validation, and whether a run meets them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

from deepclean.errors import ConfigError, hint

MINUTE = 64
"""Seconds over which a range is taken, counted from GPS 0."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion.

    Args:
        limit: limit of the value; None if the criterion is not judged.
        least: whether the limit is a lower one.
        says: description of the value, for the report.
    """

    limit: float | None
    least: bool
    says: str


CRITERIA: Mapping[str, Criterion] = {
    "asd_ratio": Criterion(1.0, False, "mean ASD ratio in band over the span, OUT_DQ / raw"),
    "worst_8s": Criterion(1.01, False, "highest ASD ratio in band of any 8 s, OUT_DQ / raw"),
    "guard": Criterion(1.03, False, "mean ASD ratio beside the band"),
    "outside": Criterion(1.005, False, "ASD ratio everywhere else"),
    "duty_cycle": Criterion(0.9, True, "share of the counted time at full gain"),
    "range_gain": Criterion(0.999, True, "BNS range after / before"),
    "snr_ratio": Criterion(0.98, True, "recovered signal-to-noise after / before, per injection"),
    "unseen": Criterion(None, True, "share of the time that a model was not trained on"),
    "relative": Criterion(None, False, "ASD ratio in band over that of what it is compared with"),
}
"""The criteria by name, with their default limits."""


def limits(given: Iterable[str]) -> dict[str, float | None]:
    """Return the limits in force: the defaults, changed by texts `name=value`.

    Raises:
        ConfigError: an unknown name, or a value that is neither a number nor `none`.
    """
    found = {name: criterion.limit for name, criterion in CRITERIA.items()}
    wrong = []
    for text in given:
        name, _, value = text.partition("=")
        try:
            limit = None if value.strip().lower() == "none" else float(value)
        except ValueError:
            limit = float("nan")
        if name not in CRITERIA:
            wrong.append(f"--criteria {text}: no criterion {name}{hint(name, CRITERIA)}")
        elif limit is not None and not isfinite(limit):
            wrong.append(f"--criteria {text}: the limit must be a number or none")
        else:
            found[name] = limit
    if wrong:
        raise ConfigError(wrong)
    return found


def judge(runs: Sequence[Mapping[str, Any]], limits: Mapping[str, float | None]) -> dict[str, Any]:
    """Return the verdict on the first run.

    A value that cannot be measured does not meet its criterion.

    Args:
        runs: the numbers of the runs (`Summary.figures`); the first is compared with the second.
        limits: the limits by criterion.
    """
    judged = []
    for name, of, value in _values(runs):
        limit = limits[name]
        if limit is None:
            continue
        number = float("nan") if value is None else value
        least = CRITERIA[name].least
        met = not isnan(number) and (number >= limit if least else number <= limit)
        judged.append(
            {
                "criterion": name,
                "of": of,
                "value": value,
                "at_least" if least else "at_most": limit,
                "met": met,
                "says": CRITERIA[name].says,
            }
        )
    return {"passed": all(each["met"] for each in judged), "criteria": judged}


def unmeasured(criterion: str) -> str:
    """Return what stands in place of a value that cannot be measured."""
    needs = f": needs {MINUTE // 2} s of {MINUTE} s" if criterion == "range_gain" else ""
    return f"cannot be measured{needs} (--criteria {criterion}=none leaves it out)"


def _values(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, float | None]]:
    """Yield the name of each criterion, the object that it judges, and the value."""
    run = runs[0]
    for name, coupling in run["couplings"].items():
        ratio = coupling["asd_ratio"]["OUT_DQ"]
        yield "asd_ratio", name, ratio["in_band"]
        yield "worst_8s", name, ratio["worst_8s"]
        yield "guard", name, ratio["guard"]
        yield "outside", name, ratio["outside"]
        for other in runs[1:]:
            there = other["couplings"].get(name)
            if there:
                one, two = ratio["in_band"], there["asd_ratio"]["OUT_DQ"]["in_band"]
                yield "relative", f"{name} to {other['name']}", one / two if one and two else None
    for name, model in run["models"].items():
        yield "unseen", name, model["unseen"]
    yield "duty_cycle", "all couplings", run["duty_cycle"]
    yield "range_gain", "", run["range"]["gain"]
    for signal in run.get("injections", ()):
        yield "snr_ratio", f"GPS {signal['gps']}", signal["snr_ratio"]
