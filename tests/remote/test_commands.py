"""The commands with addresses: data from there, frames and reports to there, models both ways."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from deepclean.config import load
from deepclean.remote.storage import Storage
from deepclean.rollout.remote_follower import RemoteFollower
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.site_runs import files
from tests.helpers.small_site import START

FRAMES, MODELS, OUT = "memory://site/frames", "memory://site/models", "memory://site/out"
SPAN = f"--start {START + 2} --end {START + 6}"
REPLAY = f"replay -c small.yaml {SPAN}"
DATA = f"--strain {FRAMES}/strain --witnesses {FRAMES}/witnesses"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    site.make_site(place, seconds=8)
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A site whose frames are at an address too."""
    shutil.copytree(made, tmp_path / "site")
    monkeypatch.setenv("DEEPCLEAN_CACHE", str(tmp_path / "cache"))
    for kind in ("strain", "witnesses"):
        for path in (made / kind).iterdir():
            Storage(f"{FRAMES}/{kind}").write(path.name, path.read_bytes())
    yield tmp_path / "site"
    MemoryFileSystem.store.clear()


def objects(address: str) -> dict[str, bytes]:
    return {
        one.name: Storage(one.address).read()
        for one in Storage(address).objects()
        if not one.name.startswith(".")
    }


def test_a_replay_from_and_to_an_address_is_the_replay_of_files(
    deepclean: Run, place: Path
) -> None:
    deepclean(place, f"{REPLAY} --output here").good()
    done = deepclean(place, f"{REPLAY} {DATA} --output {OUT}").good()
    assert done.stdout.startswith("4 frames written")
    frames = {name: data for name, data in files(place / "here").items() if name.endswith(".gwf")}
    assert objects(OUT) == frames
    again = deepclean(place, f"{REPLAY} {DATA} --output {OUT}").good()
    assert "4 s were there" in again.stdout
    deepclean(place, f"{REPLAY} {DATA} --output {OUT} --set engine.ramp=0.5").refused(
        "configuration: ", "--overwrite"
    )


def test_absent_data_at_an_address_is_a_mistake(deepclean: Run, place: Path) -> None:
    deepclean(place, f"{REPLAY} --strain memory://site/nothing").refused("memory://site/nothing")


def test_models_come_from_an_address(deepclean: Run, place: Path) -> None:
    elsewhere = f"--set models.remote={MODELS}"
    deepclean(place, "models push -c small.yaml").refused("models.remote: names no address")
    deepclean(place, f"models push -c small.yaml {elsewhere}").good()
    shutil.rmtree(place / "models")
    deepclean(place, f"{REPLAY} --output here").refused("nothing of H1", status=1)
    deepclean(place, f"{REPLAY} --output here {elsewhere}").good()
    site.publish_model(load(place / "small.yaml"), version=2)
    done = deepclean(place, f"models push -c small.yaml 60Hz {elsewhere}").good()
    assert "60Hz: 2 sent to memory://site/models/H1/60Hz" in done.stdout
    done = deepclean(place, f"models pull -c small.yaml {elsewhere}").good()
    assert "60Hz: no new version fetched" in done.stdout


def test_a_daemon_follows_the_store_elsewhere(place: Path) -> None:
    from deepclean.models.loading import remote_store

    config = load(place / "small.yaml", [f"models.remote={MODELS}"])
    site.publish_model(config, version=2)
    elsewhere = remote_store(config, "60Hz")
    assert elsewhere is not None
    elsewhere.push()
    shutil.rmtree(place / "models")
    RemoteFollower(config).poll()
    pointer = place / "models" / "H1" / "60Hz" / "production"
    assert pointer.read_text() == "2\n"
    Storage(f"{MODELS}/H1/60Hz").write("production", b"7\n")
    RemoteFollower(config).poll()  # says so, and goes on
    assert pointer.read_text() == "2\n"
