"""Everything that can be wrong with a store, found at rest and named, one line a fault."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from deepclean.errors import ModelError
from deepclean.models import directory as coupling_directory
from deepclean.models import load as models
from deepclean.models import log as model_log
from deepclean.models import permissions, versions

PARTS = (coupling_directory.MANIFEST, models.WEIGHTS, models.SCALERS, models.GOLDEN)


def version(path: Path, store: Path) -> list[str]:
    """Return what is wrong with a version: hashes, golden output, modes, symlinks, owners.

    Args:
        path: its directory.
        store: that it is in.
    """
    found: dict[str, None] = {}  # in order, each once
    for entry in (path, *sorted(path.iterdir())):
        for fault in _entry(entry, store):
            found[fault] = None
        if entry != path and entry.name not in PARTS:
            found[f"{entry}: does not belong to a version"] = None
    try:
        models.load(path, store=store)
    except ModelError as error:
        found[str(error)] = None
    if found:
        # A file that cannot be trusted ended the loading before its hash was looked at.
        try:
            models.load(path)
        except ModelError as error:
            found[str(error)] = None
    return list(found)


def coupling(directory: Path, store: Path) -> list[str]:
    """Return what is wrong beside the versions: pointers, log, what a dead writer left.

    Args:
        directory: the coupling's.
        store: that it is in.
    """
    found = []
    for pointer in versions.POINTERS:
        path = directory / pointer
        try:
            number = versions.read_pointer(directory, pointer, store)
            if number is not None and number not in versions.versions(directory):
                raise ModelError(f"names version {number}, which is not there", path=path)
        except ModelError as error:
            found.append(str(error))
    try:
        log = model_log.read(directory)
    except ModelError as error:
        found.append(str(error))
    else:
        if log.damaged:
            found.append(f"{directory / model_log.LOG}: {log.damaged} damaged lines")
    left = coupling_directory.leftovers(directory)
    found += [f"{path}: left by a writer that died, or one is at work" for path in left]
    return found


def _entry(path: Path, store: Path) -> Iterator[str]:
    """Yield what is wrong with where an entry lies, who may write it and whose it is."""
    try:
        real = permissions.inside(path, store)
        permissions.require_own(stat.S_IMODE(real.stat().st_mode), path)
        owner = permissions.stranger(real, store)
    except ModelError as error:
        yield str(error)
        return
    if owner is not None:
        yield f"{path}: belongs to {owner}, who has no business in the store"
