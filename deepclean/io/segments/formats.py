"""Segments: the seconds in which a cleaned frame's state bits are set, as files of the field.

A file has one flag for each bit of the state vector, `H1:DEEPCLEAN-CLEANED:1`, and one for the
product as a whole, `H1:DEEPCLEAN-GOOD:1`, which is active where all of some named bits are. A flag
is known in the seconds of which there is a frame. A bit counts in a second if it is set in all of
its sixteenths: segments have whole seconds, as those of the segment database have.

Files are LIGO_LW XML or HDF5 in gwpy's layout. gwpy reads both. They are written without it and
without igwn_ligolw, which take a second to import and half a minute for a day that flickers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from io import BytesIO
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

import h5py
import numpy as np

from deepclean import __version__
from deepclean.core import channels
from deepclean.core.block import Gap, Samples, Series
from deepclean.core.nonfinite import runs
from deepclean.core.output.products import State
from deepclean.core.output.segments import intersection, union
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, one_line
from deepclean.io.catalogue import DataFile

Format = Literal["xml", "hdf5"]

GOOD = "GOOD"
"""The flag of the product as a whole."""

_VERSION = 1
"""Version of the flags: another meaning of a bit would need another."""

_TIMES = np.dtype([(f"{end}_time{part}", "i8") for end in ("start", "end") for part in ("", "_ns")])
"""The columns of a list of segments in gwpy's HDF5."""

_HEAD = """<?xml version='1.0' encoding='utf-8'?>
<!DOCTYPE LIGO_LW SYSTEM "http://ldas-sw.ligo.caltech.edu/doc/ligolwAPI/html/ligolw_dtd.txt">
"""

_SEGMENT = {
    "start_time": "int_4s",
    "start_time_ns": "int_4s",
    "end_time": "int_4s",
    "end_time_ns": "int_4s",
    "segment_definer:segment_def_id": "int_8s",
}
_PROCESS = {"process:process_id": "int_8s"}
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "process": {"process_id": "int_8s", "program": "lstring", "version": "lstring"},
    "segment_definer": {
        **_PROCESS,
        "segment_def_id": "int_8s",
        "ifos": "lstring",
        "name": "lstring",
        "version": "int_4s",
        "comment": "lstring",
    },
    "segment_summary": {**_PROCESS, "segment_sum_id": "int_8s", **_SEGMENT},
    "segment": {**_PROCESS, "segment_id": "int_8s", **_SEGMENT},
}
"""The columns of the LIGO_LW tables of segments, and their types."""


@dataclass(slots=True)
class StateSegments:
    """The segments of every state bit over some time.

    Args:
        known: the time of which there are frames, whole seconds, in order.
        active: the time in which a bit is set, by its name, in order.
    """

    known: list[Span] = field(default_factory=list)
    active: dict[str, list[Span]] = field(default_factory=dict)

    def add(self, *others: StateSegments) -> None:
        """Add the segments of other times."""
        self.known = union(self.known, *(other.known for other in others))
        for name in dict.fromkeys(name for other in others for name in other.active):
            held = [one.active[name] for one in (self, *others) if name in one.active]
            self.active[name] = union(*held)

    def within(self, span: Span) -> StateSegments:
        """Return the part over a span."""
        active = {name: intersection(spans, [span]) for name, spans in self.active.items()}
        return StateSegments(intersection(self.known, [span]), active)

    def all_of(self, bits: Iterable[str]) -> list[Span]:
        """Return the time in which all of these bits are set."""
        return reduce(intersection, [self.active.get(bit, []) for bit in bits], self.known)


def segments_of(state: Series) -> StateSegments:
    """Return the segments of a state vector over whole seconds.

    >>> bits = np.repeat([State.OUTPUT_VALID | State.CLEANED, State.OUTPUT_VALID], 16)
    >>> bits[0] = State.CLEANED
    >>> found = segments_of(Series(Span.of_seconds(4, 2), 16, bits))
    >>> [(name, *map(str, spans)) for name, spans in found.active.items() if spans]
    [('OUTPUT_VALID', '[5, 6)'), ('CLEANED', '[4, 5)')]

    Args:
        state: at 16 Hz.
    """
    seconds = state.samples.reshape(-1, channels.STATE_RATE)
    throughout = np.bitwise_and.reduce(seconds.astype(np.int64), axis=1)
    if (throughout == throughout[0]).all():  # of one second at least
        active = {str(bit.name): [state.span] if throughout[0] & bit else [] for bit in State}
        return StateSegments([state.span], active)
    first = state.span.start // NS
    return StateSegments(
        [state.span],
        {
            str(bit.name): [
                Span((first + low) * NS, (first + high) * NS)
                for low, high in runs((throughout & bit) != 0)
            ]
            for bit in State
        },
    )


def state_channel(file: DataFile) -> str:
    """Return the name of the state vector in a file of cleaned frames.

    Raises:
        InputError: the file cannot be read, or holds no cleaned frames.
    """
    suffix = channels.state_vector("")
    name = next((name for name in file.channels() if name.endswith(suffix)), None)
    if name is None:
        raise InputError("not a cleaned frame: no DEEPCLEAN-STATE_VECTOR", path=file.path)
    return name


def read_frames(file: DataFile, channel: str) -> StateSegments:
    """Return the segments of a file of cleaned frames.

    What is damaged in it is not known, nor are seconds that are there in part.

    Args:
        file: a frame file, or one of an archive.
        channel: the full name of the state vector.

    Raises:
        InputError: the file cannot be read, or all of the state vector is damaged.
    """
    reading, found = file.read([channel], file.span), StateSegments()
    for piece in reading.pieces[channel]:
        start, end = -(-piece.span.start // NS) * NS, piece.span.end // NS * NS
        if not isinstance(piece, Gap) and start < end:
            found.add(segments_of(piece.cut(Span(start, end))))
    for fault in () if found.known else reading.faults:
        raise fault
    return found


def serialise(
    segments: StateSegments, interferometer: str, good: Sequence[str], form: Format
) -> bytes:
    """Return the content of a file with these segments.

    Args:
        segments: of the state bits.
        interferometer: such as `H1`.
        good: the bits that make the product good.
        form: `xml` or `hdf5`.
    """
    flags: dict[str, tuple[str, list[Span]]] = {
        GOOD: (" and ".join(good), segments.all_of(good)),
        **{str(bit.name): (_about(bit), segments.active.get(str(bit.name), [])) for bit in State},
    }
    write = _xml if form == "xml" else _hdf5
    return write(segments.known, flags, interferometer)


def parse(path: Path) -> StateSegments:
    """Return the segments of a file that `serialise` made.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return (_parse_xml if path.suffix == ".xml" else _parse_hdf5)(path)
    except Exception as error:  # the libraries' exceptions have no common base
        raise InputError(f"no segments can be read: {one_line(error)}", path=path) from error


def _about(bit: State) -> str:
    return f"bit {int(bit).bit_length() - 1} of DEEPCLEAN-STATE_VECTOR"


def _xml(
    known: Sequence[Span], flags: Mapping[str, tuple[str, list[Span]]], interferometer: str
) -> bytes:
    """Return a LIGO_LW document. It names no machine and no time, so that equal ones are equal."""
    lists = [spans for _, spans in flags.values()]
    tables = {
        "process": [f'0,"deepclean","{__version__}"'],
        "segment_definer": [
            f'0,{number},"{interferometer}","DEEPCLEAN-{name}",{_VERSION},"{about}"'
            for number, (name, (about, _)) in enumerate(flags.items())
        ],
        "segment_summary": _rows((number, span) for number in range(len(flags)) for span in known),
        "segment": _rows((number, span) for number, spans in enumerate(lists) for span in spans),
    }
    body = "".join(_table(name, rows) for name, rows in tables.items())
    return f"{_HEAD}<LIGO_LW>\n{body}</LIGO_LW>\n".encode()


def _rows(segments: Iterable[tuple[int, Span]]) -> list[str]:
    """Return the rows of segments: process, number, start and end with nanoseconds, flag."""
    return [
        f"0,{row},{s.start // NS},{s.start % NS},{s.end // NS},{s.end % NS},{flag}"
        for row, (flag, s) in enumerate(segments)
    ]


def _table(name: str, rows: Sequence[str]) -> str:
    """Return a table with its rows, each a line of values between commas."""
    columns = "".join(
        f'\t\t<Column Name="{column}" Type="{kind}"/>\n' for column, kind in _COLUMNS[name].items()
    )
    content = ",\n".join(f"\t\t\t{row}" for row in rows)
    return (
        f'\t<Table Name="{name}:table">\n{columns}'
        f'\t\t<Stream Name="{name}:table" Delimiter="," Type="Local">\n{content}\n\t\t</Stream>\n'
        "\t</Table>\n"
    )


def _parse_xml(path: Path) -> StateSegments:
    tables: dict[str, list[list[str]]] = {}
    for table in ET.parse(path).getroot().iter("Table"):
        lines = (table.findtext("Stream") or "").split("\n")
        rows = [line.strip().removesuffix(",") for line in lines if line.strip()]
        tables[table.attrib["Name"].removesuffix(":table")] = list(csv.reader(rows))

    def spans(table: str, number: str) -> list[Span]:
        """Return the segments of a flag in the order of the columns that `_rows` writes."""
        return [
            Span(int(start) * NS + int(start_ns), int(end) * NS + int(end_ns))
            for _, _, start, start_ns, end, end_ns, flag in tables[table]
            if flag == number
        ]

    found = StateSegments()
    for _, number, _, name, _, _ in tables["segment_definer"]:
        found.known = spans("segment_summary", number)
        found.active[name.removeprefix("DEEPCLEAN-")] = spans("segment", number)
    del found.active[GOOD]
    return found


def _hdf5(
    known: Sequence[Span], flags: Mapping[str, tuple[str, list[Span]]], interferometer: str
) -> bytes:
    """Return an HDF5 file with a group for each flag, as gwpy's DataQualityDict has it."""

    def table(spans: Sequence[Span]) -> Samples:
        rows = [(*divmod(span.start, NS), *divmod(span.end, NS)) for span in spans]
        return np.array(rows, dtype=_TIMES)

    content = BytesIO()
    with h5py.File(content, "w") as file:
        for name, (about, spans) in flags.items():
            full = f"{interferometer}:DEEPCLEAN-{name}:{_VERSION}"
            group = file.create_group(full)
            group["known"], group["active"] = table(known), table(spans)
            group.attrs.update({"name": full, "description": about, "isgood": True})
    return content.getvalue()


def _parse_hdf5(path: Path) -> StateSegments:
    def spans(rows: Samples) -> list[Span]:
        return [Span(int(a) * NS + int(b), int(c) * NS + int(d)) for a, b, c, d in rows]

    found = StateSegments()
    with h5py.File(path) as file:
        for full, group in file.items():
            found.known = spans(group["known"][:])
            found.active[full.split("-", maxsplit=1)[1].split(":")[0]] = spans(group["active"][:])
    del found.active[GOOD]
    return found
