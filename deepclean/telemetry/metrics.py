"""The metrics that Prometheus reads of a running daemon.

Nothing is counted here. Every answer is made from the run's accounts, so that nothing can get out
of step; only the time of the last retraining is read, from the store. docs/metrics.md lists the
series. Every series exists from the start, with all its known reasons at 0; a reason that is not
known yet appears when it occurs.
"""

from __future__ import annotations

import cmath
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any, Protocol, get_args

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from deepclean import __version__
from deepclean.config import Config
from deepclean.core import reasons
from deepclean.core.gate.measures import Quality
from deepclean.core.gate.verdicts import MEASURES
from deepclean.core.output.products import State
from deepclean.core.rollout.rollout import What
from deepclean.core.time import NS
from deepclean.models.store.retrainings import read_state
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.counters import Stream

_log = logging.getLogger(__name__)

_INPUTS = (
    ("strain", "taken"),
    ("strain", "unreadable"),
    ("witnesses", "missing"),
    ("witnesses", "taken"),
    ("witnesses", "unreadable"),
)
_IGNORED = ("duplicate", "late", "misnamed")
_BLOCKS = ("masked", "overflow", "past", "received")
_STRAIN_GAPS = ("invalid", "strain_missing", "strain_rate", "strain_unreadable")
_ERRNOS = ("EACCES", "EFBIG", "EIO", "ENOENT", "ENOSPC", "EROFS")
_PUBLISHED = ("forgotten", "full", "past", "published", "refused", "stopped", "unconfirmed")
_EVENTS = get_args(What)
_RELOADS = ("accepted", "rejected")
_CONTROLS = ("taken", "refused")
_CONFIGURATIONS = ("taken", "refused")
_NO_QUALITY = Quality(*[math.nan] * len(fields(Quality)))
_THREADS = Path("/proc/self/task")


class WatchCounts(Protocol):
    """The count of a watch on the input directories; `io.watch.DirectoryWatch` has it."""

    @property
    def errors(self) -> int:
        """Watches that failed."""
        ...


class Metrics(Collector):
    """Mirrors a run's accounts into a registry of its own.

    A part that fails is left out of that answer and logged once; the others are given.

    Args:
        config: the run's configuration.
        accounts: the run's accounts, read at every scrape.
        watch: the watch on the input directories, read at every scrape.
        lookahead: nanoseconds of input that the engine needs after a frame.
        history: nanoseconds of input that the engine needs before a frame.

    Attributes:
        registry: the registry to serve (telemetry.exporter).
    """

    def __init__(
        self,
        config: Config,
        accounts: Accounts,
        watch: WatchCounts,
        *,
        lookahead: int,
        history: int,
    ) -> None:
        self._config, self._watch = config, watch
        self._ledger, self._counters = accounts.ledger, accounts.counters
        build = {
            "version": __version__,
            "configuration": config.hash,
            "interferometer": config.interferometer,
        }
        fixed = [
            InfoMetricFamily("deepclean_build", "What runs.", value=build),
            _gauge("lookahead_seconds", "Input needed after a frame.", lookahead / NS),
            _gauge("history_seconds", "Input needed before a frame.", history / NS),
        ]
        self._parts: dict[str, Callable[[], Iterable[Metric]]] = {
            "build": lambda: fixed,
            "input": self._input,
            "stream": self._streamed,
            "output": self._output,
            "last frame": self._last_frame,
            "witnesses": self._witnesses,
            "models": self._models,
            "retrainings": self._retrainings,
            "timings": accounts.timings.collect,
            "process": ProcessCollector(registry=None).collect,
            "threads": self._threads,
        }
        self._failing: set[str] = set()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield every series as it stands."""
        for _, metrics in self.parts():
            yield from metrics

    def parts(self) -> Iterator[tuple[str, list[Metric]]]:
        """Yield the name of each part, and its series as they stand."""
        for name, part in self._parts.items():
            try:
                found = list(part())
            except Exception:  # noqa: BLE001  (whatever it is, cleaning goes on)
                if name not in self._failing:
                    _log.exception("metrics of %s cannot be collected", name)
                self._failing.add(name)
            else:
                self._failing.discard(name)
                yield name, found

    def _input(self) -> Iterator[Metric]:
        ledger = self._ledger
        counts = _all(_INPUTS, self._counters.inputs) | {("strain", "taken"): ledger.frames_in}
        yield _counter("input_frames", "Input files, by result.", "stream result", counts)
        ignored = _all(_IGNORED, ledger.ignored)
        yield _counter("input_files_ignored", "Input files passed over.", "reason", ignored)
        about = "Time without strain, for which there is no output."
        yield _counter("gap_seconds", about, "reason", _all(_STRAIN_GAPS, ledger.gaps))
        about = "Watches on directories that failed; probing goes on."
        yield _counter("watcher_errors", about, "", {(): self._watch.errors})
        about = "Time for which a stream has been waited for beyond its time."
        waiting = dict.fromkeys(get_args(Stream), 0.0) | dict(self._counters.waiting)
        yield _gauges("input_waiting_seconds", about, "stream", waiting)
        yield _gauge("last_input_gps_seconds", "End of the last strain.", _gps(ledger.last_in))

    def _streamed(self) -> Iterator[Metric]:
        """Yield what the reader of a stream counts; nothing but 0 where there is none."""
        counts = self._counters.streamed
        blocks = _all(_BLOCKS, {name: counts[name] for name in _BLOCKS})
        yield _counter("streamed_blocks", "Blocks of the input's stream.", "result", blocks)
        about = "Times that the input's stream was opened again."
        yield _counter("streamed_reconnections", about, "", {(): counts["reconnected"]})
        ages = sorted(self._counters.ages) or [math.nan]
        found = {"median": ages[len(ages) // 2], "largest": ages[-1]}
        about = "From a block's end to its arrival, over the last blocks; NaN before the first."
        yield _gauges("streamed_age_seconds", about, "statistic", found)

    def _output(self) -> Iterator[Metric]:
        ledger, counters = self._ledger, self._counters
        about = "Frames written, and why they are not fully cleaned."
        yield _counter("output_frames", about, "result reason", _by_result(ledger.written))
        about = "Frames lost because they could not be written."
        yield _counter("write_errors", about, "errno", _by_errno(ledger.lost))
        archived = _all(self._config.output.products, counters.archived)
        yield _counter("archive_files", "Archive files written.", "product", archived)
        about = "Archive files that could not be written; they are tried again."
        yield _counter("archive_errors", about, "errno", _by_errno(counters.archive_failures))
        about = "Failed attempts to write the files of segments; they are tried again."
        yield _counter("segment_errors", about, "errno", _by_errno(counters.segment_failures))
        about = "Failed attempts to write the status file or the monitor's; they are tried again."
        yield _counter("status_errors", about, "errno", _by_errno(counters.status_failures))
        about = "Blocks for Arrakis, published or not."
        published = _all(_PUBLISHED, counters.published)
        yield _counter("published_blocks", about, "result", published)
        yield _gauge("backlog_frames", "Strain frames taken, not yet written.", ledger.inside)
        yield _gauge("last_output_gps_seconds", "End of the last output.", _gps(ledger.last_out))

    def _last_frame(self) -> Iterator[Metric]:
        couplings, counters = self._config.enabled_couplings, self._counters
        state = State(counters.state)
        about = "Whether a bit of the state vector was 1 throughout the last cleaned frame."
        yield _gauges(
            "state_bit", about, "bit", {str(bit.name): int(bit in state) for bit in State}
        )
        gains = {coupling: counters.gains.get(coupling, 0.0) for coupling in couplings}
        yield _gauges("gain_ratio", "Lowest gain in the last cleaned frame.", "coupling", gains)
        missing = {coupling: len(counters.without.get(coupling, ())) for coupling in couplings}
        about = "Witnesses without which a coupling went on in the last cleaned frame."
        yield _gauges("witnesses_missing", about, "coupling", missing)
        qualities = {each: counters.qualities.get(each, _NO_QUALITY) for each in couplings}
        ratios = {
            (coupling, where): getattr(quality, where)
            for coupling, quality in qualities.items()
            for where in ("in_band", "worst", "guard", "outside", "net")
        }
        about = "Cleaned over raw ASD as the gate measured it last; NaN before that."
        yield _gauges("asd_ratio", about, "coupling where", ratios)
        yield from self._adaptation()
        yield from self._controls()
        closings = _all(product(couplings, reasons.OF_GATES), counters.closings)
        yield _counter("gate_closings", "How often a gate closed.", "coupling reason", closings)
        closed = {coupling: counters.closed_seconds(coupling) for coupling in couplings}
        yield _gauges("gate_closed_seconds", "How long a gate has been closed.", "coupling", closed)
        found = dict(counters.obstacles)
        obstacles = dict.fromkeys(product(couplings, MEASURES), math.nan)
        obstacles |= {(coupling, one.measure): one.value for coupling, one in found.items()}
        about = "The measure that keeps a closed gate from opening; NaN for the others."
        yield _gauges("gate_obstacle", about, "coupling measure", obstacles)

    def _adaptation(self) -> Iterator[Metric]:
        """Yield the gains by which the estimates of couplings with adaptation are multiplied."""
        known = dict(self._counters.adaptations)
        whole, significance = {}, {}
        for name, coupling in self._config.enabled_couplings.items():
            if coupling.adapt == "off":
                continue
            knot = known.get(name)
            whole[name] = 1.0 if knot is None else knot.whole
            significance[name] = 0.0 if knot is None else float(knot.significance.max())
        about = "Amplitude of the gain by which the adaptation multiplies the model's estimate."
        yield _gauges("adapt_amplitude", about, "coupling", {n: abs(g) for n, g in whole.items()})
        phases = {name: cmath.phase(gain) for name, gain in whole.items()}
        yield _gauges("adapt_phase_radians", "Phase of that gain.", "coupling", phases)
        about = "Energy of what a change of gain subtracts, in units of chance's: the largest."
        yield _gauges("adapt_significance", about, "coupling", significance)

    def _controls(self) -> Iterator[Metric]:
        """Yield what operators set."""
        couplings, counters = self._config.enabled_couplings, self._counters
        allowed = {coupling: counters.allowed.get(coupling, 1.0) for coupling in couplings}
        about = "Lowest gain that an operator allowed in the last cleaned frame."
        yield _gauges("control_gain_ratio", about, "coupling", allowed)
        frozen = {coupling: int(coupling in counters.frozen) for coupling in couplings}
        about = "Whether an operator froze the adaptation in the last cleaned frame."
        yield _gauges("control_frozen", about, "coupling", frozen)
        about = "Orders of operators."
        yield _counter("controls", about, "result", _all(_CONTROLS, counters.controls))
        about = "Configurations that were read again."
        counts = _all(_CONFIGURATIONS, counters.configurations)
        yield _counter("configurations", about, "result", counts)

    def _witnesses(self) -> Iterator[Metric]:
        known = product(self._config.witness_channels, reasons.OF_WITNESSES)
        about = "Cleaned frames in which something was wrong with a witness."
        counts = _all(known, self._counters.witness_faults)
        yield _counter("witness_faults", about, "channel reason", counts)
        used = (
            (name, witness)
            for name, coupling in self._config.enabled_couplings.items()
            for witness in coupling.witnesses
        )
        about = "Cleaned frames in which a coupling went on without a witness."
        counts = _all(used, self._counters.frames_without)
        yield _counter("frames_without_witness", about, "coupling channel", counts)

    def _models(self) -> Iterator[Metric]:
        counters = self._counters
        models = InfoMetricFamily("deepclean_model", "The model in force.", labels=["coupling"])
        for coupling, model in counters.models.items():
            models.add_metric([coupling], {"version": str(model.version), "hash": model.hash})
        yield models
        about = "Models offered to the running daemon."
        yield _counter("reloads", about, "result", _all(_RELOADS, counters.reloads))
        events = _all(product(self._config.enabled_couplings, _EVENTS), counters.model_events)
        about = "What happened to the models of the running daemon."
        yield _counter("model_events", about, "coupling event", events)

    def _retrainings(self) -> Iterator[Metric]:
        # The one series that is read from a file: retrainings are processes of their own.
        root = self._config.models.directory / self._config.interferometer
        couplings = self._config.enabled_couplings
        states = {name: read_state(root / name).succeeded for name in couplings}
        times = {name: math.nan if when is None else when for name, when in states.items()}
        about = "Unix time at which a retraining last judged a candidate; NaN before the first one."
        yield _gauges("retrain_success_timestamp_seconds", about, "coupling", times)

    def _threads(self) -> Iterator[Metric]:
        count = sum(1 for _ in _THREADS.iterdir())
        yield GaugeMetricFamily("process_threads", "Threads of the process.", count)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"deepclean_{name}", about, value)


def _gauges(name: str, about: str, labels: str, values: Mapping[Any, float]) -> Metric:
    return _filled(GaugeMetricFamily(f"deepclean_{name}", about, labels=labels.split()), values)


def _counter(name: str, about: str, labels: str, counts: Mapping[Any, float]) -> Metric:
    return _filled(CounterMetricFamily(f"deepclean_{name}", about, labels=labels.split()), counts)


def _filled(family: Any, values: Mapping[Any, float]) -> Metric:
    """Return a family with its values; their keys are the label, or a tuple of several."""
    for key, value in values.items():
        family.add_metric(key if isinstance(key, tuple) else (key,), value)
    filled: Metric = family
    return filled


def _all(known: Iterable[Any], counted: Mapping[Any, int]) -> dict[Any, int]:
    """Return the counts, with 0 for what is known but was not counted yet."""
    # The copy is one step of the interpreter: the work loop cannot add a key in the middle of it.
    return dict.fromkeys(known, 0) | dict(counted)


def _by_errno(lost: Mapping[str, int]) -> dict[str, int]:
    counts = dict.fromkeys((*_ERRNOS, "other"), 0)
    for name, count in dict(lost).items():
        counts[name if name in counts else "other"] += count
    return counts


def _by_result(written: Mapping[str, int]) -> dict[tuple[str, str], int]:
    counts = _all(reasons.ALL, written)
    cleaned = counts.pop(reasons.CLEANED)
    reduced = {("reduced", reason): count for reason, count in counts.items()}
    return {("cleaned", "none"): cleaned} | reduced


def _gps(instant: int | None) -> float:
    """Return an instant in seconds; NaN where there was none yet."""
    return math.nan if instant is None else instant / NS
