"""HDF5: public strain, channel archives as gwpy writes them, and our own."""

import fcntl
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.block import Samples, Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, OutputError
from deepclean.io import hdf5
from deepclean.io.channels import OutputChannel
from tests.helpers.frame_files import samples_of

GPS = 1370000000
EVENT = "H-H1_LOSC_4_V2-1126259446-32.hdf5"


def dataset(file: Any, name: str, samples: Samples, **attributes: Any) -> None:
    file.create_dataset(name, data=samples).attrs.update(attributes)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Channels at several depths, and what is no channel."""
    path = tmp_path / "deepclean-1370000000-8.hdf5"
    with h5py.File(path, "w") as file:
        dataset(file, "H1:FAST", np.arange(8.0 * 512), x0=float(GPS), dx=1 / 512)
        dataset(file, "a/b/H1:SLOW", np.arange(8 * 16, dtype="u4"), x0=np.int64(GPS), dx=0.0625)
        dataset(file, "a/H1:TWO_D", np.zeros((2, 2)), x0=GPS, dx=1.0)
        dataset(file, "a/H1:TEXT", np.array([b"x"]), x0=GPS, dx=1.0)
        dataset(file, "a/H1:NO_TIME", np.zeros(8), dx=1.0)
    return path


# Public strain.


@pytest.mark.parametrize("name", [EVENT, "L-L1_LOSC_4_V1-1167559920-32.hdf5"])
def test_real_public_strain_is_what_gwpy_reads(test_data: Path, name: str) -> None:
    from gwpy.timeseries import TimeSeries

    path, detector = test_data / name, name[2:4]
    expected = TimeSeries.read(path, format="hdf5.gwosc")
    assert hdf5.channels(path) == {f"{detector}:STRAIN": 4096}
    assert hdf5.span(path) == Span.of_seconds(int(expected.t0.value), 32)
    read = hdf5.read(path, [f"{detector}:STRAIN"])[f"{detector}:STRAIN"]
    assert samples_of(read).dtype == np.float64
    np.testing.assert_array_equal(samples_of(read), expected.value)


def test_a_part_of_real_public_strain(test_data: Path) -> None:
    whole = hdf5.read(test_data / EVENT, ["H1:STRAIN"])["H1:STRAIN"]
    part = Span(1126259462 * NS + NS // 16, 1126259463 * NS)
    read = hdf5.read(test_data / EVENT, ["H1:STRAIN"], part)["H1:STRAIN"]
    assert isinstance(whole, Series)
    np.testing.assert_array_equal(samples_of(read), whole.cut(part).samples)


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """The layout of a GWOSC file."""
    path = tmp_path / "L-L1_GWOSC_4KHZ_R1-1370000000-2.hdf5"
    with h5py.File(path, "w") as file:
        file["meta/Detector"] = "L1"
        dataset(file, "strain/Strain", np.arange(8192.0), Xstart=GPS, Xspacing=1 / 4096)
        dataset(file, "quality/simple/DQmask", np.zeros(2, "u4"), Xstart=GPS, Xspacing=1.0)
    return path


def test_public_strain_answers_to_every_strain_name_of_its_detector(public: Path) -> None:
    wanted = ["L1:GDS-CALIB_STRAIN", "L1:STRAIN"]
    assert hdf5.channels(public) == {"L1:STRAIN": 4096}
    assert hdf5.channels(public, wanted) == dict.fromkeys(wanted, 4096)
    for read in hdf5.read(public, wanted).values():
        np.testing.assert_array_equal(samples_of(read), np.arange(8192.0))
    for other in ("H1:GDS-CALIB_STRAIN", "L1:GDS-CALIB_STATE_VECTOR", "L1:OMC-STRAIN"):
        with pytest.raises(InputError, match=f"no such channel: {other}"):
            hdf5.read(public, [other])


# Channel archives.


def test_channels_are_found_at_any_depth(archive: Path) -> None:
    assert hdf5.channels(archive) == {"H1:FAST": 512, "H1:SLOW": 16}
    assert hdf5.channels(archive, ["H1:SLOW", "H1:NONE"]) == {"H1:SLOW": 16}
    assert hdf5.span(archive) == Span.of_seconds(GPS, 8)
    read = hdf5.read(archive, ["H1:SLOW", "H1:FAST"])
    assert list(read) == ["H1:SLOW", "H1:FAST"]
    assert samples_of(read["H1:SLOW"]).dtype == np.uint32
    np.testing.assert_array_equal(samples_of(read["H1:SLOW"]), np.arange(128))
    np.testing.assert_array_equal(samples_of(read["H1:FAST"]), np.arange(4096))


@given(first=st.integers(0, 127), count=st.integers(1, 128))
@settings(max_examples=40)
def test_any_part(tmp_path_factory: pytest.TempPathFactory, first: int, count: int) -> None:
    path = tmp_path_factory.mktemp("archive") / "part.h5"
    whole = Series(Span.of_seconds(GPS, 8), 512, np.arange(8.0 * 512))
    hdf5.write_archive(path, {"H1:A": OutputChannel(whole)})
    part = Span.of_samples(GPS * 16 + first, min(count, 128 - first), 16)
    read = hdf5.read(path, ["H1:A"], part)["H1:A"]
    np.testing.assert_array_equal(samples_of(read), whole.cut(part).samples)


@pytest.mark.parametrize(
    "x0", [GPS, float(GPS), np.float64(GPS), np.int32(GPS), np.array([GPS]), str(GPS)]
)
def test_a_start_of_any_kind(tmp_path: Path, x0: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset(file, "H1:A", np.zeros(32), x0=x0, dx=np.float32(1 / 16))
    assert hdf5.span(tmp_path / "a.h5") == Span.of_seconds(GPS, 2)


def test_a_start_with_a_fraction(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset(file, "H1:A", np.zeros(10), x0=1370000000.1, dx=1 / 10)
    tenth = GPS * NS + NS // 10
    assert hdf5.span(tmp_path / "a.h5") == Span(tenth, tenth + NS)


@pytest.mark.parametrize(
    ("x0", "dx", "said"),
    [
        (1370000000.1, 1 / 16, "no sample at 16 Hz"),
        (1.0 + 2**-14, 2**-14, "nanoseconds"),
        (float("nan"), 1 / 16, "nanoseconds"),
        ("yesterday", 1 / 16, "not a time"),
        (GPS, 0.3, "whole number of samples"),
        (GPS, 0.0, "whole number of samples"),
        (np.array([1.0, 2.0]), 1 / 16, "size 1"),
        (GPS, np.array([1.0, 2.0]), "size 1"),
        (GPS, "often", "could not convert"),
        (GPS, h5py.Empty("f8"), "could not convert"),
    ],
)
def test_times_off_the_grid_are_a_clear_fault(tmp_path: Path, x0: Any, dx: Any, said: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset(file, "H1:BAD", np.zeros(64), x0=x0, dx=dx)
        dataset(file, "H1:GOOD", np.zeros(64), x0=GPS, dx=1 / 16)
    assert hdf5.channels(path) == {"H1:GOOD": 16}
    with pytest.raises(InputError, match=f"H1:BAD: .*{said}") as caught:
        hdf5.read(path, ["H1:GOOD", "H1:BAD"], Span.of_seconds(GPS, 1))
    assert caught.value.path == path
    assert caught.value.channels == ("H1:BAD",)


def test_samples_after_the_last_whole_nanosecond_can_be_left_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset(file, "H1:A", np.arange(16384 + 33.0), x0=GPS, dx=1 / 16384)
    end = GPS * NS + NS + NS // 512
    assert hdf5.span(tmp_path / "a.h5") == Span(GPS * NS, end)
    read = hdf5.read(tmp_path / "a.h5", ["H1:A"])["H1:A"]
    np.testing.assert_array_equal(samples_of(read), np.arange(16384 + 32.0))


def test_foreign_byte_order_becomes_native(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset(file, "H1:A", np.arange(16, dtype=">f8"), x0=GPS, dx=1 / 16)
    read = samples_of(hdf5.read(tmp_path / "a.h5", ["H1:A"])["H1:A"])
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, np.arange(16))


# Faults.


def test_absent_channels_and_times(archive: Path) -> None:
    with pytest.raises(InputError, match=r"H1:FASTER \(did you mean H1:FAST\?\)") as caught:
        hdf5.read(archive, ["H1:FAST", "H1:FASTER"])
    assert caught.value.channels == ("H1:FASTER",)
    both = hdf5.read_pieces(archive, ["H1:FAST", "H1:FASTER"], Span.of_seconds(GPS, 1))
    assert list(both.pieces) == ["H1:FAST"]
    late = Span.of_seconds(GPS + 7, 2)
    with pytest.raises(InputError, match=r"H1:FAST: held over .*1370000008\), not all of"):
        hdf5.read(archive, ["H1:FAST"], late)
    (piece,) = hdf5.read_pieces(archive, ["H1:FAST"], late).pieces["H1:FAST"]
    assert piece.span == Span.of_seconds(GPS + 7, 1)


def test_files_that_are_no_archives(tmp_path: Path, archive: Path) -> None:
    whole = archive.read_bytes()
    contents = {"empty": b"", "garbage": b"x" * 5000, "cut": whole[: len(whole) // 2]}
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        for attempt in (hdf5.channels, hdf5.span, lambda path: hdf5.read(path, ["H1:FAST"])):
            with pytest.raises(InputError, match="not a readable HDF5 file") as caught:
                attempt(path)
            assert caught.value.path == path
            assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        hdf5.read(tmp_path / "none.h5", ["H1:FAST"])


def test_an_archive_without_channels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["H1:A"] = np.zeros(16)
        dataset(file, "H1:EMPTY", np.zeros(0), x0=GPS, dx=1.0)
    assert hdf5.channels(tmp_path / "a.h5") == {}
    with pytest.raises(InputError, match="holds no channel"):
        hdf5.span(tmp_path / "a.h5")


def test_two_datasets_of_one_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset(file, "one/H1:A", np.zeros(16), x0=GPS, dx=1 / 16)
        dataset(file, "two/H1:A", np.zeros(16), x0=GPS + 1, dx=1 / 16)
    with pytest.raises(InputError, match="two datasets are called H1:A: /one/H1:A and /two/H1:A"):
        hdf5.read(tmp_path / "a.h5", ["H1:A"])


def test_a_damaged_chunk_is_the_channels_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name in ("H1:BAD", "H1:GOOD"):
            made = file.create_dataset(name, data=rng.normal(size=4096), compression="gzip")
            made.attrs.update(x0=GPS, dx=1 / 512)
        where = file["H1:BAD"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[where : where + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(InputError, match="H1:BAD: ") as caught:
        hdf5.read(path, ["H1:BAD", "H1:GOOD"])
    assert caught.value.channels == ("H1:BAD",)
    assert list(hdf5.read(path, ["H1:GOOD"])) == ["H1:GOOD"]


def test_a_flipped_bit_in_our_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    samples = np.random.default_rng(0).normal(size=4096)
    whole = Series(Span.of_seconds(GPS, 1), 4096, samples)
    hdf5.write_archive(path, {"H1:A": OutputChannel(whole)})
    content = bytearray(path.read_bytes())
    content[content.index(samples[100:104].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="H1:A: ") as caught:
        hdf5.read(path, ["H1:A"])
    assert caught.value.channels == ("H1:A",)


# gwpy, both ways.


def test_what_gwpy_writes_is_read(tmp_path: Path) -> None:
    from gwpy.timeseries import TimeSeries, TimeSeriesDict

    fast = TimeSeries(np.arange(512.0), t0=GPS, sample_rate=256, unit="strain", name="H1:FAST")
    slow = TimeSeries(np.arange(24, dtype="f4"), t0=GPS + 0.5, dt=1 / 16, name="H1:SLOW")
    together = TimeSeriesDict({"H1:FAST": fast, "H1:SLOW": slow})
    together.write(tmp_path / "together.h5", format="hdf5")
    fast.write(tmp_path / "alone.h5", format="hdf5", path="deep/er/H1:FAST")

    assert hdf5.channels(tmp_path / "together.h5") == {"H1:FAST": 256, "H1:SLOW": 16}
    part = Span(GPS * NS + NS // 2, GPS * NS + 2 * NS)
    read = hdf5.read(tmp_path / "together.h5", ["H1:FAST", "H1:SLOW"], part)
    np.testing.assert_array_equal(samples_of(read["H1:FAST"]), np.arange(128, 512))
    np.testing.assert_array_equal(samples_of(read["H1:SLOW"]), slow.value)
    assert samples_of(read["H1:SLOW"]).dtype == np.float32
    alone = hdf5.read(tmp_path / "alone.h5", ["H1:FAST"])["H1:FAST"]
    np.testing.assert_array_equal(samples_of(alone), fast.value)


def test_gwpy_reads_what_we_write(tmp_path: Path) -> None:
    from gwpy.timeseries import TimeSeriesDict

    span = Span(GPS * NS + NS // 16, GPS * NS + 2 * NS)
    strain = Series(span, 16384, np.random.default_rng(0).normal(size=span.samples(16384)))
    state = Series(span, 16, np.arange(span.samples(16), dtype="u4"))
    written = {"H1:STRAIN": OutputChannel(strain, "strain"), "H1:STATE": OutputChannel(state)}
    path = tmp_path / "archive.hdf5"
    hdf5.write_archive(path, written)
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive.hdf5"]

    theirs = TimeSeriesDict.read(path, list(written), format="hdf5")
    ours = hdf5.read(path, list(written))
    for name, channel in written.items():
        assert theirs[name].name == name
        assert theirs[name].t0.value == span.start / NS
        assert theirs[name].sample_rate.value == channel.series.rate
        assert theirs[name].unit.to_string() == channel.unit
        read = ours[name]
        assert isinstance(read, Series)
        assert (read.span, read.rate) == (span, channel.series.rate)
        for samples in (theirs[name].value, read.samples):
            assert samples.dtype == channel.series.samples.dtype
            np.testing.assert_array_equal(samples, channel.series.samples)


def test_an_archive_that_cannot_be_written(tmp_path: Path) -> None:
    second = Series(Span.of_seconds(GPS, 1), 16, np.zeros(16))
    with pytest.raises(OutputError, match="cannot be written"):
        hdf5.write_archive(tmp_path / "gone" / "a.h5", {"H1:A": OutputChannel(second)})


def test_a_start_that_a_float_does_not_keep_is_refused(tmp_path: Path) -> None:
    odd = Series(Span(GPS * NS + 3, GPS * NS + 4), NS, np.zeros(1))
    with pytest.raises(ValueError, match=r"H1:A cannot start at GPS 1370000000\.000000003"):
        hdf5.write_archive(tmp_path / "a.h5", {"H1:A": OutputChannel(odd)})
    assert list(tmp_path.iterdir()) == []


def test_reading_takes_no_lock(tmp_path: Path) -> None:
    """Many a network file system has none, and would refuse."""
    path = tmp_path / "archive.hdf5"
    span = Span.of_seconds(GPS, 4)
    series = Series(span, 16, np.arange(64.0))
    hdf5.write_archive(path, {"H1:X": OutputChannel(series)})
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # whoever asked for one now would be refused
        (read,) = hdf5.read(path, ["H1:X"]).values()
    assert isinstance(read, Series)
    np.testing.assert_array_equal(read.samples, series.samples)
