"""Old versions make room, except those that are in force or that a rollback may want."""

from __future__ import annotations

from pathlib import Path

from deepclean.models import directory as coupling_directory
from deepclean.models import log as model_log
from deepclean.models import versions


def superfluous(directory: Path, keep: int) -> tuple[int, ...]:
    """Return the versions that may go, ascending.

    Kept are the newest, those that a pointer names, and the former production.

    Args:
        directory: the coupling's.
        keep: how many of the newest; at least one, so that no number is ever given twice.

    Raises:
        ModelError: a pointer or the log cannot be read; then nothing may go.
        ValueError: fewer than one.
    """
    if keep < 1:
        raise ValueError("at least one version is kept")
    present = versions.versions(directory)
    named = {pointer: versions.read_pointer(directory, pointer) for pointer in versions.POINTERS}
    stack = model_log.productions(model_log.read(directory).changes, named["production"])
    spared = {*present[-keep:], *named.values(), *stack[-2:]}
    return tuple(number for number in present if number not in spared)


def prune(directory: Path, keep: int, why: str = "") -> tuple[int, ...]:
    """Remove what is superfluous and return it; each removal is logged.

    Args:
        directory: the coupling's.
        keep: how many of the newest.
        why: for the log.

    Raises:
        ModelError: as `superfluous`.
        OutputError: the file system refused; what is named in the log is gone.
    """
    if not directory.is_dir():
        return ()
    with coupling_directory.changing(directory):
        # Judged again under the lock: somebody may have promoted one since it was shown.
        gone = superfluous(directory, keep)
        for number in gone:
            coupling_directory.vanish(directory, number)
            model_log.append(directory, model_log.now("prune", number, None, why))
    return gone
