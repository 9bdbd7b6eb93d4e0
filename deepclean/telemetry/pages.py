"""What a daemon answers over HTTP beside its metrics: its page, its state and its health.

| path | what |
|---|---|
| `/` | the page, with `/page.css`, `/icon.svg`, `/page.js` and the scripts that it imports |
| `/status` | the state of the daemon (telemetry.status) |
| `/schema` | the JSON schema of that (telemetry.status_schema) |
| `/spectra`, `/timeline`, `/events` | what the page draws beside it |
| `/health` | the level and the words for IGWN's `check_json`; 503 where it is CRITICAL |
| `/healthz` | 200 while the work loop turns, else 503 |
| `/readyz` | 200 while frames come in and go out, else 503 |

Everything is made from what the work loop left behind, in the exporter's thread.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Self

from deepclean.config import Config
from deepclean.system.clock import Clock
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.events import RecentEvents
from deepclean.telemetry.events import path_in as events_path_in
from deepclean.telemetry.health import SILENT, Health, check_json, hung
from deepclean.telemetry.http import Answer, Request
from deepclean.telemetry.live_spectra import LiveSpectra
from deepclean.telemetry.status import StatusReport, health_status
from deepclean.telemetry.status_file import StatusFile
from deepclean.telemetry.status_schema import schema
from deepclean.telemetry.timeline import Timeline

_log = logging.getLogger(__name__)

_JSON = "application/json"
_FRESH = {"Cache-Control": "no-store"}

# Nothing from elsewhere, nothing inline, no frame around it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SCRIPT = "text/javascript; charset=utf-8"
_KINDS = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": _SCRIPT,
    "elements.js": _SCRIPT,
    "spectrum.js": _SCRIPT,
    "timeline.js": _SCRIPT,
    "icon.svg": "image/svg+xml",
}


def live_spectra(config: Config) -> LiveSpectra | None:
    """Return the spectra that the page shows; None where the configuration has it off."""
    if not (config.metrics.enabled and config.metrics.page):
        return None
    bands = {name: coupling.bands for name, coupling in config.enabled_couplings.items()}
    return LiveSpectra(bands, config.strain.rate)


def make_page(
    config: Config, accounts: Accounts, wall: Callable[[], float] = time.time
) -> Page | None:
    """Return the page of a run; None where the accounts have no spectra.

    Args:
        config: of the run.
        accounts: of the run.
        wall: seconds since the Unix epoch.
    """
    if accounts.spectra is None:
        return None
    place = config.output.directory, config.output.description
    events = RecentEvents(events_path_in(*place))
    return Page(accounts.spectra, Timeline(accounts, *place, wall), events)


class Page:
    """What only the page needs: spectra, timeline, events, and its files.

    The work loop calls `turn`, the exporter's thread the rest.

    Args:
        spectra: of the stream.
        timeline: of the last hours.
        events: the last lines of the log.
    """

    def __init__(self, spectra: LiveSpectra, timeline: Timeline, events: RecentEvents) -> None:
        self._spectra, self._timeline, self._events = spectra, timeline, events
        self._works = True
        self.files = {name: _file(name) for name in _KINDS}

    def __enter__(self) -> Self:
        self._events.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._events.__exit__()
        self._attempt(self._timeline.close)
        self._attempt(self._events.save)

    def turn(self) -> None:
        """Do what is due at a turn of the work loop."""
        self._attempt(self._timeline.step)

    def step(self) -> None:
        """Do what is due in the exporter's thread, once a second."""
        self._attempt(self._spectra.step)
        self._attempt(self._timeline.save)
        self._attempt(self._events.save)

    @property
    def routes(self) -> dict[str, Callable[[Request], Answer]]:
        """The answers by path."""
        found: dict[str, Callable[[Request], Answer]] = {
            "/spectra": lambda _: _json(self._spectra.content()),
            "/timeline": lambda request: _json(self._timeline.content(request.number("since"))),
            "/events": lambda request: _json(self._events.content(request.number("since"))),
        }
        for name, answer in self.files.items():
            path = "/" if name == "index.html" else f"/{name}"
            found[path] = lambda _, answer=answer: answer  # type: ignore[misc]
        return found

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do something whose failure must not reach the stream; it is logged once."""
        try:
            work()
        except Exception:  # noqa: BLE001  (whatever it is, cleaning goes on)
            if self._works:
                _log.exception("the page is not complete; cleaning goes on")
            self._works = False


class Pages:
    """Answers by path.

    Args:
        status_file: holds the state as the work loop left it.
        report: holds the health and whether the daemon is ready.
        clock: of the work loop, for its age.
        page: the page; None where it is off.
    """

    def __init__(
        self, status_file: StatusFile, report: StatusReport, clock: Clock, page: Page | None
    ) -> None:
        self._status_file, self._report = status_file, report
        self._clock, self._page = clock, page
        self.routes: Mapping[str, Callable[[Request], Answer]] = {
            "/status": lambda _: self._status(),
            "/schema": lambda _: _json(json.dumps(schema(), indent=2).encode()),
            "/health": lambda _: self._health(),
            "/healthz": lambda _: self._alive(),
            "/readyz": lambda _: self._ready(),
            **(page.routes if page is not None else {}),
        }

    def step(self) -> None:
        """Do what is due once a second."""
        if self._page is not None:
            self._page.step()

    def _age(self) -> float | None:
        """Return the seconds since the work loop left its state; None before the first time."""
        written = self._status_file.written
        return None if written is None else max(self._clock.monotonic() - written, 0.0)

    def _now(self) -> Health:
        """Return how the daemon is, the work loop's own silence included."""
        age = self._age()
        if age is None:
            return Health(1, ("the daemon is starting",))
        return hung(age) if age > SILENT else self._report.health

    def _status(self) -> Answer:
        age, content = self._age(), self._status_file.content
        if age is None:
            return _json(b'{"starting": true}', status=503)
        if age > SILENT:
            late = {**json.loads(content), "health": health_status(hung(age))}
            content = json.dumps(late).encode()
        return _json(content[:-1] + b', "age": %.2f}' % age)

    def _health(self) -> Answer:
        health = self._now()
        content = json.dumps(check_json(health, self._report.written)).encode()
        return _json(content, status=503 if health.level > 1 else 200)

    def _alive(self) -> Answer:
        age = self._age() or 0.0
        if age > SILENT:
            return Answer(f"{hung(age).text}\n".encode(), status=503)
        return Answer(b"ok\n")

    def _ready(self) -> Answer:
        health = self._now()
        if self._report.ready and health.level < 2:
            return Answer(b"ok\n")
        return Answer(f"{health.text}\n".encode(), status=503)


def _json(content: bytes, status: int = 200) -> Answer:
    return Answer(content, _JSON, status, _FRESH)


def _file(name: str) -> Answer:
    """Return the answer that holds a file of the page."""
    content = files("deepclean.telemetry").joinpath("page", name).read_bytes()
    return Answer(
        content,
        _KINDS[name],
        fields={
            "ETag": f'"{sha256(content).hexdigest()[:16]}"',
            "Cache-Control": "no-cache",
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "no-referrer",
        },
    )
