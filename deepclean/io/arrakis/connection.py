"""What the publisher asks of a connection to a server, and how one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from deepclean.config.frames import ArrakisOutputConfig
from deepclean.errors import ConfigError, one_line
from deepclean.io.arrakis.confirmed import Confirmed
from deepclean.io.arrakis.strides import PublishedBlock, PublishedChannel


class PublishSession(Protocol):
    """A connection; io.arrakis.session has the real one."""

    def send(self, block: PublishedBlock) -> None:
        """Hand a block over."""
        ...

    def confirm(self, timeout: float) -> None:
        """Wait until all blocks are confirmed. Raises TimeoutError where they are not in time."""
        ...

    def unconfirmed(self) -> int:
        """Return how many blocks are not confirmed yet."""
        ...

    def is_stuck(self) -> bool:
        """Return whether waiting on is in vain."""
        ...

    def pop_forgotten(self) -> int:
        """Return how many confirmed blocks are found to be lost since the last call."""
        ...

    def last_times(self) -> Mapping[str, int]:
        """Return by channel the start of the last block that the broker has, where it has one."""
        ...

    def close(self) -> None:
        """End the session."""
        ...


Connect = Callable[[Mapping[str, PublishedChannel]], PublishSession]
"""Registers channels and gives a session. Raises whatever the client raises."""


def connect_to(server: str, settings: ArrakisOutputConfig) -> Connect:
    """Return what makes sessions with a server.

    Raises:
        ConfigError: the client is not installed.
    """
    try:
        from deepclean.io.arrakis.session import PublishingSession
    except ImportError as error:
        raise ConfigError(
            f"output.arrakis.server: the Arrakis client cannot be imported ({one_line(error)}); "
            "install deepclean-production[arrakis]"
        ) from error
    named = server, settings.publisher, settings.stride
    confirmed = Confirmed()

    def connect(channels: Mapping[str, PublishedChannel]) -> PublishSession:
        return PublishingSession(*named, channels, confirmed, token=settings.token)

    return connect
