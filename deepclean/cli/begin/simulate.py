"""`deepclean simulate`: write the data of the site that a configuration describes."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.terminal import times
from deepclean.cli.terminal.progress import CommandProgress, progress
from deepclean.cli.terminal.resume import interruptible, same_command
from deepclean.config import Config
from deepclean.core.time import NS, Span, seconds_to_ns
from deepclean.errors import ConfigError
from deepclean.io.t050017 import FrameName
from deepclean.system.clock import SystemClock

if TYPE_CHECKING:
    from deepclean.simulate.faults import Fault
    from deepclean.simulate.files import Layout
    from deepclean.simulate.injection import Injection

_PANEL = "Faults, to rehearse them"


def _list_faults(asked: bool) -> None:
    """Print the table of faults and end."""
    if not asked:
        return
    from rich.table import Table

    from deepclean.simulate.faults import KINDS, WORDS

    table = Table(box=None, pad_edge=False)
    for title in ("KIND", "what happens", "TARGET", "SECONDS", "the daemon must"):
        table.add_column(title)
    for name, kind in KINDS.items():
        mark = "*" if kind.live else ""
        table.add_row(f"{name}{mark}", kind.does, kind.target, str(kind.seconds), kind.must)
    options.print_lines(table)
    print()
    options.say(
        f"{WORDS}\n\nTARGET and SECONDS are the defaults. For a fault of whole files TARGET is "
        "strain, witnesses or both; for a fault of channels it may also be a name. * needs --live."
    )
    raise typer.Exit


def simulate(
    config: options.ConfigOption,
    start: times.StartOption,
    end: times.EndOption,
    live: Annotated[
        bool,
        typer.Option("--live", help="Let the files appear one by one; else write all at once."),
    ] = False,
    speed: Annotated[
        float, typer.Option(help="Seconds of data per second, with --live; inf: no waiting.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option(help="Seed of the noise; the couplings do not depend on it.")
    ] = 0,
    motions: Annotated[
        int | None,
        typer.Option(
            help="Number of slow motions, which make sidebands.", show_default="the site's"
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="Factor by which the noise of every coupling is multiplied.")
    ] = 1.0,
    background: Annotated[
        Path | None,
        typer.Option(help="File (GWOSC HDF5, GWF) with real strain, used instead of simulated."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Directory for HDF5 files of the components of the strain.")
    ] = None,
    inject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GPS[,M1,M2,MPC]",
            help="Add a binary merging at GPS with these masses (suns) and distance "
            "(default 36, 29, 410). May be repeated.",
        ),
    ] = None,
    strain_length: Annotated[int, typer.Option(help="Seconds per strain file.")] = 1,
    witness_length: Annotated[int, typer.Option(help="Seconds per witness file.")] = 1,
    dummies: Annotated[
        int, typer.Option(help="Number of further channels, which witness nothing.")
    ] = 0,
    retention: Annotated[
        int | None,
        typer.Option(help="Number of files of each kind that stay, with --live; default: all."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="KIND[:TARGET]@GPS[+SECONDS]",
            help="Let this fault happen; @+30 is 30 s after the start. May be repeated.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    fault_rate: Annotated[
        float,
        typer.Option(
            help="Mean number of random faults in 1000 s of data; they depend on --seed.",
            rich_help_panel=_PANEL,
        ),
    ] = 0.0,
    list_faults: Annotated[
        bool,
        typer.Option(
            "--list-faults",
            help="Print the faults and what the daemon must do in each case.",
            callback=_list_faults,
            is_eager=True,
            rich_help_panel=_PANEL,
        ),
    ] = False,
    override: options.SetOption = None,
) -> None:
    """Write strain with a known noise, and its witnesses, into a configuration's input.

    The samples depend on the seed and on GPS time alone, so two calls agree on a shared second.
    """
    settings = options.prepare(config, override)
    span = times.whole_span(start, end)
    from deepclean.simulate.configured import site_of
    from deepclean.simulate.faults import random_faults
    from deepclean.simulate.history import write_history
    from deepclean.simulate.simulator import Simulator
    from deepclean.simulate.stream import Pace, stream
    from deepclean.simulate.variants import on_background, stronger, with_dummies

    site = stronger(site_of(settings, motions=motions, seed=seed), strength)
    site = with_dummies(site, dummies)
    if background is not None:
        site = on_background(site, background)
    site = replace(site, injections=tuple(injection(text) for text in inject or ()))
    layout = _layout(settings, truth, strain_length, witness_length)
    simulator = Simulator(site)
    deadline = settings.input.deadline / NS
    faults = _parsed(fault or [], span, deadline)
    faults += random_faults(site.seed, fault_rate, span, site, deadline=deadline, live=live)
    faults.sort(key=lambda fault: fault.span.start)
    if live:
        clock, stopping = SystemClock(), []

        def stop(number: int, frame: object) -> None:
            stopping.append(number)
            clock.wake()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        paths = stream(
            *(simulator, layout, span, clock),
            pace=Pace(speed=speed, retention=retention),
            faults=faults,
            stop=lambda: bool(stopping),
        )
    else:
        paths = write_history(simulator, layout, span, faults=faults)
    for one in faults:
        print(f"fault {one}", flush=True)
    again = "the same command writes the same samples again:"
    with (
        interruptible(lambda: f"{again}\n  {same_command(span)}"),
        progress("simulate", span.duration // NS, "s") as show,
    ):
        written = options.counted(_shown(paths, span, show))
    options.say(f"{written}: {times.said(span)}")


def _shown(paths: Iterable[Path], span: Span, show: CommandProgress) -> Iterator[Path]:
    """Let all files be written, and show how far that is."""
    for path in paths:
        yield path
        name = FrameName.parse(path.name)
        if name is not None:  # a fault may give a file any name
            show.reach(max((name.span.end - span.start) / NS, show.done))


def _parsed(texts: list[str], span: Span, deadline: float) -> list[Fault]:
    """Return the faults that the option names.

    Raises:
        ConfigError: it names every malformed one.
    """
    from deepclean.simulate.faults import parse_fault

    wrong: list[str] = []
    faults: list[Fault] = []
    for text in texts:
        try:
            faults.append(parse_fault(text, span, deadline))
        except ConfigError as error:
            wrong += error.faults
    if wrong:
        raise ConfigError(wrong)
    return faults


def _layout(config: Config, truth: Path | None, strain_length: int, witness_length: int) -> Layout:
    from deepclean.simulate.files import Layout

    if len(config.input.witnesses) > 1:
        raise ConfigError("input.witnesses: only one directory can be simulated")
    strain = options.strain_frames(config, "with --set")
    layout = Layout(
        strain=strain.directory,
        truth=truth,
        strain_length=strain_length,
        witness_length=witness_length,
        strain_description=strain.description,
    )
    if not config.input.witnesses:
        return layout
    frames = config.input.witnesses[0]
    return replace(layout, witnesses=frames.directory, witness_description=frames.description)


def injection(text: str) -> Injection:
    """Return the binary that a value of `--inject` describes.

    Raises:
        ConfigError: the value is malformed.
    """
    from deepclean.simulate.injection import Injection

    parts = text.split(",")
    try:
        coalescence = seconds_to_ns(parts[0])
        numbers = [float(part) for part in parts[1:]]
    except ValueError as error:
        raise ConfigError(f"--inject {text}: {error}") from error
    if len(numbers) not in (0, 3) or not all(map(math.isfinite, numbers)):
        raise ConfigError(f"--inject {text}: expected GPS or GPS,M1,M2,MPC")
    if not numbers:
        return Injection(coalescence)
    return Injection(coalescence, mass1=numbers[0], mass2=numbers[1], distance=numbers[2])
