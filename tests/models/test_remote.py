"""A store elsewhere: versions and pointers are sent, fetched, verified, and never overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from deepclean.errors import ModelError
from deepclean.models import files as models
from deepclean.models.content import WEIGHTS
from deepclean.models.manifest import MANIFEST
from deepclean.models.store import changes as store
from deepclean.models.store import log as model_log
from deepclean.models.store.remote import RemoteStore, Transfer
from deepclean.models.store.verify import coupling, version
from deepclean.remote.storage import Storage
from tests.helpers import store_site as site
from tests.helpers.store_site import WHERE, anything

ADDRESS = "memory://models"
PLACE = f"{ADDRESS}/{WHERE}"


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()


def elsewhere(root: Path) -> RemoteStore:
    return RemoteStore(ADDRESS, root / WHERE)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A store with three versions, the first in production, which are sent."""
    root = tmp_path / "here"
    site.filled(root, 3)
    assert elsewhere(root).push() == Transfer((1, 2, 3), {"production": 1})
    return root


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def test_a_store_is_copied_whole(here: Path, there: Path) -> None:
    store.set_canary(here / WHERE, 3, anything)
    assert elsewhere(here).push() == Transfer((), {"canary": 3})
    done = elsewhere(there).pull(anything)
    assert done == Transfer((1, 2, 3), {"production": 1, "canary": 3})
    assert site.state(there / WHERE) == site.state(here / WHERE) == ((1, 2, 3), 1, 3)
    for number in (1, 2, 3):
        one, other = (models.load(root / WHERE / str(number)) for root in (here, there))
        assert one.hash == other.hash
        assert not version(there / WHERE / str(number), there)
    assert not coupling(there / WHERE, there)
    assert model_log.read(there / WHERE).changes[-1].why == f"as at {PLACE}"
    assert elsewhere(there).pull(anything) == Transfer((), {})


def test_a_pointer_is_an_order_when_it_changes(here: Path, there: Path) -> None:
    elsewhere(there).pull(anything)
    store.promote(there / WHERE, 2, anything, "by a person of this machine")
    elsewhere(there).pull(anything)
    assert site.state(there / WHERE)[1] == 2
    store.promote(here / WHERE, 3, anything)
    elsewhere(here).push()
    assert elsewhere(there).pull(anything).pointers == {"production": 3}
    assert site.state(there / WHERE)[1] == 3


def test_a_cleared_canary_is_cleared(here: Path, there: Path) -> None:
    for canary in (2, None):
        store.set_canary(here / WHERE, canary, anything)
        elsewhere(here).push()
        elsewhere(there).pull(anything)
        assert site.state(there / WHERE)[2] == canary


def test_one_number_with_two_contents_is_refused(here: Path, there: Path) -> None:
    site.make(there, 1, seed=9)
    for change in (elsewhere(there).push, lambda: elsewhere(there).pull(anything)):
        with pytest.raises(ModelError, match="another model than version 1 here"):
            change()
    assert site.state(there / WHERE) == ((1,), None, None)


@pytest.mark.usefixtures("here")
def test_a_damaged_file_does_not_appear(there: Path) -> None:
    Storage(PLACE).write(f"2/{WEIGHTS}", b"damaged")
    with pytest.raises(ModelError, match="does not match the sha256"):
        elsewhere(there).pull(anything)
    assert site.state(there / WHERE) == ((1,), None, None)
    assert not list((there / WHERE).glob(".new*"))


def test_half_a_version_is_none(here: Path, there: Path) -> None:
    Storage(PLACE).remove(f"3/{MANIFEST}")
    assert elsewhere(there).pull(anything).versions == (1, 2)
    assert elsewhere(here).push().versions == (3,)
    assert elsewhere(there).pull(anything).versions == (3,)


@pytest.mark.usefixtures("here")
def test_a_version_that_does_not_fit_is_not_put_in_force(there: Path) -> None:
    def refuse(path: Path) -> None:
        raise ModelError("was made for other witnesses", path=path)

    with pytest.raises(ModelError, match="other witnesses"):
        elsewhere(there).pull(refuse)
    assert site.state(there / WHERE) == ((1, 2, 3), None, None)
    assert elsewhere(there).pull(anything).pointers == {"production": 1}


@pytest.mark.usefixtures("here")
def test_a_pointer_to_nothing_is_refused(there: Path) -> None:
    Storage(PLACE).write("production", b"../../etc")
    with pytest.raises(ModelError, match="not a version number"):
        elsewhere(there).pull(anything)
