"""Comparison of a candidate with production. The engine cleans with both, with their gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepclean import factory
from deepclean.config import Config
from deepclean.config.settings import engine_settings
from deepclean.config.types import FrozenMap
from deepclean.core.time import Span
from deepclean.io.frame_channels import channels_of
from deepclean.io.source import ChannelHistory, HistorySource
from deepclean.models.model import Model
from deepclean.train.judging.evaluate import evaluate, figures_against
from deepclean.train.judging.heldout import HeldOut
from deepclean.validate.criteria import limits
from deepclean.validate.run import ValidationRequest, validate
from deepclean.validate.shards import ValidationRun


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement on held-out data.

    Args:
        sha256: of the candidate's manifest.
        production: the version that it was compared with; None if there was none.
        asd_ratio: in the band, OUT_DQ over raw, of `candidate` and `production`.
        criteria: each with its value, its limit and whether it is met.
    """

    sha256: str
    production: int | None
    asd_ratio: dict[str, float | None]
    criteria: list[dict[str, Any]]

    @property
    def unmet(self) -> str:
        """The criteria that are not met, in words; empty if all are met."""
        return "; ".join(_words(each) for each in self.criteria if not each["met"])


def criteria(config: Config, *, compared: bool) -> dict[str, float | None]:
    """Return the limits by criterion.

    Args:
        config: the configuration, with the required improvement and other limits.
        compared: whether there is a production version.

    Raises:
        ConfigError: an unknown criterion, or a limit that is not a number.
    """
    better = {"relative": 1 - config.retrain.better_by} if compared else {}
    return limits(config.retrain.criteria) | better


def alone(config: Config, coupling: str, model: Path | None, device: str) -> Config:
    """Return the configuration with one coupling only.

    Args:
        config: the configuration of all couplings.
        coupling: the coupling that stays.
        model: directory of its model; None for the store's production version.
        device: device of the network.
    """
    only = config.couplings[coupling].model_copy(update={"model": model, "enabled": True})
    runtime = config.runtime.model_copy(update={"device": device})
    return config.model_copy(update={"couplings": FrozenMap({coupling: only}), "runtime": runtime})


def judge(
    config: Config,
    coupling: str,
    candidate: Path,
    held_out: Sequence[Span],
    recordings: tuple[ChannelHistory, ChannelHistory],
    *,
    compared: bool,
    device: str,
) -> Judgement:
    """Clean held-out data with a candidate, and with production if there is one.

    Args:
        config: the configuration of the site.
        coupling: the candidate's coupling, which is cleaned alone.
        candidate: directory of the candidate.
        held_out: the spans that count, whole seconds, in order.
        recordings: strain and witnesses.
        compared: whether there is a production version.
        device: device of both networks.

    Raises:
        ConfigError: a criterion is invalid.
        InputError: nothing can be judged.
        ModelError: a model cannot be loaded, or failed.
    """
    directories = [candidate, None] if compared else [candidate]
    source = HistorySource(channels_of(alone(config, coupling, candidate, device)), *recordings)
    runs = [
        ValidationRun(
            "candidate" if model else "production",
            alone(config, coupling, model, device),
            lambda: source,
        )
        for model in directories
    ]
    span = Span(held_out[0].start, held_out[-1].end)
    request = ValidationRequest(span, held_out, (), criteria(config, compared=compared))
    threads = torch.get_num_threads()
    try:
        report = validate(runs, request).report
    finally:
        torch.set_num_threads(threads)  # a validation sets one thread
    figures = {run["name"]: run for run in report["runs"]}
    return Judgement(
        sha256=figures["candidate"]["models"][coupling]["sha256"],
        production=figures["production"]["models"][coupling]["version"] if compared else None,
        asd_ratio={
            name: run["couplings"][coupling]["asd_ratio"]["OUT_DQ"]["in_band"]
            for name, run in figures.items()
        },
        criteria=[
            {key: value for key, value in each.items() if key != "says"}
            for each in report["verdict"]["criteria"]
        ],
    )


def paired(
    config: Config,
    coupling: str,
    candidate: Model,
    production: Model | None,
    held_out: HeldOut,
) -> dict[str, float]:
    """Return a candidate's figures over held-out data, against nothing and against production.

    Args:
        config: the configuration of the site.
        coupling: the candidate's coupling, which is cleaned alone.
        candidate: the candidate.
        production: the model that it would replace; None where there is none.
        held_out: the data.

    Raises:
        ConfigError: a model does not suit the coupling's prediction.
        InputError: there is too little data, or it changed.
    """
    models = {"candidate": factory.make_coupling(config, coupling, candidate)}
    if production is not None:
        models["production"] = factory.make_coupling(config, coupling, production)
    guard = config.couplings[coupling].bandpass.transition
    judged = evaluate(engine_settings(config), models, guard, held_out)
    if production is None:
        return figures_against(judged, "candidate", None, 0)
    return figures_against(judged, "candidate", "production", production.version)


def _words(unmet: Mapping[str, Any]) -> str:
    """Return an unmet criterion in words: `relative 0.998 is not at most 0.99`."""
    value = (
        "cannot be measured, has to be"
        if unmet["value"] is None
        else f"{unmet['value']:.4g} is not"
    )
    side = "at_least" if "at_least" in unmet else "at_most"
    return f"{unmet['criterion']} {value} {side.replace('_', ' ')} {unmet[side]:g}"
