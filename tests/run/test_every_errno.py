"""Any call of a start, or of the loading of a version, may fail with any error: what follows.

An error of the system's state (deepclean.errors) never stops the service for good, and never
rejects a version. Others may. None of them gives a traceback.
"""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deepclean.config import Config, load
from deepclean.errors import DeepCleanError, UnavailableError, passes
from deepclean.models.store import rejections, versions
from deepclean.run import daemon
from deepclean.system.lock import OutputLock
from tests.helpers import small_site as site
from tests.helpers.failing_calls import OF_PATHS, Call, Calls
from tests.helpers.model_stream import Stream, directory, point, promote, put
from tests.helpers.small_site import FakeClock

PATHS = [*OF_PATHS, "lstat", "listdir", "readlink"]

STATE = "EIO ESTALE EMFILE ENFILE ENOMEM EAGAIN ENOLCK ENOSPC EROFS ETIMEDOUT ENOTCONN EBUSY"
ASKED = "ENOENT EACCES EPERM EINVAL ENOTDIR EISDIR ELOOP"
NUMBERS = [getattr(errno, name) for name in (*STATE.split(), *ASKED.split())]


WHICH = [
    ("each kind of call", "some errors"),
    pytest.param(
        *("each kind of call", "all errors"),
        marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)],
    ),
    pytest.param(
        *("all calls", "all errors"), marks=[pytest.mark.exhaustive, pytest.mark.timeout(7200)]
    ),
]


def cases(made: list[Call], calls: str, errors: str) -> Iterator[tuple[int, int]]:
    """Yield which call fails with which error: all of them, or each kind with some."""
    kinds: dict[Call, int] = {}
    for position, call in enumerate(made):
        kinds.setdefault(call, position)
    for turn, fail in enumerate(range(len(made)) if calls == "all calls" else kinds.values()):
        state, asked = NUMBERS[turn % 12], NUMBERS[12 + turn % 7]
        some = [state, asked] if turn % 3 else [state]
        for number in NUMBERS if errors == "all errors" else some:
            yield fail, number


def started(config: Config, calls: Calls) -> int:
    """Start a daemon on three seconds of data; return the status that it would end with."""
    shutil.rmtree(config.output.directory, ignore_errors=True)
    clock, stopping = FakeClock(), list[int]()
    clock.at(3.0, lambda: stopping.append(1))
    with pytest.MonkeyPatch.context() as patch:
        calls.install(patch)
        try:
            again = load(calls.place / "small.yaml", (), environ={})
            lock = OutputLock(again.output.directory, again.output.description)
            with lock:
                made = daemon.build(
                    again,
                    clock,  # type: ignore[arg-type]
                    lambda: bool(stopping),
                    lock.hold,
                )
                daemon.work(made.source, made.cleaner, made.notifier)
        except DeepCleanError as error:
            return 1 if isinstance(error, UnavailableError) else 2
        except OSError as error:  # deepclean.cli.main does the same
            return 1 if passes(error.errno) else 2
    return 0


@pytest.mark.parametrize(("which", "errors"), WHICH)
def test_a_start_goes_on_or_ends_with_the_right_status(
    tmp_path: Path, which: str, errors: str
) -> None:
    config = site.make_site(tmp_path, seconds=3)
    calls = Calls(tmp_path, of_paths=PATHS, opens=True)
    assert started(config, calls) == 0
    assert {"io.open", "lstat", "scandir"} <= {function for function, _ in calls.made}
    ended: Counter[tuple[bool, int]] = Counter()
    for fail, number in cases(calls.made, which, errors):
        status = started(config, Calls(tmp_path, fail, number, PATHS, opens=True))
        said = f"{calls.made[fail]} fails with {errno.errorcode[number]}: status {status}"
        assert status < 2 or not passes(number), said
        ended[passes(number), status] += 1
    print({f"{'state' if p else 'asked'}, status {s}": n for (p, s), n in sorted(ended.items())})
    assert ended[True, 1] > 0
    assert ended[False, 2] > 0
    assert ended[True, 0] > 0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = site.small_config(tmp_path)
    promote(made, 1)
    return made


@pytest.mark.parametrize(("which", "errors"), WHICH)
def test_a_version_comes_into_force_whatever_failed_for_a_moment(
    config: Config, which: str, errors: str
) -> None:
    store = config.models.directory

    def loads(calls: Calls, number: int) -> str:
        """Let a version come into force while a call of the store's follower fails."""
        for left in (directory(config) / "rejected-2.json", config.output.directory):
            shutil.rmtree(left, ignore_errors=True)
            left.unlink(missing_ok=True)
        point(config, 1)
        stream = Stream(config, 3)
        point(config, 2)
        with pytest.MonkeyPatch.context() as patch:
            calls.install(patch)
            with suppress(OSError, UnavailableError):  # the thread says so and goes on
                stream.follower.poll()
        for _ in range(8):
            stream.step()
            if stream.count("in_force") and not stream.follower._unwritten:
                break
        if stream.count("in_force"):
            assert rejections.read(directory(config), 2) is None
            return "in force"
        assert not passes(number), f"{calls.made[calls.fail or 0]}: {errno.errorcode[number]}"
        assert stream.count("refused") == 1
        assert versions.read_pointer(directory(config), "production") == 2  # a person's order
        return "refused"

    put(config, 2)
    calls = Calls(store, of_paths=PATHS, opens=True)
    assert loads(calls, 0) == "in force"
    became = Counter(
        (passes(number), loads(Calls(store, fail, number, PATHS, opens=True), number))
        for fail, number in cases(calls.made, which, errors)
    )
    print(dict(became))
    assert became[True, "in force"] > 0
    assert became[False, "refused"] > 0
