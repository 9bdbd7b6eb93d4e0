"""Versions come whole or not at all, pointers move at once, and everything is logged."""

import json
import os
from pathlib import Path

import pytest

from deepclean.errors import ModelError, OutputError
from deepclean.models import files as models
from deepclean.models.content import WEIGHTS
from deepclean.models.manifest import Manifest, sha256
from deepclean.models.store import changes as store
from deepclean.models.store import directory as coupling_directory
from deepclean.models.store import log as model_log
from deepclean.models.store import versions
from deepclean.models.store.log import Change
from tests.helpers import store_site
from tests.helpers.store_site import WHERE, anything, state


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A coupling with three versions, the first in force."""
    return store_site.filled(tmp_path / "store", 3)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model directory elsewhere, which has another number there."""
    return store_site.make(tmp_path / "elsewhere", 7, seed=7, parent_version=6)


def manifest(path: Path) -> Manifest:
    return Manifest.parse((path / "manifest.json").read_bytes(), path)


def said(directory: Path) -> list[tuple[str, int | None, int | None]]:
    return [(c.what, c.before, c.after) for c in model_log.read(directory).changes]


def test_publishing_makes_the_next_version(directory: Path, source: Path) -> None:
    path = store.publish(directory.parents[1], source, "better at night")
    assert path == directory / "4"
    assert state(directory) == ((1, 2, 3, 4), 1, None)
    assert models.load(path, store=directory.parents[1]).version == 4
    for name in ("weights.safetensors", "scalers.safetensors", "golden.safetensors"):
        assert (path / name).read_bytes() == (source / name).read_bytes()
    last = model_log.read(directory).changes[-1]
    assert (last.what, last.before, last.after, last.why) == ("publish", None, 4, "better at night")
    assert last.when.endswith("Z")
    assert last.who


def test_a_copy_says_where_it_came_from(directory: Path, source: Path) -> None:
    made = manifest(store.publish(directory.parents[1], source))
    assert made.origin is not None
    assert (made.origin.format, made.origin.coupling, made.origin.version) == (
        "deepclean",
        "60Hz",
        7,
    )
    assert made.origin.sha256 == sha256((source / "manifest.json").read_bytes())
    assert made.parent_version is None  # version 6 of elsewhere is not version 6 of here


def test_a_parent_that_is_here_is_named_by_its_number_here(directory: Path, tmp_path: Path) -> None:
    weights = manifest(directory / "2").files[WEIGHTS]
    child = store_site.make(
        tmp_path / "elsewhere", 9, seed=9, parent_version=8, parent_weights=weights
    )
    assert manifest(store.publish(directory.parents[1], child)).parent_version == 2


def test_a_manifest_of_schema_1_loads_and_is_published_as_2(directory: Path, source: Path) -> None:
    facts = json.loads((source / "manifest.json").read_text())
    for name in ("origin", "parent_weights"):
        del facts[name]
    (source / "manifest.json").write_text(json.dumps(facts | {"schema_version": 1}))
    assert models.load(source).version == 7
    made = store.publish(directory.parents[1], source)
    assert json.loads((made / "manifest.json").read_text())["schema_version"] == 2


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, source: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = store.publish(tmp_path / "new", source)
        store.promote(path.parent, 1, anything)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o755
    files = [*path.iterdir(), path.parent / "production", path.parent / "changes.jsonl"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}
    for above in list(path.parents)[:3]:
        assert above.stat().st_mode & 0o777 == 0o755


def test_where_a_group_publishes_all_of_it_can(tmp_path: Path, source: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    path = store.publish(shared, source)
    for entry in (path.parent, path.parents[1]):
        assert entry.stat().st_mode & 0o2777 == 0o2775
    assert (path.parent / "changes.jsonl").stat().st_mode & 0o777 == 0o664
    assert path.stat().st_mode & 0o777 == 0o755
    models.load(path, store=shared)


@pytest.mark.parametrize("damage", ["flip", "truncate", "absent"])
def test_what_does_not_load_is_not_published(directory: Path, source: Path, damage: str) -> None:
    weights = source / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    if damage != "absent":
        weights.write_bytes(content if damage == "flip" else content[:-8])
    before = said(directory)
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        store.publish(directory.parents[1], source)
    assert state(directory)[0] == (1, 2, 3)
    assert said(directory) == before


def test_what_is_here_already_is_not_published_again(directory: Path) -> None:
    with pytest.raises(ModelError, match="in this store already"):
        store.publish(directory.parents[1], directory / "2")


def test_publishing_killed_at_any_step_shows_nothing_half(directory: Path, source: Path) -> None:
    root, seen, step = directory.parents[1], versions.versions(directory), 1
    while store_site.killed_at(step, root, lambda: store.publish(root, source)):
        present = versions.versions(directory)
        new = present[len(seen) :]
        assert present == (*seen, *new)
        assert len(new) <= 1
        for number in new:
            models.load(directory / str(number), store=root)
        seen, step = present, step + 1
    assert step > 15  # it did come to pass
    assert coupling_directory.leftovers(directory) == []  # the one that lived swept them
    assert versions.versions(directory) == (*seen, seen[-1] + 1)
    assert model_log.read(directory).damaged == 0


def test_promoting_killed_at_any_step_can_be_taken_back(tmp_path: Path) -> None:
    root, step, died = tmp_path / "store", 1, True
    directory = store_site.filled(root, 2)
    log = (directory / model_log.LOG).read_bytes()
    reached = set()
    while died:
        died = store_site.killed_at(step, root, lambda: store.promote(directory, 2, anything))
        now = versions.read_pointer(directory, "production")
        assert now in (1, 2)
        reached.add(now)
        if now == 2:
            assert store.rollback(directory, anything) == (2, 1)
        versions.set_pointer(directory, "production", 1)
        (directory / model_log.LOG).write_bytes(log)
        step += 1
    assert reached == {1, 2}
    assert step > 5


def test_writers_at_once_wait_their_turn(tmp_path: Path, source: Path) -> None:
    root, each = tmp_path / "store", 4

    def publish() -> None:
        for _ in range(each):
            store.publish(root, source)

    children = [store_site.child(publish) for _ in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    directory = root / WHERE
    assert versions.versions(directory) == tuple(range(1, 3 * each + 1))
    assert said(directory) == [("publish", None, n) for n in range(1, 3 * each + 1)]
    for number in versions.versions(directory):
        models.load(directory / str(number), store=root)


def test_a_taken_number_is_passed_over(directory: Path, source: Path) -> None:
    content = {name: (source / name).read_bytes() for name in manifest(source).files}

    def meanwhile(hidden: Path) -> None:
        if not (directory / "4").exists():
            (directory / "4").mkdir()
            (directory / "5").symlink_to("nowhere")

    with coupling_directory.changing(directory):
        path = coupling_directory.appear(directory, content, manifest(source), meanwhile)
    assert path == directory / "6"
    assert models.load(path).version == 6
    assert list((directory / "4").iterdir()) == []


def test_promoting_and_rolling_back_again_and_again(directory: Path) -> None:
    assert store.promote(directory, 2, anything, "lower") == 1
    assert store.promote(directory, 3, anything) == 2
    assert store.promote(directory, 3, anything) == 3  # nothing changes, nothing is logged
    assert store.rollback(directory, anything, "worse") == (3, 2)
    assert store.rollback(directory, anything) == (2, 1)
    with pytest.raises(ModelError, match="nothing to go back to"):
        store.rollback(directory, anything)
    assert said(directory) == [
        ("promote", None, 1),
        ("promote", 1, 2),
        ("promote", 2, 3),
        ("rollback", 3, 2),
        ("rollback", 2, 1),
    ]


def test_a_version_that_is_refused_is_not_put_in_force(directory: Path) -> None:
    def refuse(path: Path) -> None:
        raise ModelError("no good", path=path)

    store.promote(directory, 2, anything)
    before = said(directory)
    for attempt in (
        lambda: store.promote(directory, 3, refuse),
        lambda: store.rollback(directory, refuse),
        lambda: store.set_canary(directory, 3, refuse),
    ):
        with pytest.raises(ModelError, match="no good"):
            attempt()
    assert state(directory) == ((1, 2, 3), 2, None)
    assert said(directory) == before


def test_the_former_production_may_be_gone(directory: Path) -> None:
    store.promote(directory, 2, anything)
    with coupling_directory.changing(directory):
        coupling_directory.vanish(directory, 1)
    with pytest.raises(ModelError, match="version 1, is not there any more"):
        store.rollback(directory, anything)


def test_a_canary_comes_and_goes(directory: Path) -> None:
    assert store.set_canary(directory, 2, anything) is None
    assert store.set_canary(directory, 3, anything) == 2
    assert state(directory) == ((1, 2, 3), 1, 3)
    assert store.set_canary(directory, None, anything) == 3
    assert store.set_canary(directory, None, anything) is None
    with pytest.raises(ModelError, match="in production already"):
        store.set_canary(directory, 1, anything)
    assert said(directory)[1:] == [("canary", None, 2), ("canary", 2, 3), ("canary", 3, None)]


def test_a_canary_that_is_promoted_is_one_no_more(directory: Path) -> None:
    store.set_canary(directory, 2, anything)
    store.promote(directory, 3, anything)
    assert state(directory) == ((1, 2, 3), 3, 2)
    store.promote(directory, 2, anything)
    assert state(directory) == ((1, 2, 3), 2, None)
    assert said(directory)[-2:] == [("promote", 3, 2), ("canary", 2, None)]


def test_a_damaged_pointer_is_mended_by_promoting(directory: Path) -> None:
    (directory / "production").write_bytes(b"\xff")
    store.promote(directory, 2, anything)
    assert state(directory)[1] == 2


def test_a_torn_line_costs_itself_only(directory: Path) -> None:
    store.promote(directory, 2, anything)
    path = directory / "changes.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert (len(model_log.read(directory).changes), model_log.read(directory).damaged) == (1, 1)
    store.promote(directory, 3, anything, 'a "reason"\nof two lines, with é')
    log = model_log.read(directory)
    assert (len(log.changes), log.damaged) == (2, 1)
    assert log.changes[-1].why == 'a "reason"\nof two lines, with é'
    assert store.rollback(directory, anything) == (3, 2)


def test_a_log_that_is_anything_at_all_is_read(directory: Path) -> None:
    for content in (b"", b"\n\n", b"\xff\x00\n", b"[1]\n", b'{"what": "promote", "to": "2"}\n'):
        (directory / "changes.jsonl").write_bytes(content)
        assert model_log.read(directory).changes == ()


def test_a_log_that_cannot_be_written_is_said_and_the_pointer_is_right(directory: Path) -> None:
    (directory / "changes.jsonl").unlink()
    (directory / "changes.jsonl").symlink_to(directory / "elsewhere")
    with pytest.raises(OutputError, match="could not be logged"):
        store.promote(directory, 2, anything)
    assert state(directory)[1] == 2
    assert not (directory / "elsewhere").exists()


@pytest.mark.parametrize(
    ("made", "current", "expected"),
    [
        ([], None, []),
        ([], 3, [3]),
        ([("promote", None, 1), ("promote", 1, 2)], 2, [1, 2]),
        ([("promote", None, 1), ("promote", 1, 2), ("rollback", 2, 1)], 1, [1]),
        ([("promote", None, 1)], 2, [1, 2]),  # died before the log's line
        ([("promote", None, 1), ("promote", 2, 3)], 3, [1, 2, 3]),  # one line lost
        (
            [("promote", None, 1), ("promote", 1, 2), ("promote", 2, 1), ("rollback", 1, 2)],
            2,
            [1, 2],
        ),
        ([("promote", None, 1), ("canary", None, 2), ("publish", None, 3)], 1, [1]),
    ],
)
def test_what_a_rollback_goes_back_through(
    made: list[tuple[model_log.What, int | None, int | None]], current: int, expected: list[int]
) -> None:
    log = [Change(what=what, before=before, after=after) for what, before, after in made]
    assert model_log.productions(log, current) == expected
