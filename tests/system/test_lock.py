"""One daemon per output, with real processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EAGAIN, EISDIR, ENOENT, ENOLCK, ENOTDIR, EOPNOTSUPP
from pathlib import Path

import pytest

from deepclean.errors import OutputError
from deepclean.system import lock as locks
from deepclean.system.lock import OutputLock
from tests.helpers.tmpfs import open_files

HOLDER = """
import sys
from pathlib import Path
from deepclean.system import lock as locks
from deepclean.system.lock import OutputLock
with OutputLock(Path(sys.argv[1]), "H1_DEEPCLEAN"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def lock(directory: Path, description: str = "H1_DEEPCLEAN") -> OutputLock:
    return OutputLock(directory, description)


@contextmanager
def holder(directory: Path, code: str = HOLDER) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input closes."""
    command = [sys.executable, "-c", code, str(directory)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [ENOLCK, EOPNOTSUPP])
def test_a_file_system_without_locks_is_written_to_all_the_same(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock(tmp_path) as held:
        for _ in range(3):
            held.hold()
    assert len(caplog.messages) == 1
    assert "has no locks" in caplog.text


def test_the_second_is_refused_and_told_who(tmp_path: Path) -> None:
    with holder(tmp_path) as other, pytest.raises(OutputError) as caught, lock(tmp_path):
        pytest.fail("two hold the lock")
    assert f"process {other.pid} " in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.errno == EAGAIN


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_holder_leaves_it_free(tmp_path: Path, number: signal.Signals) -> None:
    with holder(tmp_path) as other:
        other.send_signal(number)
        assert other.wait(timeout=60) == -number
        with lock(tmp_path) as ours:
            assert ours.path.read_text() == f"{os.getpid()}\n"


def test_it_is_given_up_on_exit(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        raise ZeroDivisionError
    with holder(tmp_path) as other:
        assert (tmp_path / ".H1_DEEPCLEAN.lock").read_text() == f"{other.pid}\n"


def test_another_description_or_directory_is_free(tmp_path: Path) -> None:
    with holder(tmp_path), lock(tmp_path, "H1_OTHER"), lock(tmp_path / "L1"):
        files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == [".H1_DEEPCLEAN.lock", ".H1_DEEPCLEAN.lock", ".H1_OTHER.lock"]


def test_who_holds_it_is_asked_of_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / ".H1_DEEPCLEAN.lock"
    assert locks.holder(path) is None
    with holder(tmp_path) as other:
        assert locks.holder(path) == f"process {other.pid}"
    assert path.read_text()  # the number is there still
    assert locks.holder(path) is None


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    """What it names would be emptied."""
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / ".H1_DEEPCLEAN.lock").symlink_to(target)
    with pytest.raises(OutputError), lock(tmp_path):
        pytest.fail("a symlink is followed")
    assert target.read_text() == "precious"
    assert locks.holder(tmp_path / ".H1_DEEPCLEAN.lock") is None


def test_the_directory_is_made(tmp_path: Path) -> None:
    with lock(tmp_path / "deepclean" / "H1") as ours:
        assert ours.path.is_file()


def test_holding_again_changes_nothing(tmp_path: Path) -> None:
    with lock(tmp_path) as ours:
        before = ours.path.stat().st_ino, open_files()
        for _ in range(100):
            ours.hold()
        assert (ours.path.stat().st_ino, open_files()) == before


def test_a_directory_that_comes_back_is_locked_anew(tmp_path: Path) -> None:
    directory = tmp_path / "H1"
    with lock(directory) as ours:
        shutil.rmtree(directory)
        for _ in range(2):
            with pytest.raises(OutputError) as caught:
                ours.hold()
            assert caught.value.errno == ENOENT
        directory.mkdir()
        ours.hold()
        with pytest.raises(OutputError, match=f"process {os.getpid()} "), lock(directory):
            pytest.fail("two hold the lock")


def test_who_locked_the_new_directory_first_has_it(tmp_path: Path) -> None:
    directory = tmp_path / "H1"
    with lock(directory) as ours:
        shutil.rmtree(directory)
        with holder(directory) as other, pytest.raises(OutputError, match=f"process {other.pid} "):
            ours.hold()
        other.wait(timeout=60)
        ours.hold()
        assert ours.path.read_text() == f"{os.getpid()}\n"


def test_a_refusal_leaks_no_descriptor(tmp_path: Path) -> None:
    with lock(tmp_path):
        before = open_files()
        for _ in range(50):
            with pytest.raises(OutputError), lock(tmp_path):
                pytest.fail("two hold the lock")
        assert open_files() == before


def test_a_full_disk_does_not_cost_the_lock(tmp_path: Path) -> None:
    """The process id cannot be written (here: files may have no size); the lock holds."""
    limited = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
    limited += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    refused = pytest.raises(OutputError, match="another process writes here")
    with holder(tmp_path, limited + HOLDER), refused, lock(tmp_path):
        pytest.fail("two hold the lock")


def test_an_unusable_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="output directory cannot be used") as caught:
        lock(tmp_path / "file" / "H1").__enter__()
    assert caught.value.errno == ENOTDIR
    (tmp_path / ".H1_DEEPCLEAN.lock").mkdir()
    with pytest.raises(OutputError, match="lock cannot be taken") as caught:
        lock(tmp_path).__enter__()
    assert caught.value.errno == EISDIR
