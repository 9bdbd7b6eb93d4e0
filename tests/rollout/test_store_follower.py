"""A daemon follows its store: what is good comes into force, what is not changes nothing."""

from __future__ import annotations

import errno
import gc
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepclean.config import Config
from deepclean.core.block import Series, Version
from deepclean.core.rollout.rollout import Event, Rollout
from deepclean.core.time import NS
from deepclean.errors import ModelError, OutputError, UnavailableError
from deepclean.io import gwf
from deepclean.models import loading
from deepclean.models.content import WEIGHTS
from deepclean.models.networks import Wiener
from deepclean.models.store import changes as store
from deepclean.models.store import rejections, versions
from deepclean.rollout import store_follower, updates
from deepclean.system import jsonl
from deepclean.system.malloc import Trimmer
from tests.helpers.builders import same_bits
from tests.helpers.model_stream import (
    BROKEN,
    MISFITS,
    Stream,
    directory,
    faulty,
    kinds,
    point,
    promote,
    put,
    refusal,
)
from tests.helpers.site_runs import OUT_DQ
from tests.helpers.small_site import START, FakeClock, small_config

VERSION = "H1:DEEPCLEAN-60HZ_MODEL_VERSION"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A small site whose store has version 1 in production."""
    made = small_config(tmp_path)
    promote(made, 1)
    return made


def in_force(stream: Stream) -> list[int]:
    """Return the version of every frame written, from its first sample to its last."""
    found = []
    for path in stream.written:
        (series,) = gwf.read(path, [VERSION]).values()
        assert isinstance(series, Series)
        assert len(set(series.samples.tolist())) == 1
        found.append(int(series.samples[0]))
    return found


def _series(path: Path) -> list[np.ndarray]:
    """Return the samples of a frame's official product and of its version."""
    found = gwf.read(path, [OUT_DQ, VERSION]).values()
    return [np.asarray(one.samples) for one in found if isinstance(one, Series)]


def test_pointer_changes_the_model(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    stream = Stream(config, 6)
    promote(config, 2)
    with caplog.at_level(logging.INFO, logger="deepclean.rollout"):
        stream.until(lambda: stream.count("in_force") == 1, limit=10)
    stream.steps(3)
    (came,) = [e for e in stream.events() if e["what"] == "in_force"]
    second = int(str(came["instant"])) - START
    assert in_force(stream) == [1] * second + [2] * (len(stream.written) - second)
    assert [r.getMessage().split(": ", 1)[1] for r in caplog.records] == [
        "60Hz version 2 offered as production",
        "60Hz version 2 in force, formerly version 1",
    ]
    assert stream.figures.reloads == {"accepted": 1}
    assert stream.figures.models["60Hz"].version == 2
    # The frame's own record says so too, from that frame on.
    said = [re.search(rb"version (\d+) sha256", path.read_bytes()) for path in stream.written]
    assert [int(found[1]) for found in said if found] == in_force(stream)


@pytest.mark.parametrize("kind", [*BROKEN, *MISFITS])
def test_a_version_that_is_no_good_changes_nothing(
    config: Config, kind: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    elsewhere = small_config(tmp_path, f"output.directory={tmp_path / 'alone'}")
    stream, alone = Stream(config), Stream(elsewhere)
    alone.steps(14)
    stream.steps(6)
    said = faulty(config, 2, kind)
    point(config, 2)
    stream.steps(8)
    assert stream.figures.reloads == {"rejected": 1}
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert "60Hz version 2 refused as production, all stays as it is: " in line
    assert said in line
    assert [e["what"] for e in stream.events()] == ["started", "refused"]
    assert said in refusal(config, 2)["why"]
    for one, other in zip(stream.written, alone.written, strict=True):
        for a, b in zip(_series(one), _series(other), strict=True):
            assert same_bits(a, b)


def test_a_rejection_is_taken_back_when_the_version_is_mended(config: Config) -> None:
    stream = Stream(config, 4)
    path = put(config, 2)
    whole = (path / WEIGHTS).read_bytes()
    (path / WEIGHTS).write_bytes(whole[:50])
    point(config, 2)
    stream.steps(3)
    stream.follower.poll()
    refusal(config, 2)
    (path / WEIGHTS).write_bytes(whole)
    stream.steps(3)
    assert stream.count("in_force") == 0  # nothing was said: the pointer is as it was
    point(config, 2)
    stream.until(lambda: stream.count("in_force") == 1, limit=10)
    stream.follower.poll()
    assert rejections.read(directory(config), 2) is None


def test_version_changed_in_place_is_refused(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream(config, 4)
    manifest = directory(config) / "1" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    stream.steps(4)
    assert stream.figures.reloads == {"rejected": 1}
    assert "was changed in place" in caplog.text


@pytest.mark.parametrize("content", ["x\n", "", "7\n", "../1\n"])
def test_damaged_pointer(config: Config, content: str, caplog: pytest.LogCaptureFixture) -> None:
    stream = Stream(config, 4)
    (directory(config) / "production").write_text(content)
    stream.steps(6)
    assert stream.figures.reloads == {"rejected": 1}
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1
    assert set(in_force(stream)) == {1}
    point(config, 1)
    stream.steps(3)
    assert stream.figures.reloads == {"rejected": 1}


def test_a_pointer_that_is_taken_away_leaves_production_as_it_is(config: Config) -> None:
    stream = Stream(config, 4)
    (directory(config) / "production").unlink()
    stream.steps(6)
    assert set(in_force(stream)) == {1}


def test_the_loader_may_take_as_long_as_it_likes(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames go out one for one while a version is being loaded, by the follower's own thread."""
    config = config.model_copy(update={"models": config.models.model_copy(update={"probe": 0.001})})
    load, begun, go_on = loading.load_model, threading.Event(), threading.Event()

    def slow(*args: object) -> object:
        begun.set()
        assert go_on.wait(30)
        return load(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store_follower, "load_model", slow)
    stream = Stream(config, threaded=True)
    with stream.follower:
        stream.steps(4)
        promote(config, 2)
        assert begun.wait(30)
        stream.steps(20)
        assert stream.count("offered") == 0
        go_on.set()
        stream.until(lambda: stream.count("in_force") == 1, limit=100_000)
        stream.steps(2)
    assert set(in_force(stream)) == {1, 2}


@pytest.mark.parametrize("step", ["offer", "step"])
def test_a_fault_in_the_rollout_does_not_stop_the_stream(
    config: Config, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*args: object) -> None:
        raise MemoryError("no room")

    stream = Stream(config, 4)
    promote(config, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Rollout, step, failing)
        stream.steps(4)
    stream.steps(8)
    assert "the models are not updated" in caplog.text
    assert in_force(stream)[:6] == [1] * 6


def test_some_seconds_are_kept_to_try_versions_on(config: Config) -> None:
    stream = Stream(config, 20)
    assert [b.span.start // 10**9 - START for b in stream.recent.blocks] == list(range(8, 20))


def test_a_follower_that_fails_goes_on(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = config.model_copy(update={"models": config.models.model_copy(update={"probe": 0.001})})
    stream, failed = Stream(config, threaded=True), threading.Event()
    turn = stream.follower.poll

    def failing() -> None:
        if not failed.is_set():
            failed.set()
            raise MemoryError("no room")
        turn()

    monkeypatch.setattr(stream.follower, "poll", failing)
    with stream.follower:
        assert failed.wait(30)
        promote(config, 2)
        stream.until(lambda: stream.count("in_force") == 1, limit=100_000)
    assert "cannot be followed; trying again" in caplog.text


def test_where_it_is_so_configured_the_store_is_not_followed(config: Config) -> None:
    config = config.model_copy(
        update={"models": config.models.model_copy(update={"follow": False})}
    )
    stream = Stream(config, threaded=True)
    with stream.follower:
        assert not [t for t in threading.enumerate() if t.name == "store follower"]


def test_start_takes_the_former_version(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    put(config, 2)
    for number in (1, 2):
        store.promote(directory(config), number, lambda path: None)
    (directory(config) / "2" / WEIGHTS).write_bytes(b"")
    loaded = loading.load_models_or_former(config)
    assert loaded["60Hz"].version == 1
    assert "60Hz: starting with version 1 of before: " in caplog.text
    with pytest.raises(ModelError, match="does not match"):
        loading.load_models(config)
    # The running daemon then refuses what the pointer names, and says so beside the version.
    stream = Stream(config, 4, loaded=loaded)
    assert stream.figures.reloads == {"rejected": 1}
    refusal(config, 2)
    assert set(in_force(stream)) == {1}


@pytest.mark.parametrize("missing", ["pointer", "every version"])
def test_a_start_without_anything_to_start_with_is_refused(config: Config, missing: str) -> None:
    put(config, 2)
    store.promote(directory(config), 2, lambda path: None)
    if missing == "pointer":
        (directory(config) / "production").unlink()
    for number in (1, 2):
        (directory(config) / str(number) / WEIGHTS).write_bytes(b"")
    with pytest.raises(ModelError, match="no production" if missing == "pointer" else "sha256"):
        loading.load_models_or_former(config)


# the canary


@pytest.fixture
def gated(tmp_path: Path) -> Config:
    """A small site with gates, short trials and the canary's product."""
    made = small_config(
        tmp_path,
        "gate.enabled=true",
        "gate.window=4",
        "output.products=[OUT_DQ,PRODUCTION,CANARY]",
        "models.trial.validation_time=5",
        "models.trial.patience=12",
    )
    promote(made, 1)
    return made


def test_a_canary_is_tried_and_rejected_where_it_is_no_good(gated: Config) -> None:
    """The small site's models are random: none of them cleans anything."""
    stream = Stream(gated, 10)
    put(gated, 2, seed=2)
    store.set_canary(directory(gated), 2, lambda path: None, "by hand")
    stream.until(lambda: stream.count("rejected") == 1, limit=60)
    stream.steps(3)
    assert versions.read_pointer(directory(gated), "canary") is None
    told = refusal(gated, 2)
    assert "in spec for 0 of the last" in told["why"]
    assert told["figures"]["counted"] >= 12e9
    canary = "H1:GDS-CALIB_STRAIN_DEEPCLEAN_CANARY"
    number = "H1:DEEPCLEAN-60HZ_CANARY_VERSION"
    tried = [list(gwf.read(path, [canary, number]).values()) for path in stream.written]
    numbers = [int(series.samples[-1]) for _, series in tried if isinstance(series, Series)]
    assert set(numbers) == {0, 2}
    assert numbers[-1] == 0
    production = "H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION"
    for path, (strain, _), tried_version in zip(stream.written, tried, numbers, strict=True):
        (other,) = gwf.read(path, [production]).values()
        assert isinstance(strain, Series)
        assert isinstance(other, Series)
        if tried_version:
            assert not np.array_equal(strain.samples, other.samples)
    first, last = numbers.index(2), len(numbers) - numbers[::-1].index(2)
    assert numbers[first:last] == [2] * (last - first)


def test_a_canary_that_is_no_good_makes_room_for_the_next(gated: Config) -> None:
    stream = Stream(gated, 4)
    said = faulty(gated, 2, "a byte flipped")
    store.set_canary(directory(gated), 2, lambda path: None)
    stream.steps(3)
    stream.follower.poll()
    assert versions.read_pointer(directory(gated), "canary") is None
    assert said in refusal(gated, 2)["why"]
    assert stream.count("withdrawn") == 0


@pytest.mark.parametrize(
    "fault", [OutputError("cannot be written: Read-only file system"), PermissionError(13, "no")]
)
def test_a_store_that_cannot_be_written_is_tried_again(
    gated: Config,
    fault: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = Stream(gated, 6)
    put(gated, 2, seed=2)
    store.set_canary(directory(gated), 2, lambda path: None)
    set_canary = store.set_canary

    def refused(*args: object, **options: object) -> None:
        raise fault

    monkeypatch.setattr(store, "set_canary", refused)
    stream.until(lambda: stream.count("rejected") == 1, limit=60)
    stream.steps(4)
    assert caplog.text.count("is not in the store: ") == 1
    monkeypatch.setattr(store, "set_canary", set_canary)
    stream.step()
    assert versions.read_pointer(directory(gated), "canary") is None
    assert [e["what"] for e in stream.events()] == ["started", "offered", "rejected"]


# what the system refuses just now


def refusing(number: int) -> Callable[..., Any]:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE, errno.ENOMEM])
def test_a_version_that_cannot_be_read_just_now_is_tried_again(
    config: Config, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream(config, 4)
    promote(config, 2)
    with monkeypatch.context() as patch:
        patch.setattr(store_follower, "load_model", refusing(number))
        stream.steps(12)
    assert stream.figures.reloads == {}
    assert rejections.read(directory(config), 2) is None
    assert [r.levelname for r in caplog.records if "trying again" in r.message] == ["WARNING"]
    stream.until(lambda: stream.count("in_force") == 1, limit=20)
    assert rejections.read(directory(config), 2) is None


def test_a_version_without_memory_on_the_device_is_tried_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(config, 4)
    promote(config, 2)

    def short(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    with monkeypatch.context() as patch:
        patch.setattr(store_follower, "warm_up", short)
        stream.steps(3)
    stream.until(lambda: stream.count("in_force") == 1, limit=20)
    assert rejections.read(directory(config), 2) is None


def test_what_is_refused_for_long_is_refused_in_the_end(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_follower, "_TRIES", 3)
    stream = Stream(config, 4)
    promote(config, 2)
    monkeypatch.setattr(store_follower, "load_model", refusing(errno.EIO))
    stream.steps(12)
    assert stream.figures.reloads == {"rejected": 1}
    assert "Input/output error" in refusal(config, 2)["why"]


def test_a_pointer_that_cannot_be_read_just_now_changes_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is it an order, nor is it one when it can be read again."""
    stream = Stream(config, 4)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing(errno.EIO))
        for _ in range(3):
            with pytest.raises(UnavailableError):
                stream.follower.poll()
    stream.steps(4)
    assert [e["what"] for e in stream.events()] == ["started"]
    assert stream.figures.reloads == {}


def test_the_record_goes_on_where_the_store_cannot_be_written(
    gated: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(gated, 6)
    put(gated, 2, seed=2)
    store.set_canary(directory(gated), 2, lambda path: None)
    monkeypatch.setattr(rejections, "publish", refusing(errno.EROFS))
    stream.until(lambda: stream.count("rejected") == 1, limit=60)
    stream.steps(2)
    assert [e["what"] for e in stream.events()] == ["started", "offered", "rejected"]


def test_a_record_that_cannot_be_written_is_written_later(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(config, 4)
    promote(config, 2)
    with monkeypatch.context() as patch:
        patch.setattr(jsonl, "append", refusing(errno.EROFS))
        stream.until(lambda: stream.count("in_force") == 1, limit=10)
        stream.steps(2)
    assert [e["what"] for e in stream.events()] == ["started", "offered", "in_force"]


def test_a_promotion_by_hand_after_the_decision_stands(
    gated: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between the follower's look and its change of the pointer."""
    place = directory(gated)
    follower = Stream(gated, 2).follower
    for version in (2, 3):
        put(gated, version)
    promote_there, taken = store.promote, []

    def promote_late(*args: Any) -> int | None:
        point(gated, 3)
        taken.append(args)
        return promote_there(*args)

    monkeypatch.setattr(store, "promote", promote_late)
    event = Event(START * NS, "promoted", Version("60Hz", 2), "production", 1, "trial passed")
    follower.became([event], [])
    follower._write_down()
    assert taken
    assert versions.read_pointer(place, "production") == 3
    assert follower._unwritten == []


def test_a_rollback_is_said_of_the_version_that_goes() -> None:
    event = Event(START * NS, "rolled_back", Version("60Hz", 1), "production", 2, "it is worse")
    said = updates._said(event)
    assert "60Hz version 2 rolled back, version 1 in force again: it is worse" in said


# many


def alive() -> int:
    """Return how many of the small site's networks there are in memory."""
    gc.collect()
    return sum(type(one) is Wiener for one in gc.get_objects())


@pytest.mark.parametrize(
    "count",
    [
        16,
        pytest.param(200, marks=pytest.mark.slow),
        pytest.param(1000, marks=[pytest.mark.exhaustive, pytest.mark.timeout(600)]),
    ],
)
def test_switches_half_of_them_to_versions_that_are_no_good(config: Config, count: int) -> None:
    """Not one frame late, missing or not finite; memory does not grow."""
    logging.getLogger("deepclean.rollout").setLevel(logging.CRITICAL)  # the test keeps every line
    stream = Stream(config, 4)
    before, current, expected = alive(), 1, [(0, 1)]
    resident = list[int]()
    bad = islice(kinds(), count)
    for number in range(2, count + 2):
        if number % 2:
            said = faulty(config, number, next(bad))
            refused = stream.count("refused")
            point(config, number)
            stream.until(lambda was=refused: stream.count("refused") == was + 1, limit=5)  # type: ignore[misc]
            stream.follower.poll()
            assert said in refusal(config, number)["why"]
        else:
            put(config, number)
            done = stream.count("in_force")
            point(config, number)
            stream.until(lambda was=done: stream.count("in_force") == was + 1, limit=10)  # type: ignore[misc]
            current = number
            # What is in force is told before the next frame goes in.
            expected.append((stream.second - START - 1, current))
        if len(stream.written) > 200:
            resident.append(_resident())
            _check(stream, expected)
            expected = expected[-2:]  # one frame is inside still
    stream.steps(4)
    _check(stream, expected)
    ledger = stream.cleaning.ledger
    assert (ledger.lost.total(), ledger.inside) == (0, 1)
    assert stream.figures.reloads == {"accepted": count // 2, "rejected": count // 2}
    assert alive() - before <= 1
    if count > 100:
        # What every one of the 400 good versions left behind, in bytes; one has 400 weights.
        slope = np.polyfit(range(len(resident)), resident, 1)[0] * len(resident) / count
        print(f"{resident[0] >> 20} to {resident[-1] >> 20} MB, {slope:.0f} bytes a switch")
        assert slope < 2000


def _resident() -> int:
    """Return resident bytes, free pages given back as the daemon gives them."""
    clock = FakeClock()
    trimmer = Trimmer(clock)
    clock.now += 1000.0
    trimmer.step()
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def _check(stream: Stream, expected: list[tuple[int, int]]) -> None:
    """Check what was written since, and forget it."""
    for path in stream.written:
        strain, version = gwf.read(path, [OUT_DQ, VERSION]).values()
        assert isinstance(strain, Series)
        assert isinstance(version, Series)
        assert np.isfinite(strain.samples).all()
        second = strain.span.start // 10**9 - START
        (number,) = set(version.samples.tolist())
        assert number == [v for since, v in expected if since <= second][-1]
        path.unlink()
    stream.written.clear()


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Torch's own threads would fight for the two cores that tests have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    logging.getLogger("deepclean.rollout").setLevel(logging.NOTSET)
