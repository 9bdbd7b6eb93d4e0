"""The real Prometheus and its promtool, where they are installed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
RULES = ROOT / "monitoring" / "deepclean.rules.yaml"
LIMIT = 60.0


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}: apt-get install prometheus")
    return path


def promtool(*arguments: str | Path, stdin: bytes = b"") -> None:
    done = subprocess.run(
        [tool("promtool"), *map(str, arguments)], input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Server:
    """A Prometheus that scrapes one target three times a second."""

    def __init__(self, place: Path, target: int) -> None:
        self.port = free_port()
        self._log = place / "prometheus.log"
        settings = place / "prometheus.yaml"
        YAML(typ="safe").dump(
            {
                "global": {"scrape_interval": "300ms", "evaluation_interval": "300ms"},
                "rule_files": [str(RULES)],
                "scrape_configs": [
                    {
                        "job_name": "deepclean",
                        "scrape_timeout": "300ms",
                        "static_configs": [{"targets": [f"127.0.0.1:{target}"]}],
                    }
                ],
            },
            settings,
        )
        promtool("check", "config", settings)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={settings}",
                    f"--storage.tsdb.path={place / 'series'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ask(self, path: str) -> Any:
        """Return the data of an answer of its interface; None where it does not answer yet."""
        assert self.process.poll() is None, self._log.read_text()
        opener = build_opener(ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=5) as answer:
                return json.load(answer)["data"]
        except (URLError, TimeoutError):
            return None

    def values(self, query: str) -> list[float]:
        """Return the values of a query's result."""
        data = self.ask(f"query?query={quote(query)}")
        return [float(sample["value"][1]) for sample in data["result"]] if data else []

    def await_values(self, query: str, expected: list[float]) -> None:
        """Wait until a query's result has these values."""
        self._until(lambda: self.values(query) == expected, query)

    def await_rules(self, expected: list[str]) -> None:
        """Wait until it has evaluated these alerts without a fault."""

        def evaluated() -> bool:
            groups = self.ask("rules?type=alert")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert [rule["name"] for rule in rules] == expected
            assert not any(rule.get("lastError") for rule in rules), rules
            return {rule["health"] for rule in rules} == {"ok"}

        self._until(evaluated, "rules")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < limit, f"{what}\n{self._log.read_text()}"
            time.sleep(0.05)  # what is waited for is another process, not time


@contextmanager
def prometheus(place: Path, target: int) -> Iterator[Server]:
    server = Server(place, target)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=LIMIT)
