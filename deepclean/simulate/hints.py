"""What a person may have meant by a name that is not there."""

from __future__ import annotations

from collections.abc import Collection

from deepclean.errors import nearest

_FEW = 8


def hint(name: str, valid: Collection[str]) -> str:
    """Return `; did you mean ...?`, or the valid names where none is near and they are few."""
    meant = nearest(name, valid)
    if meant:
        return f"; did you mean {meant}?"
    return f"; there are {', '.join(valid)}" if 0 < len(valid) <= _FEW else ""
