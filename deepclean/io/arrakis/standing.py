"""What an Arrakis server says of a publisher before it publishes; the client is imported here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from arrakis import Client, Publisher

from deepclean.io.arrakis.members import private_member
from deepclean.io.arrakis.strides import PublishedChannel

_ANSWER = 5.0
"""Seconds that the broker is given to answer."""


@dataclass(frozen=True, slots=True)
class PublisherStanding:
    """What a server has of a publisher.

    Args:
        stride: nanoseconds of a block; None: it has no channels yet, and the server does not say.
        channels: those that are registered, by full name.
        others: the wanted channels that are another publisher's, and whose.
    """

    stride: int | None
    channels: Mapping[str, PublishedChannel]
    others: Mapping[str, str]


def publisher_standing(
    server: str,
    publisher_id: str,
    wanted: Mapping[str, PublishedChannel],
    *,
    token: Literal["auto", "none"] = "auto",
) -> PublisherStanding:
    """Return what a server has of a publisher. Nothing is registered, and nothing is published.

    Args:
        server: its address, as the client takes it.
        publisher_id: the identifier that the server knows the publisher by.
        wanted: the channels to be published.
        token: as PublishingSession.

    Raises:
        ConfigError: the client is of a version that cannot be asked.
        Exception: what the client raises where the server or the broker does not answer, does not
            know the publisher, or does not let it publish or bring these channels.
    """
    given = None if token == "auto" else False
    publisher = Publisher(publisher_id, server, token=given)
    with suppress(ValueError):  # there are no channels yet
        publisher.register()  # which registers none: it asks for those that there are
    there = {
        one.name: PublishedChannel(int(one.sample_rate), str(one.data_type))
        for one in publisher.channels.values()
    }
    if any(there.get(name) != channel for name, channel in wanted.items()):
        # To register no channel changes nothing; it is refused where some would be.
        list(private_member(publisher, "_partition_channels")([]))
    names = "|".join(map(re.escape, wanted))
    found = Client(server, token=given).find(f"^({names})$")
    others = {one.name: str(one.publisher) for one in found if one.publisher != publisher_id}
    publisher.enter()
    try:
        private_member(publisher, "_producer").list_topics(timeout=_ANSWER)
    finally:
        publisher.close()
    return PublisherStanding(publisher.stride, there, others)
