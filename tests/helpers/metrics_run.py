"""A run over the small site's real frame files with metrics, in a time that tests turn."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from types import MappingProxyType

from prometheus_client import generate_latest

from deepclean.config import Config
from deepclean.control.reload import ReloadResult
from deepclean.core.accounting import Ledger
from deepclean.core.engine.engine import Engine
from deepclean.core.predict import Network
from deepclean.core.rollout.rules import CanaryProgress
from deepclean.core.time import NS
from deepclean.factory import make_engine
from deepclean.io.watch import DirectoryWatch
from deepclean.models.loading import load_models
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.run.daemon import work
from deepclean.run.drain import Drain
from deepclean.run.sources import live_input, live_source
from deepclean.system.clock import SystemClock
from deepclean.telemetry import status_file
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.counters import Counters
from deepclean.telemetry.metrics import Metrics
from deepclean.telemetry.notify import ServiceNotifier
from deepclean.telemetry.pages import Pages, live_spectra, make_page
from deepclean.telemetry.status import StatusReport
from deepclean.telemetry.status_file import StatusFile
from deepclean.telemetry.timings import Timings
from tests.helpers import small_site as site
from tests.helpers.small_site import START, FakeClock

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
    figures: Counters | None = None,
    timings: Timings | None = None,
    watch: DirectoryWatch | None = None,
) -> Metrics:
    """Return metrics of what is given, and of nothing at all for the rest."""
    return Metrics(
        config,
        Accounts(ledger or Ledger(), figures or Counters(), timings or Timings()),
        watch or DirectoryWatch((), SystemClock()),
        lookahead=NS // 2,
        history=2 * NS,
    )


PERIOD = 30.0
WATCHDOG = {"WATCHDOG_USEC": "30000000"}


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """Return what came since the last call, a string a message."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


class Run:
    """The daemon's parts over the small site, wired as the daemon wires them.

    There is no watch: every file is found by looking. `pages` are served where a test does that.

    Args:
        config: of a small site that has a model. Where frames were written before, it resumes.
        network: in place of the models' own.
        environment: of the service manager, if there is one.
        began: the clock's seconds at the start.
    """

    def __init__(
        self,
        config: Config,
        network: Network | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        began: float = 1000.0,
    ) -> None:
        self.config = config
        self.clock, self._end = FakeClock(), 0.0
        self.clock.now = began
        self._health = ServiceNotifier(environment, self.clock)
        loaded = load_models(config)
        self.engine = make_engine(config, loaded)
        if network is not None:
            self.engine = Engine(
                self.engine.settings,
                [
                    replace(coupling, predictor=replace(coupling.predictor, network=network))
                    for coupling in self.engine.versions.production
                ],
            )
        self.figures = Counters(models=loaded)
        accounts = Accounts(counters=self.figures, spectra=live_spectra(config))
        self.timings = accounts.timings
        self.page = make_page(config, accounts, lambda: 1e9 + self.clock.now)
        self.report = StatusReport(
            config,
            accounts,
            self,
            lookahead=self.engine.lookahead,
            wall=lambda: 1e9 + self.clock.now,
        )
        where = config.output.directory, config.output.description
        self.status_file = StatusFile(
            status_file.path_in(*where),
            self.clock,
            dict,
            self.report.couplings,
            lambda: {
                "controls": [],
                "reloaded": asdict(ReloadResult()),
                "waiting": self.figures.waited(),
                "history": dict(self.figures.history_read),
            },
            report=self.report,
            check=status_file.check_path_in(*where),
        )
        self.pages = Pages(self.status_file, self.report, self.clock, self.page)
        sink = sink_of(config, loaded)
        drain = Drain(lambda: self.clock.now > self._end, accounts.ledger, self.clock)
        given = live_input(config, self.clock, accounts)
        self.source = live_source(given, self.engine, sink, drain, self._turn)
        self.cleaning = FrameCleaner(
            config, self.engine, sink, self.clock.monotonic, accounts=accounts
        )
        self.metrics = made(config, self.cleaning.ledger, self.figures, self.timings)

    def canaries(self) -> dict[str, CanaryProgress]:
        """Return no canary: nothing is on trial here."""
        return {}

    def _turn(self) -> None:
        """Do what the daemon does at every turn of its loop."""
        self._health.ready()
        self._health.watchdog()
        self.status_file.write(self.cleaning.ledger)
        if self.page is not None:
            self.page.turn()
        self.pages.step()

    def over(self, seconds: int, faults: Mapping[int, Second] | None = None) -> None:
        """Let that many frames come, one a second from START on, and clean them.

        Args:
            seconds: how many.
            faults: what happens in place of `whole`, by the second's number.
        """
        for number in range(seconds):
            write = (faults or {}).get(number, whole)
            self.clock.at(number + 0.1, partial(write, self.config, START + number))
        self.until(seconds)

    def until(self, seconds: float) -> None:
        """Clean what comes until ten seconds after so many seconds of the clock."""
        site.write_site(self.config, START, 0)
        self._end = 1010.0 + seconds
        work(self.source, self.cleaning, self._health)
