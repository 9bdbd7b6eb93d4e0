"""A source of history whose process is killed, or fails, at one second; for tests of processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from deepclean.config import Config
from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span
from deepclean.errors import DeviceError, InputError
from deepclean.io.history import History
from deepclean.io.source import ChannelHistory, HistorySource
from deepclean.run.cleaner import channels_of


def open_source(config: Config) -> HistorySource:
    """Return the input of a configuration."""
    return HistorySource(
        channels_of(config),
        History([config.input.strain.directory]),
        History([frames.directory for frames in config.input.witnesses]),
    )


def open_dying(config: Config, second: int, spared: Path) -> HistorySource:
    """Return a source that kills its process as it reads a second, until `spared` is there."""
    source = open_source(config)
    return replace(source, strain=_Dying(source.strain, second, spared))


def open_failing(config: Config, second: int) -> HistorySource:
    """Return a source whose read of a second raises what is not easily pickled."""
    source = open_source(config)
    return replace(source, strain=_Dying(source.strain, second, None))


@dataclass
class _Dying:
    past: ChannelHistory
    second: int
    spared: Path | None

    @property
    def faults(self) -> list[InputError]:
        return self.past.faults

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        return self.past.channels(wanted)

    def spans(self, channel: str | None = None) -> list[Span]:
        return self.past.spans(channel)

    def require(self, wanted: Collection[str]) -> dict[str, int]:
        return self.past.require(wanted)

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series | Gap]:
        if span.start == self.second * NS:
            if self.spared is None:
                raise DeviceError("out of memory", coupling="60Hz")
            if not self.spared.exists():
                os.kill(os.getpid(), signal.SIGKILL)
        return self.past.read(wanted, span)
