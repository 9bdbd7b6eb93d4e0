"""A gwpy data source of frame files on this machine: the service that finds them is ours alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from deepclean.config import Config
from deepclean.core.time import Span
from deepclean.io.source import HistorySource

NAME = "somewhere"

_ITS_OWN = ExitStack()


@contextmanager
def somewhere(*directories: Path) -> Iterator[list[tuple[int, int]]]:
    """Let gwpy find these directories' frames and nothing else; yield the stretches asked for."""
    from gwpy.timeseries import TimeSeriesDict

    registry = TimeSeriesDict.get.registry
    asked: list[tuple[int, int]] = []

    def find(channels: list[str], start: Any, end: Any, *, pad: float, **_: Any) -> Any:
        asked.append((int(start), int(end)))
        files = sorted(str(path) for place in directories for path in place.glob("*.gwf"))
        return TimeSeriesDict.read(files, channels, start=start, end=end, pad=pad, gap="pad")

    def found(*_: Any, **__: Any) -> list[dict[str, Any]]:
        return [{"priority": 1}]

    with pytest.MonkeyPatch.context() as patch:
        # Where ours has nothing, gwpy would go on to those in the network.
        patch.setattr(registry, "_identifiers", {(NAME, TimeSeriesDict): found})
        registry.register_reader(NAME, TimeSeriesDict, find)
        yield asked
        registry.unregister_reader(NAME, TimeSeriesDict)


def open_fetched(config: Config, span: Span) -> HistorySource:
    """Open what gwpy finds of a site, in whatever process: one of its own ends with the test."""
    from gwpy.timeseries import TimeSeriesDict

    from deepclean.cli.options import history_source

    if NAME not in TimeSeriesDict.get.registry.get_formats()["Format"]:
        _ITS_OWN.enter_context(somewhere(config.input.strain_frames.directory))
    return history_source(config, span, None, None, fetch=True)
