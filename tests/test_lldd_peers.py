"""Frames as the LIGO distribution writes them: its own code, in its own environment."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.assemble import InputFrame
from deepclean.core.block import Series
from tests import peering
from tests import smallsite as site
from tests.peering import Peer
from tests.smallsite import START, FakeClock
from tests.test_daemon import daemon, is_written, until
from tests.test_live import frames, has_strain, make, seconds, witness
from tests.test_replay import clean, contents

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    place = tmp_path_factory.mktemp("lldd")
    with peering.running(place, str(peering.PROGRAMS / "lldd_writer.py")) as peer:
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
        payload = self.config.input.strain.directory.parent / "payload"
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
    for held in (config.input.strain.directory, config.input.witnesses[0].directory):
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
    assert not any(result == "unreadable" for _, result in source.counts)


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
    assert source.counts["strain", "unreadable"] == 1


@pytest.mark.parametrize("events", [True, False])
def test_what_retention_deletes_first_is_a_gap(
    distribution: Distribution, config: Config, events: bool
) -> None:
    """A burst longer than the ring: what is left is taken, with the events of all files or none."""
    distribution = replace(distribution, ring=2)
    clock = FakeClock()
    source = make(config, clock, history=8, resume=START)

    def burst() -> None:
        for second in range(START + 1, START + 7):
            distribution.second(second)
            if events:
                source.strain.notice(site.strain_path(config, second).name)
                source.witnesses[0].notice(site.witness_path(config, second).name)

    distribution.second(START)
    clock.at(1, burst)
    given = frames(source, 7)
    assert seconds(given) == list(range(START, START + 7))
    assert [has_strain(frame) for frame in given] == [True, *[False] * 4, True, True]
    assert isinstance(witness(given[-1], "H1:FAST"), Series)
    # All were given up at once, one deadline after the burst.
    assert clock.now == pytest.approx(1001 + config.input.deadline, rel=0, abs=0.2)


class Site:
    """The distribution of a site: a broker with a sender, and `kafka2frame` once for each stream.

    Args:
        config: where the frames go.
        place: directory for what the programs say.
        stack: on which they run.
        options: of `kafka2frame`.
    """

    def __init__(self, config: Config, place: Path, stack: ExitStack, *options: str) -> None:
        self._payload = place / "payload"
        self._streams = {
            "llhoft": (config.input.strain.directory, site.strain_frame),
            "lldetchar": (config.input.witnesses[0].directory, site.witness_frame),
        }
        sender = peering.running(place / "sender", str(peering.PROGRAMS / "lldd_sender.py"))
        self._sender = stack.enter_context(sender)
        broker = self._sender.hear()
        self.writers = []
        for topic, (directory, _) in self._streams.items():
            command = ["-m", "igwn_lldd_common.kafka2frame", "--bootstrap-servers", broker]
            command += ["--ifo", "H1", "--topic", topic, "--group-id", topic, "--delta-t", "1"]
            command += ["--tag", f"H1_{topic}", "--frame-dir", str(directory)]
            command += ["--poll-timeout", "100", *options]
            self.writers.append(stack.enter_context(peering.running(place / topic, *command)))

    def send(self, second: int) -> None:
        for topic, (_, frame) in self._streams.items():
            self._payload.write_bytes(frame(second))
            assert self._sender.ask(f"{topic} {second} {self._payload}") == "sent"

    def holds(self, second: int) -> bool:
        """Return whether a second lies in every directory."""
        ends = [directory.glob(f"*-{second}-1.gwf") for directory, _ in self._streams.values()]
        return all(any(found) for found in ends)

    def start(self, second: int) -> int:
        """Send seconds from this one on until the writers take them; return the next.

        They take what is sent after they are at the broker, and do not say when that is.
        """
        seconds, due = count(second), time.monotonic()

        def taken() -> bool:
            nonlocal second, due
            if time.monotonic() >= due:
                second, due = next(seconds), time.monotonic() + 1.0
                self.send(second)
            return self.holds(second)

        until(taken, self.writers[0].process)
        return second + 1

    def stop(self) -> None:
        for writer in self.writers:
            writer.process.send_signal(signal.SIGINT)
            assert writer.process.wait(timeout=30) == -signal.SIGINT, writer.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("unsafe", [False, True], ids=["atomic", "unsafe"])
def test_daemon_takes_what_kafka2frame_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsafe: bool
) -> None:
    """Frames through the distribution's own processes, retention on; ours come out the same."""
    monkeypatch.setenv("DEEPCLEAN__INPUT__DEADLINE", "60")  # however long the broker takes
    config = site.small_config(tmp_path)
    site.publish_model(config)
    kept = 8
    with ExitStack() as stack:
        options = ("--write-unsafe", str(unsafe), "--ringn", str(kept))
        distribution = Site(config, tmp_path, stack, *options)
        first = distribution.start(START)
        begin, end = first + kept - 1, first + kept + 12
        for second in range(first, begin + 1):
            distribution.send(second)
        until(partial(distribution.holds, begin), distribution.writers[0].process)
        process = stack.enter_context(daemon(config, tmp_path / "log"))
        for second in range(begin + 1, end):
            distribution.send(second)
            if (end - second) % 4 == 1:
                until(partial(is_written, config, second - 1), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        distribution.stop()
    for directory in (config.input.strain.directory, config.input.witnesses[0].directory):
        left = sorted(path.name.split("-")[2] for path in directory.iterdir())
        assert left == [str(second) for second in range(end - kept, end)]
    live = contents(config.output.directory)
    assert sorted(live) == list(range(begin, end))
    said = "13 frames in, 13 written, 12 of them cleaned, 0 lost, 0 s without strain"
    assert said in (tmp_path / "log").read_text()
    (tmp_path / "ours").mkdir()
    ours = site.small_config(tmp_path / "ours")
    site.publish_model(ours)
    site.write_site(ours, first, end - first)
    clean(ours, begin, end - 1, tmp_path / "replay")
    replayed = contents(tmp_path / "replay")
    assert {second: live[second] for second in replayed} == replayed
    assert len(replayed) == 12
