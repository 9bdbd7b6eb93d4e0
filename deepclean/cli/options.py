"""Options that several commands share, and what is done with them."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.config import Config, load
from deepclean.core.time import NS, Span, seconds_to_ns
from deepclean.errors import (
    ConfigError,
    DeepCleanError,
    DeviceError,
    InputError,
    OutputError,
    WorkerError,
)

if TYPE_CHECKING:
    from deepclean.io.history import History
    from deepclean.io.source import HistorySource

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the configuration, as engine.hop=0.25. May be repeated.",
        show_default=False,
    ),
]
StartOption = Annotated[
    str, typer.Option(metavar="GPS", help="Start, GPS seconds.", show_default=False)
]
EndOption = Annotated[
    str, typer.Option(metavar="GPS", help="End, GPS seconds, exclusive.", show_default=False)
]
StrainPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--strain",
        help="Directory or file (GWF, HDF5) with the strain; default: the configuration's input. "
        "May be repeated.",
        show_default=False,
    ),
]
WitnessPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--witnesses",
        help="Directory or file with the witnesses; default: the configuration's input, or the "
        "strain's own files. May be repeated.",
        show_default=False,
    ),
]
FetchOption = Annotated[
    bool,
    typer.Option(
        "--fetch", help="Get strain and witnesses through gwpy's data access, not from files."
    ),
]


def prepare(path: Path, overrides: list[str] | None) -> Config:
    """Load a configuration and set the process up as it says.

    The numerical libraries read their number of threads when they are first imported, so this
    comes before anything that imports them.
    """
    config = load(path, overrides or ())
    threads = str(config.runtime.threads)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = threads
    # Idle workers that spin take the core from whoever has work (docs: hundredfold slower).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from deepclean.system import logs

    logs.configure(config.log.level, config.log.format)
    return config


def limit_threads(config: Config) -> None:
    """Hold torch to the configured number of threads."""
    import torch

    torch.set_num_threads(config.runtime.threads)


def whole_span(start: str, end: str) -> Span:
    """Return the span between two instants of whole GPS seconds.

    Raises:
        InputError: not whole seconds, or no time between them.
    """
    try:
        span = Span(seconds_to_ns(start), seconds_to_ns(end))
    except ValueError as error:
        raise InputError(f"--start {start} --end {end}: {error}") from error
    if span.start % NS or span.end % NS:
        raise InputError(f"--start {start} --end {end}: whole GPS seconds, please")
    return span


def whole_second(option: str, text: str) -> int:
    """Return an instant of whole GPS seconds, in nanoseconds.

    Raises:
        InputError: it is none.
    """
    try:
        instant = seconds_to_ns(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: {error}") from error
    if instant % NS:
        raise InputError(f"{option} {text}: whole GPS seconds, please")
    return instant


def fault(error: DeepCleanError, of: str = "") -> int:
    """Print a fault that a person can mend, a line each; return the exit status that it means."""
    for line in str(error).splitlines():
        print(f"deepclean: {of}{line}", file=sys.stderr)
    return 1 if isinstance(error, (DeviceError, OutputError, WorkerError)) else 2


def histories(
    config: Config | None,
    strain: list[Path] | None,
    witnesses: list[Path] | None,
    *,
    checksum: bool = False,
) -> tuple[History, History]:
    """Return the catalogues of strain and witnesses that the options or the configuration name.

    Args:
        config: of the input, where no option names it.
        strain: directories and files.
        witnesses: directories and files.
        checksum: verify that of whole files.

    Raises:
        ConfigError: neither names the strain.
        InputError: there are no files.
    """
    from deepclean.io.history import History

    at = partial(History, checksum=checksum)
    if strain:
        of_strain = at(strain)
    elif config is not None:
        live = config.input.strain
        of_strain = at([live.directory], description=live.description)
    else:
        raise ConfigError("--config FILE or --strain PATH, please")
    if witnesses:
        return of_strain, at(witnesses)
    if strain or config is None or not config.input.witnesses:
        return of_strain, of_strain
    return of_strain, at([frames.directory for frames in config.input.witnesses])


def history_source(
    config: Config,
    span: Span,
    strain: list[Path] | None,
    witnesses: list[Path] | None,
    fetch: bool,
    *,
    checksum: bool = False,
) -> HistorySource:
    """Return the past that the options or the configuration name, in whatever process.

    Args:
        config: what is to be cleaned.
        span: of it.
        strain: directories and files; None: the configuration's.
        witnesses: likewise.
        fetch: whether it comes from gwpy instead.
        checksum: verify that of whole files.

    Raises:
        ConfigError: files are named, and that there are none.
        InputError: there are no files.
    """
    from deepclean.io.source import HistorySource
    from deepclean.run.cleaner import channels_of

    channels = channels_of(config)
    if not fetch:
        return HistorySource(channels, *histories(config, strain, witnesses, checksum=checksum))
    if strain or witnesses:
        raise ConfigError("--fetch, or --strain and --witnesses: one of them, please")
    from deepclean.io.datafind import RemoteHistory

    return HistorySource(channels, RemoteHistory(span, channels.state), RemoteHistory(span))
