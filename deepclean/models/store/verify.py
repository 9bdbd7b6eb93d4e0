"""A check of a whole store at rest: one line for each fault."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from deepclean.errors import ModelError
from deepclean.models import files as models
from deepclean.models.content import EPOCHS, EQUATIONS, GOLDEN, PICTURE, SCALERS, WEIGHTS
from deepclean.models.manifest import MANIFEST
from deepclean.models.store import directory as coupling_directory
from deepclean.models.store import log as model_log
from deepclean.models.store import permissions, versions

PARTS = (
    MANIFEST,
    WEIGHTS,
    SCALERS,
    GOLDEN,
    EQUATIONS,
    EPOCHS,
    PICTURE,
)


def version(path: Path, store: Path) -> list[str]:
    """Return the faults of a version: hashes, golden output, modes, symlinks, owners.

    Args:
        path: its directory.
        store: the store.
    """
    found: dict[str, None] = {}  # in order, each once
    for entry in (path, *sorted(path.iterdir())):
        for fault in _entry(entry, store):
            found[fault] = None
        if entry != path and entry.name not in (*PARTS, PICTURE):
            found[f"{entry}: does not belong to a version"] = None
    try:
        models.load(path, store=store)
    except ModelError as error:
        found[str(error)] = None
    if found:
        # A file that cannot be trusted ended the loading before its hash was checked.
        try:
            models.load(path)
        except ModelError as error:
            found[str(error)] = None
    return list(found)


def coupling(directory: Path, store: Path) -> list[str]:
    """Return the faults beside the versions: pointers, log, leftovers of dead writers.

    Args:
        directory: the coupling's.
        store: the store.
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
    """Yield the faults of an entry's place, its mode and its owner."""
    try:
        real = permissions.inside(path, store)
        permissions.require_own(stat.S_IMODE(real.stat().st_mode), path)
        owner = permissions.stranger(real, store)
    except ModelError as error:
        yield str(error)
        return
    if owner is not None:
        yield f"{path}: belongs to {owner}, who has no business in the store"
