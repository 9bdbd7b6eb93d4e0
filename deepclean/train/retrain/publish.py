"""From a candidate that is better to the canary, unless somebody else was faster."""

from __future__ import annotations

import logging
from pathlib import Path

from deepclean.errors import DeepCleanError
from deepclean.models.manifest import Manifest
from deepclean.models.store import changes as store
from deepclean.models.store import log as model_log
from deepclean.models.store import versions
from deepclean.models.store.log import What
from deepclean.train.retrain.job import Job
from deepclean.train.retrain.log import RetrainRecord

_log = logging.getLogger(__name__)


def moved(job: Job, record: RetrainRecord, compared: int | None) -> str | None:
    """Return, in words, which pointer was moved since the beginning, or None."""
    root = job.config.models.directory
    canary = versions.read_pointer(job.directory, "canary", root)
    if canary is not None:
        return f"version {canary} became the canary meanwhile"
    production = versions.read_pointer(job.directory, "production", root)
    if not production == compared == record.production:
        return f"production is version {production} now, it was {record.production}"
    return None


def publish(
    job: Job, record: RetrainRecord, content: dict[str, bytes], manifest: Manifest
) -> RetrainRecord:
    """Add the candidate to the store and make it the canary; prune what refits have left there.

    Raises:
        ModelError: the candidate does not load.
        OutputError: the file system refused.
    """
    ratio, before = (record.asd_ratio.get(name) for name in ("candidate", "production"))
    held_out = f"over GPS {record.held_out[0][0]} to {record.held_out[-1][1]}"
    refit = record.mode == "refit"
    why = f"{'refitted' if refit else 'retrained'}: ASD ratio {ratio:.4g}"
    why += f", production {before:.4g}, {held_out}" if before else f" {held_out}, the first version"
    what: What = "refit" if refit else "train"
    path = store.add(job.config.models.directory, content, manifest, why, what=what)
    record.version = int(path.name)

    def check(path: Path) -> None:
        job.check(path)
        overtaken = moved(job, record, record.production)
        if overtaken:
            raise _OvertakenError(overtaken)

    try:
        store.set_canary(job.directory, record.version, check, why)
    except _OvertakenError as error:
        return record.close("overtaken", str(error))
    finally:
        _prune(job)
    return record.close("published", why)


def _prune(job: Job) -> None:
    """Remove the oldest refits. A fault is logged: the next one removes more."""
    keep = job.config.retrain.refit.keep
    try:
        made = model_log.made_by(model_log.read(job.directory).changes, "refit")
        gone = store.prune(job.directory, keep, f"of the refits {keep} are kept", among=made)
    except DeepCleanError as error:
        _log.warning("%s: old refits stay: %s", job.coupling, error)
    else:
        if gone:
            _log.info("%s: refits %s removed", job.coupling, ", ".join(map(str, gone)))


class _OvertakenError(Exception):
    """A pointer was moved between the last check and the lock."""
