"""The daemon's step in real time over blocks shorter than a second, as a process of its own.

Frame files are named by whole seconds (LIGO-T050017), so the daemon can neither tail shorter ones
nor write them. What is run here is all the rest of it: at each block's time its strain file and its
witness file are read, checksums verified, the block goes through engine, gate and rendering, and
every cleaned block is written to a file and renamed. A block's latency is from the moment at which
it was due to the return of the cleaned block's rename.

    python -m benchmarks.blocks DIR --frame 1/16 --seconds 60 --set engine.hop=0.0625

prints the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import torch

from benchmarks.report import spread
from benchmarks.site import START, Made, make, site_of
from deepclean.config import Config
from deepclean.core.block import Block, Series
from deepclean.core.channels import state_vector
from deepclean.core.frame import InputFrame
from deepclean.core.products import State
from deepclean.core.time import NS, Span, format_gps
from deepclean.factory import make_engine
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.sink import FrameSink
from deepclean.models.load import Model
from deepclean.models.loading import load_models
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.simulate import Simulator

SETTLE = 32
"""Blocks in real time that are not measured: first calls."""


@dataclass(slots=True)
class BlockSink(FrameSink):
    """Writes blocks of any length, under names with the nanoseconds that file names lack."""

    seen: dict[int, tuple[float, bool]] = field(default_factory=dict)
    """By the block's start: when its cleaned file had its name, and whether it is fully cleaned."""

    def write(self, span: Span, channels: Mapping[str, Series]) -> Path:
        """Write one block.

        Raises:
            OutputError: it did not appear.
        """
        outputs = {
            name: OutputChannel(series, self.units.get(name, ""))
            for name, series in channels.items()
        }
        path = self.directory / f"{span.start}-{span.duration}.block"
        data = gwf.serialise(span, outputs, history=self.history, compression=self.compression)
        gwf.publish(path, data, fsync=self.fsync)
        moment = time.monotonic()
        state = channels[state_vector(self.interferometer)].samples
        wanted = State.CLEANED | State.SETTLED
        self.seen[span.start] = moment, bool((state & wanted == wanted).all())
        path.with_name(f"{span.start - 600 * NS}-{span.duration}.block").unlink(missing_ok=True)
        return path


def block_sink(
    config: Config, loaded: Mapping[str, Model], directory: Path | None = None, *, named: bool
) -> FrameSink:
    """Return the sink of a configuration, which keeps 300 files.

    Args:
        config: says what is written, and how.
        loaded: the models in force.
        directory: where to; None: the configuration's own.
        named: whether blocks are whole seconds, and files have their proper names.
    """
    plain = replace(sink_of(config, loaded, directory), keep_count=300)
    if named:
        return plain
    return BlockSink(
        plain.directory,
        plain.interferometer,
        plain.description,
        history=plain.history,
        units=plain.units,
        compression=plain.compression,
        fsync=plain.fsync,
    )


def main() -> None:
    """Stream; print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("place", type=Path)
    parser.add_argument("--frame", type=Fraction, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    made = make(options.place, options.set)
    torch.set_num_threads(made.config.runtime.threads)
    print(json.dumps(measure(made, round(options.frame * NS), options.seconds)))


def measure(made: Made, length: int, seconds: float) -> dict[str, object]:
    """Return the figures of blocks of `length` nanoseconds, over some seconds of them."""
    config, loaded = made.config, load_models(made.config)
    engine, sink = make_engine(config, loaded), block_sink(config, loaded, named=False)
    assert isinstance(sink, BlockSink)
    cleaning = FrameCleaner(config, engine, sink)
    history = -(-(engine.history + engine.settings.hop) // NS) + 1
    wanted = SETTLE + math.ceil(seconds * NS / length) + -(-engine.lookahead // length) + 1
    begin = (START + history) * NS
    end = -(-(begin + wanted * length) // NS) * NS
    blocks = list(_stored(made, Span(begin, end), length))[:wanted]
    for second in range(START, START + history):
        span = Span.of_seconds(second, 1)
        cleaning.push(InputFrame(span, [_simulated(made, span)], wanted=False))
    began, due, sizes, used = time.monotonic() + 0.5, {}, [], time.process_time()
    for number, (span, strain, witnesses) in enumerate(blocks):
        due[span.start] = began + number * length / NS
        time.sleep(max(due[span.start] - time.monotonic(), 0))
        cleaning.push(InputFrame(span, [_read(made, span, strain, witnesses)]))
        if number % (60 * NS // length) == SETTLE:
            sizes.append(_resident())
    sizes.append(_resident())
    lasted, used = time.monotonic() - began, time.process_time() - used
    measured = [span.start for span, _, _ in blocks[SETTLE:]][: math.ceil(seconds * NS / length)]
    found = [(due[start], *sink.seen[start]) for start in measured if start in sink.seen]
    return {
        "latency_ms": {
            **spread([1e3 * (moment - then) for then, moment, _ in found]),
            "frames": len(measured),
            "missing": len(measured) - len(found),
            "not_cleaned": sum(not cleaned for _, _, cleaned in found),
        },
        "lookahead_ms": engine.lookahead / 1e6,
        "resident_mb": {
            "start": sizes[0],
            "minute": sizes[1],
            "end": sizes[-1],
            "most": max(sizes),
        },
        "cpu_ms_per_s": 1e3 * used / lasted,
    }


def _stored(made: Made, span: Span, length: int) -> Iterator[tuple[Span, Path, Path]]:
    """Write the files of a span, made second by second; yield each block's two."""
    config, simulator = made.config, Simulator(site_of(made.config))
    state = str(config.strain.state_vector)
    names = [config.strain.channel, state, *config.witness_channels]
    for second in range(span.start, span.end, NS):
        read = simulator.read(names, Span(second, second + NS))
        for start in range(second, second + NS, length):
            block = Span(start, start + length)
            cut = {name: OutputChannel(series.cut(block)) for name, series in read.items()}
            strain = {name: cut.pop(name) for name in (config.strain.channel, state)}
            paths = []
            for kind, channels in (("strain", strain), ("witnesses", cut)):
                path = made.place / "store" / kind / f"{format_gps(start)}.gwf"
                path.write_bytes(gwf.serialise(block, channels))
                paths.append(path)
            yield block, paths[0], paths[1]


def _simulated(made: Made, span: Span) -> Block:
    config = made.config
    names = [config.strain.channel, *config.witness_channels]
    read = dict(Simulator(site_of(config)).read(names, span))
    return Block(span, read.pop(config.strain.channel), read)


def _read(made: Made, span: Span, strain: Path, witnesses: Path) -> Block:
    """Read a block's files as the live source does."""
    config, checksum = made.config, made.config.input.checksum
    state = str(config.strain.state_vector)
    of_strain = gwf.read(strain, [config.strain.channel, state], span, checksum=checksum)
    others = gwf.read(witnesses, config.witness_channels, span, checksum=checksum)
    return Block(span, of_strain[config.strain.channel], others, of_strain[state])


def _resident() -> float:
    from benchmarks.engine import resident_mb

    return resident_mb()


if __name__ == "__main__":
    main()
