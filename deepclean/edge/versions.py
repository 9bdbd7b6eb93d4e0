"""The versions of a coupling's model, and the pointers that say which of them is in force.

`models/<interferometer>/<coupling>/` holds one directory per version, named by its number, and the
small files `production` and `canary`, each naming a version and replaced by an atomic rename.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from deepclean.errors import ModelError, OutputError

Pointer = Literal["production", "canary"]


def versions(directory: Path) -> tuple[int, ...]:
    """Return the versions in a coupling's directory, ascending; none where it does not exist."""
    if not directory.is_dir():
        return ()
    return tuple(
        sorted(
            int(entry.name)
            for entry in directory.iterdir()
            if _is_version(entry.name) and entry.is_dir()
        )
    )


def next_version(models: Path, interferometer: str, coupling: str) -> int:
    """Return the number for a new version: one more than the greatest, and 1 at first."""
    return max(versions(models / interferometer / coupling), default=0) + 1


def read_pointer(directory: Path, pointer: Pointer) -> int | None:
    """Return the version that a pointer names, or None where there is no such pointer.

    Args:
        directory: the coupling's directory.
        pointer: `production` or `canary`.

    Raises:
        ModelError: the file cannot be read or does not hold a version number.
    """
    path = directory / pointer
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot be read: {error}", path=path) from error
    if not _is_version(text):
        raise ModelError(f"holds {text[:20]!r}, not a version number", path=path)
    return int(text)


def set_pointer(directory: Path, pointer: Pointer, version: int) -> None:
    """Make a pointer name `version`; readers see the old number or the new, nothing between.

    Raises:
        ModelError: there is no such version.
        OutputError: the file system refused.
    """
    present = versions(directory)
    if version not in present:
        listed = ", ".join(map(str, present)) or "none"
        raise ModelError(f"no version {version}; there: {listed}", path=directory)
    temporary = directory / f".{pointer}.{os.getpid()}.tmp"
    try:
        with temporary.open("w", encoding="ascii") as file:
            file.write(f"{version}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(directory / pointer)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"cannot be written: {error.strerror}", path=directory / pointer, errno=error.errno
        ) from error


def resolve(
    models: Path, interferometer: str, coupling: str, pointer: Pointer = "production"
) -> Path:
    """Return the directory of the version that a pointer names.

    Raises:
        ModelError: there is no pointer, or no such version.
    """
    directory = models / interferometer / coupling
    version = read_pointer(directory, pointer)
    if version is None:
        raise ModelError(
            f"no {pointer} version: train a model, then `deepclean models promote`",
            path=directory,
        )
    if version not in versions(directory):
        raise ModelError(f"names version {version}, which is not there", path=directory / pointer)
    return directory / str(version)


def _is_version(name: str) -> bool:
    """Return whether `name` is a version number as we write it: decimal, no leading zero."""
    return name.isascii() and name.isdigit() and str(int(name)) == name
