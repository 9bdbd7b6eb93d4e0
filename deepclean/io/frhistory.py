"""The history records of a frame file: the programs and the data that it was made with.

The library that reads the frames does not return them. The layout is that of LIGO-T970130 (version
8 of the format): after a header of 40 bytes every structure begins with its length, and an FrSH
structure gives the class number of the structures of a name.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from deepclean.errors import InputError

_HEADER = 40
_COMMON = struct.Struct("<QBBI")  # length, kind of checksum, class, instance
_FRSH = 1


def history(path: Path) -> dict[str, str]:
    """Return the history records of a frame file, by name.

    Raises:
        InputError: not a readable frame file of version 8, as little-endian machines write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    try:
        if os.pread(descriptor, 6, 0) != b"IGWD\0\x08":
            raise InputError("not a frame file of version 8", path=path)
        return _records(descriptor)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise InputError(f"damaged: {error}", path=path) from error
    finally:
        os.close(descriptor)


def _records(descriptor: int) -> dict[str, str]:
    """Return the records. Of other structures only the heads are read."""
    records: dict[str, str] = {}
    names: dict[int, str] = {}
    last: str | None = None
    position, size = _HEADER, os.fstat(descriptor).st_size
    while position + _COMMON.size <= size:
        length, _, number, _ = _COMMON.unpack(os.pread(descriptor, _COMMON.size, position))
        if length < _COMMON.size or position + length > size:
            raise IndexError(f"a structure of {length} bytes at {position}")
        if number == _FRSH or names.get(number) == "FrHistory":
            content = os.pread(descriptor, length, position)
            name, after = _string(content, _COMMON.size)
            if number == _FRSH:
                names[struct.unpack_from("<H", content, after)[0]] = name
            else:
                records[name], _ = _string(content, after + 4)  # between them stands the time
        position += length
        last = names.get(number)
    if last != "FrEndOfFile":
        raise IndexError("it is cut off")
    return records


def _string(content: bytes, position: int) -> tuple[str, int]:
    """Return a string and the position after it; its length counts the zero at its end."""
    (length,) = struct.unpack_from("<H", content, position)
    begin, end = position + 2, position + 2 + length
    if end > len(content):
        raise IndexError("a string beyond the end")
    return content[begin : max(end - 1, begin)].decode(), end
