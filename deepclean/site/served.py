"""The channels of an Arrakis server, as the streams of files are found at a site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deepclean.core.time import NS
from deepclean.errors import DeepCleanError, UnavailableError
from deepclean.io.arrakis.feed import connected
from deepclean.io.arrakis.messages import message_of
from deepclean.io.arrakis.store import StreamedChannel
from deepclean.site.streams import Stream

SHORTEST = NS // 16
"""Nanoseconds of the shortest block that is cleaned."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ServedStream(Stream):
    """What a server has.

    Args:
        server: its address.
        strides: nanoseconds of a block, by channel.
    """

    server: str
    strides: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The address."""
        return self.server

    def stride(self, channels: Iterable[str]) -> int:
        """Return nanoseconds of a block that is one or more of each of these channels' blocks."""
        return max([SHORTEST, *(self.strides.get(name, 0) for name in channels)])


def find_served(server: str, interferometer: str | None = None) -> ServedStream:
    """Return the channels of a server that can be cleaned in blocks, or can be witnesses.

    A channel whose blocks do not hold whole samples, as one slower than 16 Hz in blocks of 1/16 s,
    is left out.

    Args:
        server: its address, as the client takes it.
        interferometer: only its channels; None: all.

    Raises:
        ConfigError: the client is not installed, the address is none, or the server refuses.
        UnavailableError: the server does not answer.
    """
    try:
        found = connected(server, "auto").listing(interferometer)
    except DeepCleanError:
        raise
    except Exception as error:  # whatever the client raises
        raise UnavailableError(f"{server}: {message_of(error)[:200]}") from error
    usable = {name: one for name, one in found.items() if _is_whole(one)}
    return ServedStream(
        directory=Path(),
        places=(),
        description=None,
        suffix="",
        files=0,
        spans=(),
        rates={name: int(one.rate) for name, one in usable.items()},
        server=server,
        strides={name: one.stride for name, one in usable.items()},
    )


def _is_whole(one: StreamedChannel) -> bool:
    """Return whether a channel has whole samples in each of its blocks, and in 1/16 s."""
    length = one.stride or SHORTEST
    return one.rate.is_integer() and not int(one.rate) * min(length, SHORTEST) % NS
