"""The versions of a coupling's model, and the pointers that say which of them is in force.

`models/<interferometer>/<coupling>/` holds one directory per version, named by its number, and the
small files `production` and `canary`, each naming a version and replaced by an atomic rename. A
daemon reads these files and their versions' manifests once a second. A watch on them would gain
less than the second that a model needs to settle, and would miss changes on a network file system.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from deepclean.errors import ModelError, UnavailableError, output_errors, passes
from deepclean.models.manifest import MANIFEST, sha256
from deepclean.models.store import permissions
from deepclean.system.atomic import publish, sync

Pointer = Literal["production", "canary"]
POINTERS: tuple[Pointer, ...] = get_args(Pointer)


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


def versions(directory: Path) -> tuple[int, ...]:
    """Return the versions in a coupling's directory, ascending; none where it does not exist."""
    if not directory.is_dir():
        return ()
    entries = directory.iterdir()
    return tuple(sorted(int(e.name) for e in entries if _is_version(e.name) and e.is_dir()))


def next_version(directory: Path) -> int:
    """Return the number for a coupling's new version: the greatest plus 1, and 1 at first."""
    return max(versions(directory), default=0) + 1


def read_pointer(directory: Path, pointer: Pointer, store: Path | None = None) -> int | None:
    """Return the version that a pointer names, or None where there is no such pointer.

    Args:
        directory: the coupling's directory.
        pointer: `production` or `canary`.
        store: where given, the pointer must lie in it, and only its owner may write the pointer.

    Raises:
        ModelError: the file cannot be read or trusted, or does not hold a version number.
    """
    path = directory / pointer
    try:
        text = permissions.read(path, store).decode("ascii", "replace").strip()
    except ModelError as error:
        if isinstance(error.__cause__, FileNotFoundError) and not path.is_symlink():
            return None
        raise
    if not _is_version(text):
        raise ModelError(f"holds {text[:20]!r}, not a version number", path=path)
    return int(text)


def pointer_target(directory: Path, pointer: Pointer, store: Path) -> PointerTarget:
    """Read a pointer of a coupling's directory.

    Raises:
        UnavailableError: the system refuses just now.
    """
    seen = _identity(directory / pointer)
    try:
        version = read_pointer(directory, pointer, store)
        if version is None:
            return PointerTarget(None)
        manifest = directory / str(version) / MANIFEST
        return PointerTarget(version, identity=(seen, _identity(manifest)))
    except ModelError as error:
        return PointerTarget(None, str(error), (seen,))


def set_pointer(directory: Path, pointer: Pointer, version: int) -> None:
    """Make a pointer name `version`; readers see the old number or the new, nothing between.

    Raises:
        ModelError: there is no such version.
        OutputError: the file system refused.
    """
    require(directory, version)
    publish(directory / pointer, b"%d\n" % version, fsync=True, mode=0o644)


def clear_pointer(directory: Path, pointer: Pointer) -> None:
    """Remove a pointer, if there is one.

    Raises:
        OutputError: the file system refused.
    """
    with output_errors(directory / pointer, "cannot be removed"):
        (directory / pointer).unlink(missing_ok=True)
        sync(directory)


def require(directory: Path, version: int) -> None:
    """Raise ModelError where a coupling's directory holds no such version."""
    present = versions(directory)
    if version not in present:
        listed = ", ".join(map(str, present)) or "none"
        raise ModelError(f"no version {version}; there: {listed}", path=directory)


def resolve(
    models: Path, interferometer: str, coupling: str, pointer: Pointer = "production"
) -> Path:
    """Return the directory of the version that a pointer names.

    Raises:
        ModelError: there is no pointer, it cannot be trusted, or there is no such version.
        UnavailableError: the system refuses just now, or the store is not there.
    """
    directory = models / interferometer / coupling
    version = read_pointer(directory, pointer, models)
    if version is None and not (models / interferometer).is_dir():
        raise UnavailableError(
            f"the model store holds nothing of {interferometer}: is it mounted? Else train a "
            f"model (`deepclean train -c CONFIG {coupling} --start START --end END`)",
            path=models,
        )
    if version is None:
        raise ModelError(
            f"no {pointer} version: train one (`deepclean train -c CONFIG {coupling} --start START "
            f"--end END`), or promote one that is there (`deepclean models promote -c CONFIG "
            f"{coupling} VERSION`)",
            path=directory,
        )
    if version not in versions(directory):
        raise ModelError(f"names version {version}, which is not there", path=directory / pointer)
    return directory / str(version)


def manifest_hash(path: Path) -> str:
    """Return the sha256 of a version's manifest. Raises ModelError where it cannot be read."""
    return sha256(permissions.read(path / MANIFEST))


def _is_version(name: str) -> bool:
    """Return whether `name` is a version number as it is written here, without leading zeros."""
    return name.isascii() and name.isdigit() and len(name) < 10 and str(int(name)) == name


def _identity(path: Path) -> tuple[int, ...]:
    """Return the numbers that tell a file from another of the same name; empty without a file.

    Raises:
        UnavailableError: the system refuses just now.
    """
    try:
        status = path.stat()
    except OSError as error:
        if passes(error.errno):
            raise UnavailableError(
                f"cannot be read: {error.strerror}", path=path, errno=error.errno
            ) from error
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
