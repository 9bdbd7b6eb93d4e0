"""`deepclean plot`: pictures of what cleaning did, from cleaned frames."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.terminal import completion
from deepclean.cli.terminal.progress import progress
from deepclean.cli.terminal.resume import begins_anew, interruptible
from deepclean.cli.terminal.times import said, whole_second, whole_span
from deepclean.cli.training.witnesses import to_band
from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError

if TYPE_CHECKING:
    from deepclean.io.history import History
    from deepclean.plots.frames import PlotRequest

_AROUND = 32
"""Seconds before and after a time that are drawn."""


def plot(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FRAME...|TIME]",
            help="Files of cleaned frames and directories of them; or a time (GPS seconds, a date "
            f"in UTC), of which {_AROUND} s before and after are drawn.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar=completion.VARIABLE,
            help="Configuration file: names the bands and the witnesses, the frames where none are "
            "given, and the raw strain where the frames do not hold what was subtracted.",
            autocompletion=completion.configurations,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Start of the span; default: that of the frames."),
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="TIME", help="End of the span, exclusive, or as +1h.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory; default: plot-<start>-<end> here."),
    ] = None,
    band: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LOW-HIGH",
            help="Band to look at in Hz, instead of the couplings'. May be repeated.",
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser", help="Show the page in the web browser.")
    ] = False,
    strain: options.StrainPaths = None,
    witnesses: options.WitnessPaths = None,
    override: options.SetOption = None,
) -> None:
    """Draw what cleaning did over a span of cleaned frames.

    Spectra before and after, their ratio, spectrograms, the strain in the bands with the gains, and
    the coherence with the witnesses, as PNG files, with one page that holds them and a table.
    """
    settings = None if config is None else options.prepare(config, override)
    paths, instant = _asked(what or [])
    if settings is None and not paths:
        raise ConfigError("no frames: name their files or directories, or give --config FILE")
    bands = [to_band(each) for each in band or []]
    asked = _span(instant, start, end)
    from deepclean.plots.frames import CleanedFrames

    opened = _histories(settings, strain, witnesses)
    if settings is not None and not paths:
        paths = [settings.output.archive.directory or settings.output.directory]
    frames = CleanedFrames(paths, lambda: opened()[0])
    span = frames.within(asked) if asked else frames.span
    request = _request(settings, bands)
    with interruptible(begins_anew), progress("plot", span.duration / NS, "s") as show:
        found = frames.measure(span, request, lambda: opened()[1], show.advance)
        show.begin("drawing")
        from deepclean.plots import page

        into = output or Path(f"plot-{span.start // NS}-{span.end // NS}")
        file = page.write(found, frames.strain, said(span), into)
    print(said(span))
    for name, value in page.rows(found):
        options.say(f"{name}: {value}")
    print(file)
    if browser and not webbrowser.open(file.absolute().as_uri()):
        options.say("no web browser could be started; open the page by hand")


def _asked(words: list[str]) -> tuple[list[Path], int | None]:
    """Return the paths that are named, and the time, GPS nanoseconds.

    Raises:
        InputError: the one word is neither.
    """
    paths = [Path(word) for word in words]
    if len(words) != 1 or paths[0].exists():
        return paths, None
    try:
        return [], whole_second("TIME", words[0])
    except InputError as error:
        raise InputError(f"neither a file nor a time: {words[0]}") from error


def _span(instant: int | None, start: str | None, end: str | None) -> Span | None:
    """Return the span that is asked for; None for all that the frames hold."""
    if instant is not None:
        if start or end:
            raise ConfigError("give a time, or --start and --end")
        return Span(instant - _AROUND * NS, instant + _AROUND * NS)
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise ConfigError("give --start and --end together")
    return whole_span(start, end)


def _request(config: Config | None, bands: list[tuple[float, float]]) -> PlotRequest:
    """Return what is drawn: the couplings of a configuration, or the bands that are named."""
    from deepclean.plots.frames import PlotRequest, bands_of

    if bands or config is None:
        return PlotRequest(bands_of(bands))
    couplings = config.enabled_couplings
    return PlotRequest(
        {name: list(one.bands) for name, one in couplings.items()},
        {name: list(one.witnesses) for name, one in couplings.items()},
    )


def _histories(
    config: Config | None, strain: list[Path] | None, witnesses: list[Path] | None
) -> Callable[[], tuple[History, History]]:
    """Return what opens the raw strain and the witnesses, once and only if they are asked for."""

    @cache
    def opened() -> tuple[History, History]:
        if config is None and not strain:
            raise ConfigError(
                "the frames do not hold what was subtracted (output.subtracted): give the raw "
                "strain with --strain PATH or --config FILE"
            )
        return options.histories(config, strain, witnesses)

    return opened
