"""Options that several commands share, and what the commands do with them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli.terminal import completion, resume
from deepclean.config import Config, load
from deepclean.config.frames import FramesConfig
from deepclean.core.time import Span
from deepclean.errors import ConfigError, DeepCleanError, ExitStatus, InputError, UnavailableError
from deepclean.remote.address import address_of
from deepclean.system import logs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from deepclean.io.history import History
    from deepclean.io.source import HistorySource

# Not `readable`, typer's own check: its message is a box of five lines.
ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar=completion.VARIABLE,
        help="Configuration file.",
        readable=False,
        autocompletion=completion.configurations,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the configuration, as engine.hop=0.25. May be repeated.",
    ),
]
StrainPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--strain",
        help="Directory or file (GWF, HDF5) with the strain, also at an address such as "
        "s3://bucket/place; default: the configured input. May be repeated.",
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
_UNLIMITED = 1_000_000
"""Columns where nothing is folded: a table takes as many of them as it needs."""

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


def print_fault(error: DeepCleanError, where: str = "") -> ExitStatus:
    """Print a reported fault on standard error, one line each; return the exit status."""
    logs.complain("\n".join(f"{where}{line}" for line in with_file(str(error)).splitlines()))
    return ExitStatus.AGAIN if isinstance(error, UnavailableError) else ExitStatus.PERSON


def with_file(text: str) -> str:
    """Return a remedy with the configuration file that this command was given.

    Whoever finds a fault does not know the file. With it the remedy runs as it is printed.
    """
    named = resume.configuration()
    return text if named is None else text.replace("-c CONFIG", f"-c {shlex.quote(named)}")


def width() -> int | None:
    """Return the columns of the terminal, or those that COLUMNS states; None where there are none.

    In a file or a pipe nothing is folded, so that programs find whole lines there.
    """
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None


def say(text: str, indent: str = "  ") -> None:
    """Print lines, folded to the width of the terminal.

    Args:
        text: the lines.
        indent: what the rest of a folded line begins with.
    """
    for line in text.splitlines():
        print(folded(line, indent))


def folded(line: str, indent: str = "  ") -> str:
    """Return a line folded to the width of the terminal, the rest of it indented."""
    columns = width()
    if columns is None or len(line) <= columns:
        return line
    lead = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line.lstrip(),
        max(columns, 20),
        initial_indent=lead,
        subsequent_indent=lead + indent,
        break_on_hyphens=False,
    )


def console() -> Console:
    """Return the console for tables: as wide as the terminal, in files and pipes without limit."""
    from rich.console import Console

    made = Console(highlight=False)
    made.width = width() or _UNLIMITED
    return made


def print_table(table: Table) -> None:
    """Print a table, folded to the width of the terminal. Its lines take no room."""
    from rich import box

    table.box, table.padding, table.pad_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    print_lines(table)


def print_lines(table: Table) -> None:
    """Print a table as it is, folded to the width of the terminal."""
    for column in table.columns:
        column.overflow = "fold"
    console().print(table)


def counted(files: Iterable[Path]) -> str:
    """Return the number of files in each directory, in words.

    >>> counted([Path("a/1.gwf"), Path("b/1.gwf"), Path("a/2.gwf")])
    '2 files in a, 1 file in b'
    """
    counts = Counter(path.parent for path in files)
    said = (f"{n} file{'s' * (n != 1)} in {place}" for place, n in counts.items())
    return ", ".join(said) or "0 files"


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
        live = strain_frames(config, "give --strain PATH")
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


def strain_frames(config: Config, otherwise: str) -> FramesConfig:
    """Return the configured frame files of the strain.

    Args:
        config: the configuration.
        otherwise: what can be done instead of naming them there.

    Raises:
        ConfigError: the strain is streamed, and its frame files are not named.
    """
    try:
        return config.input.strain_frames
    except ConfigError as error:
        raise ConfigError(f"{resume.configuration()}: {error} there, or {otherwise}") from error


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

    if config is None or not any(_may_hold_several(path) for path in strain):
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
    return read([Directory(path, wanted) if _may_hold_several(path) else path for path in strain])


def _may_hold_several(path: Path) -> bool:
    """Return whether a path may be a directory; at an address that cannot be told."""
    return address_of(path) is not None or path.is_dir()


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
    from deepclean.io.frame_channels import channels_of
    from deepclean.io.source import HistorySource

    channels = channels_of(config)
    if not fetch:
        return HistorySource(channels, *histories(config, strain, witnesses, checksum=checksum))
    if strain or witnesses:
        raise ConfigError("--fetch cannot be combined with --strain or --witnesses")
    from deepclean.io.datafind import RemoteHistory

    return HistorySource(channels, RemoteHistory(span, channels.state), RemoteHistory(span))
