"""The output fails: real full, read-only and vanished directories, and a limit on file sizes."""

from __future__ import annotations

import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span
from deepclean.factory import make_engine
from deepclean.io import gwf
from deepclean.io.t050017 import FrameName
from deepclean.models.loading import load_models
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.system.lock import OutputLock
from tests.helpers import small_site as site
from tests.helpers.site_runs import daemon, open_source, stop, stream, until
from tests.helpers.small_site import START
from tests.helpers.tmpfs import SMALL, Mount

FIRST = START + 2
COUNT = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    site.make_site(place, seconds=COUNT + 4)
    return place


class Cleaning:
    """A cleaning whose frames are given one by one, with the daemon's lock on its output."""

    def __init__(self, config: Config) -> None:
        loaded = load_models(config)
        engine = make_engine(config, loaded)
        span = Span.of_seconds(FIRST, COUNT)
        frames = open_source(config).frames(span, engine.needs(span))
        self._frames: Iterator[InputFrame] = iter(list(frames))
        self.directory = config.output.directory
        self._lock = OutputLock(self.directory, config.output.description)
        self._lock.__enter__()
        sink = sink_of(config, loaded)
        sink.guard = self._lock.hold
        self.cleaner = FrameCleaner(config, engine, sink)

    def close(self) -> None:
        self._lock.__exit__()

    def next(self, count: int = 1) -> list[int]:
        """Go on until this many frames came out, written or lost; return which were written."""
        written: list[int] = []
        ledger = self.cleaner.ledger
        until_done = ledger.written.total() + ledger.lost.total() + count
        while ledger.written.total() + ledger.lost.total() < until_done:
            for path in self.cleaner.push(next(self._frames)):
                name = FrameName.parse(path.name)
                assert name is not None
                written.append(name.start - FIRST)
            assert ledger.balanced
        if self.directory.exists():
            assert_sound(self.directory)
        return written


@contextmanager
def cleaning(place: Path, output: Path, *overrides: str) -> Iterator[Cleaning]:
    made = Cleaning(site.small_config(place, f"output.directory={output}", *overrides))
    try:
        yield made
    finally:
        made.close()


def assert_sound(directory: Path) -> None:
    """Every frame is whole, and nothing that is none has a frame's name."""
    for path in directory.iterdir():
        if path.name.endswith(".gwf"):
            gwf.read(path, list(gwf.channels(path)), checksum=True)
        else:
            assert not path.name.endswith(".tmp")


def on_disk(directory: Path) -> list[int]:
    names = [FrameName.parse(path.name) for path in directory.iterdir()]
    return sorted(name.start - FIRST for name in names if name is not None)


def test_disk_full_of_our_own_frames_empties(
    place: Path, tmp_path: Path, mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    """One frame of 49 kB fits into 64 KiB: each second one is lost and makes room for the next."""
    output = tmp_path / "out"
    mount(output, *SMALL)
    with cleaning(place, output, "output.retention.count=1") as running:
        assert running.next(8) == [0, 2, 4, 6]
        assert on_disk(output) == []
        assert running.next() == [8]
        assert running.cleaner.ledger.lost == {"ENOSPC": 4}
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 4  # one for each transition


def test_age_frees_a_full_disk(place: Path, tmp_path: Path, mount: Mount) -> None:
    output = tmp_path / "out"
    mount(output, "-t", "tmpfs", "-o", "size=128k", "tmpfs")
    overrides = ("output.retention.age=3", "output.products=[OUT_DQ]")  # 33 kB: three fit
    with cleaning(place, output, *overrides) as running:
        assert running.next(9) == [0, 1, 2, 5, 6, 7]
        assert running.cleaner.ledger.lost == {"ENOSPC": 3}


def test_disk_that_others_fill_costs_what_does_not_fit(
    place: Path, tmp_path: Path, mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out"
    mount(output, *SMALL)
    with cleaning(place, output) as running:
        assert running.next() == [0]
        assert running.next(4) == []
        assert on_disk(output) == [0]
        mount(output, "-o", "remount,size=1m")
        assert running.next(2) == [5, 6]
        assert running.cleaner.ledger.lost == {"ENOSPC": 4}
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_read_only_directory(place: Path, tmp_path: Path, mount: Mount) -> None:
    output = tmp_path / "out"
    with cleaning(place, output, "output.retention.count=2") as running:
        running.next(3)
        mount(output, "--bind", output)
        mount(output, "-o", "remount,bind,ro")
        assert running.next(3) == []
        assert on_disk(output) == [1, 2]
        assert running.cleaner.ledger.lost == {"EROFS": 3}
        mount(output, "-o", "remount,bind,rw")
        # What could not be deleted meanwhile goes, one a frame.
        assert running.next(5) == [6, 7, 8, 9, 10]
        assert on_disk(output) == [9, 10]


def test_vanished_directory(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with cleaning(place, output, "output.retention.count=2") as running:
        assert running.next(3) == [0, 1, 2]
        shutil.rmtree(output)
        assert running.next(2) == []
        assert not output.exists()
        output.mkdir()
        assert running.next(4) == [5, 6, 7, 8]
        assert on_disk(output) == [7, 8]
        assert running.cleaner.ledger.lost == {"ENOENT": 2}


def test_a_file_in_the_directory_s_place(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with cleaning(place, output) as running:
        assert running.next() == [0]
        shutil.rmtree(output)
        output.write_bytes(b"not a directory")
        with pytest.raises(NotADirectoryError):  # of this test's own look
            running.next(2)
        output.unlink()
        output.mkdir()
        assert running.next() == [3]
        assert running.cleaner.ledger.lost == {"ENOTDIR": 2}


class Reader(threading.Thread):
    """Opens every frame the moment that it appears."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._stopped = threading.Event()
        self.read: dict[str, int] = {}
        self.faults: list[str] = []
        self.looks = 0

    def run(self) -> None:
        while not self._stopped.wait(0.001):  # the daemon needs the processor too
            self.looks += 1
            for path in self._directory.iterdir():
                if path.suffix == ".gwf" and path.name not in self.read:
                    self._open(path.name)

    def _open(self, name: str) -> None:
        try:
            if FrameName.parse(name) is None:
                self.faults.append(f"{name} ends in .gwf")
            path = self._directory / name
            held = gwf.read(path, list(gwf.channels(path)), checksum=True)
            self.read[name] = len(held)
        except Exception as error:  # noqa: BLE001  (whatever a reader may meet)
            self.faults.append(f"{name}: {error}")
            self.read[name] = 0

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@pytest.mark.slow
def test_a_reader_that_never_rests_sees_whole_frames_only(tmp_path: Path) -> None:
    """Throughout a run of the daemon in which files may for a while not grow to a frame's size."""
    config = site.make_site(tmp_path, seconds=8)
    log = tmp_path / "log"
    with daemon(config, log) as process:
        reader = Reader(config.output.directory)
        reader.start()
        try:
            stream(config, process, range(START + 8, START + 14))
            limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (30_000, -1))
            site.write_site(config, START + 14, 4)
            until(lambda: "frame lost" in log.read_text(), process)
            # The account is smaller than a frame, and is written on.
            account = config.output.directory / ".H1_DEEPCLEAN.account.json"
            until(lambda: '"EFBIG": 4' in account.read_text(), process)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
            stream(config, process, range(START + 18, START + 22))
            stop(process)
        finally:
            reader.stop()
    assert reader.faults == []
    assert reader.looks > len(reader.read)
    lost = range(START + 13, START + 17)
    seen = {name for each in reader.read if (name := FrameName.parse(each))}
    assert {name.start for name in seen}.isdisjoint(lost)
    assert {name.start for name in seen} >= {START + s for s in (*range(7, 13), 17, 18, 19)}
    assert set(reader.read.values()) == {6}
    assert "4 lost" in log.read_text()


@pytest.mark.slow
def test_the_daemon_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "archive"
    monkeypatch.setenv("DEEPCLEAN__OUTPUT__ARCHIVE__DIRECTORY", str(archive))
    monkeypatch.setenv("DEEPCLEAN__OUTPUT__ARCHIVE__LENGTH", "8")
    config = site.make_site(tmp_path, seconds=8)
    begin = -(-(START + 8) // 8) * 8
    merged = [archive / f"H-H1_DEEPCLEAN_{p}-{begin}-8.gwf" for p in ("OUT_DQ", "PRODUCTION")]
    with daemon(config, tmp_path / "log") as process:
        site.write_site(config, START + 8, begin + 10 - START - 8)
        until(lambda: all(path.exists() for path in merged), process)
        stop(process)
    for path in merged:
        (strain,) = [name for name in gwf.channels(path) if "_DEEPCLEAN_" in name]
        whole = gwf.read(path, [strain], checksum=True)[strain]
        assert isinstance(whole, Series)
        small = [
            gwf.read(config.output.directory / f"H-H1_DEEPCLEAN-{second}-1.gwf", [strain])[strain]
            for second in range(begin, begin + 8)
        ]
        pieces = [each.samples.tobytes() for each in small if isinstance(each, Series)]
        assert whole.samples.tobytes() == b"".join(pieces)
        assert whole.span == Span(begin * NS, (begin + 8) * NS)
