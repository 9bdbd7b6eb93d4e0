"""Frame files as other programs write them, and the live source that reads those of a site."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import gwframe

from deepclean.config import Config
from deepclean.core.block import Gap, Samples, Series, concatenate
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS
from deepclean.io.frame_channels import channels_of
from deepclean.io.live.files import WitnessFiles
from deepclean.io.live.run import LiveRun
from deepclean.io.live.source import LiveSource
from deepclean.io.live.strain_files import StrainFiles
from deepclean.io.tail import FrameTail
from tests.helpers.small_site import FakeClock


def samples_of(read: Series | Gap) -> Samples:
    """Return the samples of what was read; it is no gap."""
    assert isinstance(read, Series)
    return read.samples


def store_frames(
    path: Path,
    starts: list[float],
    channels: Mapping[str, tuple[int, list[Samples]]],
    kind: str = "proc",
) -> Path:
    """Write one frame a start, 1 s each, straight through the library."""
    with gwframe.FrameWriter(path) as writer:
        for index, start in enumerate(starts):
            frame = gwframe.Frame(start, 1.0, name="H1")
            for name, (rate, pieces) in channels.items():
                frame.add_channel(
                    name, pieces[index], rate, channel_type=kind, aux_mask=kind == "adc"
                )
            writer.write_frame(frame)
    return path


def in_place(directory: Path, filename: str, content: bytes = b"x") -> None:
    (directory / filename).write_bytes(content)


def renamed_inside(directory: Path, filename: str, content: bytes = b"x") -> None:
    temporary = directory / f".{filename}.tmp"
    temporary.write_bytes(content)
    temporary.replace(directory / filename)


def renamed_from_outside(directory: Path, filename: str, content: bytes = b"x") -> None:
    temporary = directory.parent / f".{filename}.tmp"
    temporary.write_bytes(content)
    temporary.rename(directory / filename)


def hard_linked(directory: Path, filename: str, content: bytes = b"x") -> None:
    temporary = directory.parent / filename
    temporary.write_bytes(content)
    os.link(temporary, directory / filename)
    temporary.unlink()


WRITERS = [in_place, renamed_inside, renamed_from_outside, hard_linked]


"""What puts a file under its name."""


def make(
    config: Config,
    clock: FakeClock,
    *,
    history: int = 0,
    resume: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> LiveSource:
    """Return the live source of a site."""
    strain = config.input.strain_frames
    run = LiveRun(
        channels=channels_of(config),
        clock=clock,
        deadline=config.input.deadline / NS,
        probe=config.input.probe / NS,
        history=history * NS,
        stopped=stopped,
    )
    tails = [FrameTail(f.directory, f.description, clock) for f in config.input.witnesses]
    witnesses = WitnessFiles(run, tails) if tails else None
    tail = FrameTail(strain.directory, strain.description, clock)
    outputs = [] if resume is None else [resume * NS]
    return LiveSource(run, StrainFiles(run, tail, witnesses), outputs=outputs)


def strain_tail(source: LiveSource) -> FrameTail:
    """Return the tail of the strain's directory."""
    assert isinstance(source.reader, StrainFiles)
    return source.reader.strain


def witness_tail(source: LiveSource) -> FrameTail:
    """Return the tail of the only directory of witnesses."""
    assert isinstance(source.reader, StrainFiles)
    assert isinstance(source.reader.witnesses, WitnessFiles)
    (tail,) = source.reader.witnesses.tails
    return tail


def frames(source: LiveSource, count: int) -> list[InputFrame]:
    """Return the first frames of a source."""
    events = (event for event in source.events() if isinstance(event, InputFrame))
    return list(islice(events, count))


def seconds(given: list[InputFrame]) -> list[int]:
    return [frame.span.start // NS for frame in given]


def has_strain(frame: InputFrame) -> bool:
    return all(isinstance(block.strain, Series) for block in frame.blocks)


def witness(frame: InputFrame, name: str) -> Series | Gap:
    """Return a witness over a whole frame; a gap where any of it is missing."""
    pieces = [block.witnesses[name] for block in frame.blocks]
    series = [piece for piece in pieces if isinstance(piece, Series)]
    return (
        concatenate(series)
        if len(series) == len(pieces)
        else next(piece for piece in pieces if isinstance(piece, Gap))
    )
