"""`deepclean replay`: clean history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepclean.cli.options import (
    ConfigOption,
    EndOption,
    SetOption,
    StartOption,
    StrainPaths,
    WitnessPaths,
    histories,
    limit_threads,
    prepare,
    whole_span,
)
from deepclean.core.time import NS


def replay(
    config: ConfigOption,
    start: StartOption,
    end: EndOption,
    output: Annotated[
        Path | None,
        typer.Option(help="Directory of the cleaned frames; default: the configuration's."),
    ] = None,
    duration: Annotated[
        int, typer.Option(min=1, help="Seconds per output file, cut at its multiples from GPS 0.")
    ] = 1,
    strain: StrainPaths = None,
    witnesses: WitnessPaths = None,
    override: SetOption = None,
) -> None:
    """Clean a stretch of history; finished frames are skipped, so repeating resumes."""
    settings = prepare(config, override)
    span = whole_span(start, end)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from deepclean.build import load_models, make_engine
    from deepclean.cleaning import channels_of, sink_of
    from deepclean.edge.source import HistorySource
    from deepclean.replay import replay as clean

    limit_threads(settings)
    loaded = load_models(settings)
    recordings = histories(settings, strain, witnesses)
    source = HistorySource(channels_of(settings), *recordings)
    sink = sink_of(settings, loaded, output or settings.output.directory)
    columns = (TextColumn("GPS {task.fields[gps]}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("replay", total=span.duration, gps=span.start // NS)

        def advance(done: int) -> None:
            bar.advance(task, done)
            bar.update(task, gps=(span.start + int(bar.tasks[0].completed)) // NS)

        done = clean(
            settings,
            lambda: make_engine(settings, loaded),
            source,
            sink,
            span,
            duration=duration * NS,
            progress=advance,
        )
    for fault in dict.fromkeys(fault for each in recordings for fault in each.faults):
        typer.echo(f"deepclean: {fault}", err=True)
    print(
        f"{done.written} frames written to {sink.directory}, {done.skipped // NS} s were there, "
        f"{done.gaps} s without strain"
    )
