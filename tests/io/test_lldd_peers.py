"""Frames as the LIGO distribution writes them: its own code, in its own environment.

test_kafka2frame_peers has its processes and our daemon.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS
from tests.helpers import peer_environment
from tests.helpers import small_site as site
from tests.helpers.frame_files import (
    frames,
    has_strain,
    make,
    seconds,
    strain_tail,
    witness,
    witness_tail,
)
from tests.helpers.peer_environment import Peer
from tests.helpers.small_site import START, FakeClock

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    place = tmp_path_factory.mktemp("lldd")
    with peer_environment.running(place, str(peer_environment.PROGRAMS / "lldd_writer.py")) as peer:
        yield peer


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = site.small_config(tmp_path)
    site.write_site(config, START, 0)
    return config


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution's writer, with the options that a site gives it."""

    writer: Peer
    config: Config
    unsafe: bool = False
    tmpdir: Path | None = None
    ring: int | None = None
    age: float | None = None

    def write(self, path: Path, content: bytes, limit: int | None = None) -> str:
        """Have a file written; return what the writer says."""
        payload = self.config.input.strain_frames.directory.parent / "payload"
        payload.write_bytes(content)
        asked = {
            "path": str(path),
            "content": str(payload),
            "unsafe": self.unsafe,
            "tmpdir": self.tmpdir and str(self.tmpdir),
            "ring": self.ring,
            "age": self.age,
            "limit": limit,
        }
        return self.writer.ask(json.dumps(asked))

    def second(self, second: int) -> None:
        """Have a second of strain and witnesses written."""
        strain = site.strain_path(self.config, second), site.strain_frame(second)
        witnesses = site.witness_path(self.config, second), site.witness_frame(second)
        for path, content in (strain, witnesses):
            assert self.write(path, content) == "written"


@pytest.fixture(params=["beside", "in a directory of their own", "in memory", "unsafe"])
def distribution(
    request: pytest.FixtureRequest, writer: Peer, config: Config, tmp_path: Path
) -> Iterator[Distribution]:
    """Where its temporaries are; moved from another file system a file appears piece by piece."""
    with ExitStack() as stack:
        tmpdir: Path | None = None
        if request.param == "in a directory of their own":
            tmpdir = tmp_path / "temporaries"
            tmpdir.mkdir()
        elif request.param == "in memory":
            if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
                pytest.skip(f"needs a file system of its own at {MEMORY}")
            tmpdir = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        yield Distribution(writer, config, unsafe=request.param == "unsafe", tmpdir=tmpdir)


def given_bytes(frame: InputFrame) -> list[bytes]:
    """Return every sample of a frame: strain, state vector, witnesses."""
    held = []
    for block in frame.blocks:
        for channel in (block.strain, block.state, *block.witnesses.values()):
            assert isinstance(channel, Series)
            held.append(channel.samples.tobytes())
    return held


def by_our_writer(place: Path, count: int) -> list[list[bytes]]:
    """Return what is read of the same seconds where our own writer published them."""
    place.mkdir()
    config = site.small_config(place)
    site.write_site(config, START, count)
    read = frames(make(config, FakeClock(), resume=START), count)
    return [given_bytes(frame) for frame in read]


@pytest.mark.parametrize(("ring", "age"), [(1, None), (None, 1e-9)], ids=["count", "age"])
def test_no_frame_is_lost_though_each_deletes_the_one_before(
    distribution: Distribution, config: Config, tmp_path: Path, ring: int | None, age: float | None
) -> None:
    distribution = replace(distribution, ring=ring, age=age)
    clock = FakeClock()
    distribution.second(START)
    for n in range(1, 10):
        clock.at(n, partial(distribution.second, START + n))
    given = frames(make(config, clock, history=2), 10)
    assert seconds(given) == list(range(START, START + 10))
    for held in (config.input.strain_frames.directory, config.input.witnesses[0].directory):
        assert len(list(held.iterdir())) == 1
    assert [given_bytes(frame) for frame in given] == by_our_writer(tmp_path / "ours", 10)


@pytest.mark.parametrize("limit", [0, 4096, -1])
@pytest.mark.parametrize("stream", ["strain", "witnesses"])
def test_unsafe_write_cut_short_is_read_once_it_is_whole(
    writer: Peer, config: Config, tmp_path: Path, stream: str, limit: int
) -> None:
    """The writer's disk is full in the middle of a file; it is told to write it again, in time."""
    distribution = Distribution(writer, config, unsafe=True)
    second, clock = START + 1, FakeClock()
    path, content = site.strain_path(config, second), site.strain_frame(second)
    other, beside = site.witness_path(config, second), site.witness_frame(second)
    if stream == "witnesses":
        path, content, other, beside = other, beside, path, content
    size = limit % len(content)

    def cut() -> None:
        assert distribution.write(other, beside) == "written"
        assert "File too large" in distribution.write(path, content, size)
        assert path.stat().st_size == size

    def whole() -> None:
        assert distribution.write(path, content) == "written"

    distribution.second(START)
    clock.at(1, cut)
    clock.at(2.9, whole)
    clock.at(4, partial(distribution.second, START + 2))
    source = make(config, clock, resume=START)
    given = frames(source, 3)
    assert seconds(given) == [START, second, START + 2]
    assert [given_bytes(frame) for frame in given] == by_our_writer(tmp_path / "ours", 3)
    assert not any(result == "unreadable" for _, result in source.run.counts)


def test_unsafe_write_that_stays_cut_is_one_gap(writer: Peer, config: Config) -> None:
    distribution = Distribution(writer, config, unsafe=True)
    clock = FakeClock()
    path, content = site.strain_path(config, START + 1), site.strain_frame(START + 1)

    def cut() -> None:
        assert distribution.write(path, content, len(content) // 2) != "written"

    distribution.second(START)
    clock.at(1, cut)
    clock.at(2, partial(distribution.second, START + 2))
    source = make(config, clock, resume=START)
    given = frames(source, 3)
    assert [has_strain(frame) for frame in given] == [True, False, True]
    assert source.run.counts["strain", "unreadable"] == 1


@pytest.mark.parametrize("events", [True, False])
def test_deleted_frame_is_a_gap(distribution: Distribution, config: Config, events: bool) -> None:
    """A burst longer than the ring: what is left is taken, with the events of all files or none."""
    distribution = replace(distribution, ring=2)
    clock = FakeClock()
    source = make(config, clock, history=8, resume=START)

    def burst() -> None:
        for second in range(START + 1, START + 7):
            distribution.second(second)
            if events:
                strain_tail(source).notice(site.strain_path(config, second).name)
                witness_tail(source).notice(site.witness_path(config, second).name)

    distribution.second(START)
    clock.at(1, burst)
    given = frames(source, 7)
    assert seconds(given) == list(range(START, START + 7))
    assert [has_strain(frame) for frame in given] == [True, *[False] * 4, True, True]
    assert isinstance(witness(given[-1], "H1:FAST"), Series)
    # All were given up at once, one deadline after the burst.
    assert clock.now == pytest.approx(1001 + config.input.deadline / NS, rel=0, abs=0.2)
