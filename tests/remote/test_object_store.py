"""The same against a real object store with an S3 interface: whole processes, cuts, and kills."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import load
from deepclean.errors import InputError, UnavailableError
from deepclean.models.loading import remote_store
from deepclean.remote import storage as remote_storage
from deepclean.remote.output import frames_at
from deepclean.remote.storage import Storage
from tests.helpers import object_store, training_site
from tests.helpers import small_site as site
from tests.helpers.site_runs import daemon, files, is_written, stop, until
from tests.helpers.small_site import START

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(object_store.missing()),
        reason=f"needs OpenStack Swift: no {', '.join(object_store.missing())} here",
    ),
]

END = START + 40
REPLAY = ["replay", "-c", "small.yaml", "--start", str(START + 2), "--end", str(END - 2)]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with object_store.swift(tmp_path_factory.mktemp("swift"), "site") as port:
        yield port


@pytest.fixture
def place(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site whose data and models are at addresses of the store; here is its configuration."""
    for name, value in object_store.environment(port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DEEPCLEAN_CACHE", str(tmp_path / "cache"))
    remote_storage._open.cache_clear()
    config = site.make_site(tmp_path, f"models.remote=s3://site/{tmp_path.name}/models")
    data = {
        site.strain_path(config, START, 40): site.strain_frame,
        site.witness_path(config, START, 40): site.witness_frame,
    }
    for path, frame in data.items():
        Storage(f"s3://site/{tmp_path.name}/{path.parent.name}").write(path.name, frame(START, 40))
    elsewhere = remote_store(config, "60Hz")
    assert elsewhere is not None
    elsewhere.push()
    return tmp_path


def replay(place: Path, output: str, **environ: str) -> subprocess.Popen[str]:
    address = f"s3://site/{place.name}"
    words = [*REPLAY, "--strain", f"{address}/strain", "--witnesses", f"{address}/witnesses"]
    words += ["--output", output, "--set", f"models.remote={address}/models"]
    return subprocess.Popen(
        [sys.executable, "-m", "deepclean", *words],
        cwd=place,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_killed_and_repeated_it_is_the_replay_of_files(place: Path) -> None:
    config = load(place / "small.yaml")
    site.write_site(config, START, 40)
    # The configuration's hash is in each frame.
    remote = f"models.remote=s3://site/{place.name}/models"
    local = [sys.executable, "-m", "deepclean", *REPLAY, "--output", "here", "--set", remote]
    subprocess.run(local, cwd=place, check=True, capture_output=True)
    frames = {name: data for name, data in files(place / "here").items() if name.endswith(".gwf")}
    for part in ("strain", "witnesses", "models"):
        for path in sorted((place / part).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()

    address = f"s3://site/{place.name}/out"
    first = replay(place, address)
    deadline = time.monotonic() + 100
    while not list((place / "cache" / "output").rglob("*.gwf")):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert len(frames_at(address, "H1_DEEPCLEAN")) < 36
    done = replay(place, address)
    said = done.communicate()[0]
    assert done.returncode == 0, said
    held = {
        one.name: Storage(one.address).read()
        for one in Storage(address).objects()
        if not one.name.startswith(".")
    }
    assert held == frames


def test_a_line_that_is_cut_loses_nothing(place: Path, port: int) -> None:
    """The file of strain is twice as long as what passes: its transfer goes on where it was cut."""
    address = f"s3://site/{place.name}/cut"
    with object_store.cut(port, 300_000) as (line, _):
        cut = replay(place, address, **object_store.environment(line))
        said = cut.communicate()[0]
        assert cut.returncode == 0, said
    assert f"36 frames written to {address}: 36 s cleaned" in said
    assert len(frames_at(address, "H1_DEEPCLEAN")) == 36


def test_a_line_through_which_little_passes_may_be_another_time(place: Path, port: int) -> None:
    address = f"s3://site/{place.name}/dead"
    with object_store.cut(port, 100) as (line, good):
        environ = object_store.environment(line)
        dead = replay(place, address, **environ)
        said = dead.communicate()[0]
        assert dead.returncode == 1, said
        good.append(1)
        alive = replay(place, address, **environ)
        said = alive.communicate()[0]
        assert alive.returncode == 0, said
    assert len(frames_at(address, "H1_DEEPCLEAN")) == 36


def test_a_daemon_runs_from_the_store_and_follows_it(place: Path) -> None:
    """It starts without a model of its own, and takes the version that is promoted elsewhere."""
    config = load(place / "small.yaml")
    shutil.rmtree(config.models.directory)
    address = f"s3://site/{place.name}/models"
    site.write_site(config, START, 4)
    log, second = place / "log", START + 4
    options = ("--set", f"models.remote={address}", "--set", "models.refresh=0.2")
    with daemon(config, log, *options, "--set", "models.probe=0.02") as process:
        assert (config.models.directory / "H1" / "60Hz" / "production").read_text() == "1\n"
        directory = f"models.directory={place / 'elsewhere'}"
        other = load(place / "small.yaml", [directory, f"models.remote={address}"])
        for version in (1, 2):
            site.publish_model(other, version=version)
        sender = remote_store(other, "60Hz")
        assert sender is not None
        assert sender.push().pointers == {"production": 2}
        while "60Hz version 2 in force, formerly version 1" not in log.read_text():
            assert second < START + 200
            site.write_site(config, second, 1)
            until(partial(is_written, config, second - 1), process)
            second += 1
        stop(process)


def test_a_model_is_trained_from_the_store_and_sent_there(
    place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    toy = tmp_path_factory.mktemp("toy")
    config = training_site.make_site(toy)
    address = f"s3://site/{place.name}/toy"
    for path in sorted(config.input.strain_frames.directory.iterdir()):
        Storage(f"{address}/data").write(path.name, path.read_bytes())
        path.unlink()
    shutil.rmtree(config.models.directory)
    end = str(training_site.START + training_site.SECONDS)
    words = ["train", "-c", "toy.yaml", "30Hz", "--start", str(training_site.START), "--end", end]
    words += ["--architecture", "wiener", "--strain", f"{address}/data"]
    words += ["--set", f"models.remote={address}/models"]
    command = [sys.executable, "-m", "deepclean", *words]
    done = subprocess.run(command, cwd=toy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"30Hz: sent to {address}/models/H1/30Hz" in done.stdout
    there = Storage(f"{address}/models/H1/30Hz")
    assert there.read("production") == b"1\n"
    here = config.models.directory / "H1" / "30Hz" / "1"
    for path in here.iterdir():
        assert there.read(f"1/{path.name}") == path.read_bytes()


def test_the_two_families_of_faults(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="s3://nobucket/a"):
        Storage("s3://nobucket/a").read()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    remote_storage._open.cache_clear()
    with pytest.raises(InputError):
        Storage(f"s3://site/{place.name}/other").write("a", b"a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    remote_storage._open.cache_clear()
    with pytest.raises(UnavailableError):
        Storage(f"s3://site/{place.name}/other").objects()
