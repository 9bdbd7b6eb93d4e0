"""What `deepclean tune` searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, PlainSerializer

from deepclean.config.types import (
    Channel,
    Count,
    Fraction,
    NotNegative,
    Options,
    Section,
    Seed,
    freeze,
    thaw,
)

Groups = Annotated[
    Mapping[str, tuple[Channel, ...]],
    AfterValidator(freeze),
    PlainSerializer(thaw, return_type=dict),
]


class TuneConfig(Section):
    """What `deepclean tune` searches for the best model of a coupling, and how it judges."""

    trials: Count = 40
    """Trials at which the search ends. A command-line option goes before it."""

    held_out: Fraction = 0.2
    """Share of the data that no trial is trained on and all are judged by."""

    confirm: Fraction = 0.1
    """Share of the data, at its end, that is kept from all trials. The best is compared there with
    the configuration as it is: the best of many is better by chance on what chose it."""

    seed: Seed = 0
    """The seed of the search."""

    witnesses: tuple[Channel, ...] = ()
    """Channels that may be added to the coupling's witnesses."""

    groups: Groups = Field(default={}, validate_default=True)
    """Witnesses that are used or left out together, by a name of the group. Every other witness is
    a group of its own."""

    edges: NotNegative = 0.0
    """Hz by which each edge of the bands may move, outward or inward, in steps of half of it; 0:
    the bands stay as they are."""

    search: Options = Field(default={}, validate_default=True)
    """What else is searched: keys of the configuration, each with a list of choices or with a range
    {low, high, log, whole}. A key of the coupling is written without its beginning:
    bandpass.transition."""

    models: Options = Field(default={}, validate_default=True)
    """Kinds of model that are tried, each with the keys that are searched for that kind alone;
    empty: training.architecture alone."""
