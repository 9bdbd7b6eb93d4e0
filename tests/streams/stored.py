"""What a broker holds, read with the library of Kafka alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from arrakis import Client
from arrakis.constants import topic_name
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from numpy.typing import NDArray

from tests.streams.rig import Site


def stored(running: Site, channel: str) -> list[tuple[int, NDArray[Any]]]:
    """Return the blocks of a channel, time and samples, in the order in which the broker has them.

    A sample that is masked is not a number, or 0.
    """
    (found,) = Client(running.url, token=False).find(f"^{channel}$")
    topic = topic_name(found.partition_id, None)
    consumer = Consumer({"bootstrap.servers": running.kafka.address, "group.id": "tests"})
    try:
        partition = TopicPartition(topic, 0, OFFSET_BEGINNING)
        _, end = consumer.get_watermark_offsets(partition, timeout=10)
        consumer.assign([partition])
        blocks = []
        for _ in range(end):
            message = consumer.poll(10)
            assert message is not None
            assert message.error() is None
            rows = pa.ipc.open_stream(message.value()).read_all().to_pylist()
            blocks += [
                (row["time"], np.array([one or 0 for one in row["data"]], found.data_type))
                for row in rows
                if row["id"] == found.partition_index
            ]
    finally:
        consumer.close()
    return blocks
