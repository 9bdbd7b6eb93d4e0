"""Serve metrics, and pages beside them. Nothing here can stop the run, or hold it up.

One thread answers all clients at once: none waits for another. A client that is silent, slow to ask
or slow to read has `patience` seconds from its connection on. Of more than `_MOST` clients the one
that came first is dropped, so that they cost the process a bounded number of descriptors.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from contextlib import suppress
from typing import Self

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from deepclean.config.schema import MetricsConfig
from deepclean.telemetry.http import Answer, Request, refused, unknown
from deepclean.telemetry.pages import Pages

_log = logging.getLogger(__name__)

_MOST = 200
"""Largest number of clients at a time."""

_TURN = 0.4
"""Seconds that the end of the run waits for the thread."""


class Exporter:
    """Serves while it is entered, where the configuration says so.

    A port that is taken is tried again until it is free: one warning, and cleaning goes on.

    Args:
        config: where to listen.
        registry: the registry to serve; it is collected in the exporter's thread.
        pages: what is served beside /metrics; None: the registry is the answer to every path.
        retry: seconds until the port is tried again.
        patience: seconds after which a client must have asked and taken its answer.
    """

    def __init__(
        self,
        config: MetricsConfig,
        registry: CollectorRegistry,
        pages: Pages | None = None,
        *,
        retry: float = 30.0,
        patience: float = 5.0,
    ) -> None:
        self._config, self._registry, self._pages = config, registry, pages
        self._retry, self._patience = retry, patience
        self._clients: dict[asyncio.StreamWriter, None] = {}
        """The connections, in order of their coming."""
        self._stopped = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        if self._config.enabled:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._config.enabled:
            if self._loop is not None:
                with suppress(RuntimeError):  # it has ended
                    self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(timeout=_TURN)

    def _run(self) -> None:
        address, port, warned = self._config.address, self._config.port, False
        shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        while not self._stopped.is_set():
            try:
                asyncio.run(self._serve(shown))
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
            except Exception:  # noqa: BLE001  (whatever it is, cleaning goes on)
                _log.exception("metrics are no longer served")
                return

    async def _serve(self, shown: str) -> None:
        """Serve until the exporter is left.

        Raises:
            OSError: the system refuses to listen there.
        """
        server = await asyncio.start_server(self._answer, self._config.address, self._config.port)
        async with server:
            _log.info("metrics on http://%s/metrics", shown)
            self._loop = asyncio.get_running_loop()
            stepping = asyncio.create_task(self._step())
            if not self._stopped.is_set():  # set since, `_end` is told
                await self._end.wait()
            stepping.cancel()
            # A connection that is being set up when its server closes would be leaked by asyncio.
            for listening in server.sockets:
                self._loop.remove_reader(listening.fileno())
            while asyncio.all_tasks() - {asyncio.current_task()}:
                for client in self._clients:
                    client.transport.abort()
                await asyncio.sleep(0)

    async def _step(self) -> None:
        """Let the pages do their work beside the work loop's, once a second."""
        while self._pages is not None:
            self._pages.step()
            await asyncio.sleep(1.0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client; an error with it ends with it."""
        self._clients[writer] = None
        if len(self._clients) > _MOST:
            oldest = next(iter(self._clients))
            del self._clients[oldest]
            oldest.transport.abort()
        try:
            async with asyncio.timeout(self._patience):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.transport.set_write_buffer_limits(0)  # `drain` waits until all is sent
                writer.write(_response(head, self._registry, self._pages))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (EOFError, OSError, asyncio.LimitOverrunError):
            pass  # a TimeoutError is an OSError
        except Exception:  # noqa: BLE001  (the client sees its connection end)
            _log.debug("a request for metrics failed", exc_info=True)
        finally:
            self._clients.pop(writer, None)
            writer.transport.abort()


def _response(head: bytes, registry: CollectorRegistry, pages: Pages | None) -> bytes:
    """Return the answer to the head of a request."""
    request = Request.parse(head)
    if request.method not in ("GET", "HEAD"):
        return refused().encoded(request)
    if pages is None or request.path == "/metrics":
        encode, kind = choose_encoder(request.fields.get("accept", ""))
        return Answer(encode(registry), kind).encoded(request)
    route = pages.routes.get(request.path)
    return (unknown(request.path) if route is None else route(request)).encoded(request)
