"""A store outlives its daemons and may have several: what becomes of a canary then."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.models.store import changes as store
from deepclean.models.store import versions
from tests.helpers.model_stream import Stream, directory, faulty, promote, put, refusal
from tests.helpers.small_site import small_config

OFFERED, REJECTED, REFUSED = ("offered", 2), ("rejected", 2), ("refused", 2)
STARTED, WITHDRAWN = ("started", 1), ("withdrawn", 2)


def site(place: Path, output: str = "cleaned") -> Config:
    """Return the small site with gates and short trials, whose models clean nothing."""
    settings = ("gate.enabled=true", "gate.window=4", "gate.dwell=4", "gate.memory=8")
    trial = ("models.trial.validation_time=5", "models.trial.patience=12")
    return small_config(place, *settings, *trial, f"output.directory={place / output}")


@pytest.fixture
def gated(tmp_path: Path) -> Config:
    """A site with version 1 in production."""
    made = site(tmp_path)
    promote(made, 1)
    return made


def canary(config: Config) -> None:
    """Let the pointer name version 2."""
    store.set_canary(directory(config), 2, lambda path: None)


def named(config: Config) -> int | None:
    """Return the version that the pointer names."""
    return versions.read_pointer(directory(config), "canary")


def told(stream: Stream) -> list[tuple[object, object]]:
    """Return what the daemon's record says."""
    return [(event["what"], event["version"]) for event in stream.events()]


def test_a_canary_that_is_there_at_the_start_is_tried(gated: Config) -> None:
    put(gated, 2)
    canary(gated)
    stream = Stream(gated)
    stream.until(lambda: stream.count("rejected") == 1)
    assert told(stream) == [STARTED, OFFERED, REJECTED]
    assert named(gated) is None
    assert refusal(gated, 2)["figures"]["counted"] >= 12e9


def test_a_killed_daemons_trial_begins_anew(
    gated: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it is killed: on trial, or before its verdict is in the store."""
    put(gated, 2)
    canary(gated)
    first = Stream(gated, 10)
    assert first.updates.canaries()["60Hz"].version == 2
    second = Stream(gated)
    while not second.count("rejected"):
        second.step()
    assert named(gated) == 2  # nobody has written the verdict down
    caplog.clear()
    third = Stream(gated)
    third.until(lambda: third.count("rejected") == 1)
    assert "60Hz version 2 rejected: in spec for 0 of the last 5 s" in caplog.text
    assert told(third) == [STARTED, OFFERED, STARTED, OFFERED, STARTED, OFFERED, REJECTED]
    assert named(gated) is None


def test_the_verdict_of_one_daemon_holds_for_all(gated: Config, tmp_path: Path) -> None:
    put(gated, 2)
    canary(gated)
    one, other = Stream(gated, 5), Stream(site(tmp_path, "beside"))
    other.steps(3)
    one.until(lambda: one.count("rejected") == 1)
    one.follower.poll()
    other.until(lambda: other.count("withdrawn") == 1, limit=2)
    assert told(one) == [STARTED, OFFERED, REJECTED]
    assert told(other) == [STARTED, OFFERED, WITHDRAWN]


def test_a_refusal_comes_before_another_daemon_looks(gated: Config, tmp_path: Path) -> None:
    """The pointer is gone when the other looks: the store has the reason, its log has nothing."""
    one, other = Stream(gated, 3), Stream(site(tmp_path, "beside"), 3)
    faulty(gated, 2, "another rate")
    canary(gated)
    one.steps(1)
    one.follower.poll()
    assert named(gated) is None
    other.steps(3)
    assert told(one) == [STARTED, REFUSED]
    assert told(other) == [STARTED]
    assert "runs at 1024 Hz" in refusal(gated, 2)["why"]
