"""A place in remote storage: listed, read and written whole, object by object.

fsspec knows the protocols. Object stores (`s3`, `gs`, `az`) are reached through obstore, which
takes keys, region and endpoint from the environment, as AWS's own tools do (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT_URL`, ...). An object appears whole or not at all: that is what object stores promise,
and what a reader of frames needs.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import Any

from deepclean.errors import ConfigError, InputError, UnavailableError, one_line

_OBJECT_STORES = frozenset({"s3", "gs", "az"})

_NEVER = frozenset(
    (
        *("FileNotFoundError", "NotFoundError", "PermissionError", "PermissionDeniedError"),
        *("UnauthenticatedError", "InvalidPathError", "NotADirectoryError", "IsADirectoryError"),
        *("UnknownConfigurationKeyError", "NotSupportedError", "NoCredentialsError"),
    )
)
"""Names of the libraries' errors that will not pass: no such place, or no right to it. All others
are the network's or the server's, which may be another time."""

_REFUSED = re.compile(r"status code: (400|401|403|404|405)\b")
"""What an object store answers to a wrong request, in errors that have no name of their own."""

_OPTIONS: Mapping[str, Any] = {
    "client_options": {"connect_timeout": "5s", "timeout": "60s"},
    "retry_config": {"max_retries": 6, "retry_timeout": timedelta(seconds=30)},
}
"""A server that is away is given up after half a minute; whoever asked says what to do then."""


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object as a listing has it.

    Args:
        address: of the object.
        size: bytes.
        tag: the storage's own mark of the content; empty where it gives none.
    """

    address: str
    size: int
    tag: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.rpartition("/")[2]

    def check(self, data: bytes) -> None:
        """Raise UnavailableError unless bytes are the object's, as far as the listing tells.

        The tag of an object that was put in one piece is the MD5 of its bytes.
        """
        if len(data) != self.size:
            raise UnavailableError(f"{self.address}: {len(data)} bytes came of {self.size}")
        if _is_md5(self.tag):
            digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if digest != self.tag:
                raise UnavailableError(f"{self.address}: other bytes came than are stored")


class Storage:
    """A directory at an address, or one object.

    Args:
        address: `s3://bucket/H1/frames`.

    Raises:
        ConfigError: no installed package knows the protocol.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._protocol = address.partition("://")[0]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return _open(self.address)

    def objects(self) -> list[RemoteObject]:
        """Return all objects below the address, sorted; the object itself where it is one.

        Raises:
            InputError: there is no such bucket, or no right to it.
            UnavailableError: the storage cannot be reached just now.
        """
        system, root = self._opened
        with _errors(self.address, "cannot be listed"):
            found = system.find(root, detail=True)
        return [self._object(path, facts) for path, facts in sorted(found.items())]

    def read(self, name: str = "") -> bytes:
        """Return the bytes of an object, verified against what the storage says of it.

        Args:
            name: relative to the address; empty for the object at the address itself.

        Raises:
            InputError: there is no such object, or no right to it.
            UnavailableError: the storage cannot be reached just now, or the transfer was cut.
        """
        system, path = self._opened[0], self._path(name)
        with _errors(self._shown(name), "cannot be read"):
            expected = self._object(path, system.info(path))
            data = bytes(system.cat_file(path))
        expected.check(data)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Put an object whole, replacing one of the name, and verify what arrived.

        Raises:
            InputError: there is no such bucket, or no right to write in it.
            UnavailableError: the storage cannot be reached just now, or holds other bytes now.
        """
        system, path = self._opened[0], self._path(name)
        with _errors(self._shown(name), "cannot be written"):
            system.pipe_file(path, data)
            arrived = self._object(path, system.info(path))
        arrived.check(data)

    def remove(self, name: str) -> None:
        """Remove an object, if there is one.

        Raises:
            InputError, UnavailableError: as `write`.
        """
        system, path = self._opened[0], self._path(name)
        with _errors(self._shown(name), "cannot be removed"):
            try:
                system.rm_file(path)
            except FileNotFoundError:
                return

    def _path(self, name: str) -> str:
        return f"{self._opened[1]}/{name}" if name else self._opened[1]

    def _shown(self, name: str) -> str:
        return f"{self.address}/{name}" if name else self.address

    def _object(self, path: str, facts: Mapping[str, Any]) -> RemoteObject:
        tag = str(facts.get("e_tag") or facts.get("ETag") or facts.get("mtime") or "").strip('"')
        root = self._opened[1]
        return RemoteObject(self.address + path.removeprefix(root), int(facts["size"]), tag)


def _is_md5(tag: str) -> bool:
    return len(tag) == 32 and all(sign in "0123456789abcdef" for sign in tag)


@lru_cache(64)
def _open(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    from fsspec.core import url_to_fs

    protocol = address.partition("://")[0]
    try:
        system, root = url_to_fs(address, **_object_store(protocol))
    except (ImportError, ValueError) as error:
        extra = ": install it with the extra s3" if protocol in _OBJECT_STORES else ""
        raise ConfigError(f"{address}: no package for {protocol}://{extra}") from error
    return system, root.rstrip("/")


def _object_store(protocol: str) -> Mapping[str, Any]:
    """Let fsspec reach object stores through obstore, if that is installed; return its options."""
    if protocol not in _OBJECT_STORES:
        return {}
    try:
        from obstore.fsspec import register
    except ImportError:
        return {}  # another package may know the protocol
    register(protocol)
    options = dict(_OPTIONS)
    if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["client_options"] = {**options["client_options"], "allow_http": True}
    return options


@contextmanager
def _errors(address: str, what: str) -> Iterator[None]:
    """Turn what a library raises into one of the two families of faults."""
    try:
        yield
    except (InputError, UnavailableError, ConfigError):
        raise
    except Exception as error:  # whatever it is built on, it has its own errors
        said = f"{address}: {what}: {one_line(error)[:300]}"
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & _NEVER or _REFUSED.search(said):
            raise InputError(said) from error
        raise UnavailableError(said) from error
