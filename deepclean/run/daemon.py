"""The live daemon: one loop from the site's directories to cleaned frames, until told to stop."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from types import FrameType

from deepclean import __version__
from deepclean.config import Config
from deepclean.config.inputs import FramesConfig
from deepclean.config.settings import trial_settings
from deepclean.core.accounting import Ledger
from deepclean.core.block import Version
from deepclean.core.engine.engine import Engine
from deepclean.core.frame import InputFrame
from deepclean.core.reasons import CLEANED
from deepclean.core.time import NS, format_gps
from deepclean.errors import DeviceError
from deepclean.factory import make_engine
from deepclean.io.archive import FrameArchive
from deepclean.io.live import LiveSource
from deepclean.io.sink import FrameSink
from deepclean.io.tail import FrameTail
from deepclean.io.watch import DirectoryWatch
from deepclean.models.device import is_lost
from deepclean.models.loading import load_models_or_former
from deepclean.rollout.record import ModelRecord
from deepclean.rollout.record import path_in as record_path
from deepclean.rollout.store_follower import StoreFollower
from deepclean.rollout.updates import ModelUpdates
from deepclean.run.cleaner import FrameCleaner, channels_of, sink_of
from deepclean.run.lookahead import decided_live
from deepclean.system.clock import Clock, SystemClock
from deepclean.system.lock import OutputLock
from deepclean.system.malloc import Trimmer
from deepclean.telemetry.counters import Counters
from deepclean.telemetry.exporter import Exporter
from deepclean.telemetry.metrics import Metrics
from deepclean.telemetry.notify import ServiceNotifier
from deepclean.telemetry.status_file import StatusFile, path_in

_log = logging.getLogger(__name__)


def run(config: Config, clock: SystemClock | None = None) -> Ledger:
    """Clean what arrives until SIGTERM or SIGINT, then drain and return what was done.

    Raises:
        ConfigError, ModelError: the start is not possible.
        InputError: the first strain frame is not what the configuration says.
        OutputError: the output directory cannot be used.
        DeviceError: as load_models, and as work.
    """
    clock = clock or SystemClock()
    health = ServiceNotifier(clock=clock)
    output = config.output
    lock = OutputLock(output.directory, output.description)
    with _stop_on_signal(clock) as stopped, lock:
        loaded = load_models_or_former(config)
        config = decided_live(config, loaded)
        engine = make_engine(config, loaded)
        sink = sink_of(config, loaded)
        sink.guard = lock.hold  # a directory that was made again could be locked by another
        source = live_source(config, engine, sink, clock, stopped)
        _log.info(
            "deepclean %s: %s, look-ahead %.3f s, history %.3f s, output %s",
            __version__,
            ", ".join(f"{name} version {model.version}" for name, model in loaded.items()),
            engine.lookahead / NS,
            engine.history / NS,
            sink.directory,
        )
        archive = FrameArchive(config)
        record = ModelRecord(record_path(output.directory, output.description))
        figures = Counters(
            models=loaded,
            inputs=source.counts,
            archived=archive.written,
            archive_failures=archive.failures,
        )
        keeper = StoreFollower(config, loaded, record)
        life = ModelUpdates(engine, trial_settings(config), loaded, keeper, figures)
        keeper.recent = lambda: life.recent
        cleaning = FrameCleaner(
            config,
            engine,
            sink,
            clock.monotonic,
            figures=figures,
            timings=source.timings,
        )
        cleaning.life = life
        cleaning.ledger.ignored = source.ignored
        watch = DirectoryWatch((source.strain, *source.witnesses), clock)
        metrics = Metrics(
            config,
            cleaning.ledger,
            figures,
            source.timings,
            watch,
            lookahead=engine.lookahead,
            history=engine.history,
        )
        account = StatusFile(path_in(output.directory, output.description), clock, life.standings)
        sink.appeared = archive.appeared
        trimmer = Trimmer(clock)
        with watch, Exporter(config.metrics, metrics.registry), archive, keeper:

            def turn() -> None:
                health.watchdog()
                watch.check()
                account.write(cleaning.ledger)
                trimmer.step()

            source.turn = turn
            try:
                work(source, cleaning, health)
            finally:
                account.write(cleaning.ledger, now=True)
    _report(cleaning.ledger, cleaning.latencies)
    return cleaning.ledger


def live_source(
    config: Config,
    engine: Engine,
    sink: FrameSink,
    clock: Clock,
    stopped: Callable[[], bool],
) -> LiveSource:
    """Return the source of a configuration's directories, resuming after the last output."""
    finished = sink.finished()
    return LiveSource(
        channels=channels_of(config),
        strain=_tail(config.input.strain, clock),
        witnesses=[_tail(frames, clock) for frames in config.input.witnesses],
        clock=clock,
        deadline=config.input.deadline / NS,
        probe=config.input.probe / NS,
        history=engine.history + engine.settings.hop,
        stopped=stopped,
        max_lag=config.input.max_lag,
        resume=finished[-1].span.end if finished else None,
        checksum=config.input.checksum,
    )


def work(source: LiveSource, cleaning: FrameCleaner, health: ServiceNotifier) -> None:
    """Take what the source gives; at the end give out what is inside.

    Raises:
        DeviceError: the device of a network serves errors only. Until here the strain passed
            through.
    """
    health.status("waiting for strain")
    started, fault = False, None
    for event in source.events():
        written = cleaning.push(event) if isinstance(event, InputFrame) else cleaning.release()
        fault = _lost_device(cleaning.model_errors)
        if fault is not None:
            break
        if not written:
            continue
        if not started:
            started = True
            _log.info("first frame written: %s", written[0].name)
        # Only a frame that is through shows that everything works.
        health.ready()
        health.status(f"{written[-1].name} written, {cleaning.ledger.written.total()} so far")
    health.stopping()
    cleaning.release()
    if fault is not None:
        raise fault


def _lost_device(errors: Mapping[Version, Exception]) -> DeviceError | None:
    """Return the fault that ends this process where a network's device is beyond use."""
    for version, error in errors.items():
        if is_lost(error):
            said = str(error).partition("\n")[0]
            return DeviceError(f"the device is lost: {said}", coupling=version.coupling)
    return None


def _tail(frames: FramesConfig, clock: Clock) -> FrameTail:
    return FrameTail(frames.directory, frames.description, clock)


@contextmanager
def _stop_on_signal(clock: SystemClock) -> Iterator[Callable[[], bool]]:
    """Give a function that says whether SIGTERM or SIGINT came; put the old handlers back."""
    flag = _Flag()

    def handle(number: int, frame: FrameType | None) -> None:
        flag.raised = True
        clock.wake()

    old = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: flag.raised
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@dataclass(slots=True)
class _Flag:
    raised: bool = False


def _report(ledger: Ledger, latencies: Collection[float]) -> None:
    """Say what was done, as the last line of the log."""
    latency = f", median latency {median(latencies):.3f} s" if latencies else ""
    _log.info(
        "stopped after GPS %s: %d frames in, %d written, %d of them cleaned, %d lost, "
        "%d s without strain%s",
        format_gps(ledger.last_out) if ledger.last_out is not None else "-",
        ledger.frames_in,
        ledger.written.total(),
        ledger.written[CLEANED],
        ledger.lost.total(),
        ledger.gaps.total(),
        latency,
    )
