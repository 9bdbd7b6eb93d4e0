"""Recorded files played as a live site: the samples, the times, and what stays absent."""

import math
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.io import gwf, hdf5
from deepclean.io.channels import OutputChannel
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.io.t050017 import FrameName
from deepclean.simulate.files import Product
from deepclean.simulate.recording import Playing, Recording, recorded_span, replay_as_live
from deepclean.simulate.stream import Pace
from deepclean.system.clock import gps_now
from tests.helpers.commands import Run
from tests.helpers.small_site import (
    RATES,
    START,
    STATE,
    STRAIN,
    STRAIN_RATE,
    FakeClock,
    make_site,
    samples,
    small_config,
    strain_path,
    write_site,
)

ROOT = Path(__file__).resolve().parents[2]
SHIFT = 5_000
AT_ONCE = Playing(Pace(speed=math.inf))


def recorded(config: Config, place: Path, length: int = 1) -> Recording:
    """Return the recording in a configuration's input, played below a place."""
    channels, frames = channels_of(config), config.input.witnesses[0]
    source = HistorySource(
        channels, History([config.input.strain_frames.directory]), History([frames.directory])
    )
    kinds = [
        Product(place / "strain", "H1_llhoft", length, channels.of_strain_file),
        Product(place / "witnesses", "H1_lldetchar", length, channels.witnesses),
    ]
    return Recording("H1", source, kinds, recorded_span(source.strain, STRAIN))


def played(recording: Recording, playing: Playing, count: int | None = None) -> dict[Path, float]:
    """Return the files in the order of appearance, each with the seconds since the start."""
    clock = FakeClock()
    paths = replay_as_live(recording, clock, playing)
    return {path: clock.now - 1000 for path in islice(paths, count)}  # noqa: C420  (a time each)


def of(path: Path, channel: str) -> Series:
    read = gwf.read(path, [channel])[channel]
    assert isinstance(read, Series)
    return read


def test_files_appear_restamped_when_their_data_end(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    write_site(config, START, 4)
    playing = Playing(Pace(speed=2.0), begin=START + SHIFT, start=1005.0)
    found = played(recorded(config, tmp_path / "live"), playing)
    assert len(found) == 8
    for path, seconds in found.items():
        name = FrameName.parse(path.name)
        assert name is not None
        assert name.duration == 1
        assert seconds == pytest.approx(5 + (name.start + 1 - START - SHIFT) / 2)
        if path.parent.name == "strain":
            strain, second = of(path, STRAIN), name.start - SHIFT
            assert strain.span == name.span
            np.testing.assert_array_equal(
                strain.samples, samples(STRAIN, second, STRAIN_RATE) * 1e-21
            )
            assert of(path, STATE).samples.tolist() == [7] * 16
        else:
            for channel, rate in RATES.items():
                assert of(path, channel).rate == rate


def test_gaps_stay_gaps(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    write_site(config, START, 8, no_strain=[START + 2], no_witnesses=[START + 5, START + 6])
    recording = recorded(config, tmp_path / "live", length=4)
    names = [path.name for path in played(recording, AT_ONCE)]
    strain = sorted(name for name in names if "llhoft" in name)
    assert strain == [
        f"H-H1_llhoft-{START}-2.gwf",
        f"H-H1_llhoft-{START + 3}-4.gwf",
        f"H-H1_llhoft-{START + 7}-1.gwf",
    ]
    witnesses = sorted(name for name in names if "lldetchar" in name)
    assert witnesses == [
        f"H-H1_lldetchar-{START}-4.gwf",
        f"H-H1_lldetchar-{START + 4}-1.gwf",
        f"H-H1_lldetchar-{START + 7}-1.gwf",
    ]
    assert recording.absent == {STRAIN: 1, STATE: 1, **dict.fromkeys(RATES, 2)}


def test_a_loop_goes_on_in_time(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    write_site(config, START, 2)
    recording = recorded(config, tmp_path / "live")
    recording = replace(recording, kinds=recording.kinds[:1])
    found = list(played(recording, Playing(Pace(), loop=True), 5))
    starts = [name.start for path in found if (name := FrameName.parse(path.name))]
    assert starts == [START + second for second in range(5)]
    np.testing.assert_array_equal(of(found[0], STRAIN).samples, of(found[4], STRAIN).samples)


def test_hdf5_is_played_as_frames(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    span = Span.of_seconds(START, 3)
    given = {
        name: OutputChannel(Series(span, rate, np.arange(3.0 * rate)))
        for name, rate in {STRAIN: STRAIN_RATE, **RATES}.items()
    }
    for frames, names in (
        (config.input.strain_frames, [STRAIN]),
        (config.input.witnesses[0], RATES),
    ):
        frames.directory.mkdir()
        path = frames.directory / f"H-RECORDED-{START}-3.hdf5"
        hdf5.write_archive(path, {name: given[name] for name in names})
    found = played(recorded(config, tmp_path / "live"), AT_ONCE)
    strain = [of(path, STRAIN).samples for path in found if path.parent.name == "strain"]
    np.testing.assert_array_equal(np.concatenate(strain), given[STRAIN].series.samples)


def test_the_command_plays_what_the_daemon_would_read(tmp_path: Path, deepclean: Run) -> None:
    config = make_site(tmp_path, seconds=6, no_witnesses=[START + 3])
    done = deepclean(
        tmp_path,
        "stream -c small.yaml --strain strain --witnesses witnesses --to live "
        f"--start {START + 1} --restamp {START + SHIFT} --speed inf --retention 3",
    ).good()
    assert f"plays [{START + 1}, {START + 6}) as GPS {START + SHIFT} on" in done.stdout
    assert "9 files in" in done.stdout
    assert "not in the recording: 1 s of H1:SLOW" in done.stdout
    left = sorted(path.name for path in (tmp_path / "live").glob("H-H1_llhoft-*"))
    assert left == [f"H-H1_llhoft-{START + SHIFT + second}-1.gwf" for second in (2, 3, 4)]
    newest = of(tmp_path / "live" / left[-1], STRAIN)
    original = of(strain_path(config, START + 5), STRAIN)
    np.testing.assert_array_equal(newest.samples, original.samples)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--strain strain", "holds the recording; choose another with --to"),
        ("--strain strain --to live --restamp noon", "--restamp noon"),
        ("--strain strain --to live --speed 0", "speed: 0.0 is not positive"),
        ("--strain nowhere --to live", "nowhere: no such file or directory"),
        (f"--strain strain --to live --start {START + 9}", "must end after it starts"),
        (
            f"--strain strain --to live --start {START - 9} --end {START}",
            f"no strain in [{START - 9}, {START}): the recording has [{START}, {START + 2})",
        ),
        ("--strain strain --to http://here", "--to http://here: is not grpc://HOST:PORT"),
        (
            "--strain strain --to live --set 'input.witnesses=[{directory: a}, {directory: b}]'",
            "only one directory can be played into; name one, or publish",
        ),
    ],
)
def test_what_cannot_be_played_is_said(
    tmp_path: Path, deepclean: Run, options: str, said: str
) -> None:
    make_site(tmp_path, seconds=2)
    deepclean(tmp_path, f"stream -c small.yaml {options}").refused(said)


def test_the_documented_rehearsal(tmp_path: Path, deepclean: Run) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    document = (ROOT / "docs/stream.md").read_text().partition("## A rehearsal")[2]
    commands = document.replace("\\\n", " ").splitlines()
    done = [
        deepclean(tmp_path, command.strip().removeprefix("deepclean ")).good()
        for command in commands
        if command.startswith("    deepclean ")
    ]
    assert len(done) == 2
    assert "20 files in played\n" in done[1].stdout
    assert not (tmp_path / "demo-output/cleaned").exists()
    assert len(list((tmp_path / "played").glob("H-H1_llhoft-143000000?-1.gwf"))) == 10


def test_now_is_a_second_that_begins_after_the_call(tmp_path: Path, deepclean: Run) -> None:
    make_site(tmp_path, seconds=1)
    before = gps_now() // NS
    command = "stream -c small.yaml --strain strain --to live --restamp now --speed inf"
    done = deepclean(tmp_path, command).good()
    said = "not found in the recording: H1:FAST, H1:MIDDLE, H1:SLOW (--witnesses says where"
    assert said in done.stdout
    (path,) = (tmp_path / "live").glob("H-H1_llhoft-*")
    name = FrameName.parse(path.name)
    assert name is not None
    assert before < name.start <= gps_now() // NS
