"""`deepclean demo`: a simulated site streams live, the daemon cleans it, the truth judges it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepclean.cli import options
from deepclean.demo.stream import DemoRun

_PICTURE = "spectra.png"


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory; a former demonstration is replaced.")
    ] = Path("demo-output"),
    seconds: Annotated[
        int, typer.Option(min=8, help="Seconds of data, which are streamed in real time.")
    ] = 80,
    speed: Annotated[float, typer.Option(min=0.1, help="Seconds of data per second.")] = 1.0,
) -> None:
    """Simulate a live site, clean it, and hold the result against the truth.

    Nothing is needed but the software. Everything is written into one directory: the configuration
    demo.yaml, the model, the frames that went in and came out, a picture of the spectra.
    """
    run = DemoRun(output)
    run.prepare()
    settings = options.prepare(run.config, None)
    from rich.progress import track
    from rich.table import Table

    console = options.console()
    run.past()
    with run.daemon() as stop:
        console.print("The daemon is up. The site streams 1-s frames; every frame is cleaned.")
        counts = run.stream(seconds, speed)
        # The last frame has no look-ahead, so one fewer is cleaned.
        for wanted in track(range(1, seconds), description="cleaned frames", console=console):
            while next(counts, seconds) < wanted:
                pass
        for _ in counts:
            pass
        status = stop(seconds - 1)
    console.print(f"The daemon was told to stop and ended with status {status}.\n")

    from deepclean.demo import report

    found = report.strains(run, settings, seconds)
    band = " and ".join(f"{low:g}-{high:g} Hz" for low, high in report.bands(settings))
    title = f"{seconds - 1} s of a simulated {settings.interferometer}, {band}"
    table = Table("", "", title=title)
    for row in report.rows(run, settings, found):
        table.add_row(*row)
    console.print(table)
    console.print("Of the latency one second is the wait for the look-ahead: the next frame.")
    report.draw(output / _PICTURE, settings, found)
    console.print(f"Spectra before and after: {output / _PICTURE}")
    console.print(f"More: deepclean inspect {output}/cleaned/*.gwf", soft_wrap=True)
    if status:
        raise typer.Exit(status)
