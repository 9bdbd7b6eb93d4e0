"""What the store wants to be in force, and whether that has changed: looked at again and again.

Two small files and a manifest a coupling are looked at once a second: a watch on them would gain
less than the second that a model needs to settle, and miss what happens on a network file system.
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
    """What a pointer said when it was looked at.

    Args:
        version: that it names; None where there is no pointer, or it is damaged.
        fault: why it cannot be followed; empty where it can.
        identity: of the pointer and of that version's manifest: another one is another order.
    """

    version: int | None
    fault: str = ""
    identity: tuple[tuple[int, ...], ...] = ()


def read(directory: Path, pointer: Pointer, store: Path) -> PointerTarget:
    """Look at a pointer of a coupling's directory."""
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
    """Return what tells a file from another of the same name; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
