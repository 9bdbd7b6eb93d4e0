"""What a command left behind, and how tests run one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and what it printed."""

    returncode: int
    stdout: str
    stderr: str

    def good(self) -> Done:
        """Assert that the command ended well."""
        assert self.returncode == 0, self.stdout + self.stderr
        return self

    def refused(self, *said: str, status: int = 2, lines: int | None = None) -> Done:
        """Assert that the command ended with a status and a message that says all these.

        Args:
            said: parts of the message.
            status: exit status.
            lines: of the message, where their number is to be asserted.
        """
        assert self.returncode == status, self.stdout + self.stderr
        for part in said:
            assert part in self.stderr
        assert "Traceback" not in self.stderr
        assert lines in (None, len(self.stderr.splitlines()))
        return self


Run = Callable[..., Done]
"""Run a command line in a directory: `run(place, "models list -c small.yaml", NAME="value")`."""
