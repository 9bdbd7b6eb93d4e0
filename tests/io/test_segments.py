"""Segment files: what frames say, read back by gwpy; growing, resumed, and never in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gwpy.segments import DataQualityDict, DataQualityFlag

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.output.products import State
from deepclean.core.output.segments import union
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError
from deepclean.io.segments.daily import DAY, SegmentFiles
from deepclean.io.segments.formats import GOOD, StateSegments, parse, serialise
from deepclean.io.sink import FrameSink
from deepclean.io.t050017 import FrameName
from deepclean.models.budget import budget
from deepclean.system.lock import OutputLock
from deepclean.validate.segments import read_segments
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.site_runs import daemon, stop, stream
from tests.helpers.small_site import START

STATE = "H1:DEEPCLEAN-STATE_VECTOR"
MIDNIGHT = -(-START * NS // DAY) * DAY // NS
"""GPS seconds of the first day that begins after START."""

WELL = State.OUTPUT_VALID | State.ANALYSIS_READY | State.CLEANED
RAW = State.OUTPUT_VALID | State.ANALYSIS_READY
NOT_READY = State.OUTPUT_VALID | State.CLEANED


def seconds(*pairs: tuple[int, int], start: int = MIDNIGHT) -> list[Span]:
    """Return spans of seconds counted from midnight."""
    return [Span((start + low) * NS, (start + high) * NS) for low, high in pairs]


def write(config: Config, bits: Mapping[int, Sequence[State] | State]) -> None:
    """Write the frame of each second, counted from midnight; bits of all of it or by sixteenth."""
    sink = FrameSink(config.output.directory, "H1", "H1_DEEPCLEAN")
    for offset, value in bits.items():
        span = Span.of_seconds(MIDNIGHT + offset, 1)
        values = np.full(16, value, dtype=np.uint32)
        sink.write(span, {STATE: Series(span, 16, values)})


def configured(place: Path, *overrides: str) -> Config:
    there = f"output.segments.directory={place / 'segments'}"
    return site.small_config(place, there, *overrides)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configured(tmp_path)


def update(config: Config) -> bool:
    """Bring the files up to date, as a daemon does that is stopped then."""
    files = SegmentFiles(config, pause=0.0)
    done = files.round()
    files.close()
    return done


def path(config: Config, day: int = 0) -> Path:
    directory, start = config.output.segments.directory, MIDNIGHT + day * DAY // NS
    assert directory is not None
    extension = "xml" if config.output.segments.format == "xml" else "h5"
    return directory / f"H-H1_DEEPCLEAN_SEGMENTS-{start}-86400.{extension}"


def flag(file: Path, name: str) -> tuple[list[Span], list[Span]]:
    """Return what gwpy reads as the known and the active time of a flag."""
    kind = "ligolw" if file.suffix == ".xml" else "hdf5"
    full = f"H1:DEEPCLEAN-{name}:1"
    named = {"name" if kind == "ligolw" else "path": full}
    read = DataQualityFlag.read(str(file), format=kind, **named)
    assert (read.ifo, read.tag, read.version) == ("H1", f"DEEPCLEAN-{name}", 1)
    return tuple(
        [Span(int(low) * NS, int(high) * NS) for low, high in spans]
        for spans in (read.known, read.active)
    )  # type: ignore[return-value]


FIVE: Mapping[int, Sequence[State] | State] = {
    0: WELL,
    1: WELL,
    2: RAW,
    3: NOT_READY,
    5: [WELL] * 15 + [RAW],
}


@pytest.mark.parametrize("form", ["xml", "hdf5"])
def test_gwpy_reads_every_flag(tmp_path: Path, form: str) -> None:
    config = configured(tmp_path, f"output.segments.format={form}")
    write(config, FIVE)
    assert update(config)
    known = seconds((0, 4), (5, 6))
    assert flag(path(config), "OUTPUT_VALID") == (known, known)
    assert flag(path(config), "CLEANED") == (known, seconds((0, 2), (3, 4)))
    assert flag(path(config), "ANALYSIS_READY") == (known, seconds((0, 3), (5, 6)))
    assert flag(path(config), "GOOD") == (known, seconds((0, 3), (5, 6)))
    assert flag(path(config), "COMPLETE") == (known, [])
    read = DataQualityDict.read(str(path(config)), format={"xml": "ligolw"}.get(form, form))
    assert set(read) == {f"H1:DEEPCLEAN-{n}:1" for n in (GOOD, *(bit.name for bit in State))}
    assert read_segments(path(config), "H1:DEEPCLEAN-GOOD:1") == seconds((0, 3), (5, 6))


def test_good_is_what_the_configuration_says(tmp_path: Path) -> None:
    config = configured(tmp_path, "output.segments.state=[CLEANED, ANALYSIS_READY]")
    write(config, FIVE)
    update(config)
    assert flag(path(config), "GOOD")[1] == seconds((0, 2))


@pytest.mark.parametrize("form", ["xml", "hdf5"])
def test_a_file_is_parsed_as_it_was_made(tmp_path: Path, form: str) -> None:
    segments = StateSegments(seconds((0, 9)), {str(bit.name): [] for bit in State})
    segments.active["CLEANED"] = seconds((1, 2), (4, 9))
    file = tmp_path / f"any.{'xml' if form == 'xml' else 'h5'}"
    content = [serialise(segments, "H1", ["CLEANED"], form) for _ in range(2)]  # type: ignore[arg-type]
    assert form == "hdf5" or content[0] == content[1]
    file.write_bytes(content[0])
    assert parse(file) == segments


def test_a_day_grows_and_the_next_one_has_its_own(config: Config) -> None:
    files = SegmentFiles(config, pause=0.0)
    write(config, {-2: WELL, -1: WELL})
    files.round()
    assert not path(config).exists()
    assert flag(path(config, -1), "GOOD")[0] == seconds((-2, 0))
    before = path(config, -1).read_bytes()
    write(config, {0: WELL, 1: RAW})
    files.round()
    assert path(config, -1).read_bytes() == before
    assert flag(path(config), "CLEANED") == (seconds((0, 2)), seconds((0, 1)))
    write(config, {2: WELL})
    files.round()
    files.close()
    assert flag(path(config), "CLEANED") == (seconds((0, 3)), seconds((0, 1), (2, 3)))


def test_a_restart_goes_on_and_adds_what_it_missed(config: Config) -> None:
    write(config, {0: WELL, 1: RAW})
    update(config)
    for frame in config.output.directory.glob("*.gwf"):
        frame.unlink()  # as retention does
    write(config, {5: WELL})
    update(config)
    assert flag(path(config), "CLEANED") == (seconds((0, 2), (5, 6)), seconds((0, 1), (5, 6)))


@pytest.mark.parametrize("content", [b"", b"<LIGO_LW>", b"\x89HDF"])
@pytest.mark.parametrize("form", ["xml", "hdf5"])
def test_a_damaged_file_begins_anew(tmp_path: Path, form: str, content: bytes) -> None:
    config = configured(tmp_path, f"output.segments.format={form}")
    write(config, {0: WELL})
    path(config).parent.mkdir()
    path(config).write_bytes(content)
    assert update(config)
    assert flag(path(config), "GOOD")[0] == seconds((0, 1))


def test_a_frame_that_cannot_be_read_is_not_known_until_it_can(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    write(config, {0: WELL, 1: WELL, 2: WELL})
    broken = config.output.directory / str(FrameName("H", "H1_DEEPCLEAN", MIDNIGHT + 1, 1))
    content = broken.read_bytes()
    broken.write_bytes(content[:100])
    files = SegmentFiles(config, pause=0.0)
    for _ in range(3):
        assert files.round()
    assert flag(path(config), "GOOD")[0] == seconds((0, 1), (2, 3))
    assert caplog.text.count("left out of the segments") == 1
    broken.write_bytes(content)  # the system had refused it for a moment
    assert files.round()
    files.close()
    assert flag(path(config), "GOOD")[0] == seconds((0, 3))


def test_what_cannot_be_written_is_said_once_and_tried_again(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    directory = config.output.segments.directory
    assert directory is not None
    directory.write_text("a file is in the way")
    write(config, {0: WELL})
    files = SegmentFiles(config, pause=0.0)
    assert not files.round()
    assert not files.round()
    assert files.failures == {"EEXIST": 2}
    directory.unlink()
    assert files.round()
    files.close()
    assert caplog.text.count("the segments are not written") == 1
    assert flag(path(config), "GOOD")[0] == seconds((0, 1))


def test_what_the_run_wrote_itself_is_not_read_again(config: Config) -> None:
    write(config, {0: WELL, 1: WELL})
    name = FrameName("H", "H1_DEEPCLEAN", MIDNIGHT + 1, 1)
    (config.output.directory / str(name)).write_bytes(b"whatever is there now")
    files = SegmentFiles(config, pause=0.0)
    told = Series(Span.of_seconds(MIDNIGHT + 1, 1), 16, np.full(16, RAW, dtype=np.uint32))
    files.appeared(name, {STATE: told})
    assert files.round()
    files.close()
    assert flag(path(config), "CLEANED") == (seconds((0, 2)), seconds((0, 1)))


def test_a_second_that_is_there_in_part_is_not_known(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    sixteenth, files = NS // 16, SegmentFiles(config, pause=0.0)
    sink = FrameSink(config.output.directory, "H1", "H1_DEEPCLEAN", appeared=files.appeared)
    start = MIDNIGHT * NS
    stretches = [(0, 16), (16, 20), (25, 32), (32, 48), (48, 65), (66, 80)]
    for low, high in stretches:  # seconds 1 and 4 have holes; the last two share a file of two
        span = Span(start + low * sixteenth, start + high * sixteenth)
        sink.write(span, {STATE: Series(span, 16, np.full(high - low, WELL, dtype=np.uint32))})
    assert files.round()
    files.close()
    assert not caplog.text
    known, active = flag(path(config), "CLEANED")
    assert known == active == seconds((0, 1), (2, 4))


def test_two_do_not_write_the_same_files(config: Config) -> None:
    write(config, {0: WELL})
    directory = config.output.segments.directory
    assert directory is not None
    directory.mkdir()
    with OutputLock(directory, "H1_DEEPCLEAN_SEGMENTS"):
        assert not update(config)
    assert update(config)


def test_frames_of_the_future_do_not_count(config: Config) -> None:
    far = 4_000_000_000
    sink = FrameSink(config.output.directory, "H1", "H1_DEEPCLEAN")
    span = Span.of_seconds(far, 1)
    sink.write(span, {STATE: Series(span, 16, np.full(16, WELL, dtype=np.uint32))})
    assert update(config)
    assert not path(config, (far - MIDNIGHT) // 86400).exists()


def test_nothing_is_written_unless_asked_for(tmp_path: Path) -> None:
    config = site.small_config(tmp_path)
    write(config, {0: WELL})
    with SegmentFiles(config) as files:
        assert files.round()
    assert list(tmp_path.glob("**/*SEGMENTS*")) == []


def test_bits_are_checked_at_the_start(tmp_path: Path) -> None:
    config = configured(tmp_path, "output.segments.state=[CLEAND]")
    with pytest.raises(ConfigError, match=r"segments.state: CLEAND is no .* did you mean CLEANED"):
        budget(config)


@pytest.mark.parametrize("kept", ["age=100", "count=119"])
def test_frames_stay_until_they_were_read(tmp_path: Path, kept: str) -> None:
    with pytest.raises(ConfigError, match="gone before the segments hold 60 s"):
        configured(tmp_path, f"output.retention.{kept}")


@pytest.mark.slow
def test_the_daemon_writes_them(tmp_path: Path) -> None:
    place = tmp_path / "segments"
    overrides = f"output.segments.directory={place}", "output.segments.every=4"
    config = site.make_site(tmp_path, seconds=6)
    options = [word for one in overrides for word in ("--set", one)]
    with daemon(config, tmp_path / "log", *options) as process:
        stream(config, process, range(START + 6, START + 20))
        stop(process)
    (file,) = place.glob("*.xml")
    frames = [FrameName.parse(p.name) for p in config.output.directory.glob("*.gwf")]
    known, valid = flag(file, "OUTPUT_VALID")
    assert known == valid == union(name.span for name in frames if name)


def test_the_command_does_the_same(
    deepclean: Run, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(config, FIVE)
    update(config)
    for name in ("all.xml", "all.h5"):
        said = deepclean(tmp_path, f"segments {config.output.directory} -o {name}").good().stdout
        assert said.splitlines()[0] == "H1:DEEPCLEAN-GOOD:1: 4 s of 5 s"
        assert parse(tmp_path / name) == parse(path(config))
    assert (tmp_path / "all.xml").read_bytes() == path(config).read_bytes()
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "cleaned").symlink_to(config.output.directory)
    page = (Path(__file__).parents[2] / "docs" / "products.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("    deepclean segments"))
    deepclean(tmp_path / "page", command.removeprefix("    deepclean ")).good()
    assert flag(tmp_path / "page" / "segments.xml", "GOOD")[1] == seconds((0, 2), (3, 4))
    monkeypatch.chdir(tmp_path / "page")
    found: dict[str, Any] = {}
    exec(page.split("```python\n")[-1].split("```")[0], found)
    assert found["good"].name == "H1:DEEPCLEAN-GOOD:1"
    files = " ".join(map(str, sorted(config.output.directory.glob("*.gwf"))[:3]))
    deepclean(tmp_path, f"segments {files} --state CLEANED -o some.xml").good()
    assert flag(tmp_path / "some.xml", "GOOD") == (seconds((0, 3)), seconds((0, 2)))


def test_mistakes_are_one_message(deepclean: Run, config: Config, tmp_path: Path) -> None:
    write(config, {0: WELL})
    out = config.output.directory
    command = f"segments {out}"
    deepclean(tmp_path, f"{command} -o any.txt").refused("neither in .xml nor in .h5")
    deepclean(tmp_path, f"{command} -o a.xml --state CLEAND").refused("did you mean CLEANED?")
    deepclean(tmp_path, "segments . -o a.xml --state CLEANED").good()
    raw = tmp_path / "H-H1_llhoft-1400000000-1.gwf"
    raw.write_bytes(site.strain_frame(START))
    deepclean(tmp_path, f"segments {raw} -o b.xml").refused("not a cleaned frame", lines=1)
    with pytest.raises(InputError, match="no segments can be read"):
        parse(tmp_path / "none.xml")
