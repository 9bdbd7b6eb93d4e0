"""Turned clocks, and the daemon on one: the real source, cleaning, sink and status file.

Its engine is transparent: the estimate is a smoothed witness, so a frame costs milliseconds and
what it must hold is known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from threading import Semaphore, Thread

import numpy as np

from deepclean.config import Config
from deepclean.core.block import Block, Float64, Series
from deepclean.core.channels import gain as gain_channel
from deepclean.core.channels import product_names, state_vector
from deepclean.core.engine.engine import Engine
from deepclean.core.frame import InputFrame
from deepclean.core.output.products import State
from deepclean.core.time import NS, Span
from deepclean.io import gwf
from deepclean.io.live.source import Overdue
from deepclean.io.tail import FrameTail
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.run.drain import Drain
from deepclean.run.sources import live_input, live_source
from deepclean.system.clock import Clock, SystemClock
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.status_file import StatusFile, path_in
from tests.helpers import small_site as site
from tests.helpers.builders import clean, same_bits, strain_of, transparent
from tests.helpers.faulty_input import BOX
from tests.helpers.settings import engine_settings

WITNESS = "H1:FAST"
OFFICIAL = product_names(site.STRAIN, ["OUT_DQ"])["OUT_DQ"]


class TurnedClock(SystemClock):
    """The real clock, but with hours that pass at once."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def name(second: int) -> str:
    """Return the name of a frame of strain."""
    return f"H-H1_llhoft-{second}-1.gwf"


def hinted(tail: FrameTail, clock: SystemClock, second: int) -> bool:
    """Return whether an event, not a probe, tells of a file within ten seconds."""
    limit = clock.monotonic() + 10
    while clock.monotonic() < limit:
        clock.wait(1.0)
        tail.poll(0)
        if tail.at(second * NS) is not None:
            return True
    return False


def make_engine() -> Engine:
    settings = engine_settings(strain_rate=site.STRAIN_RATE, model_rate=512, ramp=NS // 8)
    return transparent(settings, WITNESS, settle_in=BOX)


class Daemon:
    """One run of the daemon, wired as `daemon.run` wires it.

    Args:
        config: of the small site.
        clock: on which it waits.
        noted: told of every event of the source before it is taken.
        guard: of the sink.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        noted: Callable[[InputFrame | Overdue], None] = lambda event: None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.stopping = False
        self._noted = noted
        engine, sink = make_engine(), sink_of(config, {}, guard=guard)
        accounts, output = Accounts(), config.output
        self.ledger = accounts.ledger
        status_file = StatusFile(path_in(output.directory, output.description), clock)
        drain = Drain(lambda: self.stopping, self.ledger, clock)
        given = live_input(config, clock, accounts)
        turn = partial(status_file.write, self.ledger)
        self.source = live_source(given, engine, sink, drain, turn)
        self.cleaning = FrameCleaner(config, engine, sink, clock.monotonic, accounts=accounts)

    def stop(self) -> None:
        self.stopping = True

    def run(self) -> None:
        """Clean until told to stop."""
        for event in self.source.events():
            self._noted(event)
            if isinstance(event, InputFrame):
                self.cleaning.push(event)
            else:
                self.cleaning.release()
        self.cleaning.release()


class Killed(BaseException):
    """What ends a run at once: no handler of the daemon's catches it."""


class StepClock:
    """A clock on which a run goes on in a thread of its own, but only while it is let.

    Of the two threads always exactly one runs, so all is as repeatable as in one.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self._until = 0.0
        self._go, self._pause = Semaphore(0), Semaphore(0)
        self._kill = False
        self._fault: BaseException | None = None
        self._thread: Thread | None = None

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        if self.now >= self._until:
            self._pause.release()
            self._go.acquire()
        if self._kill:
            raise Killed
        self.now += seconds

    def start(self, run: Callable[[], None]) -> None:
        """Begin a run, to its first wait."""
        self._kill, self._until = False, self.now

        def work() -> None:
            try:
                run()
            except Killed:
                pass
            except BaseException as fault:  # noqa: BLE001  (it is raised where the test waits)
                self._fault = fault
            self._thread = None
            self._pause.release()

        self._thread = Thread(target=work, daemon=True)
        self._thread.start()
        self._await()

    def advance(self, seconds: float) -> None:
        """Let the run go on for a while; where it has ended, only time passes."""
        self._until = self.now + seconds
        if self._thread is None:
            self.now = self._until
        else:
            self._go.release()
            self._await()

    def finish(self, *, kill: bool) -> None:
        """Let the run end: by a kill, or by itself once it was told to."""
        self._kill = kill
        self.advance(60.0)
        assert self._thread is None, "it goes on"

    def _await(self) -> None:
        self._pause.acquire()
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault


def raw(start: int, length: int = 1) -> Float64:
    """Return the strain of the small site."""
    seconds = range(start, start + length)
    return np.concatenate([site.samples(site.STRAIN, s, site.STRAIN_RATE) for s in seconds]) * 1e-21


@lru_cache
def cleaned(start: int, length: int = 1) -> Float64:
    """Return the cleaned strain where nothing is missing."""
    blocks = []
    for second in range(start - 3, start + length + 3):
        span = Span.of_seconds(second, 1)
        strain = Series(span, site.STRAIN_RATE, raw(second))
        rate = site.RATES[WITNESS]
        witness = Series(span, rate, site.samples(WITNESS, second, rate).astype(np.float32))
        blocks.append(Block(span, strain, {WITNESS: witness}))
    return strain_of(clean(make_engine(), blocks)[3:-3])


def assert_sound(path: Path, start: int, length: int) -> bool:
    """Assert that an output frame holds what it must; return whether it is fully cleaned."""
    bits, gain = state_vector("H1"), gain_channel("H1", "all")
    held = gwf.read(path, [OFFICIAL, bits, gain], Span.of_seconds(start, length), checksum=True)
    series = {name: channel for name, channel in held.items() if isinstance(channel, Series)}
    samples = np.asarray(series[OFFICIAL].samples).reshape(16 * length, -1)
    assert samples.dtype == np.float64
    assert np.isfinite(samples).all()
    state = series[bits].samples
    assert (state & State.OUTPUT_VALID != 0).all()
    full = (state & State.CLEANED) != 0
    # On no ramp and not 1 somewhere: 0 throughout.
    none = ((state & State.STEADY) != 0) & (np.asarray(series[gain].samples) == 0)
    assert same_bits(samples[none], raw(start, length).reshape(samples.shape)[none])
    assert same_bits(samples[full], cleaned(start, length).reshape(samples.shape)[full])
    return bool(full.all())
