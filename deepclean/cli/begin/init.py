"""`deepclean init`: write a configuration for the files, or the streams, that are there."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.training.witnesses import to_band
from deepclean.config import load
from deepclean.core.output.segments import total_seconds
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, ExitStatus, InputError, output_errors
from deepclean.shipped import configuration as shipped_configuration
from deepclean.system.atomic import publish
from deepclean.system.utc import with_date

if TYPE_CHECKING:
    from rich.table import Table

    from deepclean.core.filters.bandpass import Band
    from deepclean.site.proposal import Proposal, ProposedCoupling
    from deepclean.site.streams import Stream

_SEARCHED = 300
"""Newest seconds in which the witnesses of a band are searched."""

_MOST = 12
"""Witnesses of a band that are proposed."""

_TRAINED = 2048
"""Seconds of data that the printed training takes, where they are there."""


def init(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH...]", help="Directories and files with strain and witnesses."
        ),
    ] = None,
    arrakis: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Arrakis server that streams strain and witnesses; PATH then holds their past.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; default: <interferometer>.yaml here."),
    ] = None,
    ifo: Annotated[
        str | None, typer.Option(help="Interferometer, where the files hold several, as H1.")
    ] = None,
    band: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LOW-HIGH",
            help="Search the channels for witnesses of this band in Hz. May be repeated.",
        ),
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask about each coupling, on a terminal.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Look at what is there and write a configuration for it.

    It finds the interferometer, the strain, its state vector and the files' descriptions, and
    proposes the published couplings that have their witnesses there. With --band it searches all
    channels for witnesses of other noise. What it could not find it says. With --arrakis the
    channels are those of a server; the search takes its data from files. Exit status 3: nothing is
    there to clean with, and no file is written.
    """
    _check_options(paths, arrakis, band, ask)
    bands = [to_band(each) for each in band or []]
    from deepclean.site.proposal import (
        of_its_time,
        past_of,
        propose,
        with_coupling,
        with_only,
        with_published,
    )
    from deepclean.site.served import find_served
    from deepclean.site.streams import find_streams
    from deepclean.site.text import cautions, configuration

    files = find_streams(paths or ())
    if files:
        options.print_table(_table(files))
    streams = files
    if arrakis is not None:
        streams = [find_served(arrakis, ifo)]
        print(f"{arrakis}: {len(streams[0].rates)} channels")
    proposal = propose(streams, ifo)
    if arrakis is None:
        streams = of_its_time(proposal, streams)
    published = shipped_configuration(proposal.interferometer)
    if published is not None:
        proposal = with_published(proposal, load(published, environ={}), streams)
    for each in bands:
        proposal = with_coupling(proposal, _searched(proposal, files, each), streams)
    if ask:
        kept = tuple(one for one in proposal.couplings if typer.confirm(f"Clean {_said(one)}?"))
        proposal = with_only(proposal, kept, streams)
    if files and arrakis is not None:
        proposal = replace(proposal, past=past_of(proposal, files))
    for note in (*proposal.notes, *cautions(proposal, _TRAINED)):
        options.say(f"note: {note}")
    if not proposal.enabled:
        options.say(
            "no coupling has its witnesses here: nothing is written. Name the bands to clean with "
            "--band LOW-HIGH, and the directories of the witnesses"
        )
        raise typer.Exit(ExitStatus.VERDICT)
    file = output or Path(f"{proposal.interferometer}.yaml")
    _write(file, configuration(proposal, _TRAINED), force)
    _say_written(proposal, file)


def _check_options(
    paths: list[Path] | None, arrakis: str | None, band: list[str] | None, ask: bool
) -> None:
    if not paths and arrakis is None:
        raise ConfigError("nothing to look at: name directories, or a server with --arrakis")
    if not paths and band:
        raise ConfigError("--band searches data of the past: name the directories that hold them")
    if ask and not sys.stdin.isatty():
        raise ConfigError("--ask needs a terminal to ask on: leave it out, and edit the file")


def _say_written(proposal: Proposal, file: Path) -> None:
    from deepclean.site.text import next_steps

    options.say(f"{file}: {proposal.channel} at {proposal.rate} Hz")
    if shared := proposal.shared:
        options.say(
            f"  strain and witnesses: {total_seconds(shared)} s in GPS "
            f"{with_date(shared[0].start)} to {with_date(shared[-1].end)}"
        )
    for one in proposal.couplings:
        options.say(f"  {_said(one)}{f'; not enabled: {one.why_off}' if one.why_off else ''}")
    print("what comes next:")
    for line in next_steps(proposal, file, _TRAINED):
        print(f"  {line}")


def _write(file: Path, text: str, force: bool) -> None:
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already; --force replaces it, --output names another")
    with output_errors(file.parent, "cannot be made"):
        file.parent.mkdir(parents=True, exist_ok=True)
    publish(file, text.encode())
    load(file, environ={})  # what is written is what `deepclean config` accepts


def _searched(proposal: Proposal, streams: list[Stream], band: Band) -> ProposedCoupling:
    """Return the witnesses that together explain most of a band's noise in the newest data.

    Where the strain is streamed, these are among the channels that are streamed too.
    """
    from deepclean.io.catalogue import Directory
    from deepclean.io.history import History
    from deepclean.site.proposal import ProposedCoupling, may_witness, past_of, shared_stretches
    from deepclean.site.served import ServedStream
    from deepclean.witnesses.coherence import rank
    from deepclean.witnesses.joint import choose
    from deepclean.witnesses.spectra import Candidate, SearchStretch

    known = None
    if isinstance(proposal.stream, ServedStream):
        known, proposal = proposal.stream.rates, past_of(proposal, streams)
    history = History([Directory(each.directory, each.description) for each in streams])
    of_site = [each for each in streams if _is_of(proposal.interferometer, each)]
    shared = shared_stretches(proposal.stream, of_site)[-1]
    span = Span(max(shared.start, shared.end - _SEARCHED * NS), shared.end)
    stretch = SearchStretch(history, history, proposal.channel, proposal.state_vector, span, [band])
    candidates = [
        Candidate(name, rate)
        for name, rate in history.channels().items()
        if name.startswith(f"{proposal.interferometer}:") and may_witness(name)
        if known is None or name in known
    ]
    ranking = rank(stretch, candidates)
    if ranking.sound:
        # The sidebands of a line are products of the line's witness and slower channels.
        carrier = ranking.sound[0].candidate
        slower = [one for one in candidates if one.rate < carrier.rate]
        products = [replace(one, carrier=carrier.name) for one in slower]
        ranking = rank(stretch, candidates + products)
    found = choose(stretch, ranking, _MOST)
    if not found.steps:
        raise InputError(f"--band {band[0]:g}-{band[1]:g}: no channel sees its noise beyond chance")
    left = found.steps[-1].residual
    about = f"found in GPS {span.start // NS} to {span.end // NS}: {left:.2f} of it stays"
    chosen = [step.candidate for step in found.steps]
    carriers = [one.carrier for one in chosen if one.carrier]
    names = tuple(dict.fromkeys([*carriers, *(one.channel for one in chosen)]))
    return ProposedCoupling(f"{sum(band) / 2:g}Hz", about, (band,), names)


def _is_of(interferometer: str, stream: Stream) -> bool:
    """Return whether a stream holds channels of an interferometer that may witness a noise."""
    from deepclean.site.proposal import may_witness

    site = f"{interferometer}:"
    return any(name.startswith(site) and may_witness(name) for name in stream.rates)


def _table(streams: list[Stream]) -> Table:
    from rich.table import Table

    table = Table(title="Files that are there", title_justify="left")
    table.add_column("files", overflow="fold")
    for column in ("number", "seconds", "until GPS", "channels"):
        table.add_column(column, justify="right")
    for each in streams:
        held = "unreadable" if each.fault else str(len(each.rates))
        last = with_date(each.spans[-1].end)
        table.add_row(each.name, str(each.files), str(total_seconds(each.spans)), last, held)
    return table


def _said(one: ProposedCoupling) -> str:
    bands = ", ".join(f"{low:g}-{high:g} Hz" for low, high in one.bands)
    absent = f", {len(one.absent)} published ones are not there" if one.absent else ""
    count = len(one.witnesses)
    return f"{one.name} ({bands}) with {count} witness{'es' * (count != 1)}{absent}"
