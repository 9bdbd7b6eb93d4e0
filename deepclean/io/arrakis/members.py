"""What is used of the Arrakis client beside its public interface; what is said where it is gone.

The client has no public way to its producer, to the server's answer whether channels may be
registered, and to the end of a stream from another thread.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from deepclean.errors import ConfigError

_WRITTEN_FOR = "0.21"


def private_member(owner: object, name: str) -> Any:
    """Return a member of one of the client's objects that is not public.

    Raises:
        ConfigError: this version of the client does not have it.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        raise ConfigError(absent(f"{type(owner).__name__}.{name}")) from None


def absent(member: str) -> str:
    """Return the message that this version of the client has no such member."""
    return (
        f"the Arrakis client {version('arrakis')} has no {member}, which is needed here; "
        f"install version {_WRITTEN_FOR} of arrakis"
    )
