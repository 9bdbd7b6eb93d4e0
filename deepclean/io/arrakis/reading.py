"""A connection of the Arrakis client over which a stream is read; only here is it imported."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import zip_longest
from types import FrameType, GeneratorType
from typing import Any

import numpy as np
from arrakis import Client, SeriesBlock
from pyarrow import flight

from deepclean.core import reasons
from deepclean.core.align import Piece
from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError
from deepclean.io.arrakis.members import absent
from deepclean.io.arrakis.store import StreamedBlock, StreamedChannel

_log = logging.getLogger(__name__)

_ASKED = 64
"""Channels that are asked for in one request."""


class ReadingSession:
    """Finds channels and reads them.

    Args:
        server: address of the server, as the client takes it.
        token: auto: the client finds its token by its own means, or goes without; none: it does
            not look for one.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(self, server: str, token: str) -> None:
        try:
            self._client = Client(server, token=None if token == "auto" else False)
        except ValueError as error:
            raise ConfigError(f"input.arrakis.server: {server}: {error}") from error
        self._open: list[GeneratorType[SeriesBlock, None, None]] = []
        self._cancelled = False
        self._found: dict[str, tuple[str, int]] = {}  # partition and stride, by channel

    def find(self, wanted: Collection[str]) -> dict[str, StreamedChannel]:
        """Return the wanted channels that the server has.

        Raises:
            ConfigError: the server does not let this client read.
            Exception: what the client raises where the server does not answer.
        """
        found: dict[str, StreamedChannel] = {}
        names = sorted(wanted)
        for first in range(0, len(names), _ASKED):
            few = "|".join(map(re.escape, names[first : first + _ASKED]))
            found |= self._find(f"^({few})$")
        return found

    def listing(self, interferometer: str | None) -> dict[str, StreamedChannel]:
        """Return all channels of an interferometer, or of any.

        Raises:
            ConfigError, Exception: as find.
        """
        return self._find(f"^{interferometer or '.*'}:")

    def _find(self, pattern: str) -> dict[str, StreamedChannel]:
        found: dict[str, StreamedChannel] = {}
        with _refusals():
            for one in self._client.find(pattern):
                self._found[one.name] = one.partition_id or "", one.stride or 0
                found[one.name] = StreamedChannel(
                    float(one.sample_rate), one.stride or 0, one.max_latency or 0
                )
        return found

    def live(self, channels: Collection[str]) -> Generator[StreamedBlock, None, None]:
        """Yield the blocks of some channels from now on, without a hole: what is absent is a gap.

        Raises:
            ConfigError: as find.
            Exception: what the client raises where the stream ends.
        """
        with _refusals(), closing(self._blocks(sorted(channels))) as blocks:
            for block in blocks:
                yield streamed(block)

    def _blocks(
        self, names: list[str], *span: float, stride: float | None = None
    ) -> Generator[SeriesBlock, None, None]:
        """Yield the blocks of one stream of the client, until `cancel` ends it."""
        if self._cancelled:
            return
        blocks = self._client.stream(names, *span, on_gap="fill", stride=stride)
        self._open.append(blocks)
        try:
            with closing(blocks):
                yield from blocks
        finally:
            self._open.remove(blocks)

    def cancel(self) -> None:
        """End the streams from another thread: they may wait for a server that is silent.

        The client has no call for this: a generator that runs cannot be closed. Its reader can.
        """
        self._cancelled = True
        for blocks in tuple(self._open):
            frame = blocks.gi_frame
            if frame is not None and (reader := _reader_of(frame)) is not None:
                with suppress(Exception):  # it is the end, whatever is wrong with it
                    reader.close()

    def past(self, channels: Collection[str], span: Span) -> Generator[StreamedBlock, None, None]:
        """Yield the blocks of some channels that the server still has of a span.

        Each partition is asked for by itself. The server reads the partitions of one request one
        after the other, and of one that is a thousand blocks ahead it drops the oldest: they would
        be gaps, though the broker has them.

        Args:
            channels: full names.
            span: of the past. What comes after it must be there, or the stream does not end.

        Raises:
            Exception: as live.
        """
        with _refusals():
            # Multiples of 1/16 s are exact in a float.
            start, end = span.start // NS, span.end / NS
            groups = self._by_partition(channels)
            stride = max(self._stride(names) for names in groups) / NS or None
            with ExitStack() as stack:
                streams = [
                    stack.enter_context(closing(self._blocks(names, start, end, stride=stride)))
                    for names in groups
                ]
                # All begin at the same instant and have the same stride. One that ends early has
                # nothing more.
                for blocks in zip_longest(*streams):
                    parts = [None if block is None else streamed(block) for block in blocks]
                    span = next(part.span for part in parts if part is not None)
                    pieces: dict[str, Piece] = {}
                    for names, part in zip(groups, parts, strict=True):
                        absent = {name: Gap(span, reasons.MISSING) for name in names}
                        pieces |= absent if part is None else part.pieces
                    yield StreamedBlock(span, pieces)

    def _by_partition(self, channels: Collection[str]) -> list[list[str]]:
        """Return the names, those of a partition together."""
        groups: dict[str, list[str]] = {}
        for name in sorted(channels):
            groups.setdefault(self._found.get(name, ("", 0))[0], []).append(name)
        return list(groups.values())

    def _stride(self, channels: Collection[str]) -> int:
        """Return the longest stride of some channels; 0: it is not known."""
        return max(self._found.get(name, ("", 0))[1] for name in channels)


def _reader_of(frame: FrameType) -> Any:
    """Return what reads for a stream of the client; None: it does not read yet."""
    if "reader" not in frame.f_code.co_varnames:
        _log.warning("the stream ends with the process: %s", absent("`reader` in Client.stream"))
    return frame.f_locals.get("reader")


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (flight.FlightUnauthenticatedError, flight.FlightUnauthorizedError) as error:
        said = str(error).partition("\n")[0]
        raise ConfigError(
            f"input.arrakis.server: the server refuses this client ({said}); give it a token, as "
            "the client finds it (ARRAKIS_TOKEN, SciTokens)"
        ) from error


def streamed(block: SeriesBlock) -> StreamedBlock:
    """Return a block of the client as pieces of its channels.

    A channel of which some samples are masked has nothing of the block: gaps have whole blocks, as
    in frames flags have sixteenths of a second. `missing` says that all are masked, `invalid` that
    some are.
    """
    span = Span(int(block.time_ns), int(block.time_ns + block.duration_ns))
    return StreamedBlock(span, {name: _piece(span, name, block) for name in block.channels})


def _piece(span: Span, name: str, block: SeriesBlock) -> Piece:
    data, rate = block.data[name], float(block.channels[name].sample_rate)
    if isinstance(data, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(data)
        if mask.any():
            return Gap(span, reasons.MISSING if mask.all() else reasons.INVALID)
    samples = np.ascontiguousarray(np.ma.getdata(data))
    if not rate.is_integer() or span.start * int(rate) % NS or span.duration * int(rate) % NS:
        return Gap(span, reasons.CORRUPT)
    if len(samples) != span.samples(int(rate)):
        return Gap(span, reasons.CORRUPT)
    return Series(span, int(rate), samples)
