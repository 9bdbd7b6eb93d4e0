"""How `deepclean retrain` makes the next candidate, and when that is good enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt
from pydantic import Strict

from deepclean.config.faults import ConfigFault, Key, show_key
from deepclean.config.types import Count, Device, Flag, Fraction, Positive, Section

if TYPE_CHECKING:
    from deepclean.config.schema import Config

SHORTEST = 64
"""Seconds. Less may not hold half of a minute that a range is taken over (validate.measure)."""

Seconds = Annotated[int, Strict(), Ge(0), Lt(2**31)]


class RetrainConfig(Section):
    """How `deepclean retrain` makes the next candidate. All seconds are whole ones."""

    strain: tuple[Path, ...] = ()
    """Directories or files of the strain, back in time; empty: input.strain."""

    witnesses: tuple[Path, ...] = ()
    """The witnesses' ones; empty: input.witnesses, or the strain's own where that is named here."""

    fetch: Flag = False
    """Whether both come through gwpy's data access instead."""

    span: Count = 4096
    """Seconds of analysis-ready data that are taken, the newest; with fetch, seconds fetched."""

    within: Count = 86400
    """Seconds back in which they are looked for."""

    lag: Seconds = 0
    """Newest seconds that are left alone: by how much a data service is late."""

    min_ready: Count = 2048
    """Seconds of analysis-ready data below which nothing is done."""

    held_out: Count = 512
    """Newest seconds of it that the candidate does not see, and is judged by."""

    better_by: Fraction = 0.01
    """Share by which the candidate's ASD ratio must be below production's."""

    criteria: tuple[str, ...] = ()
    """What else it must meet, as NAME=LIMIT: what differs from `deepclean validate`'s defaults."""

    epochs: Count = 10
    """Passes over the data at most, from production; a first model takes training.epochs."""

    learning_rate: Positive = 0.001
    """Highest, from production; a first model takes training.learning_rate."""

    device: Device = "cpu"
    """Where it runs. Not the daemon's: training would be in its way."""


def faults(config: Config) -> Iterator[ConfigFault]:
    """Yield a fault for each length that leaves nothing to do."""
    retrain = config.retrain
    held_out: Key = ("retrain", "held_out")
    least: Key = ("retrain", "min_ready")
    span: Key = ("retrain", "span")
    if retrain.held_out < SHORTEST:
        yield ConfigFault(
            f"{retrain.held_out} s are too few to judge by; use at least {SHORTEST}", (held_out,)
        )
    if retrain.held_out >= retrain.min_ready:
        yield ConfigFault(
            f"all {retrain.min_ready} s of {show_key(least)} are held out; use less",
            (held_out, least),
        )
    if retrain.min_ready > retrain.span:
        yield ConfigFault(
            f"{retrain.min_ready} s are more than the {retrain.span} s of {show_key(span)}; "
            "use less",
            (least, span),
        )
    if retrain.within < retrain.span:
        yield ConfigFault(
            f"{retrain.within} s are less than the {retrain.span} s of {show_key(span)}; use more",
            (("retrain", "within"), span),
        )
