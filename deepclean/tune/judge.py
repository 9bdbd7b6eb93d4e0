"""The judgement of a model on held-out data that is the same for every trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepclean.config import Config
from deepclean.config.settings import engine_settings
from deepclean.core.output.segments import intersection
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.factory import make_coupling
from deepclean.models import files as models
from deepclean.models import packaged
from deepclean.train.data import SiteData, TrainingData, split
from deepclean.train.judging.evaluate import engine_validation
from deepclean.train.judging.heldout import HeldOut
from deepclean.train.judging.meter import ValidationFigures

_LEAST = 16
"""Seconds below which a part of the data is no basis for a search."""


@dataclass(frozen=True, slots=True)
class DataSplit:
    """The three parts of a search's data, in order of time; all spans are whole seconds.

    Args:
        training: what trials are trained on.
        held_out: what trials are judged by.
        confirm: what no trial sees.
    """

    training: tuple[Span, ...]
    held_out: tuple[Span, ...]
    confirm: tuple[Span, ...]


def divide(config: Config, data: TrainingData, witnesses: Sequence[str]) -> DataSplit:
    """Return the parts of the data, of which every second is fit for all witnesses.

    Raises:
        InputError: channels are missing, or there is too little data.
    """
    strain = config.strain
    site = SiteData(data, strain.channel, witnesses, strain.state_vector)
    rest, confirm = split(site.usable(), config.tune.confirm)
    share = config.tune.held_out / (1 - config.tune.confirm)
    training, held_out = split(rest, min(share, 1.0))
    parts = DataSplit(tuple(training), tuple(held_out), tuple(confirm))
    named = (("tune.held_out", held_out), ("tune.confirm", confirm), ("training", training))
    for name, spans in named:
        found = sum(span.duration for span in spans) // NS
        if found < _LEAST:
            raise InputError(f"{name}: {found} s of data; a search needs {_LEAST} s at least")
    return parts


def judge(
    config: Config,
    coupling: str,
    version: Path,
    data: TrainingData,
    spans: Sequence[Span],
    bands: Sequence[tuple[float, float]],
    guard: float,
) -> ValidationFigures:
    """Clean data with a model's version and compare it with the raw strain.

    Args:
        config: the configuration of the model.
        coupling: a name in it.
        version: directory of the model.
        data: the sources.
        spans: what is cleaned, whole seconds.
        bands: `(low, high)` in Hz, in which it is judged, whatever bands the model has.
        guard: width in Hz beside each band that counts neither as inside nor as outside.

    Raises:
        ConfigError: the configuration does not suit the model.
        InputError: no stretch is long enough.
        ModelError: the version cannot be loaded.
    """
    packaged.admit(config.models.architectures)
    made = make_coupling(config, coupling, models.load(version))
    strain = config.strain
    site = SiteData(data, strain.channel, made.witnesses, strain.state_vector)
    held_out = HeldOut(site, intersection(spans), keep=False)
    judged = replace(made, bands=bands)
    return engine_validation(engine_settings(config), judged, guard, held_out)
