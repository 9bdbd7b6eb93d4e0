"""Removal of old versions, but for those in force and those that a rollback may need."""

from __future__ import annotations

from pathlib import Path

from deepclean.models import directory as coupling_directory
from deepclean.models import log as model_log
from deepclean.models import versions


def superfluous(directory: Path, keep: int) -> tuple[int, ...]:
    """Return the versions that may be removed, ascending.

    The newest versions, those that a pointer names, and the former production are kept.

    Args:
        directory: the coupling's.
        keep: number of newest versions; at least one, so that no number is ever given twice.

    Raises:
        ModelError: a pointer or the log cannot be read; then nothing may be removed.
        ValueError: `keep` is less than one.
    """
    if keep < 1:
        raise ValueError("at least one version is kept")
    present = versions.versions(directory)
    named = {pointer: versions.read_pointer(directory, pointer) for pointer in versions.POINTERS}
    stack = model_log.productions(model_log.read(directory).changes, named["production"])
    spared = {*present[-keep:], *named.values(), *stack[-2:]}
    return tuple(number for number in present if number not in spared)


def prune(directory: Path, keep: int, why: str = "") -> tuple[int, ...]:
    """Remove the superfluous versions and return them; each removal is logged, with `why`.

    Raises:
        ModelError: as `superfluous`.
        OutputError: the file system refused; the versions named in the log are gone.
    """
    if not directory.is_dir():
        return ()
    with coupling_directory.changing(directory):
        # Decided again under the lock: a version may have been promoted since it was shown.
        gone = superfluous(directory, keep)
        for number in gone:
            coupling_directory.vanish(directory, number)
            model_log.append(directory, model_log.now("prune", number, None, why))
    return gone
