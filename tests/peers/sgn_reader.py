"""Run by the peers' Python: read frame files through a pipeline of the SGN framework.

Arguments: `watch` or `files`, the directory, start and end (GPS seconds), channels. `watch` follows
the directory as files appear; `files` takes those that are there. Says a line of JSON for each
buffer that arrives at the pipeline's end: its channel, start (GPS nanoseconds) and rate, and
unless it is a gap its type and its samples in base64.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from sgn.apps import Pipeline
from sgn.sinks import CollectSink
from sgn_gwframe import GWFrameSource, GWFrameWatchSource

NEXT_FILE = 30.0  # seconds without a file after which the stream counts as broken


def tell(channel: str, buffer: Any) -> None:
    said = {"channel": channel, "start": buffer.start_ns, "rate": buffer.sample_rate}
    if not buffer.is_gap:
        said["type"] = str(buffer.data.dtype)
        said["samples"] = base64.b64encode(buffer.data.tobytes()).decode()
    print(json.dumps(said), flush=True)


class Teller(list[Any]):
    """What a sink's pad collects: told at once, not kept."""

    channel = ""

    def append(self, buffers: Any) -> None:
        for buffer in buffers:
            if buffer.shape[0]:
                tell(self.channel, buffer)


kind, directory, start, end, *channels = sys.argv[1:]
span = {"start": int(start), "end": int(end)}
if kind == "watch":
    source = GWFrameWatchSource(
        name="source", channels=channels, watch_dir=directory, queue_timeout=NEXT_FILE, **span
    )
else:
    files = sorted(map(str, Path(directory).glob("*.gwf")))
    source = GWFrameSource(name="source", channels=channels, frames=files, **span)
sink = CollectSink(
    name="sink", sink_pad_names=channels, collection_factory=Teller, skip_empty=False
)
for channel, told in sink.collects.items():
    told.channel = channel
pipeline = Pipeline()
pipeline.insert(
    source, sink, link_map={sink.snks[channel]: source.srcs[channel] for channel in channels}
)
pipeline.run()
