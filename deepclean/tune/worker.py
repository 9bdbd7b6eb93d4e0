"""A process of a search: it runs trial after trial until there are enough."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from errno import EACCES, EAGAIN
from pathlib import Path
from typing import TYPE_CHECKING

from deepclean.config import load
from deepclean.core.time import Span
from deepclean.errors import ConfigError, InputError, ModelError, OutputError
from deepclean.models.manifest import Manifest
from deepclean.system.atomic import publish
from deepclean.system.lock import locked
from deepclean.train.data import TrainingData
from deepclean.train.judging.meter import ValidationFigures
from deepclean.train.loggers import logging_to
from deepclean.train.run import train
from deepclean.tune.judge import judge
from deepclean.tune.space import Point
from deepclean.tune.study import CONFIG, FAULT, FIGURES, SAME_AS, StudyDirectory

if TYPE_CHECKING:
    from optuna.study import Study

AS_IS = "asis"
"""Directory of the configuration as it is, and the beginning of its file of figures."""

LOGGED = "dashboards"
"""Directory of the runs that the loggers write for dashboards."""

_WORST = 10.0
"""ASD ratio that stands for any higher one, and for none that is finite."""

_NOTHING = 1.0
"""ASD ratio of a point without a model: nothing is subtracted."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of a configuration.

    Args:
        ratio: ASD ratio in the judged bands, on the held-out data.
        fault: why there is no model; empty if there is one.
        figures: of the judgement and of the model.
    """

    ratio: float
    fault: str
    figures: dict[str, float]


def work(
    directory: StudyDirectory,
    data: TrainingData,
    worker: int,
    wanted: int,
    *,
    timeout: float | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Run trials until so many are finished, or no more begin because the time is up.

    The configuration as it is comes first: one process does it while the others begin.

    Args:
        directory: the search.
        data: the sources.
        worker: number of this process.
        wanted: how many trials are to be finished in the end, those of all processes together.
        timeout: seconds after which no further trial begins; None for no limit.
        say: told a line for each trial.

    Raises:
        ConfigError: Optuna is not installed.
        OutputError: the file system refused.
    """
    begun = time.monotonic()
    try:
        as_is(directory, data, say, wait=False)
    except OutputError as error:
        if error.errno not in (EACCES, EAGAIN):
            raise
    study = directory.study(worker)
    while timeout is None or time.monotonic() - begun < timeout:
        with directory.next_trial(study, wanted) as trial:
            if trial is None:
                return
            before = _same(directory, study, trial.params)
            if before is not None:
                result = before[1]
                trial.set_user_attr(SAME_AS, before[0])
            else:
                result = run(directory, data, trial.params, directory.place(trial.number))
            if result.fault:
                trial.set_user_attr(FAULT, result.fault)
            trial.set_user_attr(FIGURES, json.dumps(result.figures))
            study.tell(trial, result.ratio)
            same = f", as trial {before[0]}" if before else ""
            what = f", no model: {result.fault}" if result.fault else same
            say(f"trial {trial.number}: ASD ratio {result.ratio:.4f}{what}")


def as_is(
    directory: StudyDirectory,
    data: TrainingData,
    say: Callable[[str], None] = print,
    *,
    wait: bool = True,
) -> TrialResult:
    """Return the result of the configuration as it is, which is found once.

    Args:
        directory: the search.
        data: the sources.
        say: told a line if it is found now.
        wait: whether to wait for another process that is at it.

    Raises:
        OutputError: another process is at it, or the file system refused.
    """
    path = directory.path / f"{AS_IS}.json"
    busy = None if wait else "is at the configuration as it is"
    with locked(directory.path / f".{AS_IS}.lock", busy):
        if path.exists():
            return TrialResult(**json.loads(path.read_text()))
        result = run(directory, data, None, directory.path / AS_IS)
        held = {"ratio": result.ratio, "fault": result.fault, "figures": result.figures}
        publish(path, json.dumps(held).encode())
    what = f", no model: {result.fault}" if result.fault else ""
    say(f"as configured: ASD ratio {result.ratio:.4f}{what}")
    return result


def run(
    directory: StudyDirectory, data: TrainingData, point: Point | None, place: Path
) -> TrialResult:
    """Train a model and judge it.

    Args:
        directory: the search.
        data: the sources.
        point: what is trained; None for the configuration as it is.
        place: the store of its model.

    Raises:
        OutputError: the file system refused.
    """
    training = directory.parts.training
    span = Span(training[0].start, training[-1].end)
    try:
        config = load(directory.path / CONFIG, _overrides(directory, point), environ={})
        version = train(config, directory.request.coupling, replace(data, span=span), place)
        judged = judged_on(directory, data, point, version, directory.parts.held_out)
    except (ConfigError, InputError, ModelError) as error:
        return TrialResult(_NOTHING, str(error).replace(str(place), "").strip(": "), {})
    path = version / "manifest.json"
    manifest = Manifest.parse(path.read_bytes(), path)
    figures = {"worst_outside": judged.worst_outside, "gain_sigma": judged.gain_sigma}
    figures |= {"parameters": manifest.validation.get("parameters", math.nan)}
    finite = {name: value for name, value in figures.items() if math.isfinite(value)}
    ratio = min(judged.asd_ratio, _WORST)
    name = AS_IS if point is None else f"trial-{place.name}"
    with logging_to(config, directory.request.coupling, name, place) as log:
        log.end({"held_out_asd_ratio": ratio, **finite})
    return TrialResult(ratio, "", finite)


def judged_on(
    directory: StudyDirectory,
    data: TrainingData,
    point: Point | None,
    version: Path,
    spans: Sequence[Span],
) -> ValidationFigures:
    """Judge a trained version on some spans, in the bands of the search.

    Raises:
        ConfigError: the configuration does not suit the model.
        InputError: no stretch is long enough.
        ModelError: the version cannot be loaded.
    """
    name = directory.request.coupling
    config = load(directory.path / CONFIG, _overrides(directory, point), environ={})
    guard = directory.config.couplings[name].bandpass.transition
    return judge(config, name, version, data, spans, directory.space.judged, guard)


def _overrides(directory: StudyDirectory, point: Point | None) -> list[str]:
    logs = f"training.log_directory={directory.path / LOGGED}"
    return [logs, *([] if point is None else directory.space.overrides(point))]


def _same(directory: StudyDirectory, study: Study, point: Point) -> tuple[int, TrialResult] | None:
    """Return an earlier finished trial of a point; None if there is none."""
    for trial in directory.finished(study):
        if trial.params == point and SAME_AS not in trial.user_attrs:
            figures = json.loads(trial.user_attrs[FIGURES])
            assert trial.value is not None
            fault = trial.user_attrs.get(FAULT, "")
            return trial.number, TrialResult(trial.value, fault, figures)
    return None
