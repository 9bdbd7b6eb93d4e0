"""Random directories of real frame files, and what they hold by the rule.

The rule is told here once more, from the list of what was written: at each instant a channel has
the samples of the first file that has them, in the order of start, then the longest, then the path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import gwframe
import lal
import lalframe
import numpy as np
from gwframe.types import Compression

from deepclean.core.block import Block, Gap, Series
from deepclean.core.time import NS
from deepclean.io.catalogue import Directory
from deepclean.io.source import Channels

START = 1_400_000_000
SECONDS = 80
STRAIN, STATE = "H1:STRAIN", "H1:STATE"
RATES = {STRAIN: 64, STATE: 16, "H1:A": 16, "H1:B": 32}
KINDS = ("absent", "late", "short", "odd", "rate")
"""What may be wrong with a channel of a frame; `flagged` and `damaged` come from another writer."""

Cell = tuple[int, bytes] | str
"""Half a second of a channel: rate and samples, or the reason for a gap."""


@dataclass(slots=True)
class MadeFile:
    """A file as it was written: the kind of every channel in every frame."""

    path: Path
    number: int
    start: int
    length: int
    frame: int
    kinds: dict[str, list[str]]
    readable: bool = True
    shift: int = 0

    @property
    def order(self) -> tuple[int, int, Path]:
        return self.start, -self.length, self.path

    def samples(self, channel: str, first: int, count: int, rate: int) -> np.ndarray:
        """Return samples that tell the file, the channel and the place."""
        place = 10_000_000 * self.number + 1_000_000 * list(RATES).index(channel)
        return place + np.arange(first, first + count) - START * rate + rate / 1024

    def cell(self, channel: str, half: int) -> Cell | None:  # noqa: PLR0911
        """Return what the file has of a channel over half a second; None: nothing."""
        if not 2 * self.start <= half < 2 * (self.start + self.length):
            return None
        if not self.readable:
            return "corrupt"
        if channel not in self.kinds or self.shift:
            return None
        index, place = divmod(half - 2 * self.start, 2 * self.frame)
        kind = self.kinds[channel][index]
        if kind == "absent" or (kind == "short" and place >= self.frame):
            return None
        if kind in ("late", "odd", "damaged"):
            return "corrupt"
        if kind == "flagged":
            return "invalid"
        rate = RATES[channel] * (2 if kind == "rate" else 1)
        return rate, self.samples(channel, half * rate // 2, rate // 2, rate).tobytes()


@dataclass(slots=True)
class Place:
    """A random site: its directories with the descriptions that are asked for, and its files."""

    strain: Directory
    witnesses: list[Directory]
    files: list[MadeFile] = field(default_factory=list)
    _chosen: dict[bool, dict[int, list[MadeFile]]] = field(default_factory=dict)
    """The files in which a channel is looked for, in order, by GPS second."""

    @property
    def channels(self) -> Channels:
        return Channels(STRAIN, RATES[STRAIN], STATE, ("H1:A", "H1:B"))

    def expected(self, half: int) -> dict[str, Cell]:
        """Return what every channel has over half a second, by the rule."""
        cells = {
            name: _first(self._files(half // 2, of_strain=name in (STRAIN, STATE)), name, half)
            for name in RATES
        }
        strain = cells[STRAIN]
        if isinstance(strain, str):
            words = {"missing": "strain_missing", "corrupt": "strain_unreadable"}
            cells[STRAIN] = words.get(strain, strain)
        elif strain[0] != RATES[STRAIN]:
            cells[STRAIN] = "strain_rate"
        return cells

    def _files(self, second: int, *, of_strain: bool) -> list[MadeFile]:
        """Return the files in which a channel is looked for in a GPS second, in order."""
        if of_strain not in self._chosen:
            places = [self.strain] if of_strain or not self.witnesses else self.witnesses
            chosen = [
                file
                for file in self.files
                for place in places
                if file.path.parent == place.path
                and (place.description is None or f"-{place.description}-" in file.path.name)
            ]
            by_second: dict[int, list[MadeFile]] = {}
            for file in sorted(chosen, key=lambda file: file.order):
                for each in range(file.start, file.start + file.length):
                    by_second.setdefault(each, []).append(file)
            self._chosen[of_strain] = by_second
        return self._chosen[of_strain].get(second, [])


def _first(files: Sequence[MadeFile], channel: str, half: int) -> Cell:
    cells = [cell for file in files if (cell := file.cell(channel, half)) is not None]
    series = (cell for cell in cells if not isinstance(cell, str))
    return next(series, cells[0] if cells else "missing")


def cells_of(blocks: Sequence[Block]) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Yield what blocks hold, by half seconds."""
    for block in blocks:
        held = {**block.witnesses, STRAIN: block.strain}
        if block.state is not None:
            held[STATE] = block.state
        for half in range(2 * block.span.start // NS, 2 * block.span.end // NS):
            yield half, {name: _cell(piece, half) for name, piece in held.items()}


def _cell(piece: Series | Gap, half: int) -> Cell:
    if isinstance(piece, Gap):
        return piece.reason
    first = half * piece.rate // 2 - piece.span.indices(piece.rate)[0]
    return piece.rate, piece.samples[first : first + piece.rate // 2].tobytes()


def make_place(root: Path, seed: int) -> Place:
    """Write a random place."""
    random = Random(seed)
    place = Place(Directory(root / "strain", random.choice(["H1_llhoft", None])), [])
    others = ["H1:A", "H1:B"]
    streams = [(place.strain.path, "H1_llhoft", [STRAIN, STATE])]
    for number in range(random.choice([0, 1, 1, 2])):
        directory = Directory(root / f"witnesses{number}", random.choice(["H1_R", None]))
        place.witnesses.append(directory)
        streams.append((directory.path, "H1_R", random.choice([others, others, ["H1:A"]])))
        if random.random() < 0.3:
            streams.append((directory.path, "H1_T", random.sample(others, 1)))
    if not place.witnesses:
        streams[0][2].extend(others)
    if random.random() < 0.5:
        streams.append((place.strain.path, "H1_AUX", random.sample(list(RATES), 2)))
    for path, description, channels in streams:
        path.mkdir(parents=True, exist_ok=True)
        _write_stream(place, random, path, description, channels)
    return place


def _write_stream(
    place: Place, random: Random, path: Path, description: str, channels: Sequence[str]
) -> None:
    faulty = random.choice([0.0, 0.1, 0.3])
    main = description == "H1_llhoft"
    second = START
    while second < START + SECONDS:
        length = min(random.choice([1, 1, 2, 4, 16, 64]), START + SECONDS - second)
        last = second + length == START + SECONDS
        sound = main and (last or second == START)
        if sound or random.random() > faulty / 3:
            _write_file(
                place, random, path, description, second, length, channels, 0 if sound else faulty
            )
        if random.random() < 0.05 and not last:
            _write_file(place, random, path, description, second + 1, length, channels, faulty)
        second += length


def _write_file(
    place: Place,
    random: Random,
    directory: Path,
    description: str,
    start: int,
    length: int,
    channels: Sequence[str],
    faulty: float,
) -> None:
    length = min(length, START + SECONDS - start)
    path = directory / f"H-{description}-{start}-{length}.gwf"
    if path.exists() or length < 1:
        return
    frame = random.choice([1, length])
    number = len(place.files) + 1
    by_lal = random.random() < 0.5
    kinds = KINDS if by_lal else ("flagged", "damaged", "short", "rate")

    def kind() -> str:
        return random.choice(kinds) if random.random() < faulty else "sound"

    made = {name: [kind() for _ in range(length // frame)] for name in channels}
    file = MadeFile(path, number, start, length, frame, made)
    if random.random() < faulty / 10:
        file.shift = 1000
    (_write_by_lal if by_lal else _write_by_gwframe)(file)
    if random.random() < faulty / 5:
        file.readable = False
        content = path.read_bytes()
        path.write_bytes(content[: random.randrange(len(content))])
    place.files.append(file)


def _channels(file: MadeFile, index: int) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Yield name, kind, rate and samples of the channels of a frame."""
    for name, kinds in file.kinds.items():
        kind = kinds[index]
        rate = RATES[name] * (2 if kind == "rate" else 1)
        first = (file.start + index * file.frame) * rate
        samples = file.samples(name, first, file.frame * rate, rate)
        if kind == "short":
            samples = samples[: len(samples) // 2]
        yield name, kind, rate + 0.5 if kind == "odd" else rate, samples


def _write_by_lal(file: MadeFile) -> None:
    out = lalframe.FrameUFrFileOpen(str(file.path), "w")
    for index in range(file.length // file.frame):
        start = file.start + file.shift + index * file.frame
        frame = lalframe.FrameNew(lal.LIGOTimeGPS(start), file.frame, "H1", 0, index, 0)
        for name, kind, rate, samples in _channels(file, index):
            if kind == "absent":
                continue
            begin = lal.LIGOTimeGPS(start, round(NS / rate / 4) if kind == "late" else 0)
            series = lal.CreateREAL8TimeSeries(
                name, begin, 0, 1 / rate, lal.StrainUnit, len(samples)
            )
            series.data.data = samples
            lalframe.FrameAddREAL8TimeSeriesProcData(frame, series)
        lalframe.FrameUFrameHWrite(out, frame)
    del out


def _write_by_gwframe(file: MadeFile) -> None:
    damaged: list[bytes] = []
    with gwframe.FrameWriter(file.path, compression=Compression.RAW) as writer:
        for index in range(file.length // file.frame):
            start = file.start + file.shift + index * file.frame
            frame = gwframe.Frame(float(start), float(file.frame), name="H1")
            for name, kind, rate, samples in _channels(file, index):
                masked = np.ma.MaskedArray(samples, mask=kind == "flagged")
                frame.add_channel(name, masked, rate, channel_type="adc")
                if kind == "damaged":
                    damaged.append(samples[:4].tobytes())
            writer.write_frame(frame)
    content = bytearray(file.path.read_bytes())
    for mark in damaged:
        content[content.index(mark)] ^= 1
    file.path.write_bytes(content)
