"""`deepclean summary`: the page of a day, from its cleaned frames and the daemon's own notes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from deepclean.cli import options
from deepclean.cli.terminal.progress import progress
from deepclean.cli.terminal.resume import begins_anew, interruptible
from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.models.store import log
from deepclean.summary.recorded import recorded
from deepclean.system.utc import gps_second
from deepclean.telemetry import minutes

if TYPE_CHECKING:
    from deepclean.core.rollout.rollout import Event
    from deepclean.io.history import History

_DAY = 86400


class _Day(NamedTuple):
    """A day in UTC: its name, its start in seconds since the Unix epoch, and its span."""

    name: str
    start: int
    span: Span


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
    witnesses: options.WitnessPaths = None,
    override: options.SetOption = None,
) -> None:
    """Write the page of a day, from its cleaned frames, and the index of all days.

    The range and the ratios need the raw strain: it comes from the frames where they hold what was
    subtracted (output.subtracted), else from --strain or the configured input. The coherence needs
    the witnesses. What the daemon noted of the day is added. Where there are no frames, the page
    has that alone.
    """
    settings = options.prepare(config, override)
    asked = _day(day)
    from deepclean.summary import page
    from deepclean.summary.measure import DayMeter

    cleaned = _cleaned(settings, frames, asked)
    place = settings.output.directory, settings.output.description
    noted = minutes.read(*place, asked.start, asked.start + _DAY)
    if cleaned is None and not noted:
        first, last = asked.span.start // NS, asked.span.end // NS
        said = f"no frames of {asked.name}, GPS {first} to {last}, and no notes of the daemon"
        if day is not None or frames:
            raise InputError(said)
        print(f"{said}: no page")
        return
    meter = DayMeter(settings, cleaned, *_source(settings, strain, witnesses))
    with interruptible(begins_anew), progress("summary", asked.span.duration // NS, "s") as show:
        numbers = meter.measure(asked.span, _events(settings), show.advance)
    numbers["recorded"] = recorded(noted, asked.start, asked.span.start // NS)
    numbers["changes"] = _changes(settings, asked.name)
    print(page.write(numbers, asked.name, output))


def _day(date: str | None) -> _Day:
    """Return a day; yesterday where none is named."""
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
    return _Day(f"{first:%Y-%m-%d}", int(first.timestamp()), Span(start * NS, end * NS))


def _cleaned(config: Config, frames: list[Path] | None, day: _Day) -> History | None:
    """Return the cleaned frames; None where there are none of the day."""
    from deepclean.io.history import History

    where = config.output.archive.directory or config.output.directory
    try:
        found = History(frames or [where])
    except InputError:
        if frames:
            raise
        return None
    return found if any(held.overlap(day.span) for held in found.spans()) else None


def _source(
    config: Config, strain: list[Path] | None, witnesses: list[Path] | None
) -> tuple[History | None, History | None]:
    """Return the source's frames: with the raw strain, with the witnesses; None: there are none."""
    directory = config.input.strain.directory
    if directory is None and not strain:
        return None, None
    try:
        return options.histories(config, strain, witnesses)
    except InputError:
        if strain or witnesses or directory is None:
            raise
    try:
        return options.histories(config, [directory], None)[0], None
    except InputError:
        return None, None


def _events(config: Config) -> list[Event]:
    """Return what the run recorded of its models; nothing where there is no record."""
    from deepclean.rollout import record

    path = record.path_in(config.output.directory, config.output.description)
    return record.read(path) if path.exists() else []


def _changes(config: Config, day: str) -> list[dict[str, Any]]:
    """Return the changes of the model store on a day: who made them, and why."""
    root = config.models.directory / config.interferometer
    found = [
        {"coupling": name, **change.facts()}
        for name in config.enabled_couplings
        for change in log.read(root / name).changes
        if change.when.startswith(day)
    ]
    return sorted(found, key=lambda change: str(change["when"]))
