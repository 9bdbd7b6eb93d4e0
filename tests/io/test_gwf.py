"""Frame files: what was asked is what comes, or a fault says why; every trap of the library."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gwframe
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deepclean
from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, OutputError
from deepclean.io import gwf
from deepclean.io.gwf import OutputChannel
from tests.helpers.frame_files import samples_of

GPS = 1370000000
SECOND = Span.of_seconds(GPS, 1)
DTYPES = ("f4", "f8", "c8", "c16", "i2", "i4", "i8", "u2", "u4", "u8")


def noise(span: Span, rate: int, dtype: str = "f8", seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, 100, span.samples(rate)).astype(dtype)
    if samples.dtype.kind in "fc":
        samples = (rng.normal(size=len(samples)) * 1e-21).astype(dtype)
    return Series(span, rate, samples)


def store(path: Path, channels: Mapping[str, Series], **options: Any) -> Path:
    span = next(iter(channels.values())).span
    outputs = {name: OutputChannel(series) for name, series in channels.items()}
    gwf.publish(path, gwf.serialise(span, outputs, **options))
    return path


def assert_same(read: Series | Gap, written: Series) -> None:
    assert isinstance(read, Series)
    assert (read.span, read.rate) == (written.span, written.rate)
    assert read.samples.dtype == written.samples.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read.samples, written.samples)


# What is written is what is read.


@given(
    start=st.integers(0, 2_000_000_000 * 16),
    sixteenths=st.integers(1, 40),
    rate=st.sampled_from([16, 256, 2048, 16384, 20000]),
    dtype=st.sampled_from(DTYPES),
    compression=st.sampled_from(["none", "gzip"]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_frame_of_any_sixteenths_comes_back_exactly(
    tmp_path: Path,
    start: int,
    sixteenths: int,
    rate: int,
    dtype: str,
    compression: gwf.Compression,
) -> None:
    span = Span.of_samples(start, sixteenths, 16)
    written = noise(span, rate, dtype)
    path = store(tmp_path / "frame.gwf", {"H1:A": written}, compression=compression)
    assert gwf.span(path) == span
    assert gwf.channels(path) == {"H1:A": rate}
    assert_same(gwf.read(path, ["H1:A"])["H1:A"], written)


def test_mixed_rates_and_kinds_come_in_one_call_in_the_order_asked(tmp_path: Path) -> None:
    written = {
        "H1:GDS-CALIB_STRAIN": noise(SECOND, 16384),
        "H1:GDS-CALIB_STATE_VECTOR": noise(SECOND, 16, "u4"),
        "H1:PEM-FLOOR": noise(SECOND, 2048, "f4"),
        "V1:h": noise(SECOND, 20000),
    }
    path = store(tmp_path / "frame.gwf", written)
    order = sorted(written, reverse=True)
    read = gwf.read(path, order)
    assert list(read) == order
    for name, series in written.items():
        assert_same(read[name], series)
    assert gwf.channels(path) == {name: series.rate for name, series in written.items()}
    assert gwf.channels(path, ["H1:PEM-FLOOR", "H1:NONE"]) == {"H1:PEM-FLOOR": 2048}


def test_a_part_of_a_long_frame(tmp_path: Path) -> None:
    written = noise(Span.of_seconds(GPS, 64), 1024)
    path = store(tmp_path / "frame.gwf", {"H1:A": written})
    part = Span(GPS * NS + 30 * NS + NS // 16, GPS * NS + 33 * NS)
    read = gwf.read(path, ["H1:A"], part)["H1:A"]
    assert_same(read, written.cut(part))
    assert samples_of(read).base is None, "the part must not keep the whole in memory"


# What is given to the library is made plain first.


@pytest.mark.parametrize("dtype", ["f8", "f4", "u4"])
def test_arrays_that_the_library_would_write_wrong(tmp_path: Path, dtype: str) -> None:
    plain = noise(SECOND, 256, dtype).samples
    twice = np.repeat(plain, 2)
    column = np.stack([plain, plain[::-1]], axis=1)
    read_only = plain.copy()
    read_only.flags.writeable = False
    packed = np.zeros(256, dtype=[("pad", "u1"), ("x", dtype)])
    packed["x"] = plain
    awkward = {
        "H1:STRIDED": twice[::2],
        "H1:COLUMN": column[:, 0],
        "H1:REVERSED": plain[::-1].copy()[::-1],
        "H1:READ_ONLY": read_only,
        "H1:SWAPPED": plain.astype(plain.dtype.newbyteorder(">")),
        "H1:UNALIGNED": packed["x"],
    }
    path = store(
        tmp_path / "frame.gwf",
        {name: Series(SECOND, 256, samples) for name, samples in awkward.items()},
    )
    for name, read in gwf.read(path, awkward).items():
        np.testing.assert_array_equal(samples_of(read), plain, err_msg=name)


@pytest.mark.parametrize("dtype", ["i1", "u1", "?", "f2", "S4", "O"])
def test_dtypes_that_frames_do_not_keep_are_refused(dtype: str) -> None:
    series = Series(SECOND, 16, np.zeros(16, dtype))
    with pytest.raises(ValueError, match="H1:A has the dtype"):
        gwf.serialise(SECOND, {"H1:A": OutputChannel(series)})


def test_spans_and_starts_that_would_be_written_wrong_are_refused() -> None:
    with pytest.raises(ValueError, match="H1:A over"):
        gwf.serialise(Span.of_seconds(GPS, 2), {"H1:A": OutputChannel(noise(SECOND, 16))})
    with pytest.raises(ValueError, match="without channels"):
        gwf.serialise(SECOND, {})
    tenth = Span(GPS * NS + NS // 10, GPS * NS + 11 * NS // 10)
    with pytest.raises(ValueError, match=r"cannot start at GPS 1370000000\.1"):
        gwf.serialise(tenth, {"H1:A": OutputChannel(noise(tenth, 20))})


def test_a_failure_of_the_library_is_an_output_error() -> None:
    with pytest.raises(OutputError, match=r"cannot serialise a frame: .*70000"):
        gwf.serialise(
            SECOND, {"H1:A": OutputChannel(noise(SECOND, 16))}, history={"config": "x" * 70_000}
        )


# Faults of a file and of a channel.


def test_absent_channels_are_named_with_what_was_meant(tmp_path: Path) -> None:
    path = store(tmp_path / "frame.gwf", {"H1:PEM-FLOOR_X": noise(SECOND, 256)})
    wanted = ["H1:PEM-FLOOR_X", "H1:PEM-FLOOR_Y", "K1:GONE"]
    with pytest.raises(InputError) as caught:
        gwf.read(path, wanted)
    assert caught.value.path == path
    assert caught.value.channels == ("H1:PEM-FLOOR_Y", "K1:GONE")
    assert "H1:PEM-FLOOR_Y (did you mean H1:PEM-FLOOR_X?), K1:GONE" in str(caught.value)
    assert list(gwf.read_pieces(path, wanted).pieces) == ["H1:PEM-FLOOR_X"]


def test_files_that_are_no_frames(tmp_path: Path) -> None:
    whole = store(tmp_path / "whole.gwf", {"H1:A": noise(SECOND, 256)}).read_bytes()
    contents = {"empty": b"", "garbage": bytes(range(256)) * 40, "text": b"IGWD" + b"x" * 5000}
    contents |= {f"cut-{size}": whole[:size] for size in (10, 40, 1000, len(whole) - 1)}
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        for attempt in (gwf.channels, gwf.span, lambda path: gwf.read(path, ["H1:A"])):
            with pytest.raises(InputError, match="not a readable frame file") as caught:
                attempt(path)
            assert caught.value.path == path
            assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gwf", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            gwf.read(path, ["H1:A"])


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_no_flipped_bit_gives_wrong_samples(tmp_path: Path, compression: gwf.Compression) -> None:
    written = {f"H1:{name}": noise(SECOND, 256, seed=ord(name)) for name in "ABCD"}
    whole = store(tmp_path / "whole.gwf", written, compression=compression).read_bytes()
    first, last = whole.index(b"H1:A"), whole.index(b"H1:D")
    rng = np.random.default_rng(7)
    path = tmp_path / "flipped.gwf"
    named = 0
    for position in rng.integers(first + 32, last, size=60):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(InputError):
            gwf.read(path, written, checksum=True)
        damaged: tuple[str, ...] = ()
        try:
            read = gwf.read(path, written)
        except InputError as fault:
            damaged = fault.channels or tuple(written)
            named += bool(fault.channels)
            read = gwf.read(path, set(written) - set(damaged)) if fault.channels else {}
        assert set(read) == set(written) - set(damaged)
        for name, series in read.items():
            assert_same(series, written[name])
    assert named > 20, "damage to a channel must not take the others with it"


def test_a_channel_that_starts_beside_its_frame(tmp_path: Path) -> None:
    import lal
    import lalframe

    frame = lalframe.FrameNew(lal.LIGOTimeGPS(GPS), 1, "H1", 0, 0, 0)
    late = lal.CreateREAL8TimeSeries(
        "H1:A", lal.LIGOTimeGPS(GPS, NS // 2), 0, 1 / 256, lal.StrainUnit, 256
    )
    late.data.data = np.zeros(256)
    lalframe.FrameAddREAL8TimeSeriesProcData(frame, late)
    lalframe.FrameWrite(frame, str(tmp_path / "frame.gwf"))
    with pytest.raises(InputError, match=r"H1:A: starts at GPS 1370000000\.5") as caught:
        gwf.read(tmp_path / "frame.gwf", ["H1:A"])
    assert caught.value.channels == ("H1:A",)


def test_a_rate_that_is_not_whole(tmp_path: Path) -> None:
    with gwframe.FrameWriter(tmp_path / "frame.gwf") as writer:
        frame = gwframe.Frame(float(GPS), 2.0, name="H1")
        frame.add_channel("H1:SLOW", np.zeros(1), 0.5)
        frame.add_channel("H1:A", np.zeros(32), 16)
        writer.write_frame(frame)
    assert gwf.channels(tmp_path / "frame.gwf") == {"H1:A": 16}
    assert gwf.channels(tmp_path / "frame.gwf", ["H1:SLOW", "H1:A"]) == {"H1:A": 16}
    with pytest.raises(InputError, match=r"H1:SLOW: .*whole number") as caught:
        gwf.read(tmp_path / "frame.gwf", ["H1:SLOW", "H1:A"])
    assert caught.value.channels == ("H1:SLOW",)


def test_a_span_between_samples(tmp_path: Path) -> None:
    path = store(tmp_path / "frame.gwf", {"H1:A": noise(SECOND, 16)})
    with pytest.raises(InputError, match="H1:A: no sample at 16 Hz"):
        gwf.read(path, ["H1:A"], Span(GPS * NS, GPS * NS + NS // 32))


# The house.


def test_no_other_module_imports_the_library() -> None:
    root = Path(deepclean.__file__).parent
    users = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "gwframe" for name in names):
                users.add(str(path.relative_to(root)))
    assert users == {"io/gwf.py", "io/gwf_writer.py"}
