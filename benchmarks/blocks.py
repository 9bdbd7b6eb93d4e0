"""The daemon's step in real time over blocks shorter than a second, as a process of its own.

Frame files are named by whole seconds (LIGO-T050017), so the daemon can neither tail shorter ones
nor write them. All the rest of its work is done here: at each block's time its strain file and its
witness file are read, checksums verified, the block goes through engine, gate and rendering, and
every cleaned block is written to a file and renamed. A block's latency is from the moment at which
it was due to the return of the cleaned block's rename.

`benchmarks/latency.py` runs `python -m benchmarks.blocks DIRECTORY FILE 1/16 60 KEY=VALUE ...`: an
empty directory, the configuration, seconds of a block, seconds that are measured, overrides.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path

import torch

from benchmarks.common import Figures
from benchmarks.processes import resident
from benchmarks.site import START, SiteDirectory, wide_site
from benchmarks.stream import InputMoment, OutputMoment, is_cleaned, latencies
from deepclean.config import Config
from deepclean.core.block import Block, Series
from deepclean.core.channels import state_vector
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span, format_gps
from deepclean.factory import make_engine
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.sink import FrameSink
from deepclean.models.loading import load_models
from deepclean.models.model import Model
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.system import malloc

SETTLE = 32
"""Blocks in real time that are not measured: first calls."""

KEPT = 300
"""Cleaned files that stay."""


@dataclass(slots=True)
class BlockSink(FrameSink):
    """Writes blocks of any length, under names with the nanoseconds that file names lack."""

    seen: list[OutputMoment] = field(default_factory=list)

    def write(self, span: Span, channels: Mapping[str, Series]) -> Path:
        """Write one block, as FrameSink does."""
        path = self.directory / f"{span.start}-{span.duration}.block"
        outputs = {n: OutputChannel(s, self.units.get(n, "")) for n, s in channels.items()}
        data = gwf.serialise(span, outputs, history=self.history, compression=self.compression)
        gwf.publish(path, data, fsync=self.fsync)
        state = channels[state_vector(self.interferometer)]
        self.seen.append(OutputMoment(span.start, time.time_ns(), is_cleaned(state)))
        old = span.start - KEPT * span.duration
        path.with_name(f"{old}-{span.duration}.block").unlink(missing_ok=True)
        return path


def block_sink(config: Config, loaded: Mapping[str, Model]) -> BlockSink:
    """Return the sink of a configuration for blocks of any length."""
    plain = sink_of(config, loaded)
    return BlockSink(**{f.name: getattr(plain, f.name) for f in fields(FrameSink) if f.init})


def cut(block: Block, length: int) -> Iterator[Block]:
    """Yield a block in pieces of `length` nanoseconds."""
    for start in range(block.span.start, block.span.end, length):
        yield block.cut(Span(start, start + length))


def main() -> None:
    """Stream the blocks; print the figures as JSON."""
    place, path, frame, seconds, *overrides = sys.argv[1:]
    site = wide_site(Path(place), overrides, Path(path))
    torch.set_num_threads(site.config.runtime.threads)
    malloc.retain()  # as the daemon does
    print(json.dumps(measure(site, round(Fraction(frame) * NS), float(seconds))))


def measure(site: SiteDirectory, length: int, seconds: float) -> Figures:
    """Return the figures of blocks of `length` nanoseconds, over some seconds of them."""
    config, loaded = site.config, load_models(site.config)
    engine, sink = make_engine(config, loaded), block_sink(config, loaded)
    cleaning = FrameCleaner(config, engine, sink)
    counted = math.ceil(seconds * NS / length)
    wanted = SETTLE + counted + -(-engine.lookahead // length) + 1
    begin = START - (-(engine.history + engine.settings.hop) // NS) + 1
    blocks = [
        (piece.span, _write(site, piece))
        for second in range(begin, begin + wanted * length // NS + 1)
        for piece in cut(site.block(Span.of_seconds(second, 1)), length)
    ]
    for second in range(START, begin):
        span = Span.of_seconds(second, 1)
        cleaning.push(InputFrame(span, [site.block(span)], wanted=False))
    began, used, sizes, published = time.time_ns() + NS // 2, time.process_time(), [], []
    for number, (span, paths) in enumerate(blocks[:wanted]):
        due = began + number * length
        time.sleep(max(due - time.time_ns(), 0) / NS)
        cleaning.push(InputFrame(span, [_read(config, span, *paths)]))
        published.append(InputMoment(span.start, due, due))
        if number % (60 * NS // length) == SETTLE:
            sizes.append(resident())
    sizes.append(resident())
    used, lasted = time.process_time() - used, (time.time_ns() - began) / NS
    memory = {"start": sizes[0], "minute": sizes[1], "end": sizes[-1], "most": max(sizes)}
    return {
        "latency_ms": latencies(published[SETTLE : SETTLE + counted], sink.seen),
        "lookahead_ms": engine.lookahead / 1e6,
        "resident_mb": memory,
        "cpu_ms_per_s": 1e3 * used / lasted,
    }


def _write(site: SiteDirectory, block: Block) -> list[Path]:
    """Write a block's two files, strain and witnesses; return their paths."""
    strain, state = site.config.strain.channel, str(site.config.strain.state_vector)
    held = {"strain": {strain: block.strain, state: block.state}, "witnesses": block.witnesses}
    paths = [site.root / kind / f"{format_gps(block.span.start)}.gwf" for kind in held]
    for path, channels in zip(paths, held.values(), strict=True):
        outputs = {n: OutputChannel(s) for n, s in channels.items() if isinstance(s, Series)}
        path.write_bytes(gwf.serialise(block.span, outputs))
    return paths


def _read(config: Config, span: Span, strain: Path, witnesses: Path) -> Block:
    """Read a block's two files as the live source does."""
    checksum, state = config.input.checksum, str(config.strain.state_vector)
    of_strain = gwf.read(strain, [config.strain.channel, state], span, checksum=checksum)
    others = gwf.read(witnesses, config.witness_channels, span, checksum=checksum)
    return Block(span, of_strain[config.strain.channel], others, of_strain[state])


if __name__ == "__main__":
    main()
