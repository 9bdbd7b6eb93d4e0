"""The log of orders in the model store: who may write there may steer the stream.

`<models>/<interferometer>/<description>.control.jsonl` belongs to the daemons that write frames of
that description. The command appends an order, and the daemon what became of it. Lines are only
ever appended, and each is on the disk before its writer goes on.

The file has the rights of its directory: its owner, and the group where the store is writable for
it. A log that everybody can write, that lies behind a symlink out of the store, or that belongs to
a stranger is not obeyed.
"""

from __future__ import annotations

import os
import stat
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from uuid import uuid4

from deepclean.config import Config
from deepclean.control.lines import ControlLog, Order, order_facts, parse
from deepclean.core.control import What
from deepclean.errors import ControlError, ModelError, OutputError, refusal
from deepclean.models.store import permissions
from deepclean.models.store.log import signature
from deepclean.system import jsonl

_DENIED = (EACCES, EPERM, EROFS)


def path_of(config: Config) -> Path:
    """Return the path of the log of orders of a configuration's daemon."""
    name = f"{config.output.description}.control.jsonl"
    return config.models.directory / config.interferometer / name


def make(setting: What, coupling: str | None, value: float, seconds: int | None, why: str) -> Order:
    """Return an order that this user gives at this moment."""
    signed = signature()
    return Order(uuid4().hex, signed["when"], signed["who"], why, setting, coupling, value, seconds)


def give(path: Path, order: Order) -> None:
    """Add an order to a log; it is on the disk when this returns.

    Raises:
        ControlError: this user may not steer the stream.
        OutputError: the file system refused.
    """
    try:
        if not path.parent.is_dir():
            _make_directory(path.parent)
        jsonl.append(path, order_facts(order))
    except (OutputError, PermissionError) as error:
        if error.errno not in _DENIED:
            raise
        raise ControlError(
            f"you may not steer this stream: {_allowed(path)} may", path=path
        ) from error


def read(path: Path, store: Path) -> ControlLog:
    """Return the content of a log; an absent one is empty.

    Args:
        path: the log.
        store: the model store, in which it must lie.

    Raises:
        ControlError: the log cannot be read, or cannot be trusted.
        UnavailableError: the system refuses just now.
    """
    try:
        if not path.exists() and not path.is_symlink():
            return ControlLog()
        real = permissions.inside(path, store)
        for place in (real, *real.parents):
            if place.stat().st_mode & stat.S_IWOTH:
                raise ControlError(
                    "everybody can write it: check what it holds, then chmod o-w", path=place
                )
            if place == store.resolve():
                break
        owner = permissions.stranger(real, store.resolve())
        if owner is not None:
            raise ControlError(f"belongs to {owner}, who may not steer this stream", path=path)
        # Without O_NONBLOCK a pipe would block here.
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ControlError("not a regular file", path=path)
            return parse(file.read())
    except ModelError as error:
        raise ControlError(str(error)) from error
    except RuntimeError as error:
        raise ControlError("cannot be read: a loop of symlinks", path=path) from error
    except OSError as error:
        raise refusal(error, "cannot be read", path, ControlError) from error


def _make_directory(directory: Path) -> None:
    """Make an interferometer's directory; who may write in the store may write in it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(exist_ok=True)
    group = directory.parent.stat().st_mode & 0o020
    directory.chmod(stat.S_IMODE(directory.stat().st_mode) & 0o2000 | 0o755 | group)


def _allowed(path: Path) -> str:
    """Return who may write a log, in words."""
    place = path if path.exists() else next(p for p in path.parents if p.exists())
    status = place.stat()
    owner = f"root and {permissions.user_name(status.st_uid)}"
    if not status.st_mode & stat.S_IWGRP:
        return owner
    return f"{owner}, and members of the group {permissions.group_name(status.st_gid)},"
