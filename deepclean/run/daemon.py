"""The live daemon: one loop from the site's directories to cleaned frames, until told to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from deepclean import __version__
from deepclean.config import Config
from deepclean.config.settings import trial_settings
from deepclean.control.follower import ControlFollower
from deepclean.control.known import known_controls
from deepclean.control.reload import ConfigReloader
from deepclean.control.updates import ControlUpdates
from deepclean.core.accounting import Ledger
from deepclean.core.block import Series, Version
from deepclean.core.engine.engine import Engine
from deepclean.core.frame import InputFrame
from deepclean.core.reasons import CLEANED
from deepclean.core.time import NS, format_gps
from deepclean.errors import DeviceError
from deepclean.factory import make_engine
from deepclean.io.archive import FrameArchive
from deepclean.io.arrakis.publisher import publisher_of
from deepclean.io.live.source import LiveSource
from deepclean.io.segments.daily import SegmentFiles
from deepclean.io.sink import Appeared
from deepclean.io.t050017 import FrameName
from deepclean.io.watch import DirectoryWatch
from deepclean.models.device import is_lost
from deepclean.models.loading import load_models_or_former
from deepclean.models.model import Model
from deepclean.rollout.record import ModelRecord
from deepclean.rollout.record import path_in as record_path
from deepclean.rollout.remote_follower import RemoteFollower
from deepclean.rollout.store_follower import StoreFollower
from deepclean.rollout.updates import ModelUpdates, RecentBlocks
from deepclean.run import configurations
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.run.drain import Drain
from deepclean.run.lookahead import decided_live
from deepclean.run.signals import on_signals
from deepclean.run.sources import file_duration, live_input, live_source
from deepclean.system.clock import SystemClock, gps_now
from deepclean.system.lock import OutputLock
from deepclean.system.malloc import Trimmer
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.counters import Counters
from deepclean.telemetry.exporter import Exporter
from deepclean.telemetry.metrics import Metrics
from deepclean.telemetry.notify import ServiceNotifier
from deepclean.telemetry.pages import Pages, live_spectra, make_page
from deepclean.telemetry.status import StatusReport
from deepclean.telemetry.status_file import StatusFile, check_path_in, path_in

_log = logging.getLogger(__name__)

Reload = tuple[Callable[[], bool], Callable[[], Config]]
"""Returns whether the configuration is to be read again since the last call; reads it."""


def run(
    config: Config, clock: SystemClock | None = None, read: Callable[[], Config] | None = None
) -> Ledger:
    """Clean what arrives until SIGTERM or SIGINT, then drain and return what was done.

    Args:
        config: of the site.
        clock: for waiting.
        read: reads the configuration again, at SIGHUP; None: it stays.

    Raises:
        ConfigError, ModelError: the start is not possible.
        InputError: the first strain frame is not what the configuration says.
        OutputError: the output directory cannot be used.
        DeviceError: as load_models, and as work.
    """
    clock = clock or SystemClock()
    lock = OutputLock(config.output.directory, config.output.description)
    with on_signals(clock, reloads=read is not None) as signals, lock:
        reload = None if read is None else (signals.pop_reload, read)
        daemon = build(config, clock, signals.stopped, guard=lock.hold, reload=reload)
        daemon.serve()
        while (again := daemon.source.begins_again) is not None:
            signals.reload_again()
            daemon = build(config, clock, signals.stopped, lock.hold, again, reload)
            daemon.serve()
    unit = "blocks" if config.input.streams_strain else "frames"
    _report(daemon.cleaner.ledger, daemon.cleaner.latencies, unit)
    return daemon.cleaner.ledger


@dataclass(frozen=True, slots=True, eq=False)
class Daemon:
    """The parts of a daemon that work together while it serves.

    Args:
        source: gives the frames.
        cleaner: cleans and writes them.
        notifier: tells the service manager.
        status_file: tells `deepclean status`.
        services: run beside the loop: watch, metrics, archive, segments, and what follows the model
            store and the orders of operators.
    """

    source: LiveSource
    cleaner: FrameCleaner
    notifier: ServiceNotifier
    status_file: StatusFile
    services: Sequence[AbstractContextManager[object]]

    def serve(self) -> None:
        """Clean until told to stop.

        Raises:
            DeviceError: as work.
        """
        with ExitStack() as stack:
            for service in self.services:
                stack.enter_context(service)
            try:
                work(self.source, self.cleaner, self.notifier)
            finally:
                self.status_file.write(self.cleaner.ledger, now=True)


def build(
    config: Config,
    clock: SystemClock,
    stopped: Callable[[], bool],
    guard: Callable[[], None],
    resume: int | None = None,
    reload: Reload | None = None,
) -> Daemon:
    """Return the daemon of a configuration, ready to serve.

    Args:
        config: of the site.
        clock: for waiting.
        stopped: says whether the daemon is to stop.
        guard: holds the output lock. A directory that was made again could be locked by another.
        resume: where the stream has begun again (LiveSource).
        reload: asks for the configuration to be read again, and reads it; None: it stays.

    Raises:
        ConfigError, ModelError, OutputError, DeviceError: as run.
    """
    given, loaded = config, load_models_or_former(config)
    config = decided_live(config, loaded)
    output = config.output
    engine = make_engine(config, loaded)
    archive, segments = FrameArchive(config), SegmentFiles(config)
    appeared = _each(archive.appeared, segments.appeared)
    sink = sink_of(config, loaded, guard=guard, appeared=appeared)
    configurations.keep(config, output.directory)
    counters = Counters(models=loaded, archived=archive.written, archive_failures=archive.failures)
    counters.segment_failures = segments.failures
    publisher = publisher_of(config, counters.published)
    accounts = Accounts(counters=counters, spectra=live_spectra(config))
    page = make_page(config, accounts)
    asked, read = reload or (lambda: False, lambda: given)
    reloader = ConfigReloader(given, read, config.enabled_couplings, sink, counters.configurations)
    changes = _changes(config, loaded, engine, counters, reloader)
    cleaner = FrameCleaner(
        *(config, engine, sink, clock.monotonic),
        duration=file_duration(config),
        updates=changes.updates,
        accounts=accounts,
    )
    cleaner.publisher = publisher
    inputs = live_input(config, clock, accounts)
    watch, notifier, trimmer = (
        DirectoryWatch(inputs.tails, clock),
        ServiceNotifier(clock=clock),
        Trimmer(clock),
    )
    report = StatusReport(config, accounts, changes.updates, lookahead=engine.lookahead)
    status_file = StatusFile(
        path_in(output.directory, output.description),
        clock,
        changes.updates.standings,
        report.couplings,
        lambda: {
            "controls": [
                str(taken)
                for taken in changes.controls.standing(
                    counters.waited().get("strain", 0.0), gps_now()
                )
            ],
            "reloaded": asdict(reloader.result),
            "waiting": counters.waited(),
            "trouble": inputs.trouble,
            "history": {name: round(seconds, 1) for name, seconds in counters.history_read.items()},
        },
        report=report,
        check=check_path_in(output.directory, output.description),
    )
    counters.status_failures = status_file.failures

    def turn() -> None:
        """Do what is due at every turn of the loop, idle ones too."""
        notifier.ready()
        notifier.watchdog()
        if silence := inputs.silence(counters.waiting):
            notifier.status(silence)
        watch.check()
        status_file.write(accounts.ledger)
        if page is not None:
            page.turn()
        trimmer.step()
        if asked():
            reloader.ask()

    drain = Drain(stopped, accounts.ledger, clock)
    source = live_source(inputs, engine, sink, drain, turn)
    source.resume = resume
    if publisher is not None and publisher.only:
        source.outputs = publisher.finished()
    metrics = Metrics(config, accounts, watch, lookahead=engine.lookahead, history=engine.history)
    _log.info(
        "deepclean %s: %s, look-ahead %.3f s, history %.3f s, output %s",
        __version__,
        ", ".join(f"{name} version {model.version}" for name, model in loaded.items()),
        engine.lookahead / NS,
        engine.history / NS,
        sink.directory,
    )
    exporter = Exporter(config.metrics, metrics.registry, Pages(status_file, report, clock, page))
    services = (
        *(watch, nullcontext() if inputs.inbox is None else inputs.inbox.feed),
        *(page or nullcontext(), exporter, archive, segments, *changes.services, reloader),
        publisher or nullcontext(),
    )
    return Daemon(source, cleaner, notifier, status_file, services)


@dataclass(frozen=True, slots=True, eq=False)
class _Changes:
    """What changes a running daemon: new versions of models, and orders of operators."""

    updates: ModelUpdates
    controls: ControlUpdates
    services: Sequence[AbstractContextManager[object]]


def _changes(
    config: Config,
    loaded: Mapping[str, Model],
    engine: Engine,
    counters: Counters,
    reloader: ConfigReloader,
) -> _Changes:
    output, recent = config.output, RecentBlocks()
    record = ModelRecord(record_path(output.directory, output.description))
    known = known_controls(config, record.path)
    follower = StoreFollower(config, loaded, record, recent)
    orders = ControlFollower(config, known.log.answered)
    couplings = config.enabled_couplings
    controls = ControlUpdates(engine, couplings, orders, record, counters, known, reloader.changed)
    rules = trial_settings(config)
    updates = ModelUpdates(engine, rules, loaded, follower, counters, recent, controls)
    return _Changes(updates, controls, (follower, RemoteFollower(config), orders))


def _each(*told: Appeared) -> Appeared:
    """Return a function that tells each of some functions of a frame."""

    def tell(name: FrameName, channels: Mapping[str, Series]) -> None:
        for one in told:
            one(name, channels)

    return tell


def work(source: LiveSource, cleaner: FrameCleaner, notifier: ServiceNotifier) -> None:
    """Take what the source gives; at the end give out what is inside.

    Raises:
        DeviceError: the device of a network serves errors only. Until here the strain passed
            through.
    """
    notifier.status("waiting for strain")
    started, fault, reached = False, None, cleaner.ledger.last_out
    for event in source.events():
        written = cleaner.push(event) if isinstance(event, InputFrame) else cleaner.release()
        fault = _lost_device(cleaner.model_errors)
        if fault is not None:
            break
        before, reached = reached, cleaner.ledger.last_out
        if not written:
            if reached is not None and reached != before:  # published, without files
                count = cleaner.ledger.written.total()
                notifier.status(f"cleaned to GPS {format_gps(reached)}, {count} so far")
            continue
        if source.run.draining() and not isinstance(event, InputFrame):
            _say_raw(written)
        if not started:
            started = True
            _log.info("first frame written: %s", written[0].name)
        notifier.status(f"{written[-1].name} written, {cleaner.ledger.written.total()} so far")
    if source.begins_again is None:
        notifier.stopping()  # else the process goes on, with the stream from where it begins again
    raw = cleaner.release()
    if raw and fault is None:
        _say_raw(raw)
    if fault is not None:
        raise fault


def _say_raw(written: Sequence[Path]) -> None:
    _log.info("the look-ahead did not come: %s", ", ".join(path.name for path in written))


def _lost_device(errors: Mapping[Version, Exception]) -> DeviceError | None:
    """Return the fault that ends this process where a network's device is beyond use."""
    for version, error in errors.items():
        if is_lost(error):
            said = str(error).partition("\n")[0]
            return DeviceError(f"the device is lost: {said}", coupling=version.coupling)
    return None


def _report(ledger: Ledger, latencies: Collection[float], unit: str) -> None:
    """Say what was done, as the last line of the log, in frames or in blocks."""
    latency = f", median latency {median(latencies):.3f} s" if latencies else ""
    _log.info(
        "stopped after GPS %s: %d %s in, %d written, %d of them cleaned, %d lost, "
        "%d s without strain%s",
        format_gps(ledger.last_out) if ledger.last_out is not None else "-",
        ledger.frames_in,
        unit,
        ledger.written.total(),
        ledger.written[CLEANED],
        ledger.lost.total(),
        ledger.gaps.total(),
        latency,
    )
