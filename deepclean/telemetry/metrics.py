"""What Prometheus hears of a running daemon: read where it is kept, when it is asked for.

Nothing is counted here: the ledger, the figures and the timings are the only accounts, so there is
nothing that could get out of step. docs/metrics.md lists the series. Every one exists from the
start, with all its known reasons at 0; a reason that is not known yet appears when it occurs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Protocol, get_args

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from deepclean import __version__
from deepclean.config import Config
from deepclean.core import reasons
from deepclean.core.accounting import Ledger
from deepclean.core.block import Quality
from deepclean.core.products import State
from deepclean.core.rollout.rollout import What
from deepclean.core.time import NS
from deepclean.telemetry.counters import Counters
from deepclean.telemetry.timings import Timings

_log = logging.getLogger(__name__)

_INPUTS = (
    ("strain", "taken"),
    ("strain", "unreadable"),
    ("witnesses", "missing"),
    ("witnesses", "taken"),
    ("witnesses", "unreadable"),
)
_IGNORED = ("duplicate", "late")
_STRAIN_GAPS = ("invalid", "strain_missing", "strain_rate", "strain_unreadable")
_ERRNOS = ("EACCES", "EFBIG", "EIO", "ENOENT", "ENOSPC", "EROFS")
_EVENTS = get_args(What)
_RELOADS = ("accepted", "rejected")
_NO_QUALITY = Quality(math.nan, math.nan, math.nan, math.nan)
_THREADS = Path("/proc/self/task")


class WatchCounts(Protocol):
    """What watches the input directories; `io.watch.Watch` does."""

    @property
    def errors(self) -> int:
        """Watches that failed."""
        ...


class Metrics(Collector):
    """Mirrors a daemon's accounts into a registry of its own.

    A part that fails is left out of that answer and logged once; the others are given.

    Args:
        config: of the run.
        ledger: of the run, read at every scrape.
        figures: likewise.
        timings: likewise.
        watch: likewise.
        lookahead: of the engine, nanoseconds.
        history: of the engine, nanoseconds.

    Attributes:
        registry: what to serve (telemetry.exporter).
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        figures: Counters,
        timings: Timings,
        watch: WatchCounts,
        *,
        lookahead: int,
        history: int,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._figures = figures
        self._watch = watch
        build = _build(config, lookahead, history)
        process = ProcessCollector(registry=None)
        self._parts: dict[str, Callable[[], Iterable[Metric]]] = {
            "build": lambda: build,
            "input": self._input,
            "output": self._output,
            "last frame": self._last_frame,
            "witnesses": self._witnesses,
            "models": self._models,
            "timings": timings.collect,
            "process": process.collect,
            "threads": self._threads,
        }
        self._failing: set[str] = set()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield every series as it stands."""
        for name, part in self._parts.items():
            try:
                found = list(part())
            except Exception:  # noqa: BLE001  (whatever it is, cleaning goes on)
                if name not in self._failing:
                    _log.exception("metrics of %s cannot be collected", name)
                self._failing.add(name)
            else:
                self._failing.discard(name)
                yield from found

    def _input(self) -> Iterator[Metric]:
        ledger = self._ledger
        yield _counter(
            "input_frames",
            "Input files, by what became of them.",
            ["stream", "result"],
            _all(_INPUTS, self._figures.inputs) | {("strain", "taken"): ledger.frames_in},
        )
        yield _counter(
            "input_files_ignored",
            "Input files passed over.",
            ["reason"],
            _all(_IGNORED, ledger.ignored),
        )
        yield _counter(
            "gap_seconds",
            "Time without strain, for which there is no output.",
            ["reason"],
            _all(_STRAIN_GAPS, ledger.gaps),
        )
        yield _counter(
            "watcher_errors",
            "Watches on directories that failed; probing goes on.",
            [],
            {(): self._watch.errors},
        )
        yield _gauge("last_input_gps_seconds", "End of the last strain.", _gps(ledger.last_in))

    def _output(self) -> Iterator[Metric]:
        ledger = self._ledger
        yield _counter(
            "output_frames",
            "Frames written, and why they are not fully cleaned.",
            ["result", "reason"],
            _by_result(ledger.written),
        )
        yield _counter(
            "write_errors",
            "Frames lost because they could not be written.",
            ["errno"],
            _by_errno(ledger.lost),
        )
        yield _counter(
            "archive_files",
            "Archive files written.",
            ["product"],
            _all(self._config.output.products, self._figures.archived),
        )
        yield _counter(
            "archive_errors",
            "Archive files that could not be written; they are tried again.",
            ["errno"],
            _by_errno(self._figures.archive_failures),
        )
        yield _gauge("backlog_frames", "Strain frames taken, not yet written.", ledger.inside)
        yield _gauge("last_output_gps_seconds", "End of the last output.", _gps(ledger.last_out))

    def _last_frame(self) -> Iterator[Metric]:
        bits = GaugeMetricFamily(
            "deepclean_state_bit",
            "Whether a bit of the state vector was 1 throughout the last cleaned frame.",
            labels=["bit"],
        )
        state = State(self._figures.state)
        for bit in State:
            bits.add_metric([str(bit.name)], int(bit in state))
        yield bits
        gain = GaugeMetricFamily(
            "deepclean_gain_ratio", "Lowest gain in the last cleaned frame.", labels=["coupling"]
        )
        for coupling in self._config.enabled_couplings:
            gain.add_metric([coupling], self._figures.gains.get(coupling, 0.0))
        yield gain
        ratio = GaugeMetricFamily(
            "deepclean_asd_ratio",
            "Cleaned over raw ASD as the gate saw it last; NaN before that.",
            labels=["coupling", "where"],
        )
        for coupling in self._config.enabled_couplings:
            quality = self._figures.qualities.get(coupling, _NO_QUALITY)
            for where in ("in_band", "worst", "guard", "outside"):
                ratio.add_metric([coupling, where], getattr(quality, where))
        yield ratio
        yield _counter(
            "gate_closings",
            "How often a gate closed.",
            ["coupling", "reason"],
            _all(product(self._config.enabled_couplings, reasons.OF_GATES), self._figures.closings),
        )

    def _witnesses(self) -> Iterator[Metric]:
        known = product(self._config.witness_channels, reasons.OF_WITNESSES)
        yield _counter(
            "witness_faults",
            "Cleaned frames in which something was wrong with a witness.",
            ["channel", "reason"],
            _all(known, self._figures.witness_faults),
        )

    def _models(self) -> Iterator[Metric]:
        models = InfoMetricFamily("deepclean_model", "The model in force.", labels=["coupling"])
        for coupling, model in self._figures.models.items():
            models.add_metric([coupling], {"version": str(model.version), "hash": model.hash})
        yield models
        yield _counter(
            "reloads",
            "Models offered to the running daemon.",
            ["result"],
            _all(_RELOADS, self._figures.reloads),
        )
        yield _counter(
            "model_events",
            "What happened to the models of the running daemon.",
            ["coupling", "event"],
            _all(product(self._config.enabled_couplings, _EVENTS), self._figures.model_events),
        )

    def _threads(self) -> Iterator[Metric]:
        count = sum(1 for _ in _THREADS.iterdir())
        yield GaugeMetricFamily("process_threads", "Threads of the process.", count)


def _build(config: Config, lookahead: int, history: int) -> list[Metric]:
    """Return what stays as it is."""
    build = {
        "version": __version__,
        "configuration": config.hash,
        "interferometer": config.interferometer,
    }
    return [
        InfoMetricFamily("deepclean_build", "What runs.", value=build),
        _gauge("lookahead_seconds", "Input needed after a frame.", lookahead / NS),
        _gauge("history_seconds", "Input needed before a frame.", history / NS),
    ]


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"deepclean_{name}", about, value)


def _counter(name: str, about: str, labels: list[str], counts: Mapping[Any, float]) -> Metric:
    """Return a counter; the keys of `counts` are the label, or a tuple of several."""
    family = CounterMetricFamily(f"deepclean_{name}", about, labels=labels)
    for key, count in counts.items():
        family.add_metric(key if isinstance(key, tuple) else (key,), count)
    return family


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
