"""The versions that the store's pointers name, read again and again for changes.

Two small files and a manifest of each coupling are read once a second. A watch on them would gain
less than the second that a model needs to settle, and would miss changes on a network file system.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepclean.errors import ModelError
from deepclean.models import permissions, versions
from deepclean.models.directory import MANIFEST
from deepclean.models.manifest import sha256
from deepclean.models.versions import Pointer


@dataclass(frozen=True, slots=True)
class PointerTarget:
    """The content of a pointer when it was read.

    Args:
        version: the version that it names; None where there is no pointer, or it is damaged.
        fault: the reason why it cannot be followed; empty where it can.
        identity: the identities of the pointer and of that version's manifest. Where one changes,
            the pointer is a new order.
    """

    version: int | None
    fault: str = ""
    identity: tuple[tuple[int, ...], ...] = ()


def read(directory: Path, pointer: Pointer, store: Path) -> PointerTarget:
    """Read a pointer of a coupling's directory."""
    seen = _identity(directory / pointer)
    try:
        version = versions.read_pointer(directory, pointer, store)
        if version is None:
            return PointerTarget(None)
        manifest = directory / str(version) / MANIFEST
        return PointerTarget(version, identity=(seen, _identity(manifest)))
    except ModelError as error:
        return PointerTarget(None, str(error), (seen,))


def manifest_hash(path: Path) -> str:
    """Return the sha256 of a version's manifest. Raises ModelError where it cannot be read."""
    return sha256(permissions.read(path / MANIFEST))


def _identity(path: Path) -> tuple[int, ...]:
    """Return the numbers that tell a file from another of the same name; empty without a file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
