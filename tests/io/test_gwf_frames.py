"""Frame files as other programs make them: many frames, holes, flags, wrong lengths."""

from pathlib import Path

import gwframe
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.block import Gap, Samples
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import gwf
from tests.helpers.frame_files import samples_of, store_frames

GPS = 1370000000
SECOND = Span.of_seconds(GPS, 1)


@pytest.fixture(scope="module")
def many_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ramps = {
        name: (rate, list(np.arange(8.0 * rate).reshape(8, rate)))
        for name, rate in (("H1:FAST", 512), ("H1:SLOW", 16))
    }
    path = tmp_path_factory.mktemp("frames") / "frames.gwf"
    return store_frames(path, [GPS + index for index in range(8)], ramps)


def test_all_frames_are_read_by_default(many_frames: Path) -> None:
    assert gwf.span(many_frames) == Span.of_seconds(GPS, 8)
    read = gwf.read(many_frames, ["H1:FAST", "H1:SLOW"])
    np.testing.assert_array_equal(samples_of(read["H1:FAST"]), np.arange(8.0 * 512))
    np.testing.assert_array_equal(samples_of(read["H1:SLOW"]), np.arange(8.0 * 16))


@given(st.integers(0, 127), st.integers(1, 128))
@settings(max_examples=50)
def test_any_part_across_frames(many_frames: Path, first: int, count: int) -> None:
    last = min(first + count, 128)
    part = Span.of_samples(GPS * 16 + first, last - first, 16)
    read = gwf.read(many_frames, ["H1:SLOW", "H1:FAST"], part)
    np.testing.assert_array_equal(samples_of(read["H1:SLOW"]), np.arange(first, last))
    np.testing.assert_array_equal(samples_of(read["H1:FAST"]), np.arange(first * 32, last * 32))


def test_a_span_that_the_file_does_not_hold(many_frames: Path) -> None:
    for start, duration in ((GPS - 1, 1), (GPS - 1, 4), (GPS + 7, 2), (GPS + 8, 1)):
        span = Span.of_seconds(start, duration)
        with pytest.raises(InputError, match="do not hold all of"):
            gwf.read(many_frames, ["H1:SLOW"], span)
        pieces = gwf.read_pieces(many_frames, ["H1:SLOW"], span).pieces["H1:SLOW"]
        assert [p for p in pieces if isinstance(p, Gap)] == []


def test_a_hole_between_frames_is_not_filled(tmp_path: Path) -> None:
    pieces = {"H1:A": (16, [np.zeros(16), np.ones(16)])}
    path = store_frames(tmp_path / "frames.gwf", [GPS, GPS + 2], pieces)
    assert gwf.span(path) == Span.of_seconds(GPS, 3)
    with pytest.raises(InputError, match="do not hold all of"):
        gwf.read(path, ["H1:A"])


def test_frames_in_any_order_come_in_order_of_time(tmp_path: Path) -> None:
    pieces = {"H1:A": (16, [np.zeros(16), np.ones(16)])}
    path = store_frames(tmp_path / "frames.gwf", [GPS + 1, GPS], pieces)
    read = samples_of(gwf.read(path, ["H1:A"])["H1:A"])
    np.testing.assert_array_equal(read, np.repeat([1, 0], 16))


def test_where_frames_overlap_the_first_speaks(tmp_path: Path) -> None:
    pieces = {"H1:A": (16, [np.zeros(16), np.ones(16)])}
    path = store_frames(tmp_path / "frames.gwf", [GPS, GPS + 0.5], pieces)
    read = samples_of(gwf.read(path, ["H1:A"])["H1:A"])
    np.testing.assert_array_equal(read, np.repeat([0, 1], [16, 8]))


def test_each_side_of_a_hole_is_read(tmp_path: Path) -> None:
    pieces = {"H1:A": (16, [np.zeros(16), np.ones(16)])}
    path = store_frames(tmp_path / "frames.gwf", [GPS, GPS + 2], pieces)
    for second in (0, 1):
        part = Span.of_seconds(GPS + 2 * second, 1)
        read = gwf.read(path, ["H1:A"], part)["H1:A"]
        np.testing.assert_array_equal(samples_of(read), np.full(16, second))


def test_a_change_of_rate_between_frames_is_a_fault(tmp_path: Path) -> None:
    with gwframe.FrameWriter(tmp_path / "frames.gwf") as writer:
        for start, rate in ((GPS, 256), (GPS + 1, 512)):
            frame = gwframe.Frame(float(start), 1.0, name="H1")
            frame.add_channel("H1:A", np.zeros(rate), rate)
            writer.write_frame(frame)
    # One and a half seconds at the first frame's rate: the library would cut 384 samples for it.
    with pytest.raises(InputError, match="H1:A"):
        gwf.read(tmp_path / "frames.gwf", ["H1:A"], Span(GPS * NS, GPS * NS + 3 * NS // 2))


# Channels.


def test_a_channel_of_the_wrong_length(tmp_path: Path) -> None:
    pieces = {"H1:A": (256, [np.zeros(256)]), "H1:B": (256, [np.zeros(255)])}
    path = store_frames(tmp_path / "frame.gwf", [GPS], pieces)
    with pytest.raises(InputError, match=r"H1:B: .*256 samples") as caught:
        gwf.read(path, ["H1:A", "H1:B"])
    assert caught.value.channels == ("H1:B",)


def test_a_flagged_channel_is_a_gap_and_the_others_are_not(tmp_path: Path) -> None:
    flagged: Samples = np.ma.MaskedArray(np.ones(256), mask=True)
    pieces = {"H1:BAD": (256, [flagged]), "H1:GOOD": (256, [np.ones(256)])}
    path = store_frames(tmp_path / "frame.gwf", [GPS], pieces, kind="adc")
    read = gwf.read(path, ["H1:BAD", "H1:GOOD"])
    assert read["H1:BAD"] == Gap(SECOND, "invalid")
    np.testing.assert_array_equal(samples_of(read["H1:GOOD"]), np.ones(256))


def test_flagged_sixteenths_are_a_gap_only_where_they_are(tmp_path: Path) -> None:
    flagged: Samples = np.ma.MaskedArray(np.arange(256.0), mask=np.arange(256) == 100)
    path = store_frames(tmp_path / "frame.gwf", [GPS], {"H1:A": (256, [flagged])}, kind="adc")
    sixteenths = [Span.of_samples(GPS * 16 + index, 1, 16) for index in range(16)]
    reads = [gwf.read(path, ["H1:A"], part)["H1:A"] for part in sixteenths]
    assert [isinstance(read, Gap) for read in reads] == [index == 6 for index in range(16)]
    assert gwf.read(path, ["H1:A"])["H1:A"] == Gap(SECOND, "invalid")
