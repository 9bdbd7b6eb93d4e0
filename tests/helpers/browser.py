"""Chromium, driven over its DevTools protocol through a pipe: no driver and no library is needed.

https://chromedevtools.github.io/devtools-protocol/ has the commands and events.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--remote-debugging-pipe", "--disable-extensions", "--disable-background-networking"),
    *("--disable-component-update", "--hide-scrollbars", "--force-color-profile=srgb"),
)


class Browser:
    """A browser with one page open.

    Args:
        place: a directory for its profile.

    Attributes:
        complaints: errors and warnings of the console, and exceptions, of the page's own code and
            resources. That a server is away is told by the network and is not among them.
    """

    def __init__(self, place: Path) -> None:
        assert BROWSER is not None
        self._commands, write = os.pipe()
        read, self._answers = os.pipe()
        # The browser reads its commands from descriptor 3 and writes to 4.
        script = f'exec "$0" "$@" 3<&{self._commands} 4>&{self._answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, BROWSER, *_OPTIONS, f"--user-data-dir={place}", "about:blank"],
            pass_fds=(self._commands, self._answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(self._commands)
        os.close(self._answers)
        self._write, self._read = write, read
        self._buffer, self._number, self._session = b"", 0, ""
        self.complaints: list[str] = []
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def show(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the window's size and the colour scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._ask("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, address: str) -> None:
        """Go to an address."""
        self._ask("Page.navigate", {"url": address})

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self._ask("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        return found["result"].get("value")

    def until(self, expression: str, limit: float = 30.0) -> Any:
        """Wait until an expression in the page is true; return its value."""
        end = time.monotonic() + limit
        while not (found := self.value(expression)):
            assert time.monotonic() < end, f"it did not come: {expression}"
            time.sleep(0.1)  # what is waited for is another process, not time
        return found

    def picture(self, *, whole: bool = False) -> bytes:
        """Return a PNG of the window, or of the whole page."""
        options: dict[str, Any] = {"format": "png"}
        if whole:
            size = self._ask("Page.getLayoutMetrics")["cssContentSize"]
            options |= {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        return base64.b64decode(self._ask("Page.captureScreenshot", options)["data"])

    def _ask(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a command; return its result, and take the events that come before it."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method}
        command |= {"params": dict(parameters or {})}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _next(self) -> dict[str, Any]:
        """Return the next message of the browser."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], 60.0)
            assert ready, "the browser does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, f"the browser ended with status {self._process.wait()}"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def _note(self, message: Mapping[str, Any]) -> None:
        """Keep what an event complains about."""
        facts = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(facts["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if facts["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(facts["args"]))
            case "Log.entryAdded" if not _is_away(facts["entry"]):
                self.complaints.append(json.dumps(facts["entry"]))


def _is_away(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of the log says no more than that the server does not answer."""
    return entry["source"] == "network" and "net::ERR_" in entry["text"]
