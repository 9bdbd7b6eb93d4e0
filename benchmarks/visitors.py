"""Open pages of a daemon, without browsers: the requests of its page at the page's own times.

    python -m benchmarks.visitors PORT COUNT

runs until it is killed. It imports little, so that its start is no load.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from contextlib import suppress

EVERY = {"status": 2.0, "events": 2.0, "spectra": 4.0, "timeline": 10.0}
"""Seconds between the requests of each path, as in deepclean/telemetry/page/page.js."""


def visit(port: int, path: str, delay: float) -> None:
    """Ask for a path for ever, first after `delay` seconds."""
    time.sleep(delay)
    since = 0
    while True:
        began = time.monotonic()
        with suppress(OSError, http.client.HTTPException, ValueError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", f"/{path}?since={since}")
            answer = json.loads(connection.getresponse().read())
            connection.close()
            if path == "events" and answer["events"]:
                since = answer["events"][-1]["id"]
            elif path == "timeline" and answer["minutes"]:
                since = answer["minutes"][-1]["t"] - 120
        time.sleep(max(EVERY[path] - (time.monotonic() - began), 0.0))


def main() -> None:
    """Open the pages."""
    port, count = map(int, sys.argv[1:])
    for number in range(count):
        for path, pause in EVERY.items():
            delay = pause * number / count
            threading.Thread(target=visit, args=(port, path, delay), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
