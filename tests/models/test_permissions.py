"""What of a store may be believed: places, modes, owners, and never a pickle."""

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deepclean.errors import ModelError
from deepclean.models import deepcleanv2, import_v2
from deepclean.models import files as models
from deepclean.models.manifest import sha256
from deepclean.models.model import Model
from deepclean.models.store import changes as store
from deepclean.models.store import log as model_log
from deepclean.models.store import permissions, rejections, verify, versions
from tests.helpers import store_site
from tests.helpers.deepcleanv2_directory import Danger, directory, original

__all__ = ["directory", "original"]

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")


@pytest.fixture
def coupling(tmp_path: Path) -> Path:
    """A coupling with two versions, the first in force."""
    return store_site.filled(tmp_path / "store", 2)


def load(coupling: Path) -> Model:
    """Load as the daemon does."""
    root = coupling.parents[1]
    return models.load(versions.resolve(root, "H1", "60Hz"), store=root)


def own_weights(coupling: Path) -> None:
    weights = coupling / "1" / "weights.safetensors"
    weights.rename(coupling / "shared")
    weights.symlink_to("../shared")


def outside(name: str) -> Callable[[Path], None]:
    """Return what moves a part of the coupling out of the store and leaves a symlink."""

    def move(coupling: Path) -> None:
        away = coupling.parents[2] / "away"
        (coupling / name).rename(away)
        (coupling / name).symlink_to(away)

    return move


def mode(name: str, bits: int) -> Callable[[Path], None]:
    return lambda coupling: (coupling / name).chmod(bits)


def pipe(coupling: Path) -> None:
    (coupling / "1" / "weights.safetensors").unlink()
    os.mkfifo(coupling / "1" / "weights.safetensors", 0o644)


def loop(coupling: Path) -> None:
    (coupling / "1" / "manifest.json").unlink()
    (coupling / "1" / "manifest.json").symlink_to("manifest.json")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(outside("1"), "leads out of the store", id="version elsewhere"),
        pytest.param(outside("1/weights.safetensors"), "leads out of the store", id="weights"),
        pytest.param(outside("1/manifest.json"), "leads out of the store", id="manifest"),
        pytest.param(outside("production"), "leads out of the store", id="pointer"),
        pytest.param(mode("1/weights.safetensors", 0o664), "its group can write", id="group"),
        pytest.param(mode("1/golden.safetensors", 0o646), "everybody can write", id="world"),
        pytest.param(mode("1/manifest.json", 0o620), "its group can write", id="manifest's mode"),
        pytest.param(mode("1", 0o775), "its group can write", id="version's mode"),
        pytest.param(mode(".", 0o757), "everybody can write in it", id="coupling's mode"),
        pytest.param(mode("../..", 0o777), "everybody can write in it", id="store's mode"),
        pytest.param(mode("production", 0o666), "everybody can write", id="pointer's mode"),
        pytest.param(pipe, "not a regular file", id="pipe"),
        pytest.param(loop, "cannot be read", id="loop"),
    ],
)
def test_what_others_could_have_changed_is_refused(
    coupling: Path, spoil: Callable[[Path], None], said: str
) -> None:
    load(coupling)
    spoil(coupling)
    with pytest.raises(ModelError, match=said):
        load(coupling)
    found = verify.coupling(coupling, coupling.parents[1])
    for number in versions.versions(coupling):
        found += verify.version(coupling / str(number), coupling.parents[1])
    assert any(said in fault for fault in found)


def test_a_symlink_within_the_store_is_good(coupling: Path) -> None:
    own_weights(coupling)
    assert load(coupling).version == 1
    assert verify.version(coupling / "1", coupling.parents[1]) == []


def test_a_store_that_a_group_writes_is_good(coupling: Path) -> None:
    for path in (coupling, *coupling.parents[:2]):
        path.chmod(0o2775)
    assert load(coupling).version == 1


def test_a_store_behind_a_symlink_is_good(coupling: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(coupling.parents[1])
    root = tmp_path / "link"
    assert models.load(versions.resolve(root, "H1", "60Hz"), store=root).version == 1


@AS_ROOT
def test_a_stranger_is_named(coupling: Path) -> None:
    os.chown(coupling / "2" / "weights.safetensors", 54321, 54321)
    [fault] = verify.version(coupling / "2", coupling.parents[1])
    assert "belongs to 54321" in fault
    root = coupling.parents[1]
    os.chown(root, 54321, 54321)
    assert permissions.stranger(coupling / "2" / "weights.safetensors", root) is None


def test_verifying_names_all_that_is_wrong(coupling: Path) -> None:
    weights = coupling / "1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    weights.chmod(0o664)
    (coupling / "1" / "notes.txt").write_text("mine")
    (coupling / "canary").write_text("9\n")
    (coupling / ".3.1.tmp").mkdir()
    with (coupling / "changes.jsonl").open("a") as file:
        file.write("torn")
    root = coupling.parents[1]
    text = "\n".join(verify.version(coupling / "1", root) + verify.coupling(coupling, root))
    for said in (
        "its group can write",
        "does not match the sha256",
        "notes.txt: does not belong",
        "names version 9",
        "1 damaged lines",
        "left by a writer",
    ):
        assert text.count(said) == 1, text


def test_torchscript_is_not_run_from_the_store(coupling: Path, directory: Path) -> None:
    directory.rename(coupling / "3")
    versions.set_pointer(coupling, "production", 3)
    with pytest.raises(ModelError, match="TorchScript does not belong in the store"):
        load(coupling)


def pickled(trap: Path) -> bytes:
    """Return a pickle that makes the file `trap` when it is read."""
    return pickle.dumps(Danger(trap))


def saved(trap: Path) -> bytes:
    """Return such a pickle in torch's zip file."""
    buffer = io.BytesIO()
    torch.save({"mean": Danger(trap), "std": torch.ones(3)}, buffer)
    return buffer.getvalue()


@pytest.fixture(params=[pickled, saved])
def bomb(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """A pickle, and the proof that reading it does what it says."""
    trap = tmp_path / "sprung"
    content: bytes = request.param(trap)
    if request.param is pickled:
        pickle.loads(content)
    else:
        torch.load(io.BytesIO(content), weights_only=False)
    assert trap.exists()
    trap.unlink()
    return content


PARTS = ["manifest.json", "weights.safetensors", "scalers.safetensors", "golden.safetensors"]


@pytest.mark.parametrize("name", PARTS)
def test_pickle_in_model_is_not_run(coupling: Path, tmp_path: Path, bomb: bytes, name: str) -> None:
    path, root = coupling / "1", coupling.parents[1]
    if name != "manifest.json":  # its hash is right: whoever put it there saw to that
        facts = json.loads((path / "manifest.json").read_text())
        facts["files"][name] = sha256(bomb)
        (path / "manifest.json").write_text(json.dumps(facts))
    (path / name).write_bytes(bomb)
    for attempt in (
        lambda: load(coupling),
        lambda: models.load(path),
        lambda: store.publish(tmp_path / "other", path),
    ):
        with pytest.raises(ModelError, match=name):
            attempt()
    assert verify.version(path, root)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["production", "canary", "changes.jsonl", "rejected-2.json"])
def test_pickle_in_store_is_not_run(coupling: Path, tmp_path: Path, bomb: bytes, name: str) -> None:
    (coupling / name).write_bytes(bomb)
    for pointer in versions.POINTERS:
        if pointer == name:
            with pytest.raises(ModelError, match="not a version number"):
                versions.read_pointer(coupling, pointer)
    assert len(model_log.read(coupling).changes) == (name != "changes.jsonl")
    assert rejections.read(coupling, 2) is None
    assert bool(verify.coupling(coupling, coupling.parents[1])) == (name != "rejected-2.json")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["model.pt", "X_scaler.pt", "y_scaler.pt", "config.yaml"])
def test_pickle_in_v2_is_not_run(directory: Path, tmp_path: Path, bomb: bytes, name: str) -> None:
    (directory / name).write_bytes(bomb)
    for attempt in (
        lambda: deepcleanv2.load(directory),
        lambda: import_v2.read(directory, "H1", "60Hz", 16384),
    ):
        with pytest.raises(ModelError, match=name):
            attempt()
    assert not (tmp_path / "sprung").exists()


def test_a_yaml_tag_makes_no_object(directory: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    (directory / "config.yaml").write_text(
        f"data: !!python/object/apply:pathlib.Path.touch [{trap}]"
    )
    with pytest.raises(ModelError, match="config"):
        deepcleanv2.load(directory)
    assert not trap.exists()
