"""How the keys of training and retraining must agree with one another and with the rates."""

from __future__ import annotations

from collections.abc import Iterator

from deepclean.config.coupling_checks import RATE, in_seconds, whole_samples
from deepclean.config.faults import ConfigFault, fault_of
from deepclean.config.schema import ConfigTree
from deepclean.config.training import training_faults

_SHORTEST = 64
"""Seconds of held-out data. Less may not hold half of a minute that a range is taken over
(validate.measure)."""


def faults(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield the faults of `training` and `retrain`, whose values are valid each by itself."""
    yield from _training(config)
    yield from _retrain(config)


def _training(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault for names, or for lengths of examples or of a trial, that do not agree."""
    for key, said in training_faults(config.training):
        yield fault_of(key, said)
    rate, trial = config.engine.rate, config.models.trial
    window, overlap = config.training.window, config.training.overlap
    yield from whole_samples(window, rate, ("training", "window"), RATE)
    yield from whole_samples(overlap, rate, ("training", "overlap"), RATE)
    if overlap >= window:
        yield fault_of(
            "training.overlap training.window",
            f"{in_seconds(overlap)} is not less than the window, {in_seconds(window)}; shorten it",
        )
    if trial.patience < trial.validation_time:
        yield fault_of(
            "models.trial.patience models.trial.validation_time",
            f"{in_seconds(trial.patience)} is shorter than validation_time, "
            f"{in_seconds(trial.validation_time)}: no canary could be promoted; raise it",
        )


def _retrain(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault for each length that leaves nothing to do."""
    retrain = config.retrain
    held_out, least, span = "retrain.held_out", "retrain.min_ready", "retrain.span"
    if retrain.held_out < _SHORTEST:
        said = f"{retrain.held_out} s are too few to judge by; use at least {_SHORTEST}"
        yield fault_of(held_out, said)
    if retrain.held_out >= retrain.min_ready:
        said = f"all {retrain.min_ready} s of {least} are held out; use less"
        yield fault_of(f"{held_out} {least}", said)
    if retrain.min_ready > retrain.span:
        said = f"{retrain.min_ready} s are more than the {retrain.span} s of {span}; use less"
        yield fault_of(f"{least} {span}", said)
    if retrain.within < retrain.span:
        said = f"{retrain.within} s are less than the {retrain.span} s of {span}; use more"
        yield fault_of(f"retrain.within {span}", said)
    refit, place = retrain.refit, "retrain.refit"
    if refit.held_out < _SHORTEST:
        said = f"{refit.held_out} s are too few to judge by; use at least {_SHORTEST}"
        yield fault_of(f"{place}.held_out", said)
    if refit.min_ready > refit.span:
        said = f"{refit.min_ready} s are more than the {refit.span} s of {place}.span; use less"
        yield fault_of(f"{place}.min_ready {place}.span", said)
