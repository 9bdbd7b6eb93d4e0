"""Serve a registry to Prometheus. Nothing here can stop the run, or hold it up.

One thread answers one request at a time. So clients, however many and however slow, cost the
process no more threads and no more descriptors than one client.
"""

from __future__ import annotations

import logging
import os
import socket
import socketserver
import threading
from typing import Any, Self

from prometheus_client import CollectorRegistry, MetricsHandler

from deepclean.config.schema import MetricsConfig

_log = logging.getLogger(__name__)

_TURN = 0.2
"""Seconds after which the thread checks whether it is to stop."""


class Exporter:
    """Serves while it is entered, where the configuration says so.

    A port that is taken is tried again until it is free: one warning, and cleaning goes on.

    Args:
        config: where to listen.
        registry: the registry to serve; it is collected in the exporter's thread.
        retry: seconds until the port is tried again.
        patience: seconds for which a client may keep silent.
    """

    def __init__(
        self,
        config: MetricsConfig,
        registry: CollectorRegistry,
        *,
        retry: float = 30.0,
        patience: float = 5.0,
    ) -> None:
        self._config, self._retry = config, retry
        attributes = {"registry": registry, "timeout": patience}
        self._handler = type("Handler", (MetricsHandler,), attributes)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        if self._config.enabled:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._config.enabled:
            self._thread.join(timeout=2 * _TURN)  # with a silent client it ends with the process

    def _run(self) -> None:
        try:
            server = self._listen()
            if server is not None:
                with server:
                    while not self._stopped.is_set():
                        server.handle_request()
        except Exception:  # noqa: BLE001  (whatever it is, cleaning goes on)
            _log.exception("metrics are no longer served")

    def _listen(self) -> _Server | None:
        """Return a server that listens; None where the exporter was stopped before."""
        address, port, warned = self._config.address, self._config.port, False
        shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        while not self._stopped.is_set():
            try:
                server = _Server(address, port, self._handler, self._stopped)
            except OSError as error:
                if not warned:
                    _log.warning(
                        "no metrics on %s: %s; cleaning goes on, and the port is tried again every "
                        "%.0f s; see metrics.address and metrics.port",
                        shown,
                        os.strerror(error.errno) if error.errno else error,
                        self._retry,
                    )
                warned = True
                self._stopped.wait(self._retry)
            else:
                _log.info("metrics on http://%s/metrics", shown)
                return server
        return None


class _Server(socketserver.TCPServer):
    """Listens; an error with a client ends with that client."""

    allow_reuse_address = True
    timeout = _TURN

    def __init__(
        self, address: str, port: int, handler: type[MetricsHandler], stopped: threading.Event
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._stopped = stopped
        super().__init__((address, port), handler)

    def get_request(self) -> Any:
        """Accept a connection; after a failure (no descriptors left) wait before the next try."""
        try:
            return super().get_request()
        except OSError:
            self._stopped.wait(1.0)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the error for developers; the client sees its connection end."""
        _log.debug("a request for metrics failed", exc_info=True)
