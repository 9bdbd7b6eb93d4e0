"""Live: what is wrong with a channel costs that channel and that frame, and no waiting."""

from __future__ import annotations

from pathlib import Path

import gwframe
import lal
import lalframe
import numpy as np
import pytest
from gwframe.types import Compression

from deepclean.config import Config
from deepclean.core.block import Gap, Series
from deepclean.core.output.state_vector import not_ready
from deepclean.core.time import NS, Span
from deepclean.io import gwf
from deepclean.io.catalogue import Directory
from deepclean.io.channels import OutputChannel
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from tests.helpers import small_site as site
from tests.helpers.frame_files import frames, has_strain, make, seconds, witness
from tests.helpers.small_site import RATES, START, FakeClock


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = site.small_config(tmp_path)
    site.write_site(config, START, 0)
    return config


Made = dict[str, tuple[float, float, np.ndarray]]
"""By channel: offset in seconds from the frame's start, rate, and samples."""


def write(path: Path, channels: list[Made]) -> None:
    """Write 1-s frames from the time of the file's name on, channel by channel."""
    start = int(path.name.split("-")[2])
    out = lalframe.FrameUFrFileOpen(str(path), "w")
    for index, made in enumerate(channels):
        begin = start + index
        frame = lalframe.FrameNew(lal.LIGOTimeGPS(begin), 1, "H1", 0, index, 0)
        for name, (offset, rate, samples) in made.items():
            at = lal.LIGOTimeGPS(begin, round(offset * NS))
            series = lal.CreateREAL8TimeSeries(name, at, 0, 1 / rate, lal.StrainUnit, len(samples))
            series.data.data = samples
            lalframe.FrameAddREAL8TimeSeriesProcData(frame, series)
        lalframe.FrameUFrameHWrite(out, frame)
    del out


def witnesses(second: int) -> Made:
    return {name: (0.0, rate, site.samples(name, second, rate)) for name, rate in RATES.items()}


def strain(second: int) -> Made:
    samples = site.samples(site.STRAIN, second, site.STRAIN_RATE) * 1e-21
    return {
        site.STRAIN: (0.0, site.STRAIN_RATE, samples),
        site.STATE: (0.0, 16, np.full(16, 7.0)),
    }


FAULTS = {
    "late": (0.25 / 16, 16, np.zeros(16)),
    "odd": (0.0, 16.5, np.zeros(16)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_witness_at_fault_is_a_gap_by_itself(
    config: Config, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.write_site(config, START, 3, no_witnesses=range(START, START + 3))
    for second in range(START, START + 3):
        made = witnesses(second) | {"H1:SLOW": FAULTS[fault]}
        write(site.witness_path(config, second), [made])
    clock = FakeClock()
    given = frames(make(config, clock, resume=START), 3)
    assert clock.now == 1000.0  # nothing is waited for
    for frame in given:
        assert witness(frame, "H1:SLOW") == Gap(frame.span, "corrupt")
        assert isinstance(witness(frame, "H1:FAST"), Series)
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warned[0] == f"GPS {START}: no samples of H1:SLOW (corrupt)"
    assert "H1:SLOW: " in warned[1]
    assert len(warned) == 2


def test_a_channel_that_fills_a_part_of_its_frame_gives_that(config: Config) -> None:
    site.write_site(config, START, 1, no_witnesses=[START])
    half = (0.0, 16, site.samples("H1:SLOW", START, 16)[:8])
    write(site.witness_path(config, START), [witnesses(START) | {"H1:SLOW": half}])
    (given,) = frames(make(config, FakeClock(), resume=START), 1)
    first, second = given.blocks
    assert isinstance(first.witnesses["H1:SLOW"], Series)
    assert first.span == Span(START * NS, START * NS + NS // 2)
    assert second.witnesses["H1:SLOW"] == Gap(second.span, "missing")
    assert has_strain(given)


@pytest.mark.parametrize(
    "state",
    [(0.0, 16, np.full(8, 7.0)), (0.5 / 16, 16, np.full(16, 7.0)), (0.0, 0.5, np.full(1, 7.0))],
)
def test_a_state_vector_at_fault_costs_no_strain(
    config: Config, state: tuple[float, float, np.ndarray]
) -> None:
    site.write_site(config, START, 2, no_strain=range(START, START + 2))
    for second in range(START, START + 2):
        write(site.strain_path(config, second), [strain(second) | {site.STATE: state}])
    clock = FakeClock()
    given = frames(make(config, clock, resume=START), 2)
    assert all(map(has_strain, given))
    assert clock.now == 1000.0
    for frame in given:
        ends = [block.span.end for block in frame.blocks if not_ready(block)]
        assert ends[-1] == frame.span.end


def test_a_flagged_second_costs_a_second_of_its_file(config: Config) -> None:
    site.write_site(config, START, 4, no_strain=range(START, START + 4))
    with gwframe.FrameWriter(site.strain_path(config, START, 4)) as writer:
        for second in range(START, START + 4):
            frame = gwframe.Frame(float(second), 1.0, name="H1")
            samples = site.samples(site.STRAIN, second, site.STRAIN_RATE)
            masked = np.ma.MaskedArray(samples, mask=second == START + 1)
            frame.add_channel(site.STRAIN, masked, site.STRAIN_RATE, channel_type="adc")
            writer.write_frame(frame)
    given = frames(make(config, FakeClock(), resume=START), 3)
    assert [(f.span.start // NS - START, f.span.duration // NS) for f in given] == [
        (0, 1),
        (1, 1),
        (2, 2),
    ]
    assert [has_strain(frame) for frame in given] == [True, False, True]
    assert {block.strain.reason for block in given[1].blocks if isinstance(block.strain, Gap)} == {
        "invalid"
    }


def test_a_state_vector_that_is_absent_is_not_ready_live_and_in_a_replay(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    site.write_site(config, START, 4, no_strain=[START + 1])
    bare = {site.STRAIN: strain(START + 1)[site.STRAIN]}
    write(site.strain_path(config, START + 1), [bare])
    live = frames(make(config, FakeClock(), resume=START), 4)
    said = [r.getMessage() for r in caplog.records if "no samples of" in r.getMessage()]
    caplog.clear()
    place = Directory(config.input.strain_frames.directory, config.input.strain.description)
    others = [Directory(each.directory, each.description) for each in config.input.witnesses]
    source = HistorySource(channels_of(config), History([place]), History(others))
    span = Span.of_seconds(START, 4)
    replayed = list(source.frames(span, span))
    for run in (live, replayed):
        assert [bool(not_ready(block)) for f in run for block in f.blocks] == [
            False,
            True,
            False,
            False,
        ]
        assert all(map(has_strain, run))
    assert said == [f"GPS {START + 1}: no samples of {site.STATE} (missing)"]
    assert said == [r.getMessage() for r in caplog.records if "no samples of" in r.getMessage()]


def test_a_witness_flagged_in_one_directory_comes_from_the_other(tmp_path: Path) -> None:
    first, other = tmp_path / "a", tmp_path / "b"
    places = f"[{{directory: {first}, description: null}}, {{directory: {other}, description: B}}]"
    config = site.small_config(tmp_path, f"input.witnesses={places}")
    site.write_site(config, START, 1, no_witnesses=[START])
    with gwframe.FrameWriter(site.witness_path(config, START)) as writer:
        frame = gwframe.Frame(float(START), 1.0, name="H1")
        for name, rate in RATES.items():
            flagged = np.ma.MaskedArray(np.zeros(rate), mask=name == "H1:SLOW")
            frame.add_channel(name, flagged, rate, channel_type="adc")
        writer.write_frame(frame)
    other.mkdir()
    gwf.publish(other / f"H-B-{START}-1.gwf", site.witness_frame(START))
    (given,) = frames(make(config, FakeClock(), resume=START), 1)
    series = witness(given, "H1:SLOW")
    assert isinstance(series, Series)
    np.testing.assert_allclose(series.samples, site.samples("H1:SLOW", START, 16), rtol=1e-6)


def test_the_history_begins_in_the_file_that_covers_it(config: Config) -> None:
    for start in (START, START + 64):
        gwf.publish(site.strain_path(config, start, 64), site.strain_frame(start, 64))
        gwf.publish(site.witness_path(config, start, 64), site.witness_frame(start, 64))
    given = frames(make(config, FakeClock(), history=10), 2)
    assert seconds(given) == [START + 54, START + 64]
    assert [frame.wanted for frame in given] == [False, True]


# History


def test_a_file_whose_first_frame_lacks_a_channel_is_read_where_it_has_it(tmp_path: Path) -> None:
    path = tmp_path / f"H-H1_llhoft-{START}-4.gwf"
    write(path, [{}, {}, strain(START + 2), strain(START + 3)])
    assert gwf.channels(path, [site.STRAIN]) == {site.STRAIN: 2048}
    assert set(gwf.channels(path)) == {site.STRAIN, site.STATE}
    history = History([tmp_path])
    history.require([site.STRAIN, site.STATE])
    read = [history.read([site.STRAIN], Span.of_seconds(START + s, 1)) for s in range(4)]
    assert [isinstance(each[site.STRAIN], Series) for each in read] == [False, False, True, True]


def test_no_first_file_speaks_for_its_stream(tmp_path: Path) -> None:
    """The first lacks the state vector, the second is damaged: the third tells both rates."""
    for index in range(3):
        path = tmp_path / f"H-H1_llhoft-{START + index}-1.gwf"
        gwf.publish(path, site.strain_frame(START + index))
    write(tmp_path / f"H-H1_llhoft-{START}-1.gwf", [{}])
    damaged = tmp_path / f"H-H1_llhoft-{START + 1}-1.gwf"
    content = bytearray(damaged.read_bytes())
    samples = site.samples(site.STRAIN, START + 1, site.STRAIN_RATE) * 1e-21
    content[content.index(samples[:4].tobytes())] ^= 1
    damaged.write_bytes(content)
    assert History([tmp_path]).require([site.STRAIN, site.STATE]) == {
        site.STRAIN: 2048,
        site.STATE: 16,
    }
    assert History([tmp_path]).spans(site.STATE) == [Span.of_seconds(START, 3)]


def test_samples_under_another_name_are_not_the_channels(tmp_path: Path) -> None:
    """A channel of two vectors, of which the first is another's: they came back as its own."""
    from gwframe import _core

    path = tmp_path / f"V-V1_llhoft-{START}-1.gwf"
    frame = gwframe.Frame(float(START), 1.0, name="V1")
    data = _core.FrProcData("V1:h", "", 1, 0, 0.0, 1.0, 0.0, 0.0, 128.0, 0.0)
    vectors = []
    for name, value in (("V1:status", 0.0), ("V1:h", 1.0)):
        dimension = _core.Dimension(256, 1 / 256, "s", 0.0)
        vectors.append(_core.FrVect(name, _core.FrVect.FR_VECT_8R, 1, dimension, ""))
        vectors[-1].set_data(np.full(256, value))
    for vector in vectors:
        data.append_data(vector)
    frame._frame.append_fr_proc_data(data)
    out = _core.OFrameFStream(str(path))
    frame.write_to_stream(out, Compression.RAW, 0)
    out.close()
    (piece,) = gwf.read_pieces(path, ["V1:h"]).pieces["V1:h"]
    assert piece == Gap(Span.of_seconds(START, 1), "corrupt")


def test_strain_at_another_rate_is_a_gap_in_a_replay(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    site.write_site(config, START, 3)
    span = Span.of_seconds(START + 1, 1)
    other = {site.STRAIN: OutputChannel(Series(span, 4096, np.zeros(4096)))}
    gwf.publish(site.strain_path(config, START + 1), gwf.serialise(span, other))
    source = HistorySource(
        channels_of(config),
        History([config.input.strain_frames.directory]),
        History([config.input.witnesses[0].directory]),
    )
    whole = Span.of_seconds(START, 3)
    source.check()
    given = list(source.frames(whole, whole))
    assert [has_strain(frame) for frame in given] == [True, False, True]
    assert given[1].blocks[0].strain == Gap(span, "strain_rate")
    assert not source.has_strain(span)
    assert f"{site.STRAIN} (strain_rate)" in caplog.text
