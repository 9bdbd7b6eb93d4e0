"""A run over the small site's real frame files, with metrics, in a time that tests turn."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np

from deepclean.build import load_models, make_engine
from deepclean.cleaning import Cleaning, channels_of, sink_of
from deepclean.config import Config
from deepclean.core.assemble import InputFrame
from deepclean.core.block import Series
from deepclean.core.ledger import Ledger
from deepclean.core.time import NS, Span
from deepclean.edge import gwf
from deepclean.edge.clock import SystemClock
from deepclean.edge.figures import Figures
from deepclean.edge.files import OutputChannel
from deepclean.edge.metrics import Metrics
from deepclean.edge.source import LiveSource
from deepclean.edge.tail import FrameTail
from deepclean.edge.timings import Timings
from deepclean.edge.watch import Watch
from tests import smallsite as site
from tests.smallsite import START, FakeClock

BEFORE = 4
"""Seconds that are on disk when a run starts; the last of them is its first output."""


def scraped(metrics: Metrics) -> dict[str, float]:
    """Return what Prometheus would read, by series with its labels."""
    from prometheus_client import generate_latest

    lines = generate_latest(metrics.registry).decode().splitlines()
    values = [line.rsplit(" ", maxsplit=1) for line in lines if not line.startswith("#")]
    return {series: float(value) for series, value in values}


def made(
    config: Config,
    ledger: Ledger | None = None,
    figures: Figures | None = None,
    timings: Timings | None = None,
    watch: Watch | None = None,
) -> Metrics:
    """Return metrics of what is given, and of nothing at all for the rest."""
    return Metrics(
        config,
        ledger or Ledger(),
        figures or Figures(),
        timings or Timings(),
        watch or Watch((), SystemClock()),
        lookahead=NS // 2,
        history=2 * NS,
    )


class Run:
    """The daemon's parts over the small site.

    Args:
        config: of a small site with a model.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = FakeClock()
        loaded = load_models(config)
        engine = make_engine(config, loaded)
        self.figures = Figures(models=loaded)
        self.timings = Timings()
        self.cleaning = Cleaning(config, engine, sink_of(config, loaded), self.clock.monotonic)
        self.metrics = made(config, self.cleaning.ledger, self.figures, self.timings)

    def over(
        self,
        seconds: int,
        *,
        no_strain: Collection[int] = (),
        no_witnesses: Collection[int] = (),
        broken: Collection[int] = (),
    ) -> None:
        """Let that many frames come, one a second, and clean them.

        Args:
            seconds: from START + BEFORE on.
            no_strain: seconds whose strain frame does not come, counted from START + BEFORE.
            no_witnesses: likewise of the witnesses'.
            broken: seconds in which a witness is not a number and the strain frame is cut off.
        """
        first = START + BEFORE
        site.write_site(self.config, START, BEFORE)
        for second in range(seconds):
            absent = {first + s for s in no_strain}, {first + s for s in no_witnesses}
            write = partial(
                site.write_site,
                self.config,
                first + second,
                1,
                no_strain=absent[0],
                no_witnesses=absent[1],
            )
            self.clock.at(second + 0.1, write)
            if second in broken:
                self.clock.at(second + 0.1, partial(break_strain, self.config, first + second))
                poison = partial(poison_witness, self.config, first + second + 1)
                self.clock.at(second + 1.1, poison)
        end = self.clock.now + seconds + 10
        for event in self._source(lambda: self.clock.now > end).events():
            if isinstance(event, InputFrame):
                self.cleaning.take(event)
            else:
                self.cleaning.release()
