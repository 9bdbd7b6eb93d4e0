"""Addresses of remote storage, such as `s3://bucket/H1/frames`, where a path may stand too."""

from __future__ import annotations

import re
from pathlib import Path

_ADDRESS = re.compile(r"([a-z][a-z0-9]+):/+([^/].*)")

LOCAL = frozenset({"file", "local"})
"""Protocols of this machine's own files. These are paths, not addresses."""


def address_of(place: Path | str) -> str | None:
    """Return the address that a path stands for; None for a path of this machine.

    An option that takes paths gives an address as a path too, and pathlib makes one slash of two.

    >>> address_of(Path("s3://frames/H1")), address_of("data/H1"), address_of("file:///data")
    ('s3://frames/H1', None, None)
    """
    found = _ADDRESS.fullmatch(str(place))
    if found is None or found[1] in LOCAL:
        return None
    return f"{found[1]}://{found[2].rstrip('/')}"


def absolute(path: Path) -> Path:
    """Return an absolute path; an address stays as it is."""
    return path if address_of(path) is not None else path.absolute()
