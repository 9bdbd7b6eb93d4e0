"""A retraining of one coupling, from the data to the canary."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from deepclean import factory
from deepclean.config import Config
from deepclean.config.settings import engine_settings
from deepclean.core.segments import total_seconds
from deepclean.core.time import NS, Span
from deepclean.errors import ModelError, OutputError
from deepclean.io.source import ChannelHistory
from deepclean.models import files as models
from deepclean.models import loading, store, versions
from deepclean.models.manifest import Manifest, sha256
from deepclean.models.model import Model
from deepclean.train.data import SiteData, TrainingData
from deepclean.train.judging.heldout import HeldOut
from deepclean.train.judging.objection import objection
from deepclean.train.lock import exclusively
from deepclean.train.loop import Progress
from deepclean.train.retrain import verdict
from deepclean.train.retrain.lock import LOCK, scratch
from deepclean.train.retrain.log import RetrainRecord, in_seconds
from deepclean.train.retrain.split import divide, newest
from deepclean.train.run import train
from deepclean.train.task import SOLVED

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A retraining to be done.

    Args:
        config: the configuration of the site; its section `retrain` has the settings.
        coupling: a name in it, whose models are in the store.
        end: GPS nanoseconds, whole seconds, before which data are used.
        open_data: gives strain and witnesses over a span.
        check: raises unless the daemon can load a version; called before a pointer names it.
    """

    config: Config
    coupling: str
    end: int
    open_data: Callable[[Span], tuple[ChannelHistory, ChannelHistory]]
    check: store.Check

    @property
    def directory(self) -> Path:
        """The coupling's directory in the store."""
        config = self.config
        return config.models.directory / config.interferometer / self.coupling

    @property
    def looked_through(self) -> Span:
        """The span that is searched for data. Fetched data are held in memory, hence less of it."""
        retrain = self.config.retrain
        back = retrain.span if retrain.fetch else retrain.within
        return Span(self.end - back * NS, self.end)


def retrain(job: Job) -> RetrainRecord:
    """Train a candidate from production on the newest data and make it the canary if it is better.

    The outcome is appended to the coupling's log, also if the retraining failed.

    Raises:
        ConfigError: the configuration cannot be trained or judged.
        InputError: the data lack channels, or changed while they were read.
        ModelError: production cannot be loaded or trusted, or the training diverged.
        OutputError: another process retrains this coupling, or the file system refused.
    """
    record = RetrainRecord()
    with exclusively(job.directory, LOCK, "retrains this coupling already"):
        try:
            _retrain(job, record)
        except Exception as error:
            record.close("failed", f"{type(error).__name__}: {error}")
            with suppress(OutputError):  # the first fault matters more
                record.append(job.directory)
            raise
        record.append(job.directory)
    return record


def _retrain(job: Job, record: RetrainRecord) -> RetrainRecord:
    """Perform the steps, and fill in the record."""
    root = job.config.models.directory
    production = versions.read_pointer(job.directory, "production", root)
    canary = versions.read_pointer(job.directory, "canary", root)
    if canary is not None:
        return record.close("canary in place", f"version {canary} is under test")
    record.production = production
    verdict.criteria(
        job.config, compared=production is not None
    )  # raises before the training, not after it
    parent = None if production is None else _load(job, production)
    device = loading.resolve_device(job.config.retrain.device)
    data = job.open_data(job.looked_through)
    training, held_out, ready = _stretches(job, data, record)
    if not training:
        return record
    with scratch(job.directory) as place:
        candidate = _train(job, data, training, parent, place, device)
        record.parent = None if parent is None or _solved(job.config) else parent.version
        raw, manifest, content = models.read(candidate)
        record.weights = manifest.files[models.WEIGHTS]
        judged = verdict.judge(
            *(job.config, job.coupling, candidate, held_out, data),
            compared=production is not None,
            device=device,
        )
        record.asd_ratio, record.criteria = judged.asd_ratio, judged.criteria
        if judged.sha256 != sha256(raw):
            raise ModelError("was changed while it was judged", path=candidate)
        record.figures = verdict.paired(
            *(job.config, job.coupling, models.load(candidate, device), parent),
            HeldOut(_site(job, data), held_out, keep=False, around=ready),
        )
    unmet = [why for why in (judged.unmet, objection(record.figures)) if why]
    if unmet:
        return record.close("not better", "; ".join(unmet))
    moved = _moved(job, record, judged.production)
    if moved:
        return record.close("overtaken", moved)
    validation = manifest.validation | record.figures | _figures(record)
    manifest = manifest.model_copy(update={"validation": validation})
    return _publish(job, record, content, manifest)


def _stretches(
    job: Job, data: tuple[ChannelHistory, ChannelHistory], record: RetrainRecord
) -> tuple[tuple[Span, ...], tuple[Span, ...], list[Span]]:
    """Return the spans for training, the held-out spans and all that is ready.

    All are empty if there are too few data.
    """
    config, retrain = job.config, job.config.retrain
    site = _site(job, data)
    within = job.looked_through
    record.looked_through = in_seconds([within])[0]
    ready = newest(site.usable_in, within, retrain.span)
    found = total_seconds(ready)
    plan = factory.budget(verdict.alone(config, job.coupling, None, "cpu")).plan
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


def _site(job: Job, data: tuple[ChannelHistory, ChannelHistory]) -> SiteData:
    """Return the coupling's data.

    Raises:
        InputError: a channel or the state vector is missing.
    """
    strain, state = job.config.strain, job.config.strain.state_vector
    if state is not None:
        data[0].require([state])
    witnesses = job.config.couplings[job.coupling].witnesses
    checks = engine_settings(job.config).witness
    return SiteData(TrainingData(*data), strain.channel, witnesses, state, checks)


def _load(job: Job, production: int) -> Model:
    """Load production as the daemon does, with the store's check of owners and modes."""
    config = job.config
    model = models.load(job.directory / str(production), store=config.models.directory)
    model.require(config.couplings[job.coupling].witnesses, config.engine.rate)
    return model


def _train(
    job: Job,
    data: tuple[ChannelHistory, ChannelHistory],
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


def _moved(job: Job, record: RetrainRecord, compared: int | None) -> str | None:
    """Return, in words, which pointer was moved since the beginning, or None."""
    root = job.config.models.directory
    canary = versions.read_pointer(job.directory, "canary", root)
    if canary is not None:
        return f"version {canary} became the canary meanwhile"
    production = versions.read_pointer(job.directory, "production", root)
    if not production == compared == record.production:
        return f"production is version {production} now, it was {record.production}"
    return None


def _figures(record: RetrainRecord) -> dict[str, float]:
    """Return the figures of the held-out data, for the manifest."""
    ratios = {f"held_out_{name}": ratio for name, ratio in record.asd_ratio.items() if ratio}
    start, end = float(record.held_out[0][0]), float(record.held_out[-1][1])
    return {"held_out_start": start, "held_out_end": end, **ratios}


def _publish(
    job: Job, record: RetrainRecord, content: dict[str, bytes], manifest: Manifest
) -> RetrainRecord:
    """Add the candidate to the store and make it the canary."""
    ratio, before = (record.asd_ratio.get(name) for name in ("candidate", "production"))
    held_out = f"over GPS {record.held_out[0][0]} to {record.held_out[-1][1]}"
    why = f"retrained: ASD ratio {ratio:.4g}"
    why += f", production {before:.4g}, {held_out}" if before else f" {held_out}, the first version"
    path = store.add(job.config.models.directory, content, manifest, why, what="train")
    record.version = int(path.name)

    def check(path: Path) -> None:
        job.check(path)
        moved = _moved(job, record, record.production)
        if moved:
            raise _OvertakenError(moved)

    try:
        store.set_canary(job.directory, record.version, check, why)
    except _OvertakenError as error:
        return record.close("overtaken", str(error))
    return record.close("published", why)


class _OvertakenError(Exception):
    """A pointer was moved between the last check and the lock."""
