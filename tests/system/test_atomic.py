"""Publication: a file appears complete, or not at all, whatever the operating system says."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deepclean.errors import OutputError
from deepclean.system.atomic import publish

NAME = "H-H1_DEEPCLEAN-1370000000-1.gwf"


@pytest.mark.parametrize("fsync", [False, True])
def test_final_name_holds_all_bytes(tmp_path: Path, fsync: bool) -> None:
    publish(tmp_path / NAME, b"frame" * 100_000, fsync=fsync)
    assert (tmp_path / NAME).read_bytes() == b"frame" * 100_000
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_file_of_that_name_is_replaced_under_a_reader(tmp_path: Path) -> None:
    publish(tmp_path / NAME, b"old")
    with (tmp_path / NAME).open("rb") as reader:
        publish(tmp_path / NAME, memoryview(b"new"))
        assert reader.read() == b"old"
    assert (tmp_path / NAME).read_bytes() == b"new"


def test_readers_of_other_users_may_read_it(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    publish(tmp_path / NAME, b"frame")
    assert (tmp_path / NAME).stat().st_mode == other.stat().st_mode


def test_the_temporary_of_an_interrupted_run_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.tmp").write_bytes(b"half a frame")
    publish(tmp_path / NAME, b"frame")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"frame"


def test_temporary_has_the_writers_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bytes, list[str]]] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append((self.name, self.read_bytes(), [path.name for path in tmp_path.iterdir()]))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    publish(tmp_path / NAME, b"frame")
    assert seen == [(f".{NAME}.tmp", b"frame", [f".{NAME}.tmp"])]


def _vanished(directory: Path) -> Path:
    (directory / "gone").mkdir()
    (directory / "gone").rmdir()
    return directory / "gone" / NAME


def _under_a_file(directory: Path) -> Path:
    (directory / "file").touch()
    return directory / "file" / NAME


def _where_a_directory_is(directory: Path) -> Path:
    (directory / NAME / "full").mkdir(parents=True)
    return directory / NAME


def _too_long(directory: Path) -> Path:
    return directory / ("H-" + "D" * 240 + "-1370000000-1.gwf")


def _kernels(_: Path) -> Path:
    return Path("/proc") / NAME


# As root, permissions do not count: these fail for everybody.
@pytest.mark.parametrize(
    ("place", "number"),
    [
        (_vanished, errno.ENOENT),
        (_under_a_file, errno.ENOTDIR),
        (_where_a_directory_is, errno.EISDIR),
        (_too_long, errno.ENAMETOOLONG),
        (_kernels, None),
    ],
)
def test_a_refusal_tells_path_and_number_and_leaves_nothing(
    tmp_path: Path, place: Callable[[Path], Path], number: int | None
) -> None:
    path = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="cannot be written") as caught:
        publish(path, b"frame")
    assert caught.value.path == path
    assert caught.value.errno is not None
    assert number in {None, caught.value.errno}
    assert sorted(tmp_path.rglob("*")) == before


FULL_DISK = """
import resource, sys
from pathlib import Path
from deepclean.system.atomic import publish
from deepclean.errors import OutputError

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    publish(Path(sys.argv[1]), bytes(100_000))
except OutputError as error:
    print(error.errno)
"""


@pytest.mark.parametrize("earlier", [None, b"an earlier frame"])
def test_a_file_that_does_not_fit_never_appears_cut(tmp_path: Path, earlier: bytes | None) -> None:
    if earlier is not None:
        (tmp_path / NAME).write_bytes(earlier)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL_DISK, tmp_path / NAME],
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) == errno.EFBIG
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == ({} if earlier is None else {NAME: earlier})


def test_others_temporary_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / f".{NAME}.tmp"
    sync = os.fsync

    def intruder(descriptor: int) -> None:
        sync(descriptor)
        temporary.unlink()
        temporary.write_bytes(b"half a frame of anoth")

    monkeypatch.setattr(os, "fsync", intruder)
    with pytest.raises(OutputError, match="another process") as caught:
        publish(tmp_path / NAME, b"frame", fsync=True)
    assert caught.value.errno == errno.EEXIST
    assert [path.name for path in tmp_path.iterdir()] == [temporary.name]


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / NAME, b"frame", fsync=True)
    assert list(tmp_path.iterdir()) == []
