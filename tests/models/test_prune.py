"""Old versions go; what is in force, and what a rollback wants, stays."""

from pathlib import Path

import pytest

from deepclean.errors import ModelError
from deepclean.models.store import changes as store
from deepclean.models.store import diff, versions
from deepclean.models.store import directory as coupling_directory
from deepclean.models.store import log as model_log
from deepclean.models.store.changes import prune, superfluous
from tests.helpers import store_site
from tests.helpers.store_site import anything, description, scalers


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six versions. Nothing here removes one."""
    directory = store_site.filled(tmp_path_factory.mktemp("store"), 6)
    store.promote(directory, 2, anything)
    store.set_canary(directory, 4, anything)
    return directory


def test_the_newest_and_those_in_use_stay(six: Path) -> None:
    assert superfluous(six, 1) == (3, 5)  # 2 production, 1 before it, 4 canary, 6 newest
    assert superfluous(six, 2) == (3,)
    assert superfluous(six, 6) == ()
    assert superfluous(six, 100) == ()
    with pytest.raises(ValueError, match="at least one"):
        superfluous(six, 0)


def test_what_a_rollback_came_from_may_go(tmp_path: Path) -> None:
    directory = store_site.filled(tmp_path, 3)
    store.promote(directory, 2, anything)
    store.rollback(directory, anything)
    assert superfluous(directory, 1) == (2,)


def test_pruning_removes_and_logs(tmp_path: Path) -> None:
    directory = store_site.filled(tmp_path, 4)
    assert prune(directory, 1, "the disk") == (2, 3)
    assert versions.versions(directory) == (1, 4)
    assert coupling_directory.leftovers(directory) == []
    made = model_log.read(directory).changes[-2:]
    assert [(c.what, c.before, c.after, c.why) for c in made] == [
        ("prune", 2, None, "the disk"),
        ("prune", 3, None, "the disk"),
    ]
    assert prune(directory, 1) == ()
    assert prune(tmp_path / "H1" / "nowhere", 1) == ()


@pytest.mark.parametrize("pointer", ["production", "canary"])
def test_nothing_goes_while_a_pointer_is_damaged(tmp_path: Path, pointer: str) -> None:
    directory = store_site.filled(tmp_path, 3)
    (directory / pointer).write_text("what?")
    with pytest.raises(ModelError, match=pointer):
        prune(directory, 1)
    assert versions.versions(directory) == (1, 2, 3)


def test_pruning_killed_at_any_step_shows_nothing_half(tmp_path: Path) -> None:
    directory, step, died = store_site.filled(tmp_path, 3), 1, True
    while died:
        died = store_site.killed_at(step, tmp_path, lambda: prune(directory, 1))
        for number in versions.versions(directory):
            assert len(list((directory / str(number)).iterdir())) == 4
        if 2 not in versions.versions(directory):
            prune(directory, 1)
            assert coupling_directory.leftovers(directory) == []
            store_site.make(tmp_path, 2, seed=2)
        step += 1
    assert step > 4


def test_equal_versions_are_not_apart(six: Path) -> None:
    same = diff.compare(six / "2", six / "2", six.parents[1])
    assert (same.fields, same.weights, same.output) == ({}, 0.0, 0.0)
    assert same.validation == {"asd_ratio": (0.25, 0.25)}


def test_what_differs_is_told(tmp_path: Path) -> None:
    one = store_site.make(tmp_path, 1, seed=1)
    two = store_site.make(
        tmp_path, 2, seed=2, validation={"epoch": 3.0}, kernel=1024, parent_version=1
    )
    found = diff.compare(one, two, tmp_path)
    assert found.fields == {"kernel": (512, 1024), "parent_version": (None, 1)}
    assert found.validation == {"asd_ratio": (0.25, None), "epoch": (None, 3.0)}
    assert found.weights is not None
    assert found.output is not None
    assert 1e-3 < found.weights < 1
    assert 1e-3 < found.output < 1


def test_weights_of_other_shapes_are_not_compared(tmp_path: Path) -> None:
    from deepclean.models import files as models
    from deepclean.models.networks import build

    one = store_site.make(tmp_path, 1)
    wiener = {"name": "wiener", "taps": 33}
    made = description(version=2, architecture=wiener)
    two = models.write_model(tmp_path, build(wiener, 3), scalers(), made)
    found = diff.compare(one, two, tmp_path)
    assert found.weights is None
    assert found.output is not None
    assert found.fields["architecture"][1] == wiener
