"""What a search found: the summary, the table of trials, and a page that needs no network."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepclean.core.block import Float64
from deepclean.errors import InputError
from deepclean.models.store.versions import versions
from deepclean.system.atomic import publish
from deepclean.system.templates import templates
from deepclean.train.data import TrainingData
from deepclean.tune.effects import Effect, effects
from deepclean.tune.space import Point
from deepclean.tune.study import FAULT, SAME_AS, StudyDirectory, figures_of
from deepclean.tune.worker import AS_IS, TrialResult, as_is, judged_on

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PAGE, TABLE, CONFIRMED = "index.html", "trials.csv", "confirmed.json"
_TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The best model and that of the configuration as it is, on data that no trial has seen.

    Args:
        trial: number of the best trial.
        best: its ASD ratio.
        as_is: the ASD ratio of the configuration as it is; 1 if that gives no model.
        sigma: standard errors by which the best is better.
    """

    trial: int
    best: float
    as_is: float
    sigma: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search has found so far.

    Args:
        directory: the search.
        trials: with a result, in order of number.
        as_is: the result of the configuration as it is.
        best: the best trial; None where no trial has a model.
        confirmation: None where no trial has a model, or the data are too few.
        effects: what of log(ASD ratio) goes with each parameter.
    """

    directory: StudyDirectory
    trials: Sequence[FrozenTrial]
    as_is: TrialResult
    best: FrozenTrial | None
    confirmation: Confirmation | None
    effects: Mapping[str, Effect]

    @property
    def options(self) -> list[str]:
        """The best trial's configuration as `KEY=VALUE`; empty where there is none."""
        if self.best is None:
            return []
        return self.directory.space.overrides(self.best.params)

    @property
    def command(self) -> str:
        """The command that trains the best configuration on all of the data."""
        request = self.directory.request
        words = ["deepclean", "train", "-c", str(request.given), request.coupling]
        words += ["--start", str(request.start), "--end", str(request.end)]
        for option, paths in (("--strain", request.strain), ("--witnesses", request.witnesses)):
            words += [text for path in paths for text in (option, str(path))]
        words += ["--fetch"] * request.fetch
        for option in self.options:
            words += ["--set", option]
        return shlex.join(words)


def result_of(directory: StudyDirectory, data: TrainingData) -> SearchResult:
    """Return what a search has found so far.

    Raises:
        ConfigError: Optuna is not installed.
        OutputError: the file system refused.
    """
    study = directory.study()
    trials, best = directory.finished(study), directory.best(study)
    confirmation = None if best is None else _confirmed(directory, data, best)
    logs = [float(np.log(trial.value or 1.0)) for trial in trials]
    mattered = effects([trial.params for trial in trials], logs)
    return SearchResult(directory, trials, as_is(directory, data), best, confirmation, mattered)


def write(result: SearchResult) -> Path:
    """Write the table and the page into the search's directory; return the page's path.

    Raises:
        OutputError: the directory cannot be written.
    """
    path = result.directory.path
    publish(path / TABLE, _table(result).encode())
    publish(path / PAGE, html(result).encode())
    return path / PAGE


def html(result: SearchResult) -> str:
    """Return the page."""
    made = templates(_TEMPLATE.parent)
    request, parts = result.directory.request, result.directory.parts
    return made.get_template(_TEMPLATE.name).render(
        request=request,
        seconds={
            name: sum(s.duration for s in getattr(parts, name)) // 10**9
            for name in ("training", "held_out", "confirm")
        },
        judged=result.directory.space.judged,
        as_is=result.as_is,
        best=result.best,
        confirmation=result.confirmation,
        options=result.options,
        command=result.command,
        effects=result.effects,
        names=_names(result.trials),
        rows=sorted(map(_row, result.trials), key=lambda row: row["ratio"]),
        course=_course(result.trials),
    )


def _confirmed(
    directory: StudyDirectory, data: TrainingData, best: FrozenTrial
) -> Confirmation | None:
    """Return the comparison on data that no trial has seen, which is made once for a trial.

    It is None where the data are too few for the engine's history and look-ahead.
    """
    path = directory.path / CONFIRMED
    if path.exists():
        held = Confirmation(**json.loads(path.read_text()))
        if held.trial == best.number:
            return held
    number = best.user_attrs.get(SAME_AS, best.number)
    try:
        found = _unseen(directory, data, best.params, directory.place(number))
        usual = _unseen(directory, data, None, directory.path / AS_IS)
    except InputError:
        return None
    assert found is not None
    ratio, gains = usual or (1.0, np.zeros(2))
    made = Confirmation(best.number, found[0], ratio, _difference(found[1], gains))
    publish(path, json.dumps(asdict(made)).encode())
    return made


def _unseen(
    directory: StudyDirectory, data: TrainingData, point: Point | None, place: Path
) -> tuple[float, Float64] | None:
    """Return ASD ratio and gains by segment of a trained model; None if there is no model."""
    config = directory.config
    store = place / config.interferometer / directory.request.coupling
    numbers = versions(store) if store.is_dir() else ()
    if not numbers:
        return None
    version = store / str(max(numbers))
    figures = judged_on(directory, data, point, version, directory.parts.confirm)
    return figures.asd_ratio, np.array(figures.gains)


def _difference(first: Float64, second: Float64) -> float:
    """Return the difference of two means in units of its standard error."""
    error = np.hypot(*(np.std(one, ddof=1) / np.sqrt(len(one)) for one in (first, second)))
    return float((first.mean() - second.mean()) / error) if error > 0 else 0.0


def _names(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the names of all parameters."""
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def _row(trial: FrozenTrial) -> dict[str, Any]:
    """Return what the tables say of a trial."""
    assert trial.value is not None
    return {
        "trial": trial.number,
        "ratio": trial.value,
        "seconds": None if trial.duration is None else trial.duration.total_seconds(),
        "parameters": figures_of(trial).get("parameters"),
        "worst_outside": figures_of(trial).get("worst_outside"),
        "same_as": trial.user_attrs.get(SAME_AS),
        "fault": trial.user_attrs.get(FAULT, ""),
        "point": trial.params,
    }


def _table(result: SearchResult) -> str:
    """Return the table of the trials as CSV."""
    names = _names(result.trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("trial", "ratio", "seconds", "parameters", "worst_outside", "same_as", "fault")
    writer.writerow([*columns, *names])
    for row in map(_row, result.trials):
        writer.writerow([*(row[c] for c in columns), *(row["point"].get(n, "") for n in names)])
    return text.getvalue()


def _course(trials: Sequence[FrozenTrial]) -> list[tuple[float, float, float]]:
    """Return a point of the picture for each trial: place, height of its ratio, of the best.

    Places and heights are between 0 and 1; the lowest ratio is at 0.
    """
    values = np.array([trial.value for trial in trials], dtype=np.float64)
    if not len(values):
        return []
    low, high = values.min(), values.max()
    heights = (values - low) / (high - low or 1.0)
    places = (np.arange(len(values)) + 0.5) / len(values)
    best = np.minimum.accumulate(heights)
    return [(float(a), float(b), float(c)) for a, b, c in zip(places, heights, best, strict=True)]
