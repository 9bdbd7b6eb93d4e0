"""History: files of any length, kind and order read as one; the world's faults are gaps."""

from itertools import pairwise
from pathlib import Path

import gwframe
import h5py
import numpy as np
import pytest
from gwframe.types import Compression
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.block import Gap, Samples, Series
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.io import gwf, hdf5
from deepclean.io.channels import OutputChannel
from deepclean.io.history import History

GPS = 1370000000
RATES = {"H1:FAST": 512, "H1:SLOW": 16}


def seconds(first: int, count: int) -> Span:
    return Span.of_seconds(GPS + first, count)


def ramp(span: Span, rate: int, offset: float = 0.0) -> Samples:
    """Return samples that count from GPS: each tells its own place."""
    first, last = (index - GPS * rate for index in span.indices(rate))
    return np.arange(first, last) + offset


def store(
    directory: Path,
    first: int,
    count: int,
    *,
    description: str = "H1_llhoft",
    extension: str = "gwf",
    offset: float = 0.0,
    channels: tuple[str, ...] = tuple(RATES),
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"H-{description}-{GPS + first}-{count}.{extension}"
    span = seconds(first, count)
    outputs = {
        name: OutputChannel(Series(span, RATES[name], ramp(span, RATES[name], offset)))
        for name in channels
    }
    if extension == "gwf":
        gwf.publish(path, gwf.serialise(span, outputs))
    else:
        hdf5.write_archive(path, outputs)
    return path


def assert_ramp(read: Series | Gap, span: Span, rate: int) -> None:
    assert isinstance(read, Series), read
    assert (read.span, read.rate) == (span, rate)
    np.testing.assert_array_equal(read.samples, ramp(span, rate))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """130 seconds without a hole: long and short files, both kinds, nested, some overlapping."""
    root = tmp_path_factory.mktemp("mixture")
    store(root / "13700", 0, 100)
    store(root / "13700", 100, 1)
    store(root / "13701" / "deeper", 101, 9, extension="hdf5")
    store(root, 105, 8)  # begins within the one before
    store(root, 106, 2)  # lies within that
    for first in range(113, 120):
        store(root, first, 1)
    store(root, 120, 10, extension="h5")
    return root


@given(first=st.integers(0, 130 * 16 - 1), count=st.integers(1, 130 * 16))
@settings(max_examples=60)
def test_any_span_across_files(mixture: Path, first: int, count: int) -> None:
    span = Span.of_samples(GPS * 16 + first, min(count, 130 * 16 - first), 16)
    history = History([mixture])
    for _ in range(2):  # from the files, then from what was kept
        for name, read in history.read(RATES, span).items():
            assert_ramp(read, span, RATES[name])
    assert history.faults == []


@given(st.lists(st.integers(1, 40 * 16), min_size=1, max_size=12))
@settings(max_examples=30)
def test_consecutive_reads_of_any_lengths_equal_one(mixture: Path, lengths: list[int]) -> None:
    history = History([mixture])
    edges = np.cumsum([GPS * 16, *lengths]).tolist()
    for first, last in pairwise(edge for edge in edges if edge <= (GPS + 130) * 16):
        span = Span.of_samples(first, last - first, 16)
        for name, read in history.read(RATES, span).items():
            assert_ramp(read, span, RATES[name])


def test_what_was_kept_is_out_of_the_readers_reach(mixture: Path) -> None:
    history = History([mixture])
    for _ in range(2):
        read = history.read(["H1:FAST"], seconds(3, 1))["H1:FAST"]
        assert_ramp(read, seconds(3, 1), 512)
        assert isinstance(read, Series)
        read.samples[:] = -1


def test_channels_and_spans(mixture: Path, tmp_path: Path) -> None:
    assert History([mixture]).channels() == RATES
    assert History([mixture]).channels(["H1:SLOW", "H1:NONE"]) == {"H1:SLOW": 16}
    assert History([mixture]).spans() == [seconds(0, 130)]
    store(tmp_path, 200, 2, description="H1_aux", channels=("H1:SLOW",))
    history = History([tmp_path, mixture])
    assert history.spans() == [seconds(0, 130), seconds(200, 2)]
    assert history.spans("H1:FAST") == [seconds(0, 130)]
    assert history.spans("H1:SLOW") == [seconds(0, 130), seconds(200, 2)]
    assert history.spans("H1:NONE") == []


def test_required_channels_are_there_or_named(mixture: Path) -> None:
    assert History([mixture]).require(["H1:SLOW"]) == {"H1:SLOW": 16}
    with pytest.raises(InputError, match=r"H1:FASTER \(did you mean H1:FAST\?\)") as caught:
        History([mixture]).require(["H1:SLOW", "H1:FASTER"])
    assert caught.value.channels == ("H1:FASTER",)


def test_real_public_strain(test_data: Path) -> None:
    history = History([test_data], description="H1_LOSC_4_V2")
    start = 1126259446
    assert Span.of_seconds(start, 32) in history.spans()
    span = Span.of_seconds(start + 15, 2)
    read = history.read(["H1:GDS-CALIB_STRAIN"], span, strict=True)["H1:GDS-CALIB_STRAIN"]
    with h5py.File(test_data / f"H-H1_LOSC_4_V2-{start}-32.hdf5") as file:
        expected = file["strain/Strain"][15 * 4096 : 17 * 4096]
    assert isinstance(read, Series)
    np.testing.assert_array_equal(read.samples, expected)


# Several streams side by side.


def test_channels_come_from_whichever_file_holds_them(tmp_path: Path) -> None:
    store(tmp_path, 0, 64, channels=("H1:FAST",))
    for first in range(64):
        store(tmp_path / "aux", first, 1, description="H1_lldetchar", channels=("H1:SLOW",))
    history = History([tmp_path])
    assert history.channels() == RATES
    for name, read in history.read(RATES, seconds(10, 20)).items():
        assert_ramp(read, seconds(10, 20), RATES[name])


def test_where_files_overlap_the_first_to_start_and_the_longest_speaks(tmp_path: Path) -> None:
    store(tmp_path, 0, 4, offset=0)
    store(tmp_path, 2, 2, offset=1000)
    store(tmp_path, 2, 6, offset=2000)
    store(tmp_path, 6, 4, offset=3000)
    expected = np.repeat([0, 2000, 3000], 16 * np.array([4, 4, 2]))
    history = History([tmp_path])
    for first, count in ((0, 10), (3, 2), (2, 1), (5, 4), (7, 2), (9, 1)):
        read = history.read(["H1:SLOW"], seconds(first, count))["H1:SLOW"]
        assert isinstance(read, Series)
        part = slice(16 * first, 16 * (first + count))
        np.testing.assert_array_equal(read.samples, (np.arange(160) + expected)[part])


# Gaps.


def test_what_no_file_holds_is_missing(tmp_path: Path) -> None:
    store(tmp_path, 0, 2)
    store(tmp_path, 3, 2)
    history = History([tmp_path])
    assert history.spans() == [seconds(0, 2), seconds(3, 2)]
    for first, count in ((-2, 2), (-1, 2), (1, 3), (2, 1), (4, 2), (5, 1)):
        span = seconds(first, count)
        gaps = dict.fromkeys(RATES, Gap(span, "missing"))
        assert history.read(RATES, span, strict=True) == gaps
    read = history.read(["H1:NONE", "H1:SLOW"], seconds(0, 1), strict=True)
    assert read["H1:NONE"] == Gap(seconds(0, 1), "missing")
    assert_ramp(read["H1:SLOW"], seconds(0, 1), 16)
    assert history.faults == []


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None])
@pytest.mark.parametrize("extension", ["gwf", "hdf5"])
def test_a_corrupt_file_is_one_gap(tmp_path: Path, extension: str, content: bytes | None) -> None:
    store(tmp_path, 0, 2)
    bad = store(tmp_path, 2, 2, extension=extension)
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2] if content is None else content)
    store(tmp_path, 4, 2)
    history = History([tmp_path])
    for span in (seconds(1, 2), seconds(2, 1), seconds(0, 6)):
        gaps = dict.fromkeys(RATES, Gap(span, "corrupt"))
        for _ in range(2):
            assert history.read(RATES, span) == gaps
    assert [fault.path for fault in history.faults] == [bad]
    with pytest.raises(InputError, match="not a readable"):
        history.read(RATES, seconds(2, 1), strict=True)
    for first in (0, 4):
        assert_ramp(history.read(RATES, seconds(first, 2))["H1:FAST"], seconds(first, 2), 512)
    assert history.channels() == RATES


def test_a_file_that_has_gone_is_missing(tmp_path: Path) -> None:
    path = store(tmp_path, 0, 2)
    history = History([tmp_path])
    path.unlink()
    gaps = dict.fromkeys(RATES, Gap(seconds(0, 1), "missing"))
    assert history.read(RATES, seconds(0, 1)) == gaps
    assert [fault.path for fault in history.faults] == [path]


def test_a_sound_file_steps_in_for_a_corrupt_one(tmp_path: Path) -> None:
    store(tmp_path, 0, 4).write_bytes(b"garbage")
    store(tmp_path, 1, 2)
    history = History([tmp_path])
    assert_ramp(history.read(["H1:SLOW"], seconds(1, 2))["H1:SLOW"], seconds(1, 2), 16)
    assert history.read(["H1:SLOW"], seconds(1, 3))["H1:SLOW"] == Gap(seconds(1, 3), "corrupt")


@pytest.fixture
def frames_with_faults(tmp_path: Path) -> Path:
    """Eight 1-s frames: H1:FAST is flagged in the third, damaged in the sixth."""
    path = tmp_path / f"H-H1_R-{GPS}-8.gwf"
    with gwframe.FrameWriter(path, compression=Compression.RAW) as writer:
        for second in range(8):
            frame = gwframe.Frame(float(GPS + second), 1.0, name="H1")
            for name, rate in RATES.items():
                samples = ramp(seconds(second, 1), rate)
                masked = np.ma.MaskedArray(samples, mask=second == 2 and name == "H1:FAST")
                frame.add_channel(name, masked, rate, channel_type="adc")
            writer.write_frame(frame)
    content = bytearray(path.read_bytes())
    where = content.index(ramp(seconds(5, 1), 512)[:4].tobytes())
    content[where] ^= 1
    path.write_bytes(content)
    return path


def test_one_channels_fault_costs_only_that_channel_and_time(frames_with_faults: Path) -> None:
    history = History([frames_with_faults])
    fast = [history.read(RATES, seconds(first, 1))["H1:FAST"] for first in range(8)]
    assert [read.reason if isinstance(read, Gap) else "" for read in fast] == [
        *["", "", "invalid", "", ""],
        *["corrupt", "", ""],
    ]
    assert [fault.channels for fault in history.faults] == [("H1:FAST",)]
    for first in (0, 1, 3, 4, 6, 7):
        assert_ramp(fast[first], seconds(first, 1), 512)
    assert_ramp(history.read(RATES, seconds(0, 8))["H1:SLOW"], seconds(0, 8), 16)
    assert history.read(RATES, seconds(1, 2))["H1:FAST"] == Gap(seconds(1, 2), "invalid")
    with pytest.raises(InputError, match="H1:FAST: damaged"):
        history.read(RATES, seconds(4, 2), strict=True)


def test_a_rate_that_changes_between_files_is_a_gap(tmp_path: Path) -> None:
    store(tmp_path, 0, 2)
    span = seconds(2, 2)
    series = Series(span, 32, np.zeros(64))
    path = tmp_path / f"H-H1_llhoft-{GPS + 2}-2.gwf"
    gwf.publish(path, gwf.serialise(span, {"H1:SLOW": OutputChannel(series)}))
    history = History([tmp_path])
    across = seconds(1, 2)
    assert history.read(["H1:SLOW"], across)["H1:SLOW"] == Gap(across, "corrupt")
    assert "does not continue" in str(history.faults[0])
    assert isinstance(history.read(["H1:SLOW"], seconds(2, 1))["H1:SLOW"], Series)


def test_a_rate_that_changes_within_a_file_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / f"H-H1_R-{GPS}-128.gwf"
    with gwframe.FrameWriter(path) as writer:
        for first, rate in ((0, 16), (64, 32)):
            frame = gwframe.Frame(float(GPS + first), 64.0, name="H1")
            frame.add_channel("H1:SLOW", np.zeros(64 * rate), rate)
            writer.write_frame(frame)
    history = History([path])
    across = seconds(63, 2)
    for _ in range(2):
        assert history.read(["H1:SLOW"], across)["H1:SLOW"] == Gap(across, "corrupt")
    assert [fault.channels for fault in history.faults] == [("H1:SLOW",)]
    for first, rate in ((62, 16), (64, 32)):
        read = history.read(["H1:SLOW"], seconds(first, 2))["H1:SLOW"]
        assert isinstance(read, Series)
        assert read.rate == rate


# What it keeps.


def test_a_long_file_is_read_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, 0, 130)
    asked: list[Span] = []
    read = gwf.read_pieces

    def counted(path: Path, wanted: list[str], span: Span, **options: bool) -> object:
        if wanted:
            asked.append(span)
        return read(path, wanted, span, **options)

    monkeypatch.setattr(gwf, "read_pieces", counted)
    history = History([tmp_path])
    for first in range(130):
        assert_ramp(history.read(RATES, seconds(first, 1))["H1:FAST"], seconds(first, 1), 512)
    assert asked == [seconds(0, 64), seconds(64, 64), seconds(128, 2)]


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    store(tmp_path, 0, 600, channels=("H1:SLOW",))
    history = History([tmp_path])
    for first in range(0, 600, 10):
        history.read(["H1:SLOW"], seconds(first, 1))
    assert len(history._reader._kept) == 4
