"""What every test gets: one thread, no network, repeatable examples, the real strain."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import shlex
import socket
import sys
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.doctest import DoctestModule
from hypothesis import settings
from typer.main import get_command

from tests.helpers.commands import Done, Run
from tests.helpers.tmpfs import Mount, Mounts

if TYPE_CHECKING:
    from typer import Typer
    from typer._click import Command

    from deepclean.config import Config

# Read by numpy, scipy and torch when they are first imported, here and in child processes. OpenMP
# workers of parallel test processes would spin against one another.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# pytest-xdist states a width for its workers; commands would fold what they print to it.
os.environ.pop("COLUMNS", None)

# Files that a group may write are not trusted as parts of a model; tests make some by hand.
os.umask(0o022)

settings.register_profile("deepclean", deadline=None)
settings.register_profile("deepclean-ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("deepclean-ci" if os.environ.get("CI") else "deepclean")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for no doctests here: they are in the core, and looking takes seconds."""
    return [one for one in (yield) if not isinstance(one, DoctestModule)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Refuse to take a test's cases from a set: every worker would collect another order."""
    for marker in metafunc.definition.iter_markers("parametrize"):
        if isinstance(marker.args[1], set | frozenset):
            pytest.fail(f"{metafunc.definition.nodeid}: sort the cases, a set has no order", False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests begin first that may take longest: begun last, one would run on alone."""

    def limit(item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        return float(marker.args[0]) if marker and marker.args else 0.0

    items.sort(key=limit, reverse=True)


# Half of the time that collecting takes would be spent on looking through what is imported.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Look for garbage from now on, but not among what was imported."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Free what commands froze (deepclean.system.gc): libraries tell of leaks at exit."""
    gc.unfreeze()


def _is_local(host: object) -> bool:
    """Tell whether a socket address's host is this machine; a family without hosts is."""
    if host in (None, "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_numeric(host: object) -> bool:
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _refuse(host: object) -> None:
    # Not an OSError: a library that falls back when the network is down would hide it.
    pytest.fail(f"this test reaches for the network: {host!r}")


def _guarded(method: str) -> Callable[..., Any]:
    original = getattr(socket.socket, method)

    def guarded(self: socket.socket, *args: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(args[-1][0]):
            _refuse(args[-1][0])
        return original(self, *args)

    return guarded


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Fail a test that connects or sends to another machine, or looks up its name."""
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not (_is_local(host) or _is_numeric(host)):
            _refuse(host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, method, _guarded(method))
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real GWOSC strain files that DEEPCLEAN_TEST_DATA names."""
    folder = os.environ.get("DEEPCLEAN_TEST_DATA")
    if not folder:
        pytest.skip("needs real strain: DEEPCLEAN_TEST_DATA names no folder of GWOSC files")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"DEEPCLEAN_TEST_DATA={folder} is not a folder")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The small site with its model, where a file has no configuration of its own."""
    from tests.helpers import small_site

    return small_site.make_site(tmp_path)


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount small file systems; root only."""
    mounts = Mounts()
    yield mounts.mount
    mounts.undo()


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Undo what a command or the start of a process does to the log."""
    logger = logging.getLogger("deepclean")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before


@cache
def _built(app: Typer) -> Command:
    """Build all commands once: they are the same at every call, and take a tenth of a second."""
    return get_command(app)


@pytest.fixture
def deepclean(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line as its script does, but in this process: an import takes seconds."""
    from deepclean.cli import main

    monkeypatch.setattr("typer.main.get_command", _built)

    def run(place: Path, command: str, **environ: str) -> Done:
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["deepclean", *shlex.split(command)])
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run
