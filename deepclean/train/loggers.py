"""Where the course of a training is logged: a table, TensorBoard, Weights & Biases.

The table is a file of the trained version. The other two are for dashboards and write below one
directory, a subdirectory for each run. Their libraries are imported when they are named, because
they are optional extras and take seconds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from deepclean.config import Config
from deepclean.errors import ConfigError, one_line, output_errors
from deepclean.models.content import EPOCHS
from deepclean.system.atomic import publish
from deepclean.train.loop import Progress

_COLUMNS = ("epoch", "loss", "asd_ratio")
_PROJECT = "deepclean"
_EXTRA = "pip install 'deepclean-production[dashboards]'"


class RunLogger(Protocol):
    """Logs one run."""

    def epoch(self, told: Progress) -> None:
        """Log the end of an epoch."""

    def end(self, figures: Mapping[str, float]) -> None:
        """Log the figures of the result."""

    def close(self) -> None:
        """Write what is not written yet."""


class CsvLogger:
    """A line for each epoch, in a file that is whole at any time.

    Args:
        path: the file.
        resume: whether earlier epochs in it are kept.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self._path = path
        self._rows: list[Sequence[Any]] = []
        if resume and path.exists():
            with output_errors(path, "cannot be read"):
                self._rows += list(csv.reader(path.read_text().splitlines()))[1:]

    @property
    def table(self) -> bytes | None:
        """The file's content; None where there was no epoch."""
        if not self._rows:
            return None
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(self._rows)
        return text.getvalue().encode()

    def epoch(self, told: Progress) -> None:
        """Write the epoch's line. An epoch that is trained again replaces its line."""
        self._rows = [row for row in self._rows if int(row[0]) < told.epoch]
        self._rows.append((told.epoch, told.loss, told.asd_ratio))
        with output_errors(self._path, "cannot be written"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        publish(self._path, self.table or b"")

    def end(self, figures: Mapping[str, float]) -> None:
        """Do nothing: the figures are in the manifest."""

    def close(self) -> None:
        """Do nothing: the file is whole."""


class TensorBoardLogger:
    """Event files for TensorBoard.

    Args:
        directory: of the run.
        settings: what was chosen, as text.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, directory: Path, settings: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(f"training.loggers: no TensorBoard here: {_EXTRA}") from error
        self._writer: Any = SummaryWriter(str(directory))
        self._writer.add_text("settings", settings)

    def epoch(self, told: Progress) -> None:
        """Log loss and validation."""
        self._writer.add_scalar("loss", told.loss, told.epoch)
        self._writer.add_scalar("asd_ratio", told.asd_ratio, told.epoch)

    def end(self, figures: Mapping[str, float]) -> None:
        """Log each figure as a point of its own plot."""
        for name, value in figures.items():
            self._writer.add_scalar(f"result/{name}", value, 0)

    def close(self) -> None:
        """Write the events."""
        self._writer.close()


class WandbLogger:
    """A run of Weights & Biases; the variables WANDB_MODE, WANDB_PROJECT and so on are its own.

    Args:
        directory: of all runs.
        name: of the run.
        settings: what was chosen.

    Raises:
        ConfigError: Weights & Biases is not installed, or refuses.
    """

    def __init__(self, directory: Path, name: str, settings: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(f"training.loggers: no Weights & Biases here: {_EXTRA}") from error
        with output_errors(directory, "cannot be made"):
            directory.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        try:
            self._run: Any = wandb.init(
                project=None if quiet.project else _PROJECT,
                dir=str(directory),
                name=name,
                config=dict(settings),
                settings=quiet,
                reinit="finish_previous",
            )
        except Exception as error:
            raise ConfigError(
                f"training.loggers: wandb: {one_line(error)}; WANDB_MODE=offline keeps the runs in "
                f"{directory}"
            ) from error

    def epoch(self, told: Progress) -> None:
        """Log loss and validation."""
        self._run.log({"loss": told.loss, "asd_ratio": told.asd_ratio}, step=told.epoch)

    def end(self, figures: Mapping[str, float]) -> None:
        """Log the figures as the run's summary."""
        self._run.summary.update({f"result/{name}": value for name, value in figures.items()})

    def close(self) -> None:
        """End the run."""
        self._run.finish()


class TrainingLog:
    """All loggers of a training.

    Args:
        loggers: the loggers.
        report: told of all progress besides; None for nobody.
    """

    def __init__(
        self, loggers: Sequence[RunLogger], report: Callable[[Progress], None] | None = None
    ) -> None:
        self._loggers, self._report = loggers, report

    @property
    def table(self) -> bytes | None:
        """The table of the epochs; None if none was wanted or there was no epoch."""
        return next((each.table for each in self._loggers if isinstance(each, CsvLogger)), None)

    def progress(self, told: Progress) -> None:
        """Log the end of an epoch; report everything."""
        if told.asd_ratio is not None:
            for logger in self._loggers:
                logger.epoch(told)
        if self._report is not None:
            self._report(told)

    def end(self, figures: Mapping[str, float]) -> None:
        """Log the figures of the result."""
        for logger in self._loggers:
            logger.end(figures)


@contextmanager
def logging_to(
    config: Config,
    coupling: str,
    name: str,
    scratch: Path,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> Iterator[TrainingLog]:
    """Log a run to what `training.loggers` names during the block.

    Args:
        config: the configuration of the run.
        coupling: a name in it.
        name: of the run, part of a path.
        scratch: directory of the table.
        resume: whether the run continues an earlier one.
        report: told of all progress besides.

    Raises:
        ConfigError: a logger's library is not installed, or refuses.
        OutputError: the table cannot be written.
    """
    settings = {
        "coupling": config.couplings[coupling].model_dump(mode="json"),
        "training": config.training.model_dump(mode="json"),
    }
    with ExitStack() as stack:
        made: list[RunLogger] = []
        for kind in config.training.loggers:
            made.append(_logger(kind, config, name, settings, scratch / EPOCHS, resume))
            stack.callback(made[-1].close)
        yield TrainingLog(made, report)


def directory_of(config: Config) -> Path:
    """Return the directory of the dashboards' runs."""
    store = config.models.directory
    return config.training.log_directory or store.with_name(f"{store.name}-logs")


def _logger(
    kind: str,
    config: Config,
    name: str,
    settings: Mapping[str, Any],
    table: Path,
    resume: bool,
) -> RunLogger:
    if kind == "csv":
        return CsvLogger(table, resume)
    if kind == "tensorboard":
        text = "\n".join(f"    {key}: {value}" for key, value in settings.items())
        return TensorBoardLogger(directory_of(config) / "tensorboard" / name, text)
    return WandbLogger(directory_of(config), name, settings)
