"""The cache of what was fetched: files of this machine, by address and content.

It lies in `DEEPCLEAN_CACHE`, by default `~/.cache/deepclean`. A file is fetched under a hidden
name, verified and renamed, so that what is there is whole. Where the files together exceed
`DEEPCLEAN_CACHE_GB` (20), those go first that were used longest ago.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from deepclean.errors import ConfigError, output_errors
from deepclean.remote.storage import RemoteObject, Storage

_GB = 10**9
_DEFAULT_GB = 20.0

_IN_USE = 300.0
"""Seconds for which a file that was just asked for is not removed: it is being read."""


def root() -> Path:
    """Return the directory of the cache."""
    named = os.environ.get("DEEPCLEAN_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepclean"


def place_of(address: str, kind: str) -> Path:
    """Return the directory of the cache that belongs to an address, for one kind of content."""
    return root() / kind / hashlib.sha256(address.encode()).hexdigest()[:16]


def fetched(wanted: RemoteObject) -> Path:
    """Return the file of an object, which is fetched unless it is there.

    Raises:
        InputError, UnavailableError: as Storage.read.
        OutputError: the cache cannot be written.
        ConfigError: DEEPCLEAN_CACHE_GB is no number.
    """
    content = f"{wanted.address} {wanted.size} {wanted.tag}"
    path = place_of(content, "data") / wanted.name
    with output_errors(path, "the cache cannot be written"):
        if path.exists() and path.stat().st_size == wanted.size:
            os.utime(path)
            return path
        data = Storage(wanted.address).read()
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of this process alone: several may fetch the same object.
        hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        hidden.write_bytes(data)
        hidden.replace(path)
        _shrink(path)
    return path


def _shrink(newest: Path) -> None:
    """Remove the files that were used longest ago, until the rest has room; never the newest."""
    limit = _limit()
    files = [(p.stat(), p) for p in (root() / "data").glob("*/*") if p.is_file() and p != newest]
    size = sum(status.st_size for status, _ in files) + newest.stat().st_size
    recent = time.time() - _IN_USE
    for status, path in sorted(files, key=lambda each: each[0].st_mtime):
        if size <= limit or status.st_mtime > recent:
            return
        path.unlink(missing_ok=True)
        size -= status.st_size


def _limit() -> float:
    text = os.environ.get("DEEPCLEAN_CACHE_GB", "")
    try:
        return float(text or _DEFAULT_GB) * _GB
    except ValueError as error:
        raise ConfigError(f"DEEPCLEAN_CACHE_GB={text}: must be a number of gigabytes") from error
