"""Remote storage: addresses, reading and writing whole, and the two families of faults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError, UnavailableError
from deepclean.io.history import History
from deepclean.remote import cache
from deepclean.remote.address import absolute, address_of
from deepclean.remote.output import RemoteFrames, frames_at, output_directory
from deepclean.remote.storage import RemoteObject, Storage
from tests.helpers import small_site as site
from tests.helpers.small_site import START

PLACE = "memory://frames/H1"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DEEPCLEAN_CACHE", str(tmp_path / "cache"))
    yield
    MemoryFileSystem.store.clear()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/H1", "s3://bucket/H1"),
        ("s3://bucket/H1/", "s3://bucket/H1"),
        (Path("gs://bucket/H1"), "gs://bucket/H1"),
        ("data/H1", None),
        ("/data/H1", None),
        ("file:///data/H1", None),
        ("C:/data", None),
    ],
)
def test_addresses_are_told_from_paths(given: Path | str, address: str | None) -> None:
    assert address_of(given) == address


def test_an_absolute_address_is_itself(tmp_path: Path) -> None:
    assert absolute(Path("s3://a/b")) == Path("s3://a/b")
    assert absolute(Path("b")) == Path.cwd() / "b"


def test_what_is_written_is_read() -> None:
    storage = Storage(PLACE)
    storage.write("60Hz/1/manifest.json", b"{}")
    storage.write("a.gwf", b"abc")
    assert [(one.name, one.size) for one in storage.objects()] == [
        ("manifest.json", 2),
        ("a.gwf", 3),
    ]
    assert storage.read("a.gwf") == b"abc"
    storage.remove("a.gwf")
    storage.remove("a.gwf")
    with pytest.raises(InputError, match=r"memory://frames/H1/a\.gwf: cannot be read"):
        storage.read("a.gwf")


@pytest.mark.parametrize("data", [b"hell", b"hellO"])
def test_cut_and_changed_bytes_are_refused(data: bytes) -> None:
    whole = RemoteObject("s3://a/b", 5, "5d41402abc4b2a76b9719d911017c592")  # MD5 of "hello"
    whole.check(b"hello")
    with pytest.raises(UnavailableError, match="s3://a/b"):
        whole.check(data)


def test_an_unknown_protocol_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="no package for nowhere://"):
        Storage("nowhere://a/b").objects()


def test_frames_are_read_from_an_address_as_from_a_directory(tmp_path: Path) -> None:
    config = site.make_site(tmp_path, seconds=8)
    directory, storage = config.input.witnesses[0].directory, Storage(PLACE)
    for path in directory.iterdir():
        storage.write(path.name, path.read_bytes())
    span = Span.of_seconds(START + 1, 5)
    here, there = History([directory]), History([Path(PLACE)])
    assert there.channels() == here.channels()
    assert there.spans() == here.spans()
    one, other = here.read(site.RATES, span), there.read(site.RATES, span)
    assert all((one[name].samples == other[name].samples).all() for name in site.RATES)  # type: ignore[union-attr]
    # What was read is in the cache, and nothing else.
    assert len(list((tmp_path / "cache" / "data").glob("*/*.gwf"))) in {5, 6}


def test_the_cache_forgets_what_was_used_longest_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(PLACE)
    for number in range(4):
        storage.write(f"{number}.h5", bytes(100))
    monkeypatch.setenv("DEEPCLEAN_CACHE_GB", "250e-9")
    monkeypatch.setattr(cache, "_IN_USE", -1e9)
    kept = []
    for number, one in enumerate(storage.objects()):
        path = cache.fetched(one)
        os.utime(path, (number, number))
        kept.append(path)
    assert [path.exists() for path in kept] == [False, False, True, True]
    monkeypatch.setenv("DEEPCLEAN_CACHE_GB", "much")
    with pytest.raises(ConfigError, match="DEEPCLEAN_CACHE_GB=much"):
        cache.fetched(storage.objects()[0])


def test_frames_leave_the_spool_for_the_address() -> None:
    span = Span.of_seconds(START, 2)
    with RemoteFrames(PLACE, "H1_DEEPCLEAN", span) as frames:
        (frames.directory / f"H-H1_DEEPCLEAN-{START}-1.gwf").write_bytes(b"one")
        (frames.directory / ".H-H1_DEEPCLEAN-hidden.gwf.tmp").write_bytes(b"half")
    assert [name.span for name in frames_at(PLACE, "H1_DEEPCLEAN")] == [
        Span(START * NS, START * NS + NS)
    ]
    assert [path.name for path in frames.directory.iterdir()] == [".H-H1_DEEPCLEAN-hidden.gwf.tmp"]


def test_what_an_interrupted_run_left_is_sent_by_the_next() -> None:
    span = Span.of_seconds(START, 2)
    frames = RemoteFrames(PLACE, "H1_DEEPCLEAN", span)
    with frames:
        pass
    (frames.directory / f"H-H1_DEEPCLEAN-{START}-1.gwf").write_bytes(b"one")
    assert not frames_at(PLACE, "H1_DEEPCLEAN")
    with RemoteFrames(PLACE, "H1_DEEPCLEAN", span):
        assert len(frames_at(PLACE, "H1_DEEPCLEAN")) == 1


def test_frames_made_otherwise_are_refused() -> None:
    with RemoteFrames(PLACE, "H1_DEEPCLEAN", Span.of_seconds(START, 2)) as frames:
        frames.require_same({"configuration": "a", "deepclean": "1"}, {"deepclean"})
        frames.require_same({"configuration": "a", "deepclean": "2"}, {"deepclean"})
        with pytest.raises(InputError, match="configuration: a there, b now"):
            frames.require_same({"configuration": "b"}, {"deepclean"})


def test_a_report_is_put_at_an_address() -> None:
    with output_directory(Path(PLACE)) as directory:
        (directory / "plots").mkdir()
        (directory / "plots" / "a.png").write_bytes(b"png")
        (directory / "index.html").write_text("page")
    assert Storage(PLACE).read("plots/a.png") == b"png"
    assert Storage(PLACE).read("index.html") == b"page"
