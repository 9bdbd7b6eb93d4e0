from pathlib import Path

import pytest

from deepclean.errors import ModelError
from deepclean.models.store.versions import (
    next_version,
    read_pointer,
    resolve,
    set_pointer,
    versions,
)


@pytest.fixture
def coupling(tmp_path: Path) -> Path:
    directory = tmp_path / "H1" / "60Hz"
    for name in ("1", "2", "10", ".3.99.tmp", ".training", "03", "old"):
        (directory / name).mkdir(parents=True)
    (directory / "4").write_text("a file, not a version")
    return directory


def test_versions_are_numbered_directories_in_numeric_order(coupling: Path) -> None:
    assert versions(coupling) == (1, 2, 10)
    assert versions(coupling / "nowhere") == ()


def test_a_new_version_follows_the_greatest(coupling: Path) -> None:
    assert next_version(coupling) == 11
    assert next_version(coupling.parent / "105Hz") == 1


def test_a_pointer_names_a_version(coupling: Path, tmp_path: Path) -> None:
    assert read_pointer(coupling, "production") is None
    set_pointer(coupling, "production", 10)
    set_pointer(coupling, "canary", 2)
    assert read_pointer(coupling, "production") == 10
    assert resolve(tmp_path, "H1", "60Hz") == coupling / "10"
    assert resolve(tmp_path, "H1", "60Hz", "canary") == coupling / "2"
    assert not list(coupling.glob(".production*"))


def test_a_pointer_is_replaced_not_rewritten(coupling: Path) -> None:
    set_pointer(coupling, "production", 1)
    with (coupling / "production").open() as old:
        set_pointer(coupling, "production", 2)
        assert old.read() == "1\n"
    assert read_pointer(coupling, "production") == 2


def test_a_pointer_to_no_version_is_refused(coupling: Path) -> None:
    with pytest.raises(ModelError, match="no version 3; there: 1, 2, 10"):
        set_pointer(coupling, "production", 3)
    assert read_pointer(coupling, "production") is None


@pytest.mark.parametrize("content", [b"", b"one", b"-1", b"01", b"1 2", b"\xff"])
def test_a_damaged_pointer_is_refused(coupling: Path, content: bytes) -> None:
    (coupling / "canary").write_bytes(content)
    with pytest.raises(ModelError, match="canary"):
        read_pointer(coupling, "canary")


def test_resolving_says_what_is_missing(coupling: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no production version.*promote"):
        resolve(tmp_path, "H1", "60Hz")
    (coupling / "production").write_text("7\n")
    with pytest.raises(ModelError, match="names version 7, which is not there"):
        resolve(tmp_path, "H1", "60Hz")
