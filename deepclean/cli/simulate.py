"""`deepclean simulate`: make the data of the site that a configuration describes."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli.options import (
    ConfigOption,
    EndOption,
    SetOption,
    StartOption,
    prepare,
    whole_span,
)
from deepclean.core.time import NS, format_gps, seconds_to_ns
from deepclean.errors import ConfigError

if TYPE_CHECKING:
    from deepclean.config import Config
    from deepclean.core.time import Span
    from deepclean.simulate.faults import Fault
    from deepclean.simulate.files import Layout
    from deepclean.simulate.injection import Injection
    from deepclean.simulate.site import Site

MAX_WITNESS_DIRECTORIES = 1

FAULTS_PANEL = "Faults, to rehearse them"


def _list_faults(asked: bool) -> None:
    """Print the table of faults and end."""
    if not asked:
        return
    from rich.console import Console
    from rich.table import Table

    from deepclean.simulate.faults import KINDS, WORDS

    table = Table(box=None, pad_edge=False)
    for title in ("KIND", "what happens", "TARGET", "SECONDS", "the daemon must"):
        table.add_column(title, no_wrap=title == "KIND")
    for name, kind in KINDS.items():
        table.add_row(
            f"{name}{'*' if kind.live else ''}",
            kind.does,
            kind.target,
            str(kind.seconds),
            kind.must,
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"\n{WORDS}\n\nTARGET and SECONDS are what holds where nothing is said. Of whole files "
        "TARGET is strain, witnesses or both; of channels also a name. * needs --live."
    )
    raise typer.Exit


FaultOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="KIND[:TARGET]@GPS[+SECONDS]",
        help="Let this go wrong; @+30 is 30 s after the start. May be repeated.",
        rich_help_panel=FAULTS_PANEL,
        show_default=False,
    ),
]
FaultRate = Annotated[
    float,
    typer.Option(
        help="Mean number of random faults in 1000 s of data; --seed says which.",
        rich_help_panel=FAULTS_PANEL,
    ),
]
ListFaults = Annotated[
    bool,
    typer.Option(
        "--list-faults",
        help="Print what can go wrong and what the daemon must do then.",
        callback=_list_faults,
        is_eager=True,
        rich_help_panel=FAULTS_PANEL,
    ),
]


def simulate(
    config: ConfigOption,
    start: StartOption,
    end: EndOption,
    live: Annotated[
        bool,
        typer.Option("--live", help="Let the files appear one by one; else write all at once."),
    ] = False,
    speed: Annotated[
        float, typer.Option(help="Seconds of data per second, with --live; inf: no waiting.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the noise; the couplings do not depend on it.")] = 0,
    motions: Annotated[
        int | None,
        typer.Option(help="Slow motions that make sidebands.", show_default="the site's"),
    ] = None,
    strength: Annotated[float, typer.Option(help="Multiplies the noise of every coupling.")] = 1.0,
    background: Annotated[
        Path | None,
        typer.Option(help="File (GWOSC HDF5, GWF) of real strain to take instead of simulated."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Directory for HDF5 files of what the strain is the sum of.")
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
    dummies: Annotated[int, typer.Option(help="Further channels that witness nothing.")] = 0,
    retention: Annotated[
        int | None, typer.Option(help="Files of each kind that stay, with --live; default: all.")
    ] = None,
    fault: FaultOptions = None,
    fault_rate: FaultRate = 0.0,
    list_faults: ListFaults = False,
    override: SetOption = None,
) -> None:
    """Write strain with a known noise in it and its witnesses into a configuration's input.

    The samples depend on the seed and on GPS time alone: two calls over one second agree on it.
    """
    settings = prepare(config, override)
    span = whole_span(start, end)
    from deepclean.simulate.history import write_history
    from deepclean.simulate.simulator import Simulator
    from deepclean.simulate.stream import Pace, stream

    site = _site(settings, seed, motions, strength, background, dummies, inject or [])
    layout = _layout(settings, truth, strain_length, witness_length)
    simulator = Simulator(site)
    faults = _faults(settings, site, span, fault or [], fault_rate, live=live)
    if live:
        from deepclean.system.clock import SystemClock

        clock, stopping = SystemClock(), []

        def stop(number: int, frame: object) -> None:
            stopping.append(number)
            clock.wake()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        pace = Pace(speed=speed, retention=retention)
        paths = stream(
            *(simulator, layout, span, clock),
            pace=pace,
            faults=faults,
            stop=lambda: bool(stopping),
        )
    else:
        paths = write_history(simulator, layout, span, faults=faults)
    for one in faults:
        print(f"fault {one}", flush=True)
    count = sum(1 for _ in paths)
    print(f"{count} files of {format_gps(span.start)} to {format_gps(span.end)} in {layout.strain}")


def _site(
    config: Config,
    seed: int,
    motions: int | None,
    strength: float,
    background: Path | None,
    dummies: int,
    inject: list[str],
) -> Site:
    """Return the configuration's site with what the options add."""
    from dataclasses import replace

    from deepclean.simulate.configured import site_of
    from deepclean.simulate.variants import on_background, stronger, with_dummies

    site = stronger(site_of(config, motions=motions, seed=seed), strength)
    site = with_dummies(site, dummies)
    if background is not None:
        site = on_background(site, background)
    return replace(site, injections=tuple(injection(text) for text in inject))


def _faults(
    config: Config, site: Site, span: Span, texts: list[str], rate: float, *, live: bool
) -> list[Fault]:
    """Return the faults that are asked for and the random ones, by time."""
    from deepclean.simulate.faults import parse_fault, random_faults

    deadline = config.input.deadline / NS
    wrong: list[str] = []
    faults: list[Fault] = []
    for text in texts:
        try:
            faults.append(parse_fault(text, span, deadline))
        except ConfigError as error:
            wrong += error.faults
    if wrong:
        raise ConfigError(wrong)
    faults += random_faults(site.seed, rate, span, site, deadline=deadline, live=live)
    return sorted(faults, key=lambda fault: fault.span.start)


def _layout(config: Config, truth: Path | None, strain_length: int, witness_length: int) -> Layout:
    from deepclean.simulate.files import Layout

    if len(config.input.witnesses) > MAX_WITNESS_DIRECTORIES:
        raise ConfigError("input.witnesses: one directory at most can be simulated")
    prefix = f"{config.interferometer}_"
    strain = config.input.strain
    layout = Layout(
        strain=strain.directory,
        truth=truth,
        strain_length=strain_length,
        witness_length=witness_length,
        strain_description=(strain.description or "llhoft").removeprefix(prefix),
    )
    if not config.input.witnesses:
        return layout
    from dataclasses import replace

    frames = config.input.witnesses[0]
    described = (frames.description or "lldetchar").removeprefix(prefix)
    return replace(layout, witnesses=frames.directory, witness_description=described)


def injection(text: str) -> Injection:
    """Return the binary that an `--inject` names.

    Raises:
        ConfigError: it names none.
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
