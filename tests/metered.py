"""A run over the small site's real frame files with metrics, in a time that tests turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import generate_latest

from deepclean.build import load_models, make_engine
from deepclean.cleaning import Cleaning, channels_of, sink_of
from deepclean.config import Config
from deepclean.core.assemble import InputFrame
from deepclean.core.ledger import Ledger
from deepclean.core.time import NS
from deepclean.edge.clock import SystemClock
from deepclean.edge.figures import Figures
from deepclean.edge.live import LiveSource
from deepclean.edge.metrics import Metrics
from deepclean.edge.tail import FrameTail
from deepclean.edge.timings import Timings
from deepclean.edge.watch import Watch
from tests import smallsite as site
from tests.smallsite import START, FakeClock

Second = Callable[[Config, int], None]
"""Writes what a site writes of a GPS second, or not quite that."""


def whole(config: Config, second: int) -> None:
    """Write both frames."""
    site.write_site(config, second, 1)


def scraped(metrics: Metrics) -> dict[str, float]:
    """Return what Prometheus would read, by series with its labels."""
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
        config: of a small site that has a model.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = FakeClock()
        loaded = load_models(config)
        self.engine = make_engine(config, loaded)
        self.figures = Figures(models=loaded)
        self.timings = Timings()
        self.cleaning = Cleaning(
            config,
            self.engine,
            sink_of(config, loaded),
            self.clock.monotonic,
            figures=self.figures,
            timings=self.timings,
        )
        self.metrics = made(config, self.cleaning.ledger, self.figures, self.timings)

    def over(self, seconds: int, faults: Mapping[int, Second] | None = None) -> None:
        """Let that many frames come, one a second from START on, and clean them.

        Args:
            seconds: how many.
            faults: what happens in place of `whole`, by the second's number.
        """
        site.write_site(self.config, START, 0)
        for number in range(seconds):
            write = (faults or {}).get(number, whole)
            self.clock.at(number + 0.1, partial(write, self.config, START + number))
        end = self.clock.now + seconds + 10
        for event in self._source(lambda: self.clock.now > end).events():
            if isinstance(event, InputFrame):
                self.cleaning.take(event)
            else:
                self.cleaning.release()

    def _source(self, stopped: Callable[[], bool]) -> LiveSource:
        settings = self.config.input
        tails = [
            FrameTail(frames.directory, frames.description, self.clock)
            for frames in (settings.strain, *settings.witnesses)
        ]
        return LiveSource(
            channels=channels_of(self.config),
            strain=tails[0],
            witnesses=tails[1:],
            clock=self.clock,
            deadline=settings.deadline,
            probe=settings.probe,
            history=self.engine.history,
            stopped=stopped,
            checksum=True,
        )
