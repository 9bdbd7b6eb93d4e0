"""Other readers and writers of frames agree with ours: gwpy, lalframe and its checksum tool."""

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.io import gwf
from deepclean.io.gwf import OutputChannel

GPS = 1370000000
SECOND = Span.of_seconds(GPS, 1)
SIXTEENTH = Span(GPS * NS + 5 * NS // 16, GPS * NS + 6 * NS // 16)
LALFRAME_TIMING = 1e-7
"""Seconds: lalframe reckons the time of a first sample in floats, 32 ns off for a sixteenth."""

HISTORY = {"deepclean": "0.1.0", "configuration": "sha256:0123abcd", "model:60Hz": "7 sha256:42"}


def product(span: Span) -> dict[str, OutputChannel]:
    """A cleaned frame: strain, and integers beside it."""
    rng = np.random.default_rng(3)
    strain = rng.normal(size=span.samples(16384)) * 1e-21
    virgo = rng.normal(size=span.samples(20000)).astype(np.float32)
    state = np.arange(span.samples(16), dtype=np.uint32) + 2**31
    version = np.full(span.samples(16), -7, dtype=np.int32)
    return {
        "H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION": OutputChannel(
            Series(span, 16384, strain), "strain"
        ),
        "H1:VIRGO_RATE": OutputChannel(Series(span, 20000, virgo)),
        "H1:DEEPCLEAN-STATE_VECTOR": OutputChannel(Series(span, 16, state)),
        "H1:DEEPCLEAN-60HZ_MODEL_VERSION": OutputChannel(Series(span, 16, version)),
    }


@pytest.fixture(params=[SECOND, SIXTEENTH], ids=["1s", "1/16s"])
def span(request: pytest.FixtureRequest) -> Span:
    chosen: Span = request.param
    return chosen


@pytest.fixture(params=["none", "gzip"])
def frame(request: pytest.FixtureRequest, span: Span, tmp_path: Path) -> Path:
    path = tmp_path / "frame.gwf"
    gwf.publish(
        path, gwf.serialise(span, product(span), history=HISTORY, compression=request.param)
    )
    return path


def test_gwpy_reads_what_was_written(frame: Path, span: Span) -> None:
    from gwpy.timeseries import TimeSeriesDict

    written = product(span)
    read = TimeSeriesDict.read(frame, list(written), format="gwf")
    assert list(read) == list(written)
    for name, channel in written.items():
        assert read[name].name == name
        assert read[name].t0.value == span.start / NS
        assert read[name].sample_rate.value == pytest.approx(channel.series.rate, rel=1e-12)
        assert read[name].unit.to_string() == channel.unit
        assert read[name].value.dtype == channel.series.samples.dtype
        np.testing.assert_array_equal(read[name].value, channel.series.samples)


def test_lalframe_reads_what_was_written(frame: Path, span: Span) -> None:
    import lal
    from lalframe.frread import read_timeseries

    start = lal.LIGOTimeGPS(*divmod(span.start, NS))
    for name, channel in product(span).items():
        read = read_timeseries(str(frame), name, start=start)
        assert read.name == name
        assert abs(float(read.epoch - start)) < LALFRAME_TIMING
        assert 1 / read.deltaT == pytest.approx(channel.series.rate, rel=1e-12)
        assert str(read.sampleUnits) == channel.unit
        assert read.data.data.dtype == channel.series.samples.dtype
        np.testing.assert_array_equal(read.data.data, channel.series.samples)


def _tool(name: str, frame: Path) -> str:
    tool = Path(sys.executable).with_name(name)
    if not tool.exists():
        pytest.skip(f"lalsuite brought no {name}")
    done = subprocess.run(
        [tool, frame],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"LAL_DEBUG_LEVEL": "0"},
    )
    return done.stdout


def test_the_checksum_tool_is_content(frame: Path) -> None:
    assert f"valid checksum for {frame}" in _tool("lalfr-cksum", frame)


def test_the_dump_shows_detectors_times_and_units(frame: Path, span: Span) -> None:
    dump = _tool("lalfr-dump", frame)
    assert "FrDetector 0 LHO_4k (H1)" in dump
    assert f"dt = {(span.end - span.start) / NS:g} s" in dump
    strain = next(line for line in dump.splitlines() if "PRODUCTION" in line)
    assert "double" in strain
    assert "yunits = strain" in strain


def _string(text: str) -> bytes:
    """A string as the frame specification stores it (LIGO-T970130, 4.3.1)."""
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def test_the_history_record_holds_every_line(frame: Path) -> None:
    content = frame.read_bytes()
    for name, text in HISTORY.items():
        assert _string(name) + struct.pack("<I", GPS) + _string(text) in content


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16", "i2", "i4", "i8", "u2", "u4", "u8"])
def test_gwpy_reads_every_dtype_that_is_written(tmp_path: Path, dtype: str) -> None:
    from gwpy.timeseries import TimeSeries

    samples = (np.arange(16) + 100).astype(dtype)
    path = tmp_path / "frame.gwf"
    gwf.publish(path, gwf.serialise(SECOND, {"H1:A": OutputChannel(Series(SECOND, 16, samples))}))
    read = TimeSeries.read(path, "H1:A", format="gwf").value
    assert read.dtype == samples.dtype
    np.testing.assert_array_equal(read, samples)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4"])
def test_what_gwpy_writes_is_read(tmp_path: Path, dtype: str) -> None:
    from gwpy.timeseries import TimeSeries

    samples = np.random.default_rng(1).integers(-1000, 1000, 512).astype(dtype)
    series = TimeSeries(samples, t0=GPS, sample_rate=256, name="H1:A", channel="H1:A")
    series.write(tmp_path / "frame.gwf", format="gwf")
    read = gwf.read(tmp_path / "frame.gwf", ["H1:A"], checksum=True)["H1:A"]
    assert isinstance(read, Series)
    assert (read.span, read.rate) == (Span.of_seconds(GPS, 2), 256)
    assert read.samples.dtype == samples.dtype
    np.testing.assert_array_equal(read.samples, samples)


def test_a_real_frame_of_three_detectors() -> None:
    import gwpy
    from gwpy.timeseries import TimeSeriesDict

    path = Path(gwpy.__file__).parent / "testing/data/HLV-HW100916-968654552-1.gwf"
    names = ["H1:LDAS-STRAIN", "L1:LDAS-STRAIN", "V1:h_16384Hz"]
    assert gwf.channels(path) == dict.fromkeys(names, 16384)
    assert gwf.span(path) == Span.of_seconds(968654552, 1)
    expected = TimeSeriesDict.read(path, names, format="gwf")
    for name, read in gwf.read(path, names, checksum=True).items():
        assert isinstance(read, Series)
        np.testing.assert_array_equal(read.samples, expected[name].value)


@pytest.mark.slow
def test_a_few_channels_out_of_thousands_are_cheap(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    channels = {
        f"H1:AUX-{index:04d}": OutputChannel(
            Series(SECOND, 512, rng.normal(size=512).astype(np.float32))
        )
        for index in range(2000)
    }
    path = tmp_path / "frame.gwf"
    gwf.publish(path, gwf.serialise(SECOND, channels))

    def fastest(names: list[str]) -> float:
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            gwf.read(path, names)
            times.append(time.perf_counter() - begun)
        return min(times)

    # Measured: 2 ms against 70 ms, most of the 2 ms for the table of contents.
    assert fastest(list(channels)[::100]) < fastest(list(channels)) / 5
