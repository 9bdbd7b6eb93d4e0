"""A retraining of one coupling: what is due is done, and its outcome is put on record."""

from __future__ import annotations

from contextlib import suppress

from deepclean.core.time import NS
from deepclean.errors import OutputError
from deepclean.models.loading import load_version
from deepclean.models.model import Model
from deepclean.models.store import versions
from deepclean.models.store.retrainings import RetrainState, read_state
from deepclean.train.closed_form.structure import Structure
from deepclean.train.lock import exclusively
from deepclean.train.retrain.job import Job
from deepclean.train.retrain.lock import LOCK
from deepclean.train.retrain.log import RetrainRecord
from deepclean.train.retrain.refit import refit, refittable
from deepclean.train.retrain.search import search

_JUDGED = ("published", "not better", "overtaken")
"""Outcomes after a candidate was judged."""


_AGAIN = 3600
"""Seconds after which a full training that lacked data is tried again, if it is due less often."""


def retrain(job: Job) -> RetrainRecord:
    """Make the next candidate, and make it the canary if it is better than production.

    A closed form in production is refitted. A full training is done where that is wanted, or due.
    The outcome is appended to the coupling's log, also if the retraining failed, unless the one
    before came to the same.

    Raises:
        ConfigError: the configuration cannot be trained or judged.
        InputError: the data lack channels, or changed while they were read.
        ModelError: production cannot be loaded or trusted, or the training diverged.
        OutputError: another process retrains this coupling, or the file system refused.
    """
    record = RetrainRecord()
    with exclusively(job.directory, LOCK, "retrains this coupling already"):
        state = read_state(job.directory)
        try:
            _retrain(job, record, state)
        except Exception as error:
            record.close("failed", f"{type(error).__name__}: {error}")
            with suppress(OutputError):  # the first fault matters more
                _put_down(job, record, state)
            raise
        _put_down(job, record, state)
    return record


def _retrain(job: Job, record: RetrainRecord, state: RetrainState) -> RetrainRecord:
    """Do what is due, and fill in record and state."""
    root, settings = job.config.models.directory, job.config.retrain
    production = versions.read_pointer(job.directory, "production", root)
    canary = versions.read_pointer(job.directory, "canary", root)
    if canary is not None:
        return record.close("canary in place", f"version {canary} is under test")
    record.production = production
    parent = None if production is None else _load(job, production)
    structure = refittable(job, parent)
    now = job.end // NS
    if state.searched is None and isinstance(structure, Structure):
        state.searched = now  # by whoever made what is in production
    due = state.searched is None or now - state.searched >= settings.search_every
    if job.search or due:
        record.mode, state.searched = "search", now
        search(job, record, parent)
        if record.verdict == "no data":
            state.searched = now - max(settings.search_every - _AGAIN, 0)
        return record
    if isinstance(structure, Structure):
        assert parent is not None
        record.mode = "refit"
        return refit(job, record, parent, structure)
    assert state.searched is not None
    return record.close(
        "not due",
        f"{structure}; a full training is due at GPS {state.searched + settings.search_every}, or "
        "with --search",
    )


def _load(job: Job, production: int) -> Model:
    """Load production as the daemon does, with the store's check of owners and modes."""
    config = job.config
    model = load_version(config, job.directory / str(production))
    model.require(config.couplings[job.coupling].witnesses, config.engine.rate)
    return model


def _put_down(job: Job, record: RetrainRecord, state: RetrainState) -> None:
    """Write the record and the state."""
    said = f"{record.mode}: {record.verdict}"
    if record.verdict == "failed":
        said += f": {record.why}"
    record.repeated = said == state.said and record.verdict != "published"
    if record.mode == "search" or not record.repeated:
        record.append(job.directory)
    state.said = said
    if record.verdict in _JUDGED:
        state.succeed()
    state.write(job.directory)
