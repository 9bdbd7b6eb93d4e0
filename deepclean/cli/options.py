"""Options that several commands share, and what the commands do with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepclean.config import Config, load
from deepclean.core.time import NS, Span, seconds_to_ns
from deepclean.errors import ConfigError, DeepCleanError, ExitStatus, InputError, UnavailableError
from deepclean.system import logs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from deepclean.io.history import History
    from deepclean.io.source import HistorySource

_LAST = 4_000_000_000
"""GPS seconds from which on a time is taken for a mistake, as milliseconds are: the year 2106."""

# Not `readable`, typer's own check: its message is a box of five lines.
ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file.", readable=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the configuration, as engine.hop=0.25. May be repeated.",
    ),
]
StartOption = Annotated[str, typer.Option(metavar="GPS", help="Start of the span, GPS seconds.")]
EndOption = Annotated[
    str, typer.Option(metavar="GPS", help="End of the span, GPS seconds, exclusive.")
]
StrainPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--strain",
        help="Directory or file (GWF, HDF5) with the strain; default: the configured input. "
        "May be repeated.",
        readable=False,
    ),
]
WitnessPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--witnesses",
        help="Directory or file with the witnesses; default: the configured input, or the files "
        "of the strain. May be repeated.",
        readable=False,
    ),
]
FetchOption = Annotated[
    bool,
    typer.Option(
        "--fetch", help="Read strain and witnesses through gwpy's data access, not files."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def prepare(path: Path, overrides: list[str] | None) -> Config:
    """Load a configuration and set the process up for it.

    The numerical libraries read their number of threads when they are first imported, so this
    function is called before any import of them.
    """
    config = load(path, overrides or ())
    threads = str(config.runtime.threads)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = threads
    # Idle OpenMP threads that spin take the core from threads that work: hundredfold slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    logs.configure(config.log.level, config.log.format)
    return config


def limit_threads(config: Config) -> None:
    """Limit torch to the configured number of threads."""
    import torch

    torch.set_num_threads(config.runtime.threads)


def whole_span(start: str, end: str) -> Span:
    """Return the span between two instants of whole GPS seconds.

    Raises:
        InputError: an instant is not a whole second, or the end is not after the start.
    """
    given = f"--start {start} --end {end}"
    try:
        return Span(_whole_second(given, start), _whole_second(given, end))
    except ValueError as error:
        raise InputError(f"{given}: {error}") from error


def whole_second(option: str, text: str) -> int:
    """Return an instant of whole GPS seconds, in nanoseconds.

    Raises:
        InputError: the text is no such instant.
    """
    try:
        return _whole_second(f"{option} {text}", text)
    except ValueError as error:
        raise InputError(f"{option} {text}: {error}") from error


def _whole_second(given: str, text: str) -> int:
    instant = seconds_to_ns(text)
    if instant % NS:
        raise InputError(f"{given}: must be whole GPS seconds")
    if not 0 <= instant < _LAST * NS:
        raise InputError(f"{given}: no plausible GPS time; GPS seconds have up to ten digits")
    return instant


def print_fault(error: DeepCleanError, where: str = "") -> ExitStatus:
    """Print a reported fault on standard error, one line each; return the exit status."""
    logs.complain("\n".join(f"{where}{line}" for line in str(error).splitlines()))
    return ExitStatus.AGAIN if isinstance(error, UnavailableError) else ExitStatus.PERSON


def console(least: int = 0) -> Console:
    """Return the console for tables: as wide as the terminal.

    Args:
        least: the columns of what is written to a file or a pipe.
    """
    from rich.console import Console

    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = max(made.width, least)
    return made


def print_table(table: Table, least: int = 0) -> None:
    """Print a table, folded to the width of the terminal. Its lines take no room.

    Args:
        table: what is printed.
        least: as in `console`.
    """
    from rich import box

    table.box, table.padding, table.pad_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    for column in table.columns:
        column.overflow = "fold"
    console(least).print(table)


def progress_bar(*columns: Any, transient: bool = True) -> Progress:
    """Return a progress display on standard error; it shows while it is a context."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True, highlight=False), transient=transient)


def histories(
    config: Config | None,
    strain: list[Path] | None,
    witnesses: list[Path] | None,
    *,
    checksum: bool = False,
) -> tuple[History, History]:
    """Return the catalogues of strain and witnesses that the options or the configuration name.

    Args:
        config: names the input where the options do not.
        strain: directories and files.
        witnesses: directories and files.
        checksum: verify the checksum of every file.

    Raises:
        ConfigError: neither the options nor the configuration name the strain.
        InputError: there are no files.
    """
    from deepclean.io.catalogue import Directory
    from deepclean.io.history import History

    read = partial(History, checksum=checksum)
    if strain:
        note = "" if witnesses else "the witnesses too: --strain was given without --witnesses"
        everything = read(strain, note=note)
        strain_history = _of_one_stream(config, strain, everything, read)
    elif config is not None:
        live = config.input.strain
        strain_history = read([live.directory], description=live.description)
    else:
        raise ConfigError("no input: give --config FILE or --strain PATH")
    if witnesses:
        return strain_history, read(witnesses)
    if strain:
        return strain_history, everything
    if config is None or not config.input.witnesses:
        return strain_history, strain_history
    return strain_history, read(
        [Directory(frames.directory, frames.description) for frames in config.input.witnesses]
    )


def _of_one_stream(
    config: Config | None, strain: list[Path], found: History, read: Callable[..., History]
) -> History:
    """Return the catalogue of one stream of strain, where directories hold several.

    It is the configured one (input.strain.description), or the only one with the strain.

    Args:
        config: names the strain; None where nothing does.
        strain: directories and files.
        found: the catalogue of all that is there.
        read: makes a catalogue.

    Raises:
        InputError: several streams hold the strain, and the configured one is not among them.
    """
    from deepclean.io.catalogue import Directory

    if config is None or not any(path.is_dir() for path in strain):
        return found
    held, wanted = found.descriptions(config.strain.channel), config.input.strain.description
    if len(held) < 2:
        return found
    if wanted not in held:
        raise InputError(
            f"several kinds of files hold {config.strain.channel}: {', '.join(held)}; name one "
            f"with --set input.strain.description={held[0]}",
            path=strain[0],
        )
    return read([Directory(path, wanted) if path.is_dir() else path for path in strain])


def history_source(
    config: Config,
    span: Span,
    strain: list[Path] | None,
    witnesses: list[Path] | None,
    fetch: bool,
    *,
    checksum: bool = False,
) -> HistorySource:
    """Return the history that the options or the configuration name. It can run in any process.

    Args:
        config: the configuration.
        span: the span that is read.
        strain: directories and files; None for the configured ones.
        witnesses: directories and files; None for the configured ones.
        fetch: whether the data come through gwpy instead.
        checksum: verify the checksum of every file.

    Raises:
        ConfigError: both files and `fetch` are given.
        InputError: there are no files.
    """
    from deepclean.io.source import HistorySource
    from deepclean.run.cleaner import channels_of

    channels = channels_of(config)
    if not fetch:
        return HistorySource(channels, *histories(config, strain, witnesses, checksum=checksum))
    if strain or witnesses:
        raise ConfigError("--fetch cannot be combined with --strain or --witnesses")
    from deepclean.io.datafind import RemoteHistory

    return HistorySource(channels, RemoteHistory(span, channels.state), RemoteHistory(span))
