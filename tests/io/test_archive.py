"""The archive: few long files with the samples of many small ones, and no gap filled."""

from __future__ import annotations

import errno
import gc
import json
import os
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Samples, Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import archive as archive_module
from deepclean.io import gwf, hdf5, merge
from deepclean.io.archive import FrameArchive
from deepclean.io.channels import OutputChannel
from deepclean.io.merge import Content, FilePiece
from deepclean.io.sink import FrameSink
from deepclean.io.t050017 import FrameName
from deepclean.system.lock import OutputLock
from tests.helpers import small_site as site
from tests.helpers.builders import same_bits
from tests.helpers.small_site import START, STRAIN
from tests.helpers.tmpfs import SMALL, Mount, open_files

LENGTH = 8
BEGIN = START // LENGTH * LENGTH
OUT_DQ = f"{STRAIN}_DEEPCLEAN_PRODUCTION_OUT_DQ"
PRODUCTION = f"{STRAIN}_DEEPCLEAN_PRODUCTION"
STATE = "H1:DEEPCLEAN-STATE_VECTOR"
GAIN = "H1:DEEPCLEAN-60HZ_GAIN"
RATES = {OUT_DQ: 256, PRODUCTION: 256, STATE: 16, GAIN: 16}
Wanted = Callable[[str], bool]
UNITS = {OUT_DQ: "strain", PRODUCTION: "strain"}


def samples(channel: str, second: int) -> Samples:
    values = site.samples(channel, second, RATES[channel])
    if channel == STATE:
        return (values * 100).astype(np.int64).astype(np.uint32)
    return values.astype(np.float32) if channel == GAIN else values * 1e-21


def expected(channel: str, start: int, duration: int) -> Samples:
    return np.concatenate([samples(channel, s) for s in range(start, start + duration)])


def write(
    config: Config,
    start: int,
    end: int,
    *,
    without: Collection[int] = (),
    channels: Collection[str] = tuple(RATES),
    made: str = "1",
    duration: int = 1,
    keep_age: int | None = None,
) -> None:
    """Write the small files of these seconds, counted from the first stretch's begin."""
    sink = FrameSink(
        config.output.directory,
        "H1",
        "H1_DEEPCLEAN",
        history={"deepclean": made},
        units=UNITS,
        keep_age=None if keep_age is None else keep_age * NS,
    )
    for offset in range(start, end, duration):
        if offset not in without:
            span = Span.of_seconds(BEGIN + offset, duration)
            sink.write(
                span,
                {
                    n: Series(span, RATES[n], expected(n, BEGIN + offset, duration))
                    for n in channels
                },
            )


def configured(place: Path, *overrides: str) -> Config:
    return site.small_config(
        place,
        f"output.archive.directory={place / 'archive'}",
        f"output.archive.length={LENGTH}",
        *overrides,
    )


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configured(tmp_path)


def archive(config: Config) -> FrameArchive:
    return FrameArchive(config, pause=0.0)


def archive_all(config: Config) -> FrameArchive:
    """Archive what is complete, as a daemon does that is stopped then."""
    taken = archive(config)
    taken.round()
    taken.close()
    return taken


def files(config: Config, product: str = "OUT_DQ") -> list[tuple[int, int]]:
    """Return start, from the first stretch's begin, and duration of a product's files."""
    directory = config.output.archive.directory
    assert directory is not None
    names = [name for path in directory.iterdir() if (name := FrameName.parse(path.name))]
    mine = [n for n in names if n.description == f"H1_DEEPCLEAN_{product}"]
    return sorted((n.start - BEGIN, n.duration) for n in mine)


def path(config: Config, start: int, duration: int, product: str = "OUT_DQ") -> Path:
    directory = config.output.archive.directory
    assert directory is not None
    extension = config.output.archive.format
    return directory / f"H-H1_DEEPCLEAN_{product}-{BEGIN + start}-{duration}.{extension}"


@pytest.mark.parametrize("extension", ["gwf", "hdf5"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_product_has_its_file(tmp_path: Path, extension: str, compression: str) -> None:
    config = configured(
        tmp_path, f"output.archive.format={extension}", f"output.compression={compression}"
    )
    write(config, 0, LENGTH)
    assert archive(config).round()
    module = gwf if extension == "gwf" else hdf5
    for product, strain in (("OUT_DQ", OUT_DQ), ("PRODUCTION", PRODUCTION)):
        assert files(config, product) == [(0, LENGTH)]
        file = path(config, 0, LENGTH, product)
        assert set(module.channels(file)) == {strain, STATE, GAIN}
        for name, read in module.read(file, [strain, STATE, GAIN]).items():
            assert isinstance(read, Series)
            assert read.span == Span.of_seconds(BEGIN, LENGTH)
            assert same_bits(read.samples, expected(name, BEGIN, LENGTH))


@pytest.mark.parametrize("extension", ["gwf", "hdf5"])
def test_gwpy_reads_it(tmp_path: Path, extension: str) -> None:
    from gwpy.timeseries import TimeSeriesDict

    # Several frames of a GWF file: the stretch spans a multiple of 64 s.
    config = configured(tmp_path, f"output.archive.format={extension}", "output.archive.length=192")
    begin = BEGIN // 192 * 192 - BEGIN
    write(config, begin, begin + 192, duration=32)
    assert archive(config).round()
    file = path(config, begin, 192)
    read = TimeSeriesDict.read(file, [OUT_DQ, STATE, GAIN], format=extension)
    for name, series in read.items():
        assert same_bits(np.asarray(series.value), expected(name, BEGIN + begin, 192))
        assert series.t0.value == BEGIN + begin
        assert series.sample_rate.value == pytest.approx(RATES[name], rel=1e-12, abs=0)
        assert series.unit.to_string() == UNITS.get(name, "")


def test_long_files_are_small_frames_one_after_another(tmp_path: Path) -> None:
    """Memory is bounded by the frame, not by the file."""
    import gwframe

    config = configured(tmp_path, "output.archive.length=192")
    begin = BEGIN // 192 * 192
    write(config, begin - BEGIN, begin - BEGIN + 192, duration=32)
    archive_all(config)
    with gwframe.FrameReader(path(config, begin - BEGIN, 192)) as reader:
        spans = [(int(frame.start) - begin, int(frame.duration)) for frame in reader.frame_spans]
    edges = sorted({0, *(edge for edge in range(192) if (begin + edge) % 64 == 0), 192})
    assert spans == [(low, high - low) for low, high in pairwise(edges)]


@pytest.mark.parametrize("extension", ["gwf", "hdf5"])
def test_a_gap_is_never_filled(tmp_path: Path, extension: str) -> None:
    config = configured(tmp_path, f"output.archive.format={extension}")
    write(config, 0, 2 * LENGTH, without=[0, 3, 4, LENGTH])
    archive_all(config)
    module = gwf if extension == "gwf" else hdf5
    assert files(config) == [(1, 2), (5, 3), (9, 7)]
    for start, duration in files(config):
        read = module.read(path(config, start, duration), [OUT_DQ])[OUT_DQ]
        assert isinstance(read, Series)
        assert same_bits(read.samples, expected(OUT_DQ, BEGIN + start, duration))


def test_a_second_that_is_there_in_stretches_is_archived(config: Config) -> None:
    """A stream with gaps within a second leaves a small file of several frames."""
    write(config, 0, LENGTH)
    sixteenth = NS // 16
    for second, stretches in ((2, [(0, 5), (8, 16)]), (3, [(1, 15)]), (LENGTH - 1, [(0, 4)])):
        small = config.output.directory / f"H-H1_DEEPCLEAN-{BEGIN + second}-1.gwf"
        whole, begin = Span.of_seconds(BEGIN + second, 1), (BEGIN + second) * NS
        read = {n: Series(whole, RATES[n], samples(n, BEGIN + second)) for n in RATES}
        spans = [Span(begin + low * sixteenth, begin + high * sixteenth) for low, high in stretches]
        frames = [
            (span, {n: OutputChannel(one.cut(span), UNITS.get(n, "")) for n, one in read.items()})
            for span in spans
        ]
        gwf.write_frames(small, frames, history={"deepclean": "1"})
    archived = archive_all(config)
    assert not archived.failures
    assert files(config) == [(0, LENGTH)]
    for name in (OUT_DQ, STATE, GAIN):
        pieces = gwf.read_pieces(path(config, 0, LENGTH), [name]).pieces[name]
        begin, cell = BEGIN * NS, RATES[name] // 16
        ends = [(one.span.start - begin, one.span.end - begin) for one in pieces]
        assert [(low / sixteenth, high / sixteenth) for low, high in ends] == [
            *[(0, 37), (40, 48), (49, 63), (64, 16 * LENGTH - 12)],
        ]
        everything = expected(name, BEGIN, LENGTH)
        for one, (low, high) in zip(pieces, ends, strict=True):
            assert isinstance(one, Series)
            part = slice(low // sixteenth * cell, high // sixteenth * cell)
            assert same_bits(one.samples, everything[part])


def test_a_file_ends_where_channels_or_history_change(config: Config) -> None:
    write(config, 0, 2)
    write(config, 2, 4, made="2")
    write(config, 4, 6, made="2", channels=[OUT_DQ, PRODUCTION, STATE])
    write(config, 6, 8, made="2", channels=[PRODUCTION, STATE])
    archive_all(config)
    assert files(config) == [(0, 2), (2, 2), (4, 2)]
    assert files(config, "PRODUCTION") == [(0, 2), (2, 2), (4, 4)]
    assert set(gwf.channels(path(config, 4, 2))) == {OUT_DQ, STATE}


def test_long_frames_are_cut_at_the_file_s_end(config: Config) -> None:
    write(config, -3, 2 * LENGTH + 3, duration=11)  # [-3, 8) and [8, 19)
    archive_all(config)
    assert files(config) == [(-3, 3), (0, LENGTH), (LENGTH, LENGTH)]
    read = gwf.read(path(config, 0, LENGTH), [OUT_DQ])[OUT_DQ]
    assert isinstance(read, Series)
    assert same_bits(read.samples, expected(OUT_DQ, BEGIN, LENGTH))


def test_an_incomplete_stretch_waits(config: Config) -> None:
    write(config, 0, LENGTH - 1)
    archived = archive(config)
    assert archived.round()
    assert files(config) == []
    write(config, LENGTH - 1, LENGTH)
    archived.round()
    assert files(config) == [(0, LENGTH)]


def test_a_stretch_whose_end_is_missing_is_complete_with_the_next_frame(config: Config) -> None:
    write(config, 0, 5)
    write(config, 50, 51)
    archive_all(config)
    assert files(config) == [(0, 5)]


def test_what_lay_there_before_a_long_pause_is_not_deleted_first(config: Config) -> None:
    """After the pause all is too old at once, and the archive has not seen its end yet."""
    kept = LENGTH + 60
    write(config, 0, 70, keep_age=kept)
    write(config, 10_000, 10_020, keep_age=kept)
    archive_all(config)
    assert (64, 6) in files(config)


def test_restart_goes_on(config: Config) -> None:
    write(config, 0, LENGTH + 3)
    archive_all(config)
    first = path(config, 0, LENGTH).stat()
    path(config, 0, LENGTH, "PRODUCTION").unlink()  # the first run ended between the products
    leftover = path(config, LENGTH, LENGTH).with_name(
        f".{path(config, LENGTH, LENGTH).name}.tmp.tmp"
    )
    leftover.write_bytes(b"half")
    write(config, LENGTH + 3, 2 * LENGTH)
    archive_all(config)
    for product in ("OUT_DQ", "PRODUCTION"):
        assert files(config, product) == [(0, LENGTH), (LENGTH, LENGTH)]
    assert path(config, 0, LENGTH).stat() == first
    assert not leftover.exists()


def test_restart_fills_in_what_a_failure_left_out(config: Config) -> None:
    write(config, 0, LENGTH, without=[4])
    archive_all(config)
    path(config, 0, 4).unlink()
    assert files(config) == [(5, 3)]
    archive_all(config)
    assert files(config) == [(0, 4), (5, 3)]


def test_what_somebody_takes_away_is_not_made_again(config: Config) -> None:
    write(config, 0, LENGTH)
    archived = archive(config)
    archived.round()
    path(config, 0, LENGTH).unlink()
    write(config, LENGTH, 2 * LENGTH)
    archived.round()
    assert files(config) == [(LENGTH, LENGTH)]


def test_it_has_a_retention_of_its_own(tmp_path: Path) -> None:
    config = configured(tmp_path, "output.archive.retention.count=2")
    archived = archive(config)
    for stretch in range(4):
        write(config, stretch * LENGTH, (stretch + 1) * LENGTH)
        archived.round()
    archived.close()
    for product in ("OUT_DQ", "PRODUCTION"):
        assert files(config, product) == [(2 * LENGTH, LENGTH), (3 * LENGTH, LENGTH)]
    assert archived.written == {"OUT_DQ": 4, "PRODUCTION": 4}
    # A restart finds all small files, and does not make what would be deleted again.
    assert archive_all(config).written == {}
    assert len(list(config.output.directory.glob("*.gwf"))) == 4 * LENGTH


def test_age_counts_in_time_of_the_data(tmp_path: Path) -> None:
    config = configured(tmp_path, f"output.archive.retention.age={LENGTH}")
    write(config, 0, 3 * LENGTH)
    archive_all(config)
    assert files(config) == [(LENGTH, LENGTH), (2 * LENGTH, LENGTH)]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOMEM])
def test_a_frame_that_cannot_be_read_just_now_is_not_left_out(
    config: Config, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The library tells only that it cannot; the operating system tells why."""
    write(config, 0, LENGTH)
    archived, read = archive(config), merge.read

    def refused(piece: FilePiece, wanted: Wanted, *, stretches: bool) -> list[Content]:
        if piece.path.name.endswith(f"-{BEGIN + 2}-1.gwf"):
            raise InputError("not a readable frame file", path=piece.path)
        return read(piece, wanted, stretches=stretches)

    def no_bytes(path: Path) -> bytes:
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patch:
        patch.setattr(archive_module, "read", refused)
        patch.setattr(Path, "read_bytes", no_bytes)
        for _ in range(3):
            assert not archived.round()
    assert files(config) == []
    assert [r.levelname for r in caplog.records] == ["ERROR", "ERROR"]  # once for each product
    assert archived.failures[errno.errorcode[number]] == 6
    assert archived.round()
    assert files(config) == [(0, LENGTH)]
    assert "unreadable" not in archived.failures


def test_a_frame_that_could_not_be_read_for_a_moment_is_read_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(config, 0, LENGTH)
    archived, read, failures = archive(config), merge.read, [1]

    def refused_once(piece: FilePiece, wanted: Wanted, *, stretches: bool) -> list[Content]:
        if failures:
            failures.pop()
            raise InputError("too many open files", path=piece.path)
        return read(piece, wanted, stretches=stretches)

    monkeypatch.setattr(archive_module, "read", refused_once)
    assert archived.round()
    assert files(config) == [(0, LENGTH)]
    assert archived.failures == {}


def test_damaged_frame_is_left_out(config: Config) -> None:
    write(config, 0, LENGTH)
    damaged = config.output.directory / f"H-H1_DEEPCLEAN-{BEGIN + 2}-1.gwf"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    archived = archive(config)
    assert archived.round()
    assert files(config) == [(0, 2), (3, 5)]
    assert archived.failures == {"unreadable": 2}


def test_failure_is_said_once(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    write(config, 0, LENGTH)
    directory = config.output.archive.directory
    assert directory is not None
    directory.write_bytes(b"in the way")
    archived = archive(config)
    assert not archived.round()
    assert not archived.round()
    assert archived.failures == {"EEXIST": 4}
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    caplog.clear()
    caplog.set_level("INFO")
    directory.unlink()
    assert archived.round()
    assert files(config) == [(0, LENGTH)]
    said = "the archive of OUT_DQ is written again"
    assert [record.message for record in caplog.records].count(said) == 1


@pytest.mark.parametrize("extension", ["gwf", "hdf5"])
@pytest.mark.parametrize("length", [16, 64])
def test_full_disk(tmp_path: Path, mount: Mount, extension: str, length: int) -> None:
    """Full within the first frame, and where the first of two files took its place."""
    config = configured(
        tmp_path, f"output.archive.format={extension}", f"output.archive.length={length}"
    )
    begin = BEGIN // length * length - BEGIN
    write(config, begin, begin + 2 * length)
    directory = config.output.archive.directory
    assert directory is not None
    mount(directory, *SMALL)
    archived = archive(config)
    before = open_files()
    for _ in range(3):
        assert not archived.round()
        assert not list(directory.glob("*.tmp"))
    gc.collect()
    assert open_files() == before + 1  # the lock
    assert set(archived.failures) == {"ENOSPC"}
    mount(directory, "-o", "remount,size=10m")
    assert archived.round()
    archived.close()
    for product in ("OUT_DQ", "PRODUCTION"):
        assert files(config, product) == [(begin, length), (begin + length, length)]
    module = gwf if extension == "gwf" else hdf5
    for start, duration in files(config):
        read = module.read(path(config, start, duration), [OUT_DQ])[OUT_DQ]
        assert isinstance(read, Series)
        assert same_bits(read.samples, expected(OUT_DQ, BEGIN + start, duration))


def test_a_second_daemon_does_not_write_into_it(config: Config) -> None:
    write(config, 0, LENGTH)
    directory = config.output.archive.directory
    assert directory is not None
    with OutputLock(directory, "H1_DEEPCLEAN_ARCHIVE"):
        assert not archive(config).round()
    assert files(config) == []


@pytest.mark.parametrize("extension", ["gwf", "hdf5"])
def test_bad_copy_is_hidden(
    tmp_path: Path, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that loses the end of a file without a word (measured of an earlier gwframe)."""
    config = configured(tmp_path, f"output.archive.format={extension}")
    write(config, 0, LENGTH)
    module, function = (gwf, "write_frames") if extension == "gwf" else (hdf5, "write_pieces")
    write_all = getattr(module, function)

    def lose_the_end(file: Path, *args: object, **options: object) -> None:
        write_all(file, *args, **options)
        with file.open("r+b") as stream:
            stream.truncate(file.stat().st_size * 3 // 4)

    monkeypatch.setattr(module, function, lose_the_end)
    archived = archive(config)
    assert not archived.round()
    assert files(config) == []
    monkeypatch.undo()
    assert archived.round()
    assert files(config) == [(0, LENGTH)]


def test_leaving_stops_between_small_files(config: Config) -> None:
    write(config, 0, LENGTH)
    archived = FrameArchive(config, pause=60.0)
    with archived:
        archived.appeared(FrameName("H", "H1_DEEPCLEAN", BEGIN, LENGTH), {})
    assert not archived._thread.is_alive()
    assert files(config) == []
    directory = config.output.archive.directory
    assert directory is not None
    assert not list(directory.glob("*.tmp"))


def test_without_a_directory_there_is_none(tmp_path: Path) -> None:
    config = site.small_config(tmp_path)
    write(config, 0, 300, duration=100)
    before = set(tmp_path.rglob("*"))
    with FrameArchive(config) as archived:
        archived.appeared(FrameName("H", "H1_DEEPCLEAN", BEGIN, 300), {})
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kept", [{"age": 316}, {"count": 316}, {"age": None}])
def test_frames_kept_long_enough_are_no_fault(tmp_path: Path, kept: dict[str, int | None]) -> None:
    overrides = [f"output.retention.{key}={json.dumps(value)}" for key, value in kept.items()]
    place = f"output.archive.directory={tmp_path / 'archive'}"
    assert site.small_config(tmp_path, place, *overrides).output.archive.length == 256
