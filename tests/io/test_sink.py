"""The sink: whole files, in bounded number, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import OutputError
from deepclean.io import gwf
from deepclean.io.sink import FrameSink
from tests.helpers.small_site import START


def write(sink: FrameSink, second: int, duration: int = 1) -> Path:
    span = Span.of_seconds(second, duration)
    return sink.write(span, {"H1:X": Series(span, 16, np.arange(16.0 * duration))})


def test_frame_reads_back_under_its_name(tmp_path: Path) -> None:
    sink = FrameSink(tmp_path, "H1", "H1_DEEPCLEAN", units={"H1:X": "strain"})
    path = write(sink, START)
    assert path.name == f"H-H1_DEEPCLEAN-{START}-1.gwf"
    series = gwf.read(path, ["H1:X"])["H1:X"]
    assert isinstance(series, Series)
    np.testing.assert_array_equal(series.samples, np.arange(16.0))


@given(count=st.integers(1, 6), written=st.integers(1, 15))
def test_count_is_kept(tmp_path_factory: pytest.TempPathFactory, count: int, written: int) -> None:
    place = tmp_path_factory.mktemp("kept")
    sink = FrameSink(place, "H1", "H1_DEEPCLEAN", keep_count=count)
    for second in range(written):
        write(sink, START + second)
    starts = [name.start for name in sink.finished()]
    assert starts == [START + s for s in range(max(0, written - count), written)]


def test_only_own_temporaries_are_swept(tmp_path: Path) -> None:
    own = tmp_path / f".H-H1_DEEPCLEAN-{START}-1.gwf.tmp"
    others = [tmp_path / f".H-H1_OTHER-{START}-1.gwf.tmp", tmp_path / "notes.tmp"]
    for path in (own, *others):
        path.write_bytes(b"half")
    FrameSink(tmp_path, "H1", "H1_DEEPCLEAN")
    assert not own.exists()
    assert all(path.exists() for path in others)


def test_unusable_directory_is_one_clear_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="output directory cannot be used"):
        FrameSink(tmp_path / "file", "H1", "H1_DEEPCLEAN")


def test_vanished_directory_is_reported(tmp_path: Path) -> None:
    sink = FrameSink(tmp_path / "out", "H1", "H1_DEEPCLEAN")
    (tmp_path / "out").rmdir()
    with pytest.raises(OutputError):
        write(sink, START)


def test_a_file_holds_the_parts_of_its_second(tmp_path: Path) -> None:
    sink = FrameSink(tmp_path, "H1", "H1_DEEPCLEAN")
    begin = START * NS
    parts = [Span(begin, begin + NS // 4), Span(begin + NS // 2, begin + NS)]
    for span in parts:
        count = span.samples(16)
        channels = {"H1:X": Series(span, 16, np.arange(count, dtype=np.float64))}
        path = sink.write(span, channels | ({"H1:Y": channels["H1:X"]} if count > 4 else {}))
    assert [each.name for each in tmp_path.iterdir()] == [f"H-H1_DEEPCLEAN-{START}-1.gwf"]
    pieces = gwf.read_pieces(path, ["H1:X"], Span.of_seconds(START, 1), checksum=True).pieces
    held = [piece for piece in pieces["H1:X"] if isinstance(piece, Series)]
    assert [piece.span for piece in held] == parts
    assert [piece.samples.tolist() for piece in held] == [[0, 1, 2, 3], list(range(8))]
    following = Span.of_seconds(START + 1, 1)
    sink.write(following, {"H1:X": Series(following, 16, np.zeros(16))})
    assert len(gwf.read(path, ["H1:X"], parts[0])["H1:X"].span.indices(16)) == 2
