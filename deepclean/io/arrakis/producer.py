"""Kafka's producer as the Arrakis client has it, made safe for a broker that forgets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from deepclean.errors import OutputError
from deepclean.io.arrakis.confirmed import Confirmed

_ANSWERS = 5
"""Answers of a broker, after as many waits, that still has not confirmed a message."""

_PROBE = 0.2
"""Seconds at most for an answer."""

_UNKNOWN = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
)
"""The errors for a topic that is not there."""

_READ = 5.0
"""Seconds at most to read a message."""


class FirstPartitionProducer:
    """A producer that hands every message to the first partition of its topic.

    Readers of Arrakis read the first partition and no other, and the server makes topics of one.
    But a topic that the broker has lost is made anew by the next message. It then has as many
    partitions as the broker makes by default, and a producer left to itself spreads the messages
    over all of them: confirmed, and read by nobody.

    Args:
        producer: the client's own.
        confirmed: is told the offset of every message that was confirmed.
    """

    def __init__(self, producer: Producer, confirmed: Confirmed) -> None:
        self._producer = producer
        self._confirmed = confirmed
        self._failed: list[KafkaError] = []
        self._pending = 0
        self.produced = 0
        """Number of messages so far."""
        self._topic = ""
        self._answers = 0

    def produce(
        self,
        topic: str,
        value: bytes,
        on_delivery: Callable[[KafkaError | None, Message], object],
        **more: Any,
    ) -> None:
        """Queue a message for the first partition of a topic."""

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            self._pending -= 1
            if error is not None:
                self._failed.append(error)
            elif offset is not None and offset >= 0:
                self._confirmed.push(topic, offset)
            on_delivery(error, message)

        self._topic, self._answers = topic, 0
        given = more | {"topic": topic, "value": value, "partition": 0, "on_delivery": delivered}
        self._producer.produce(**given)
        self._pending += 1
        self.produced += 1

    def __getattr__(self, name: str) -> Any:
        """Return what the client calls of Kafka's producer beside `produce`, as that has it."""
        return getattr(self._producer, name)

    def last_messages(self, topics: Collection[str]) -> dict[str, bytes]:
        """Return the last message of each topic that has any.

        Raises:
            KafkaException: the broker does not answer, or not to a reader without credentials.
        """
        brokers = self._producer.list_topics(next(iter(topics)), timeout=_READ).brokers.values()
        addresses = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        consumer = Consumer({"bootstrap.servers": addresses, "group.id": "deepclean"})
        try:
            return {
                topic: last
                for topic in topics
                if (last := _last_message(consumer, topic)) is not None
            }
        finally:
            consumer.close()

    def is_stuck(self) -> bool:
        """Return whether the broker answers, and yet does not confirm the messages produced last.

        A broker that has lost what it knew of its producers refuses this one's messages, however
        often they are sent again. One that does not answer may confirm them when it is back.
        """
        return self._answers >= _ANSWERS

    def unconfirmed(self) -> int:
        """Return how many messages are not confirmed yet.

        Raises:
            OutputError: one was not delivered.
        """
        self._producer.poll(0)
        self._raise_failed()
        return self._pending

    def _raise_failed(self) -> None:
        if self._failed:
            raise OutputError(f"{len(self._failed)} messages not delivered: {self._failed[0]}")

    def confirm(self, timeout: float) -> None:
        """Wait until all messages are confirmed.

        Raises:
            TimeoutError: they are not, within these seconds.
            OutputError: one was not delivered.
        """
        before = self._pending
        pending = self._producer.flush(timeout)
        self._raise_failed()
        if pending:
            if self._pending < before:  # it is slow, not stuck
                self._answers = 0
            with suppress(KafkaException):
                self._producer.list_topics(self._topic, timeout=min(timeout, _PROBE))
                self._answers += 1
            raise TimeoutError(f"{pending} messages not confirmed")


def _last_message(consumer: Consumer, topic: str) -> bytes | None:
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=_READ)
    except KafkaException as error:
        if error.args[0].code() in _UNKNOWN:
            return None
        raise
    if end <= 0:
        return None
    consumer.assign([TopicPartition(topic, 0, end - 1)])
    message = consumer.poll(_READ)
    if message is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    if message.error() is not None:
        raise KafkaException(message.error())
    return bytes(message.value())
