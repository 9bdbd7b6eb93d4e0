"""A search in a directory that several processes share, on one machine or on several.

    config.yaml    the resolved configuration
    study.json     what is searched on, and which data
    journal.log    Optuna's journal: every trial with its point and its result
    trials/0007/   a store with the model of trial 7, and its lock
    asis/          the same for the configuration as it is
    logs/          the output of the workers on a cluster
    dashboards/    runs for TensorBoard and Weights & Biases, where `training.loggers` names them
    trials.csv     a table of the trials
    index.html     the report

The kernel gives a lock up when its holder dies in any way. A trial whose lock is free and that has
no result was interrupted: it fails, and its point is tried again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from deepclean.config import Config, load, to_yaml
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError, OutputError, output_errors
from deepclean.system.atomic import publish
from deepclean.system.lock import locked, take
from deepclean.tune.judge import DataSplit
from deepclean.tune.space import SearchSpace

if TYPE_CHECKING:
    from optuna.storages.journal._file import BaseJournalFileLock
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

CONFIG, STUDY, JOURNAL, LOGS, TRIALS = "config.yaml", "study.json", "journal.log", "logs", "trials"

_WANTED = "wanted"

SAME_AS, FAULT, FIGURES = "same_as", "fault", "figures"
"""Attributes of a trial: the number of an earlier trial of the same point; why there is no model;
the figures of the judgement."""

_Seconds = tuple[tuple[int, int], ...]


class StudyRequest(BaseModel):
    """What is searched on, as `study.json` holds it.

    Args:
        coupling: its name.
        start: GPS seconds.
        end: GPS seconds, exclusive.
        strain: directories and files of the strain; empty for the configured ones.
        witnesses: directories and files of the witnesses; empty for the configured ones.
        fetch: whether the data come through gwpy instead.
        configuration: hash of the configuration without the number of trials.
        given: the configuration's file, for the command that trains the best.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coupling: str
    start: int
    end: int
    strain: tuple[Path, ...] = ()
    witnesses: tuple[Path, ...] = ()
    fetch: bool = False
    configuration: str
    given: Path

    @property
    def span(self) -> Span:
        """The whole span."""
        return Span(self.start * NS, self.end * NS)


class _StudyFile(BaseModel):
    """The content of `study.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: StudyRequest
    training: _Seconds
    held_out: _Seconds
    confirm: _Seconds


@dataclass(frozen=True, slots=True)
class StudyDirectory:
    """A search and the directory that holds it.

    Args:
        path: the directory, absolute.
        request: what is searched on.
        parts: the parts of the data.
        config: the configuration as it is.
        space: what is searched.
    """

    path: Path
    request: StudyRequest
    parts: DataSplit
    config: Config
    space: SearchSpace

    @classmethod
    def create(cls, path: Path, request: StudyRequest, parts: DataSplit, config: Config) -> Self:
        """Begin a search in a directory, which is made.

        Raises:
            OutputError: the directory cannot be written.
        """
        held = _StudyFile(
            request=request,
            training=_seconds(parts.training),
            held_out=_seconds(parts.held_out),
            confirm=_seconds(parts.confirm),
        )
        with output_errors(path, "the study cannot be written"):
            for name in (TRIALS, LOGS):
                (path / name).mkdir(parents=True, exist_ok=True)
        publish(path / CONFIG, to_yaml(config).encode())
        publish(path / STUDY, (held.model_dump_json(indent=1) + "\n").encode())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the search that a directory holds.

        Raises:
            ConfigError: its configuration cannot be used.
            InputError: the directory holds no search.
        """
        try:
            held = _StudyFile.model_validate_json((path / STUDY).read_bytes())
        except OSError as error:
            raise InputError(f"no study can be read: {error.strerror}", path=path) from error
        except ValidationError as error:
            raise InputError("is no study", path=path / STUDY) from error
        parts = DataSplit(*map(_spans, (held.training, held.held_out, held.confirm)))
        config = load(path / CONFIG, environ={})
        space = SearchSpace(config, held.request.coupling)
        return cls(path, held.request, parts, config, space)

    def require_same(self, request: StudyRequest) -> None:
        """Raise ConfigError unless the search is what a command asks for."""
        before, now = self.request.model_dump(), request.model_dump()
        other = [name for name in now if name != "given" and before[name] != now[name]]
        if other:
            raise ConfigError(
                f"is a study with another {', '.join(other)}: name another directory with --study, "
                "or remove this one",
                path=self.path,
            )

    def want(self, trials: int) -> None:
        """Note how many trials there are to be in the end."""
        publish(self.path / _WANTED, f"{trials}\n".encode())

    def wanted(self) -> int:
        """Return how many trials there are to be in the end."""
        try:
            return int((self.path / _WANTED).read_text())
        except (OSError, ValueError):
            return self.config.tune.trials

    def study(self, worker: int = 0) -> Study:
        """Return Optuna's view of the search.

        Args:
            worker: number of the process; the seed of its choices depends on it.

        Raises:
            ConfigError: Optuna is not installed.
        """
        optuna = library()
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        path = self.path / JOURNAL
        lock = cast("BaseJournalFileLock", _JournalLock(path.with_suffix(".lock")))
        backend = JournalFileBackend(str(path), lock_obj=lock)
        found: Study = optuna.create_study(
            storage=JournalStorage(backend),
            study_name=self.request.coupling,
            direction="minimize",
            load_if_exists=True,
        )
        # Other choices than those of an earlier process that had this number.
        seed = self.config.tune.seed + 1000 * worker + len(found.get_trials(deepcopy=False))
        found.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        return found

    @contextmanager
    def next_trial(self, study: Study, wanted: int) -> Iterator[Trial | None]:
        """Give the next trial, which no other process takes; None if there are enough.

        The trial has its point when the block begins. Interrupted trials are taken up first.

        Args:
            study: from `study`.
            wanted: how many trials are to be finished in the end.

        Raises:
            OutputError: the file system refused.
        """
        with locked(self.path / ".lock", quiet=True):
            self._reclaim(study)
            trials = study.get_trials(deepcopy=False)
            if sum(_counts(trial) for trial in trials) >= wanted:
                trial = None
            else:
                trial = study.ask()
                place = self.place(trial.number)
                with output_errors(place, "cannot be made"):
                    place.mkdir(parents=True, exist_ok=True)
                    held = take(place / ".lock", "is at this trial")
                self.space.suggest(trial)
        if trial is None:
            yield None
            return
        try:
            yield trial
        finally:
            os.close(held)

    def place(self, number: int) -> Path:
        """Return the directory of a trial."""
        return self.path / TRIALS / f"{number:04d}"

    def finished(self, study: Study) -> list[FrozenTrial]:
        """Return the trials that have a result, in order of number."""
        return [one for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]

    def best(self, study: Study) -> FrozenTrial | None:
        """Return the trial with the lowest ratio, the first of equal ones; None if none is."""
        good = [one for one in self.finished(study) if FAULT not in one.user_attrs]
        return min(good, key=lambda one: (one.value, one.number), default=None)

    def _reclaim(self, study: Study) -> None:
        """Let interrupted trials fail, and put their points first in the queue."""
        from optuna.trial import TrialState

        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            place = self.place(trial.number)
            with suppress(OutputError), output_errors(place, "cannot be made"):
                place.mkdir(parents=True, exist_ok=True)
                held = take(place / ".lock", "is at this trial")
                try:
                    study.tell(trial.number, state=TrialState.FAIL)
                    if trial.params:
                        study.enqueue_trial(trial.params)
                finally:
                    os.close(held)


class _JournalLock:
    """The journal's lock, which the kernel gives up when its holder dies.

    Args:
        path: the file that is locked.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, -1

    def acquire(self) -> bool:
        """Take the lock, after whoever has it."""
        with output_errors(self._path, "the journal cannot be locked"):
            self._held = take(self._path, quiet=True)
        return True

    def release(self) -> None:
        """Give the lock up."""
        os.close(self._held)


def library() -> Any:
    """Return Optuna, which logs nothing by itself.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "deepclean tune needs Optuna: pip install 'deepclean-production[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def identity(config: Config) -> str:
    """Return the hash of a configuration, whatever its number of trials."""
    tune = config.tune.model_copy(update={"trials": 1})
    return config.model_copy(update={"tune": tune}).hash


def figures_of(trial: FrozenTrial) -> dict[str, float]:
    """Return the figures of a finished trial; empty where it has no model."""
    found: dict[str, float] = json.loads(trial.user_attrs.get(FIGURES, "{}"))
    return found


def _counts(trial: FrozenTrial) -> bool:
    """Return whether a trial is finished or at work."""
    return trial.state.name in ("COMPLETE", "RUNNING")


def _seconds(spans: Sequence[Span]) -> _Seconds:
    return tuple((span.start // NS, span.end // NS) for span in spans)


def _spans(seconds: _Seconds) -> tuple[Span, ...]:
    return tuple(Span(start * NS, end * NS) for start, end in seconds)
