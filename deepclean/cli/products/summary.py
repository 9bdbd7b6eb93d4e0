"""`deepclean summary`: the page of a day, from its cleaned frames."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.terminal.progress import progress
from deepclean.cli.terminal.resume import begins_anew, interruptible
from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.core.utc import gps_second
from deepclean.errors import InputError

if TYPE_CHECKING:
    from deepclean.core.rollout.rollout import Event
    from deepclean.io.history import History


def summary(
    config: options.ConfigOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of all days.")],
    day: Annotated[
        str | None, typer.Option(metavar="DATE", help="Day in UTC, 2026-11-27; default: yesterday.")
    ] = None,
    frames: Annotated[
        list[Path] | None,
        typer.Option(
            help="Directory or file of cleaned frames; default: the archive, or the output "
            "directory. May be repeated."
        ),
    ] = None,
    strain: options.StrainPaths = None,
    override: options.SetOption = None,
) -> None:
    """Write the page of a day, from its cleaned frames, and the index of all days.

    The range and the ratios need the raw strain: it comes from the frames where they hold what was
    subtracted (output.subtracted), else from --strain or the configured input.
    """
    settings = options.prepare(config, override)
    name, span = _day(day)
    from deepclean.io.history import History
    from deepclean.summary import page
    from deepclean.summary.measure import DayMeter

    where = settings.output.archive.directory or settings.output.directory
    cleaned = History(frames or [where])
    if not any(held.overlap(span) for held in cleaned.spans()):
        raise InputError(f"no frames of {name}, GPS {span.start // NS} to {span.end // NS}")
    meter = DayMeter(settings, cleaned, _source(settings, strain))
    with interruptible(begins_anew), progress("summary", span.duration // NS, "s") as show:
        measured = meter.measure(span, _events(settings), show.advance)
    print(page.write(measured, name, output))


def _day(date: str | None) -> tuple[str, Span]:
    """Return the name of a day and its span; yesterday's where none is named."""
    try:
        first = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC) if date else None
    except ValueError as error:
        raise typer.BadParameter(f"{date} is no date; write it like 2026-11-27") from error
    if first is None:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        first = today - timedelta(days=1)
    start, end = (
        int(gps_second(one.replace(tzinfo=None))) for one in (first, first + timedelta(days=1))
    )
    return f"{first:%Y-%m-%d}", Span(start * NS, end * NS)


def _source(config: Config, strain: list[Path] | None) -> History | None:
    """Return the raw strain's frames; None where there are none."""
    try:
        return options.histories(config, strain, None)[0]
    except InputError:
        if strain:
            raise
        return None


def _events(config: Config) -> list[Event]:
    """Return what the run recorded of its models; nothing where there is no record."""
    from deepclean.rollout import record

    path = record.path_in(config.output.directory, config.output.description)
    return record.read(path) if path.exists() else []
