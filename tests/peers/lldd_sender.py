"""Run by the peers' Python: what the LIGO distribution's `kafka2frame` takes frames from.

A Kafka broker that lives in this process (the client library brings one, for tests) and the
distribution's own cutting of frames into messages. Says the broker's address, then takes lines
of topic, GPS second and a file with the bytes, and answers each once it is sent.
"""

import sys
from pathlib import Path

from confluent_kafka import Producer
from igwn_lldd_common.messageparser import MessageFunnelProducer

PIECE = 10_000  # bytes: so that frames go in several pieces

producer = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1})
(broker,) = producer.list_topics(timeout=30).brokers.values()
print(f"{broker.host}:{broker.port}", flush=True)
funnels: dict[str, MessageFunnelProducer] = {}
for line in sys.stdin:
    topic, second, content = line.split(maxsplit=2)
    funnel = funnels.setdefault(topic, MessageFunnelProducer())
    for piece in funnel.create_payloads(Path(content.strip()).read_bytes(), int(second), PIECE):
        producer.produce(topic, piece, partition=0)
    producer.flush()
    print("sent", flush=True)
