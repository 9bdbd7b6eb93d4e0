"""`deepclean stream`: play recorded files as a live site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.terminal import times
from deepclean.config import Config
from deepclean.core.time import NS, format_gps
from deepclean.errors import ConfigError, InputError
from deepclean.run.signals import on_signals
from deepclean.system.clock import SystemClock, gps_now

if TYPE_CHECKING:
    from deepclean.io.source import HistorySource
    from deepclean.simulate.recording import Recording

_LEAD = 2
"""Seconds between the call and the first data, with `--restamp now`: the first are read then."""

_FEW = 8
"""Channels that are named where the recording has none of many."""


def stream(
    config: options.ConfigOption,
    strain: Annotated[
        list[Path],
        typer.Option(
            help="Directory or file (GWF, HDF5) with the recorded strain. May be repeated.",
            readable=False,
        ),
    ],
    witnesses: Annotated[
        list[Path] | None,
        typer.Option(
            help="The same with the witnesses; default: the files of the strain.",
            readable=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="GPS", help="First second; default: the recording's first."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(metavar="GPS", help="End, exclusive; default: the recording's end."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|grpc://HOST:PORT",
            help="Directory of the played files, or Arrakis server; default: the configured "
            "directories.",
        ),
    ] = None,
    publisher: Annotated[
        str, typer.Option(help="Identifier that the Arrakis server knows the publisher by.")
    ] = "SITE",
    restamp: Annotated[
        str | None,
        typer.Option(
            metavar="now|GPS",
            help="Let the first second be this one; default: the times stay.",
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option(help="Seconds of data per second; inf: no waiting.")
    ] = 1.0,
    loop: Annotated[
        bool,
        typer.Option("--loop", help="Begin again at the end, with the times that follow."),
    ] = False,
    strain_length: Annotated[int, typer.Option(help="Seconds per strain file.")] = 1,
    witness_length: Annotated[int, typer.Option(help="Seconds per witness file.")] = 1,
    retention: Annotated[
        int | None, typer.Option(help="Number of files of each kind that stay; default: all.")
    ] = None,
    override: options.SetOption = None,
) -> None:
    """Let recorded frames appear in the directories of a configuration, as at a live site.

    Or publish them through Arrakis in short blocks. Played are the strain, its state vector and the
    witnesses of the enabled couplings. What the recording lacks stays absent. Each file or block
    comes when its data end.
    """
    settings = options.prepare(config, override)
    from deepclean.io.arrakis.connection import connect_to
    from deepclean.io.frame_channels import channels_of
    from deepclean.io.source import HistorySource
    from deepclean.simulate.recording import Playing, publish_as_live, replay_as_live
    from deepclean.simulate.stream import Pace

    pace = Pace(speed=speed, retention=retention)
    source = HistorySource(channels_of(settings), *options.histories(settings, strain, witnesses))
    server = to if to is not None and "://" in to else None
    if server is not None and not server.startswith("grpc"):
        raise ConfigError(f"--to {server}: is not grpc://HOST:PORT, nor a directory")
    if server is None and len(settings.input.witnesses) > 1:
        raise ConfigError(
            "input.witnesses: only one directory can be played into; name one, or publish "
            "(--to grpc://HOST:PORT)"
        )
    place = None if to is None else Path(to) if server is None else Path()
    recording = _recording(settings, source, (start, end), place, (strain_length, witness_length))
    if server is None:
        played = [kind.directory for kind in recording.kinds]
        _refuse_own_input([*strain, *(witnesses or ())], played)
    clock, begin, since = SystemClock(), None, 0.0
    if restamp == "now":
        now = gps_now()
        begin = now // NS + _LEAD
        since = clock.monotonic() + (begin * NS - now) / NS
    elif restamp is not None:
        begin = times.whole_second("--restamp", restamp) // NS
    first = recording.span.start if begin is None else begin * NS
    said = f"plays {recording.span} as GPS {format_gps(first)} on"
    print(f"{said}, without end" if loop else said, flush=True)
    if lacking := recording.lacking():
        print(_lacks(lacking, given=witnesses is not None), flush=True)
    playing = Playing(pace, begin, since, loop)
    with on_signals(clock, reloads=False) as signals:
        if server is None:
            print(options.counted(replay_as_live(recording, clock, playing, signals.stopped)))
        else:
            arrakis = settings.output.arrakis.model_copy(
                update={"server": server, "publisher": publisher}
            )
            connect = connect_to(server, arrakis)
            paths = publish_as_live(*(recording, connect, arrakis, clock, playing, signals.stopped))
            print(f"{sum(1 for _ in paths)} blocks published as {publisher} at {server}")
    for channel, seconds in sorted(recording.absent.items()):
        print(f"not in the recording: {seconds} s of {channel}")


def _lacks(channels: Sequence[str], *, given: bool) -> str:
    """Return in words which channels are nowhere in the recording.

    >>> _lacks(["H1:A", "H1:B"], given=False)
    'not found in the recording: H1:A, H1:B (--witnesses says where they are)'
    """
    named = ", ".join(channels[:_FEW])
    more = f" and {len(channels) - _FEW} more" if len(channels) > _FEW else ""
    remedy = "" if given else " (--witnesses says where they are)"
    return f"not found in the recording: {named}{more}{remedy}"


def _recording(
    config: Config,
    source: HistorySource,
    ends: tuple[str | None, str | None],
    to: Path | None,
    lengths: tuple[int, int],
) -> Recording:
    """Return what is played, and into which files.

    Raises:
        ConfigError: nothing says into which directory.
        InputError: the strain is not in the recording or in the part that is asked for, or an end
            is no whole second.
    """
    from deepclean.simulate.files import Layout, Product
    from deepclean.simulate.recording import Recording, recorded_span

    channels, ifo = source.channels, config.interferometer
    source.strain.require([channels.strain])
    whole = recorded_span(source.strain, channels.strain)
    first, last = ends
    span = times.whole_span(
        format_gps(whole.start) if first is None else first,
        format_gps(whole.end) if last is None else last,
    )
    if span.overlap(whole) is None:
        raise InputError(f"no strain in {span}: the recording has {whole}")
    directory = to or options.strain_frames(config, "give --to").directory
    place = directory, config.input.strain.description or f"{ifo}_llhoft"
    layout = Layout(strain=place[0], strain_length=lengths[0], witness_length=lengths[1])
    of_strain, witnesses = channels.of_strain_file, channels.witnesses
    if not config.input.witnesses:
        kinds = [Product(*place, layout.strain_length, of_strain + witnesses)]
        return Recording(ifo, source, kinds, span)
    kinds = [Product(*place, layout.strain_length, of_strain)]
    if witnesses:
        frames = config.input.witnesses[0]
        place = to or frames.directory, frames.description or f"{ifo}_lldetchar"
        kinds.append(Product(*place, layout.witness_length, witnesses))
    return Recording(ifo, source, kinds, span)


def _refuse_own_input(recorded: list[Path], played: list[Path]) -> None:
    """Raise ConfigError where the files would be played into the recording's own directories."""
    for path in (each.resolve() for each in recorded):
        for directory in (each.resolve() for each in played):
            if directory.is_relative_to(path) or directory == path.parent:
                raise ConfigError(f"{directory}: holds the recording; choose another with --to")
