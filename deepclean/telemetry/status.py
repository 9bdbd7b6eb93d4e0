"""The state of a running daemon as one document: the content of its status file and of `/status`.

telemetry.status_schema states its schema, and docs/page.md describes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from math import isfinite
from typing import Any, Protocol

from deepclean import __version__
from deepclean.config import Config
from deepclean.core.gate.measures import GateFinding
from deepclean.core.output.products import State
from deepclean.core.rollout.rules import CanaryProgress
from deepclean.core.time import NS
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.health import LEVELS, OVERDUE, Health, judge

_RECENT = 300
"""The number of last frames that the latencies are of."""

_REMEMBERED = 3600 * NS
"""Nanoseconds of data for which a witness that was in trouble is listed."""

_MOST_WITNESSES = 40
"""The largest number of witnesses in trouble that are listed."""


class ModelStandings(Protocol):
    """Where it is known which versions are at work; `rollout.updates.ModelUpdates`."""

    def canaries(self) -> Mapping[str, CanaryProgress]:
        """Return how far the trials of the canaries are, by coupling."""
        ...


class StatusReport:
    """Makes the document from a run's accounts, in the work loop.

    Args:
        config: of the run.
        accounts: of the run.
        models: knows the canaries.
        lookahead: nanoseconds of input that the engine needs after a frame.
        wall: seconds since the Unix epoch.

    Attributes:
        health: as of the last call of `facts`.
        ready: whether frames come in and go out, as of then.
        written: when that was, seconds since the Unix epoch.
    """

    def __init__(
        self,
        config: Config,
        accounts: Accounts,
        models: ModelStandings,
        *,
        lookahead: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._accounts, self._models = accounts, models
        self._lookahead, self._wall = lookahead, wall
        self._lost, self._lost_at = 0, -60.0
        self._fixed = {
            "schema_version": 1,
            "interferometer": config.interferometer,
            "software": __version__,
            "configuration": config.hash,
            "started": wall(),
            "lookahead": lookahead / NS,
            "page": config.metrics.enabled and config.metrics.page,
            "configured": {
                name: {
                    "about": one.about,
                    "bands": [list(band) for band in one.bands],
                    "witnesses": len(one.witnesses),
                }
                for name, one in config.enabled_couplings.items()
            },
        }
        self.health = Health(1, ("the daemon is starting",))
        self.ready = False
        self.written = wall()

    def facts(self) -> dict[str, Any]:
        """Return all but the process, the ledger, the models' standings and the couplings."""
        now, counters, ledger = self._wall(), self._accounts.counters, self._accounts.ledger
        self.written = now
        recent = list(islice(reversed(self._accounts.latencies), _RECENT))
        lost = ledger.lost.total()
        if lost > self._lost:
            self._lost, self._lost_at = lost, now
        self.health = judge(
            ledger,
            counters,
            recent[:30],
            lookahead=self._lookahead,
            losing=lost > 0 and now - self._lost_at < 60,
        )
        overdue = counters.waiting.get("strain", 0.0) >= OVERDUE
        self.ready = ledger.written.total() > 0 and not overdue
        bits = State(counters.state)
        return {
            **self._fixed,
            "written": now,
            "latency": _latency(recent),
            "state": {str(bit.name): bit in bits for bit in State} if counters.gains else None,
            "health": health_status(self.health),
            "witnesses": self._witnesses(),
        }

    def couplings(self) -> dict[str, dict[str, Any]]:
        """Return the couplings in the last cleaned frame, by name."""
        counters, canaries = self._accounts.counters, self._models.canaries()
        closings: dict[str, int] = {}
        for (name, _), count in counters.closings.items():
            closings[name] = closings.get(name, 0) + count
        found: dict[str, dict[str, Any]] = {}
        for name, figures in counters.by_coupling().items():
            quality, model = counters.qualities.get(name), counters.models.get(name)
            gated, canary = figures["gate"] is not None, canaries.get(name)
            found[name] = {
                **figures,
                "reasons": list(counters.reasons.get(name, ())),
                "closed": round(counters.closed_seconds(name), 3) if gated else None,
                "obstacle": _finding(counters.obstacles.get(name)),
                "closings": closings.get(name, 0),
                "net": None if quality is None else _finite(quality.net),
                "without": sorted(counters.without.get(name, ())),
                "version": None if model is None else model.version,
                "hash": None if model is None else model.hash,
                "canary": None if canary is None else _canary(canary),
            }
        return found

    def _witnesses(self) -> list[dict[str, Any]]:
        """Return the witnesses that were in trouble within the last hour, the latest first."""
        counters, end = self._accounts.counters, self._accounts.ledger.last_out
        if end is None:
            return []
        recent = sorted(
            (
                (last, *key)
                for key, last in counters.witness_last.items()
                if last > end - _REMEMBERED
            ),
            key=lambda one: (-one[0], *one[1:]),
        )
        return [
            {
                "channel": channel,
                "reason": reason,
                "frames": counters.witness_faults[channel, reason],
                "last": last / NS,
                "now": last == end,
            }
            for last, channel, reason in recent[:_MOST_WITNESSES]
        ]


def health_status(health: Health) -> dict[str, Any]:
    """Return a health as the document states it."""
    assert health.level in range(len(LEVELS))
    return {"num_status": health.level, "txt_status": health.text, "why": list(health.why)}


def _latency(recent: Sequence[float]) -> dict[str, Any] | None:
    if not recent:
        return None
    ordered = sorted(recent)
    figures = {"last": recent[0], "median": ordered[len(ordered) // 2], "worst": ordered[-1]}
    return {name: round(value, 4) for name, value in figures.items()} | {"frames": len(recent)}


def _canary(progress: CanaryProgress) -> dict[str, Any]:
    figures = asdict(progress.figures)
    counted = figures["counted"] > 0
    return {
        "version": progress.version,
        "in_spec": figures["in_spec"] / NS,
        "wanted": progress.wanted / NS,
        "asd_ratio": _finite(figures["candidate"]) if counted else None,
        "production_asd_ratio": _finite(figures["other"]) if counted else None,
    }


def _finding(finding: GateFinding | None) -> dict[str, Any] | None:
    if finding is None:
        return None
    return {
        "measure": finding.measure,
        "value": _finite(finding.value),
        "limit": finding.limit,
    }


def _finite(value: float) -> float | None:
    """Return a number as JSON can state it; None for one that is not finite."""
    return value if isfinite(value) else None
