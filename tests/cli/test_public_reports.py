"""What people of this field reported of other programs, tried on this one (docs/found.md)."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import gwframe
import lal
import lalframe
import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.hdf5 import write_archive
from deepclean.telemetry import status_file
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.failing_calls import Calls
from tests.helpers.frame_files import frames, has_strain, make, seconds
from tests.helpers.site_runs import files
from tests.helpers.small_site import START, FakeClock

SPAN = f"--start {START} --end {START + 8}"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return site.make_site(tmp_path, seconds=8)


def strain_channels(second: int) -> dict[str, tuple[int, np.ndarray]]:
    return {
        site.STRAIN: (2048, site.samples(site.STRAIN, second, 2048) * 1e-21),
        site.STATE: (16, np.full(16, 7, np.uint32)),
    }


def test_frames_of_a_file_may_be_empty(deepclean: Run, config: Config, tmp_path: Path) -> None:
    """A file of eight frames of which the first two and the sixth hold no channel at all."""
    whole = deepclean(tmp_path, f"replay -c small.yaml {SPAN} --output whole").good()
    assert whole.stdout.startswith("8 frames written")
    for path in config.input.strain_frames.directory.glob("*.gwf"):
        path.unlink()
    out = lalframe.FrameUFrFileOpen(str(site.strain_path(config, START, 8)), "w")
    for second in range(START, START + 8):
        frame = lalframe.FrameNew(lal.LIGOTimeGPS(second), 1, "H1", 0, second - START, 0)
        for name, (rate, samples) in strain_channels(second).items():
            series = lal.CreateREAL8TimeSeries(
                name, lal.LIGOTimeGPS(second), 0, 1 / rate, lal.StrainUnit, len(samples)
            )
            series.data.data = samples
            if second - START not in (0, 1, 5):
                lalframe.FrameAddREAL8TimeSeriesProcData(frame, series)
        lalframe.FrameUFrameHWrite(out, frame)
    del out
    done = deepclean(tmp_path, f"replay -c small.yaml {SPAN} --output out").good()
    assert done.stdout.startswith("5 frames written")
    assert "3 s without strain" in done.stdout
    live = frames(make(config, FakeClock(), history=100), 4)
    assert seconds(live) == [START, START + 2, START + 5, START + 6]
    assert [has_strain(frame) for frame in live] == [False, True, False, True]


def test_strain_that_leaves_the_frames_is_not_waited_for(config: Config) -> None:
    """The files go on without the channel: nothing that comes later will bring it."""
    for second in range(START + 8, START + 16):
        span = Span.of_seconds(second, 1)
        state = {site.STATE: OutputChannel(Series(span, 16, np.full(16, 7, np.uint32)))}
        gwf.publish(site.strain_path(config, second), gwf.serialise(span, state))
        gwf.publish(site.witness_path(config, second), site.witness_frame(second))
    clock = FakeClock()
    began = clock.now
    live = frames(make(config, clock, history=100), 16)
    assert [has_strain(frame) for frame in live] == [True] * 8 + [False] * 8
    assert clock.now - began < 1.0


def test_a_frame_file_that_vanishes_is_a_gap(config: Config) -> None:
    """A ring buffer deletes its oldest file between the listing and the reading."""
    source = make(config, FakeClock(), history=100)
    given = []
    for event in source.events():
        if isinstance(event, InputFrame):
            given.append(event)
            site.strain_path(config, START + 5).unlink(missing_ok=True)
            site.witness_path(config, START + 6).unlink(missing_ok=True)
        if len(given) == 8:
            break
    assert [has_strain(frame) for frame in given] == [n != 5 for n in range(8)]


def archive(config: Config, start: int, until: int, length: int) -> None:
    """Write strain as public archives have it: NaN before the detector was on, no state vector."""
    span = Span.of_seconds(start, length)
    strain = np.concatenate(
        [site.samples(site.STRAIN, s, 2048) for s in range(start, start + length)]
    )
    strain *= 1e-21
    strain[: until * 2048] = np.nan
    for path in config.input.strain_frames.directory.glob("*.gwf"):
        path.unlink()
    path = config.input.strain_frames.directory / f"H-H1_llhoft-{start}-{length}.hdf5"
    write_archive(path, {site.STRAIN: OutputChannel(Series(span, 2048, strain))})


@pytest.mark.slow
def test_a_detector_that_came_on_late_is_nan_before(
    deepclean: Run, config: Config, tmp_path: Path
) -> None:
    site.write_site(config, START, 64)
    archive(config, START, 40, 64)
    span = f"--start {START} --end {START + 64} --set strain.state_vector=null"
    done = deepclean(tmp_path, f"replay -c small.yaml {span} --output out").good()
    assert done.stdout.startswith("64 frames written")
    cleaned = int(done.stdout.split(": ")[1].split(" s cleaned")[0])
    assert 20 <= cleaned <= 24
    assert "39 strain_nonfinite" in done.stdout
    trained = deepclean(tmp_path, f"train -c small.yaml 60Hz {span} --architecture wiener")
    assert "Traceback" not in trained.stderr
    assert "nan" not in trained.stdout.lower()
    judged = deepclean(tmp_path, f"validate -c small.yaml {span} --out report")
    assert judged.returncode in (0, 3)
    assert "nan" not in judged.stdout.lower()


def test_a_list_of_files_is_not_taken_for_data(
    deepclean: Run, config: Config, tmp_path: Path
) -> None:
    """Virgo names its files in an .ffl, LIGO in a .lcf; a person gives that to --strain."""
    listing = tmp_path / "V1.ffl"
    listing.write_text(f"{site.strain_path(config, START)} {START} 1 0 0\n")
    done = deepclean(tmp_path, f"replay -c small.yaml {SPAN} --output out --strain {listing}")
    done.refused("V1.ffl", "list of files")


def test_a_clock_that_was_set_back_makes_no_negative_age(
    deepclean: Run, config: Config, tmp_path: Path
) -> None:
    from deepclean.core.accounting import Ledger

    config.output.directory.mkdir(exist_ok=True)
    path = status_file.path_in(config.output.directory, config.output.description)
    status_file.StatusFile(path, site.FakeClock(), dict, dict).write(Ledger())
    ahead = time.time() + 3600
    os.utime(path, (ahead, ahead))
    first = deepclean(tmp_path, "status -c small.yaml").stdout.splitlines()[0]
    assert " -" not in first


def test_names_that_a_network_file_system_leaves_are_no_frames(
    deepclean: Run, config: Config, tmp_path: Path
) -> None:
    """NFS renames a file that is deleted while somebody reads it to `.nfs...`."""
    for directory in (config.input.strain_frames.directory, tmp_path / "out"):
        directory.mkdir(exist_ok=True)
        (directory / ".nfs000000000004a1b300000001").write_bytes(b"IGWD")
    done = deepclean(tmp_path, f"replay -c small.yaml {SPAN} --output out").good()
    assert done.stdout.startswith("8 frames written")
    assert ".nfs000000000004a1b300000001" in {p.name for p in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.ENOSPC])
def test_a_quota_that_is_used_up_may_be_raised(
    deepclean: Run, config: Config, tmp_path: Path, code: int
) -> None:
    """The command ends with status 1, no temporary stays, and the same command goes on."""
    command = f"replay -c small.yaml {SPAN} --output {tmp_path / 'out'}"
    for _ in range(2):  # the second makes neither the directory nor the lock
        for path in (tmp_path / "out").glob("*.gwf"):
            path.unlink()
        calls = Calls(tmp_path / "out", fail=None)
        with pytest.MonkeyPatch.context() as patch:
            calls.install(patch)
            deepclean(tmp_path, command).good()
    writes = [n for n, (function, _) in enumerate(calls.made) if function == "write"]
    for path in (tmp_path / "out").glob("*.gwf"):
        path.unlink()
    failing = Calls(tmp_path / "out", fail=writes[len(writes) // 2], code=code)
    with pytest.MonkeyPatch.context() as patch:
        failing.install(patch)
        done = deepclean(tmp_path, command)
    assert done.returncode == 1
    assert os.strerror(code).lower() in done.stderr.lower()
    assert not list((tmp_path / "out").glob(".*.tmp"))
    again = deepclean(tmp_path, command).good()
    assert "s were there" in again.stdout
    assert len([name for name in files(tmp_path / "out") if name.endswith(".gwf")]) == 8


def test_frames_that_begin_between_seconds_are_placed_by_their_data(
    config: Config, tmp_path: Path
) -> None:
    """Times that are no whole seconds lose a sample in other readers."""
    path = tmp_path / f"H-H1_HALF-{START}-2.gwf"
    samples = np.arange(2048.0)
    with gwframe.FrameWriter(path) as writer:
        frame = gwframe.Frame(START + 0.5, 1.0, name="H1")
        frame.add_channel(site.STRAIN, samples, 2048, channel_type="proc")
        writer.write_frame(frame)
    reading = gwf.read_pieces(path, [site.STRAIN], Span.of_seconds(START, 2))
    (piece,) = reading.pieces[site.STRAIN]
    assert piece.span == Span(START * NS + NS // 2, START * NS + 3 * NS // 2)
    assert isinstance(piece, Series)
    assert np.array_equal(piece.samples, samples)
