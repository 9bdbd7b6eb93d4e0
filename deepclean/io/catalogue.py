"""A list of data files, frames and HDF5, with their spans.

In directories the names decide (LIGO-T050017), and files with other names are passed over. A file
that is named outright and has another name is catalogued by its content. A directory or a file may
be at an address of remote storage: its files are fetched into the cache as they are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR

from deepclean.core import reasons
from deepclean.core.block import Gap
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.io import gwf, hdf5
from deepclean.io.channels import Reading
from deepclean.io.t050017 import FrameName
from deepclean.remote.address import address_of
from deepclean.remote.cache import fetched
from deepclean.remote.storage import RemoteObject, Storage

_LISTS = (".ffl", ".lcf", ".cache", ".txt")
"""What lists of frame files end in: Virgo's, and the caches of LAL."""

_EARLIER = re.compile(r"([A-Za-z0-9_]+)-([1-9][0-9]{0,9})-([1-9][0-9]{0,9})\.(hdf5|h5)")

_HDF5 = frozenset({".hdf5", ".h5", ".hdf"})


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of either kind.

    Args:
        path: the file.
        span: the span that its name states or, without such a name, that of its content.
        stream: files of one stream hold the same channels.
        remote: the object that holds it; None for a file of this machine.
    """

    path: Path
    span: Span
    stream: tuple[str, ...]
    remote: RemoteObject | None = None

    @property
    def order(self) -> tuple[int, int, Path]:
        """The key by which files are sorted: by start, the longest first."""
        return self.span.start, -self.span.end, self.path

    @property
    def local(self) -> Path:
        """The file on this machine, fetched if need be.

        Raises:
            InputError: the object is not there any more.
            UnavailableError: the storage cannot be reached just now.
        """
        return self.path if self.remote is None else fetched(self.remote)

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        """Return the rate in Hz of every channel, or of those `wanted` that it holds.

        Raises:
            InputError: the file is not readable.
            UnavailableError: as `local`.
        """
        if self.path.suffix in _HDF5:
            return hdf5.channels(self.local, wanted)
        return gwf.channels(self.local, wanted)

    def read(self, wanted: Collection[str], span: Span, *, checksum: bool = False) -> Reading:
        """Return what the file has of the channels over a span.

        A file that cannot be read is a gap of every channel: `corrupt`, or `missing` if it has
        gone.

        Args:
            wanted: full names.
            span: inside that of the file.
            checksum: verify a frame file's checksum first: then a damaged file gives nothing.

        Raises:
            UnavailableError: as `local`. What storage does not give just now is no gap.
        """
        path = self.path
        try:
            path = self.local
            if path.suffix in _HDF5:
                return hdf5.read_pieces(path, wanted, span)
            return gwf.read_pieces(path, wanted, span, checksum=checksum)
        except OSError as error:
            fault = InputError(f"cannot be read: {error.strerror}", path=self.path)
        except InputError as error:
            fault = error
        reason = reasons.CORRUPT if os.path.exists(path) else reasons.MISSING  # noqa: PTH110
        return Reading({name: [Gap(span, reason)] for name in wanted}, (fault,), readable=False)


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of which the files of one description are taken (None: of any)."""

    path: Path
    description: str | None


def catalogue(
    paths: Iterable[Path | Directory], *, description: str | None = None, recursive: bool = True
) -> list[DataFile]:
    """Return every file once, sorted by start, the longest first.

    Args:
        paths: directories, and files.
        description: take only files of this description from the directories (`H1_llhoft`), where
            a directory has none of its own.
        recursive: search the directories' directories too, as archives have them.

    Raises:
        InputError: a path does not exist or may not be entered, or a file that is named outright
            and has another name cannot be read.
    """
    found: dict[Path, DataFile] = {}
    for place in paths:
        each = place if isinstance(place, Directory) else Directory(place, description)
        path = each.path
        if (address := address_of(path)) is not None:
            for file in _remote(address, each.description, recursive=recursive):
                found.setdefault(file.path, file)
        elif _is_directory(path):
            for file in _walk(path, each.description, recursive=recursive):
                found.setdefault(file.path, file)
        else:
            found.setdefault(path, _named_outright(path))
    return sorted(found.values(), key=lambda file: file.order)


def _is_directory(path: Path) -> bool:
    """Return whether a path is a directory whose files can be listed.

    Raises:
        InputError: it may not be entered, or does not answer.
    """
    try:
        if not S_ISDIR(path.stat().st_mode):
            return False
        with os.scandir(path):
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(f"cannot be listed: {error.strerror}", path=path) from error


def _walk(root: Path, description: str | None, *, recursive: bool) -> Iterator[DataFile]:
    seen: set[tuple[int, int]] = set()
    # Archives link to other disks. A link may lead back into them: no directory is searched twice.
    for directory, below, names in os.walk(root, followlinks=True):
        status = Path(directory).stat()
        place = status.st_dev, status.st_ino
        if place in seen or not recursive:
            below.clear()
        if place in seen:
            continue
        seen.add(place)
        for filename in names:
            parts = _parts(filename)
            if parts is not None and description in {None, parts[1]}:
                (*stream, span) = parts
                yield DataFile(Path(directory, filename), span, (str(root), *stream))


def _remote(address: str, description: str | None, *, recursive: bool) -> Iterator[DataFile]:
    """Yield the files at an address: of a directory by their names, or the one that is there.

    Raises:
        InputError: there is nothing of the kind, or no right to it.
        UnavailableError: the storage cannot be reached just now.
    """
    objects = Storage(address).objects()
    for one in objects:
        if not recursive and "/" in one.address.removeprefix(f"{address}/"):
            continue
        parts = _parts(one.name)
        if parts is not None and description in {None, parts[1]}:
            (*stream, span) = parts
            yield DataFile(Path(one.address), span, (address, *stream), one)
        elif one.address == address:
            named = _named_outright(fetched(one))
            yield DataFile(Path(address), named.span, (address,), one)
    if not objects:
        raise InputError(f"{address}: no such directory or object")


def _parts(filename: str) -> tuple[str, str, str, Span] | None:
    """Return site, description, extension and span that a name states; None where it states none.

    The training data of the earlier projects have no site: `deepclean-1370000000-4096.hdf5`.
    """
    name = FrameName.parse(filename)
    if name is not None:
        return name.site, name.description, name.extension, name.span
    earlier = _EARLIER.fullmatch(filename)
    if earlier is None:
        return None
    description, start, duration, extension = earlier.groups()
    return "", description, extension, Span.of_seconds(int(start), int(duration))


def _named_outright(path: Path) -> DataFile:
    if not path.exists():
        raise InputError("no such file or directory", path=path)
    if path.suffix in _LISTS:
        raise InputError("is a list of files: name the files, or their directory", path=path)
    named = FrameName.parse(path.name)
    content = hdf5.span if path.suffix in _HDF5 else gwf.span
    return DataFile(path, named.span if named else content(path), (str(path),))
