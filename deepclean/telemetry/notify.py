"""Notifications to the service manager: sd_notify(3), a datagram of `KEY=VALUE` lines.

Nothing here can stop the run. Where there is no service manager nothing is sent. What cannot be
sent is kept, the latest value of each key, and goes with the next message.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Mapping

from deepclean.system.clock import Clock, SystemClock

_log = logging.getLogger(__name__)

_INTERVAL = 10.0
"""Seconds between pings, which carry what was kept, where no watchdog is set."""


class ServiceNotifier:
    """Tells the service manager the state of the daemon.

    Args:
        environment: holds NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; None: the process's own.
        clock: for the time between pings.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, clock: Clock | None = None
    ) -> None:
        environment = os.environ if environment is None else environment
        self._clock = clock or SystemClock()
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._period = _watchdog_period(environment)
        self._interval = _INTERVAL if self._period is None else self._period / 2
        self._due = -math.inf
        self._ready = False
        self._status = ""
        self._kept: dict[str, str] = {}
        self._connected = True

    def ready(self) -> None:
        """Tell that the work loop turns, whether or not input comes. Later calls do nothing."""
        if not self._ready:
            self._ready = True
            self._send({"READY": "1"})

    def status(self, text: str) -> None:
        """Tell in one line what the daemon does; the same line again is not sent."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send({"STATUS": line})

    def watchdog(self) -> None:
        """Tell that the work loop turns. To be called at every turn, idle ones too.

        A ping goes out at most every half watchdog period.
        """
        now = self._clock.monotonic()
        if now < self._due:
            return
        state = {} if self._period is None else {"WATCHDOG": "1"}
        if self._send(state):
            self._due = now + self._interval

    def stopping(self) -> None:
        """Tell that the daemon was told to stop and drains."""
        self._send({"STOPPING": "1"})

    def _send(self, state: Mapping[str, str]) -> bool:
        """Send what is new and what was kept; return whether nothing is left to be sent."""
        self._kept.update(state)
        if self._address is None or not self._kept:
            return True
        message = "\n".join(f"{key}={value}" for key, value in self._kept.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)  # a full queue must not hold up the work loop
                channel.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            if self._connected:
                _log.warning("the service manager cannot be reached: %s", error)
            self._connected = False
            return False
        if not self._connected:
            _log.info("the service manager is reached again")
        self._connected = True
        self._kept.clear()
        return True


def _address(name: str) -> str | None:
    """Return the socket's address; `@` begins one in the abstract namespace."""
    if name.startswith("@"):
        return "\0" + name[1:]
    if name and not name.startswith("/"):
        _log.warning("NOTIFY_SOCKET=%s: not a socket of this machine; nobody is notified", name)
        return None
    return name or None


def _watchdog_period(environment: Mapping[str, str]) -> float | None:
    """Return the seconds within which this process must ping; None: it need not."""
    try:
        period = int(environment.get("WATCHDOG_USEC", "0")) / 1_000_000
        process = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError as error:
        _log.warning("WATCHDOG_USEC and WATCHDOG_PID: %s; no watchdog", error)
        return None
    return period if period > 0 and process == os.getpid() else None
