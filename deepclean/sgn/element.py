"""The element: strain and witnesses in, the channels of a cleaned frame out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sgn.base import SinkPad
from sgnts.base import Offset, SeriesBuffer, TSFrame, TSTransform
from sgnts.base.buffer import SeriesDataSpec

from deepclean.config import Config, load
from deepclean.core.block import Block, Series, Version
from deepclean.core.channels import STATE_RATE, product_names, state_vector
from deepclean.core.engine.frames import Assembler
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.output.products import render
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import ConfigError, hint
from deepclean.factory import make_engine
from deepclean.io.frame_channels import channels_of, estimate_rates
from deepclean.io.source import GapLog
from deepclean.models.loading import load_models
from deepclean.sgn.queue import PadQueue, cell_before, cell_from, instant, offset_at
from deepclean.system.logs import Transitions

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class DeepClean(TSTransform):  # type: ignore[misc]  # SGN ships no types to this environment
    """Cleans strain inside an SGN pipeline, with the samples of `deepclean replay`, bit for bit.

    The sink pads are the strain, its state vector where the configuration names one, and the
    witnesses. The source pads are the channels of a cleaned frame. A pad's name is the channel's.
    A sample comes out as soon as the input has come to `latency` after it. The stream ends with the
    strain: a witness whose stream ended before is a gap from there on.

    Where the strain is a gap, so is every output. A gap is whole sixteenths of a second; strain of
    a sixteenth that is not whole comes out as it came, with a state of 0. A witness that is more
    than `max_age` seconds behind the strain is a gap, and does not come late.

    Args:
        config: the configuration, or its file.
        overrides: of the file, as `engine.hop=0.25`: one or several.
        channels: those that go out, of a cleaned frame's; none: the first strain product and the
            state vector. SGN wants every source pad to be linked.

    Raises:
        ConfigError: the configuration is of no use, or has a rate that no SGN stream has.
        ModelError: a model cannot be loaded.
        DeviceError: the device has no memory for a model, or is of no use.
    """

    allow_dynamic_sink_pads: ClassVar[bool] = False
    allow_dynamic_source_pads: ClassVar[bool] = False

    config: Config | str | Path
    overrides: Sequence[str] = ()
    channels: Sequence[str] = ()

    def __post_init__(self) -> None:
        config = self.config
        if not isinstance(config, Config):
            config = load(config, _several(self.overrides))
        elif self.overrides:
            raise ConfigError("overrides: of a file only; this configuration is read already")
        _check_rates(config)
        self._input = channels_of(config)
        self._threads = config.runtime.threads
        engine = make_engine(config, load_models(config))
        self._assembler = Assembler(engine)
        strain, products = config.strain.channel, config.output.products
        self._render: Callable[[CleanedFrame], dict[str, Series]] = partial(
            render,
            strain=strain,
            products=products,
            estimates=estimate_rates(config),
            subtracted=config.output.subtracted,
        )
        self._products = list(product_names(strain, products).values())
        self._state = state_vector(config.interferometer)
        self._made = self._layout(_several(self.channels) or (self._products[0], self._state))
        self._queues = {
            name: PadQueue(name, holds=name == self._input.state) for name in self.static_sink_pads
        }
        self._next: int | None = None  # offset of the first cell that the engine has not had
        self._given: int | None = None  # offset of the first cell that no output has had
        self._over = False
        self._torn: deque[SeriesBuffer] = deque()
        self._gaps, self._said = GapLog(), Transitions(_log)
        self._failed: dict[Version, Exception] = {}
        super().__post_init__()

    @property
    def static_sink_pads(self) -> list[str]:
        """The channels that come in."""
        return [*self._input.of_strain_file, *self._input.witnesses]

    @property
    def static_source_pads(self) -> list[str]:
        """The channels that go out."""
        return list(self._made)

    @property
    def static_unaligned_sink_pads(self) -> list[str]:
        """All that come in: aligned here, so that the end of a witness does not end the strain."""
        return self.static_sink_pads

    @property
    def latency(self) -> float:
        """Seconds of input after a sample that must have come before it comes out, at most."""
        engine = self._assembler.engine
        return (engine.lookahead + engine.settings.hop) / NS

    def pull(self, pad: SinkPad, frame: TSFrame) -> None:
        """Take the next frame of a pad."""
        super().pull(pad, frame)
        name = self.rsnks[pad]
        queue = self._queues[name]
        queue.push(frame)
        if name == self._input.strain and queue.rate != self._input.rate:
            self._input.check_rate(frame.sample_rate)

    def internal(self) -> None:
        """Clean what all pads have, and make the next frame of every source pad."""
        strain = self._queues[self._input.strain]
        assert strain.start is not None
        if self._given is None:
            self._given = cell_before(strain.start)
        with _threads(self._threads):
            frames = [] if self._over else self._advance(strain)
        self._give(frames)

    def _advance(self, strain: PadQueue) -> list[CleanedFrame]:
        """Clean up to where every pad has come; return the frames that this completes."""
        # A witness may lag, but not for ever.
        age = Offset.fromsec(self.max_age)
        waited = [
            max(q.end, strain.end - age)
            for q in self._queues.values()
            if q is not strain and not q.ended
        ]
        last = cell_from(strain.end) if strain.ended else cell_before(strain.end)
        stop = min([last, *(cell_before(offset) for offset in waited)])
        finished: list[CleanedFrame] = []
        start = self._first() if self._next is None else self._next
        if start < stop and strain.rate is not None:
            self._next = stop
            self._torn.extend(strain.torn(start, stop))
            span = Span(instant(start), instant(stop))
            pieces = {name: queue.pieces(start, stop) for name, queue in self._queues.items()}
            blocks = self._input.blocks(span, pieces)
            self._gaps.note(self._input, blocks, ())
            for block in blocks:
                finished += self._attempt(InputFrame(block.span, [block]))
        for queue in self._queues.values():
            queue.drop_before(stop if queue is strain else max(stop, queue.end - age))
        if strain.ended and stop == last:
            self._over = True
            finished += self._attempt()
        return finished

    def _first(self) -> int:
        """Return the offset at which the engine's input begins: the second that a replay begins in.

        What the first sample of strain depends on begins there. Where no pad has anything yet, the
        engine is given gaps, for the gates count the time for which they have seen nothing.
        """
        assert self._given is not None
        begin = instant(self._given)
        return offset_at(self._assembler.engine.needs(Span(begin, begin + 1)).start // NS * NS)

    def _attempt(self, frame: InputFrame | None = None) -> list[CleanedFrame]:
        """Clean a frame, or release what is inside; where that fails, give it out as it came."""
        try:
            finished = self._assembler.release() if frame is None else self._assembler.push(frame)
        except Exception as error:  # noqa: BLE001  # whatever it is, the strain goes on
            said = "the cleaning failed and begins anew; what is inside passes through"
            self._said.failed("clean", said, error)
            return self._assembler.abandon(frame)
        if frame is not None:
            self._said.works("clean", "the cleaning works again")
            self._say_failures(frame)
        return finished

    def _say_failures(self, frame: InputFrame) -> None:
        """Log the new errors of networks."""
        errors = self._assembler.engine.model_errors
        for version, error in errors.items():
            if error is not self._failed.get(version):
                when = format_gps(frame.span.start)
                _log.warning("GPS %s: the network of %s fails: %s", when, version, error)
        self._failed = errors

    def _give(self, frames: Iterable[CleanedFrame]) -> None:
        """Make the next frame of every source pad: all that is finished, or an empty one."""
        assert self._given is not None
        made: dict[str, list[SeriesBuffer]] = {name: [] for name in self._made}
        begin = self._given
        for frame in frames:
            low, high = max(offset_at(frame.span.start), self._given), offset_at(frame.span.end)
            if low >= high:
                continue  # witnesses alone, before the strain began
            for name, buffers in self._buffers(frame, low, high).items():
                made[name] += buffers
            self._given = high
        for name, (rate, dtype) in self._made.items():
            empty = np.zeros(0, dtype=dtype)
            buffers = made[name] or [_gap(begin, begin, rate)]
            spec = SeriesDataSpec.from_data(empty, rate)
            self.outframes[self.srcs[name]] = TSFrame(
                buffers=buffers, EOS=self._over, spec_hint=spec
            )

    def _buffers(self, frame: CleanedFrame, low: int, high: int) -> dict[str, list[SeriesBuffer]]:
        """Return the buffers of every source pad over one cleaned frame."""
        if all(block.products is not None for block in frame.blocks):
            made = self._render(frame)
            return {
                name: [SeriesBuffer(offset=low, sample_rate=rate, data=made[name].samples)]
                for name, (rate, _) in self._made.items()
            }
        torn: list[SeriesBuffer] = []
        while self._torn and self._torn[0].offset < high:
            torn.append(self._torn.popleft())
        cells = dict.fromkeys(cell_before(buffer.offset) for buffer in torn)
        nothing = np.zeros(1, dtype=np.uint32)
        states = [SeriesBuffer(offset=at, sample_rate=STATE_RATE, data=nothing) for at in cells]
        held = dict.fromkeys(self._products, torn) | {self._state: states}
        return {
            name: list(_with_gaps(held.get(name, ()), low, high, rate))
            for name, (rate, _) in self._made.items()
        }

    def _layout(self, channels: Sequence[str]) -> dict[str, tuple[int, Any]]:
        """Return the rate and the type of channels of a cleaned frame, from one passed by."""
        span, rate = Span(0, NS), self._input.rate
        block = Block(span, Series(span, rate, np.zeros(rate)))
        (passed,) = self._assembler.push(InputFrame(span, [block], bypass=True))
        made = self._render(passed)
        for name in channels:
            if name not in made:
                raise ConfigError(f"channels: a cleaned frame has no {name}{hint(name, made)}")
        return {name: (made[name].rate, made[name].samples.dtype) for name in channels}


def _several(given: str | Sequence[str]) -> Sequence[str]:
    """Return several from one or several."""
    return (given,) if isinstance(given, str) else given


def _check_rates(config: Config) -> None:
    """Raise ConfigError where SGN has no streams at the configured rates."""
    rate, slowest = config.strain.rate, config.engine.resample.slowest_rate
    if rate not in Offset.ALLOWED_RATES:
        raise ConfigError(
            f"strain.rate: {rate} Hz: SGN has streams of powers of two up to {Offset.MAX_RATE} Hz "
            "only; the daemon reads and publishes streams of any rate by the Arrakis client "
            "(input.arrakis, output.arrakis)"
        )
    if slowest < STATE_RATE:
        raise ConfigError(
            f"engine.resample.slowest_rate: {slowest} Hz; in an SGN pipeline at least {STATE_RATE}"
        )


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Let torch compute with a number of threads, as `deepclean replay` does, and no more."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _gap(low: int, high: int, rate: int) -> SeriesBuffer:
    """Return a gap between two offsets."""
    return SeriesBuffer(
        offset=low, sample_rate=rate, data=None, shape=(Offset.tosamples(high - low, rate),)
    )


def _with_gaps(
    buffers: Iterable[SeriesBuffer], low: int, high: int, rate: int
) -> Iterator[SeriesBuffer]:
    """Yield buffers in order of time, and gaps around them that fill the offsets `[low, high)`."""
    for buffer in buffers:
        if low < buffer.offset:
            yield _gap(low, buffer.offset, rate)
        yield buffer
        low = buffer.end_offset
    if low < high:
        yield _gap(low, high, rate)
