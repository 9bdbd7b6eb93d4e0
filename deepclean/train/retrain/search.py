"""A full training: a closed form's features are found anew, other models are trained further."""

from __future__ import annotations

import logging
from math import ceil
from pathlib import Path

from deepclean.config import Config
from deepclean.core.output.segments import total_seconds
from deepclean.core.time import NS, Span
from deepclean.errors import ModelError
from deepclean.models import files as models
from deepclean.models import loading
from deepclean.models.budget import budget
from deepclean.models.content import WEIGHTS, read_version
from deepclean.models.manifest import sha256
from deepclean.models.model import Model
from deepclean.train.data import TrainingData
from deepclean.train.judging.heldout import HeldOut
from deepclean.train.judging.objection import objection
from deepclean.train.loop import Progress
from deepclean.train.retrain import verdict
from deepclean.train.retrain.job import Histories, Job
from deepclean.train.retrain.lock import scratch
from deepclean.train.retrain.log import RetrainRecord, in_seconds
from deepclean.train.retrain.publish import moved, publish
from deepclean.train.retrain.split import divide, newest
from deepclean.train.run import train
from deepclean.train.solve import NoFeatureError
from deepclean.train.task import SOLVED

_log = logging.getLogger(__name__)


def search(job: Job, record: RetrainRecord, parent: Model | None) -> RetrainRecord:
    """Train a candidate and make it the canary if it is better; return the record, filled in.

    Args:
        job: what is to be done.
        record: of the retraining.
        parent: the version in production; None where there is none.

    Raises:
        ConfigError: the configuration cannot be trained or judged.
        InputError: the data lack channels, or changed while they were read.
        ModelError: the training diverged.
        OutputError: the file system refused.
    """
    compared = parent is not None
    verdict.criteria(job.config, compared=compared)  # raises before the training, not after it
    device = loading.resolve_device(job.config.retrain.device)
    data = job.open_data(job.looked_through)
    training, held_out, ready = _stretches(job, data, record)
    if not training:
        return record
    with scratch(job.directory) as place:
        try:
            candidate = _train(job, data, training, parent, place, device)
        except NoFeatureError as error:
            return record.close("not better", str(error))
        record.parent = None if parent is None or _solved(job.config) else parent.version
        raw, manifest, content = read_version(candidate)
        record.weights = manifest.files[WEIGHTS]
        judged = verdict.judge(
            *(job.config, job.coupling, candidate, held_out, data),
            compared=compared,
            device=device,
        )
        record.asd_ratio, record.criteria = judged.asd_ratio, judged.criteria
        if judged.sha256 != sha256(raw):
            raise ModelError("was changed while it was judged", path=candidate)
        record.figures = verdict.paired(
            *(job.config, job.coupling, models.load(candidate, device), parent),
            HeldOut(job.site(data), held_out, keep=False, around=ready),
        )
    unmet = [why for why in (judged.unmet, objection(record.figures)) if why]
    if unmet:
        return record.close("not better", "; ".join(unmet))
    overtaken = moved(job, record, judged.production)
    if overtaken:
        return record.close("overtaken", overtaken)
    validation = manifest.validation | record.figures | _figures(record)
    return publish(job, record, content, manifest.model_copy(update={"validation": validation}))


def _stretches(
    job: Job, data: Histories, record: RetrainRecord
) -> tuple[tuple[Span, ...], tuple[Span, ...], list[Span]]:
    """Return the spans for training, the held-out spans and all that is ready.

    All are empty if there are too few data.
    """
    config, retrain = job.config, job.config.retrain
    site = job.site(data)
    within = job.looked_through
    record.looked_through = in_seconds([within])[0]
    ready = newest(site.usable_in, within, retrain.span)
    found = total_seconds(ready)
    plan = budget(verdict.alone(config, job.coupling, None, "cpu")).plan
    training, held_out = divide(ready, retrain.held_out, plan.history, plan.lookahead)
    if found < retrain.min_ready or not (training and held_out):
        record.close(
            "no data",
            f"{found} s of analysis-ready data in GPS {within.start // NS} to {within.end // NS}; "
            f"{retrain.min_ready} s are needed, {retrain.held_out} s of them with what the engine "
            f"reads for them, {ceil(plan.history / NS)} s before and {ceil(plan.lookahead / NS)} s "
            "after",
        )
        return (), (), []
    record.training, record.held_out = in_seconds(training), in_seconds(held_out)
    _log.info(
        "%s: %d s to train on, %d s held out",
        *(job.coupling, total_seconds(training), total_seconds(held_out)),
    )
    return training, held_out, ready


def _train(
    job: Job,
    data: Histories,
    training: tuple[Span, ...],
    parent: Model | None,
    place: Path,
    device: str,
) -> Path:
    """Train a candidate in a separate store; return its directory."""
    config, retrain = job.config, job.config.retrain
    if _solved(config):
        parent = None
    if parent is not None:
        update = {"epochs": retrain.epochs, "learning_rate": retrain.learning_rate}
        tuned = config.training.model_copy(update=update)
        config = config.model_copy(update={"training": tuned})
    span = Span(training[0].start, training[-1].end)
    return train(
        config,
        job.coupling,
        TrainingData(*data, span),
        place,
        parent=parent,
        device=device,
        progress=lambda told: _say(job.coupling, told),
    )


def _solved(config: Config) -> bool:
    """Return whether the network is solved, so that no training starts from a parent."""
    return config.training.architecture in SOLVED


def _say(coupling: str, told: Progress) -> None:
    """Log the end of an epoch."""
    if told.asd_ratio is not None:
        _log.info("%s: epoch %d, ASD ratio %.4f", coupling, told.epoch, told.asd_ratio)


def _figures(record: RetrainRecord) -> dict[str, float]:
    """Return the figures of the held-out data, for the manifest."""
    ratios = {f"held_out_{name}": ratio for name, ratio in record.asd_ratio.items() if ratio}
    start, end = float(record.held_out[0][0]), float(record.held_out[-1][1])
    return {"held_out_start": start, "held_out_end": end, **ratios}
