"""Which files of a model store are trusted: by their place, and by who can write them.

Whoever can write a model's files decides what is subtracted from the strain. So nothing is loaded
through a symlink that leaves the store, nor from a file or version that its group or everybody can
write. The store itself may be writable for a group: its members may publish.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from deepclean.errors import ModelError, refusal

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def read(path: Path, store: Path | None = None) -> bytes:
    """Return a file's bytes.

    Args:
        path: a regular file.
        store: the directory in which it must lie, not writable for others; None for a file that
            the operator named.

    Raises:
        ModelError: the file cannot be read, or cannot be trusted.
        UnavailableError: the system refuses just now.
    """
    real = path if store is None else inside(path, store)
    try:
        # Without O_NONBLOCK a pipe would block here.
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ModelError("not a regular file", path=path)
            if store is not None:
                require_own(status.st_mode, path)
            return file.read()
    except OSError as error:
        raise refusal(error, "cannot be read", path, ModelError) from error


def inside(path: Path, store: Path) -> Path:
    """Return the real path of a path within the store.

    Raises:
        ModelError: the path leaves the store, or leads nowhere.
        UnavailableError: the system refuses just now.
    """
    try:
        real, root = path.resolve(strict=True), store.resolve(strict=True)
    except RuntimeError as error:
        raise ModelError("cannot be read: a loop of symlinks", path=path) from error
    except OSError as error:
        raise refusal(error, "cannot be read", path, ModelError) from error
    if not real.is_relative_to(root):
        raise ModelError(
            f"a symlink leads out of the store, to {real}: publish a copy instead", path=path
        )
    return real


def check_directory(path: Path, store: Path) -> None:
    """Raise ModelError unless a version's directory lies in the store and only its owner may write.

    A group, but not everybody, may write in the directories above it.
    """
    real = inside(path, store)
    require_own(real.stat().st_mode, path)
    root = inside(store, store)
    for above in real.parents:
        if above.stat().st_mode & stat.S_IWOTH:
            raise ModelError(
                "everybody can write in it: check what it holds, then chmod o-w", path=above
            )
        if above == root:
            break


def require_own(mode: int, path: Path) -> None:
    """Raise ModelError where a mode lets the group or everybody write."""
    if mode & OTHERS_WRITE:
        whom = "everybody" if mode & stat.S_IWOTH else "its group"
        raise ModelError(
            f"{whom} can write it (mode {stat.S_IMODE(mode):04o}): check what it holds, then "
            "chmod go-w",
            path=path,
        )


def stranger(path: Path, store: Path) -> str | None:
    """Return the owner of a path where that user may not own versions, else None.

    Root, the store's owner, the calling user, and, where the store's group may write, its members
    may own versions.
    """
    owner, place = path.lstat().st_uid, store.stat()
    if owner in (0, place.st_uid, os.geteuid()):
        return None
    if place.st_mode & stat.S_IWGRP and _is_member(owner, place.st_gid):
        return None
    return user_name(owner)


def user_name(number: int) -> str:
    """Return the name of a user, or the number where there is no name."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """Return the name of a group, or the number where there is no name."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _is_member(user: int, group: int) -> bool:
    try:
        entry = pwd.getpwuid(user)
        return entry.pw_gid == group or entry.pw_name in grp.getgrgid(group).gr_mem
    except KeyError:
        return False
