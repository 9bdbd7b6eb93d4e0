"""`deepclean segments`: the segments of cleaned frames' state bits, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepclean.cli.terminal.progress import progress
from deepclean.config.frames import SegmentsConfig
from deepclean.core.output.segments import total_seconds
from deepclean.errors import InputError, hint
from deepclean.system.atomic import publish

_FORMATS = {".xml": "xml", ".h5": "hdf5", ".hdf5": "hdf5"}


def segments(
    frames: Annotated[
        list[Path], typer.Argument(help="Files of cleaned frames, and directories of them.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .xml for LIGO_LW, .h5 for HDF5."),
    ],
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BIT",
            help="State bit that the flag GOOD wants set. May be repeated. Default: "
            f"{' and '.join(SegmentsConfig().state)}.",
        ),
    ] = None,
) -> None:
    """Write when the state bits of cleaned frames are set, as data-quality flags.

    The file has one flag for each bit, H1:DEEPCLEAN-CLEANED:1, and H1:DEEPCLEAN-GOOD:1.
    """
    from deepclean.core.output.products import State
    from deepclean.io.catalogue import catalogue
    from deepclean.io.segments.formats import StateSegments, read_frames, serialise, state_channel

    good, bits = tuple(state or SegmentsConfig().state), [str(bit.name) for bit in State]
    for name in good:
        if name not in bits:
            raise typer.BadParameter(f"{name} is no state bit{hint(name, bits)}")
    form = _FORMATS.get(output.suffix)
    if form is None:
        raise typer.BadParameter(f"{output.name} ends neither in .xml nor in .h5")
    files, found = catalogue(frames), StateSegments()
    if not files:
        raise InputError(f"no files of frames: {', '.join(map(str, frames))}")
    channel = state_channel(files[0])
    with progress("segments", len(files), "files") as show:
        for file in files:
            found.add(read_frames(file, channel))
            show.advance()
    interferometer = channel.split(":", maxsplit=1)[0]
    publish(output, serialise(found, interferometer, good, "xml" if form == "xml" else "hdf5"))
    flags = {"GOOD": found.all_of(good), **{name: found.active.get(name, []) for name in bits}}
    known = total_seconds(found.known)
    for name, spans in flags.items():
        seconds = total_seconds(spans)
        print(f"{interferometer}:DEEPCLEAN-{name}:1: {seconds} s of {known} s")
