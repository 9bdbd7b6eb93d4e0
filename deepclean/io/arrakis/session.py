"""A connection of the Arrakis client over which blocks are published; only here is it imported."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Literal

import pyarrow as pa
from arrakis import Channel, Publisher, SeriesBlock
from arrakis.constants import topic_name

from deepclean.core.time import NS, format_gps
from deepclean.errors import OutputError
from deepclean.io.arrakis.confirmed import Confirmed
from deepclean.io.arrakis.members import private_member
from deepclean.io.arrakis.producer import FirstPartitionProducer
from deepclean.io.arrakis.strides import PublishedBlock, PublishedChannel


class PublishingSession:
    """Publishes blocks while it lives. What fails is not repaired: a new session is.

    Args:
        server: address of the server, as the client takes it.
        publisher_id: the identifier that the server knows the publisher by.
        stride: nanoseconds of a block.
        channels: all that are to be published. They are registered where the server does not have
            them.
        confirmed: what the broker confirmed so far, to this session and to those before it.

    Raises:
        OutputError: the server has another stride for this publisher.
        ConfigError: the client is of a version that keeps its producer elsewhere.
        Exception: what the client raises where the server or the broker cannot be reached, or does
            not let this publisher publish these channels.
    """

    def __init__(
        self,
        server: str,
        publisher_id: str,
        stride: int,
        channels: Mapping[str, PublishedChannel],
        confirmed: Confirmed,
        *,
        token: Literal["auto", "none"] = "auto",
    ) -> None:
        self._channels = {
            name: Channel(name, data_type=one.kind, sample_rate=one.rate)
            for name, one in channels.items()
        }
        publisher = Publisher(publisher_id, server, token=None if token == "auto" else False)
        self._publisher = publisher.register(self._channels.values())
        if self._publisher.stride != stride:
            there = self._publisher.stride
            said = "none" if there is None else format_gps(there)
            raise OutputError(
                f"the server's stride for publisher {publisher_id} is {said} s, not "
                f"{stride / NS} s (output.arrakis.stride)"
            )
        self._publisher.enter()
        self._confirmed = confirmed
        self._messages = 0
        """Messages of a block: one for each of the publisher's partitions."""
        made = private_member(self._publisher, "_producer")
        self._producer = self._publisher._producer = FirstPartitionProducer(made, confirmed)

    def send(self, block: PublishedBlock) -> None:
        """Hand a block over; the broker has it when it is confirmed, after those before it.

        Args:
            block: later than those before it.

        Raises:
            Exception: what the client raises where the block is not taken.
        """
        channels = {name: self._channels[name] for name in block.data}
        series = SeriesBlock(block.start, dict(block.data), channels)
        before = self._producer.produced
        with suppress(TimeoutError):  # says only that it is not confirmed yet
            self._publisher.publish(series, timeout=timedelta(0))
        self._messages = self._producer.produced - before

    def confirm(self, timeout: float) -> None:
        """Wait until the broker has all blocks that were handed over.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: it did not confirm all in time. It may have them, now or later.
            OutputError: a part of a block was not delivered.
        """
        self._producer.confirm(timeout)

    def unconfirmed(self) -> int:
        """Return how many of the blocks that were handed over are not confirmed yet.

        Raises:
            OutputError: as confirm.
        """
        return -(-self._producer.unconfirmed() // max(self._messages, 1))

    def is_stuck(self) -> bool:
        """Return whether waiting on is in vain: the broker answers, and does not confirm."""
        return self._producer.is_stuck()

    def pop_forgotten(self) -> int:
        """Return how many confirmed blocks the broker is found to have lost since the last call."""
        return self._confirmed.pop_forgotten()

    def last_times(self) -> dict[str, int]:
        """Return by channel the start of the last block that the broker has, where it has one.

        Raises:
            KafkaException: the broker cannot be asked.
        """
        known = self._publisher.channels
        topics = {name: topic_name(known[name].partition_id) for name in self._channels}
        last = self._producer.last_messages(set(topics.values()))
        times = {
            topic: int(pa.ipc.open_stream(message).read_all()["time"][-1].as_py())
            for topic, message in last.items()
        }
        return {name: times[topic] for name, topic in topics.items() if topic in times}

    def close(self) -> None:
        """End the session after its last block was confirmed."""
        self._publisher.close()
