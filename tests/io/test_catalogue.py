"""The catalogue: which files belong to a history, by name or by content."""

import os
from pathlib import Path

import numpy as np
import pytest

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import gwf, hdf5
from deepclean.io.catalogue import catalogue
from deepclean.io.channels import OutputChannel
from deepclean.io.history import History

GPS = 1370000000


def seconds(first: int, count: int) -> Span:
    return Span.of_seconds(GPS + first, count)


def store(
    directory: Path, first: int, count: int, description: str = "H1_llhoft", extension: str = "gwf"
) -> Path:
    """Write a file whose samples tell the second that they were stored for."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"H-{description}-{GPS + first}-{count}.{extension}"
    span = seconds(first, count)
    channels = {"H1:A": OutputChannel(Series(span, 16, np.repeat(np.arange(count) + first, 16)))}
    if extension == "gwf":
        gwf.publish(path, gwf.serialise(span, channels))
    else:
        hdf5.write_archive(path, channels)
    return path


def spans(*paths: Path, description: str | None = None, recursive: bool = True) -> list[Span]:
    return [file.span for file in catalogue(paths, description=description, recursive=recursive)]


def test_files_sort_by_start_the_longest_first(tmp_path: Path) -> None:
    for first, count in ((4, 1), (0, 2), (0, 8), (2, 1)):
        store(tmp_path, first, count)
    assert spans(tmp_path) == [seconds(0, 8), seconds(0, 2), seconds(2, 1), seconds(4, 1)]


def test_strict_names_decide_in_directories(tmp_path: Path) -> None:
    good = store(tmp_path, 0, 1)
    for foreign in (
        f".H-H1_llhoft-{GPS + 1}-1.gwf.tmp",
        f"H-H1_llhoft-{GPS + 1}-1.gwf.tmp",
        f"H-H1_llhoft-{GPS + 1}-1.gwf.bad",
        "notes.txt",
    ):
        (tmp_path / foreign).write_bytes(good.read_bytes())
    (tmp_path / f"H-H1_llhoft-{GPS + 2}-1.gwf").mkdir()
    assert spans(tmp_path) == [seconds(0, 1)]


def test_a_description_chooses(tmp_path: Path) -> None:
    store(tmp_path, 0, 1)
    store(tmp_path, 1, 1, "H1_lldetchar")
    assert spans(tmp_path, description="H1_lldetchar") == [seconds(1, 1)]
    with pytest.raises(InputError, match="no frame or HDF5 files of description H1_none found"):
        History([tmp_path], description="H1_none")


def test_directories_of_directories_on_request(tmp_path: Path) -> None:
    store(tmp_path, 0, 1)
    store(tmp_path / "below", 1, 1, extension="hdf5")
    assert spans(tmp_path) == [seconds(0, 1), seconds(1, 1)]
    assert spans(tmp_path, recursive=False) == [seconds(0, 1)]


def test_a_file_found_twice_counts_once(tmp_path: Path) -> None:
    path = store(tmp_path, 0, 1)
    assert spans(tmp_path, path, tmp_path) == [seconds(0, 1)]


def test_a_file_named_outright_is_catalogued_by_its_content(tmp_path: Path) -> None:
    frame = store(tmp_path, 0, 2).rename(tmp_path / "first.gwf")
    archive = store(tmp_path, 2, 3, extension="hdf5").rename(tmp_path / "deepclean-1-2.hdf5")
    assert spans(archive, frame) == [seconds(0, 2), seconds(2, 3)]
    read = History([archive, frame]).read(["H1:A"], seconds(1, 3))["H1:A"]
    assert isinstance(read, Series)
    np.testing.assert_array_equal(read.samples, np.repeat([1, 2, 3], 16))


def test_frames_shorter_than_a_second_have_no_name_but_content(tmp_path: Path) -> None:
    span = Span(GPS * NS + NS // 16, GPS * NS + NS // 8)
    path = tmp_path / "sixteenth.gwf"
    gwf.publish(path, gwf.serialise(span, {"H1:A": OutputChannel(Series(span, 16, np.ones(1)))}))
    assert spans(path) == [span]
    read = History([path]).read(["H1:A"], span)["H1:A"]
    assert isinstance(read, Series)
    assert read.samples.tolist() == [1.0]


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or directory"):
        catalogue([tmp_path / "none"])
    with pytest.raises(InputError, match=f"no frame or HDF5 files found: {tmp_path}"):
        History([tmp_path])
    (tmp_path / "garbage.gwf").write_bytes(b"garbage")
    with pytest.raises(InputError, match="not a readable frame file"):
        catalogue([tmp_path / "garbage.gwf"])


@pytest.mark.skipif(os.geteuid() != 0, reason="root may be another user")
def test_a_directory_that_may_not_be_entered_is_one_message(tmp_path: Path) -> None:
    store(tmp_path / "archive", 0, 4)
    tmp_path.chmod(0o700)
    os.seteuid(65534)  # nobody
    try:
        for path in (tmp_path, tmp_path / "archive", tmp_path / "archive" / "file.gwf"):
            with pytest.raises(InputError, match="cannot be listed: Permission denied"):
                catalogue([path])
    finally:
        os.seteuid(0)


def test_linked_directories_are_searched_and_loops_end(tmp_path: Path) -> None:
    archive, disk = tmp_path / "archive", tmp_path / "disk"
    for directory in (archive, disk / "H-H1_llhoft-14000"):
        directory.mkdir(parents=True)
    name = "H-H1_llhoft-1400000000-1.gwf"
    (disk / "H-H1_llhoft-14000" / name).write_bytes(b"x")
    (archive / "linked").symlink_to(disk)
    (disk / "back").symlink_to(archive)
    (disk / "again").symlink_to(disk / "H-H1_llhoft-14000")
    assert [file.path.name for file in catalogue([archive])] == [name]


def test_training_data_of_the_earlier_projects_are_found(tmp_path: Path) -> None:
    for name in ("deepclean-1400000000-4096.hdf5", "deepclean-config.hdf5", "notes-1-2.txt"):
        (tmp_path / name).write_bytes(b"x")
    (file,) = catalogue([tmp_path])
    assert file.path.name == "deepclean-1400000000-4096.hdf5"
    assert file.span == Span.of_seconds(1400000000, 4096)
    assert catalogue([tmp_path], description="H1_llhoft") == []
