"""What a coupling's retrainings have come to, in a small file that each of them replaces.

It says when the last full training was tried, when a retraining last came to a judgement, and what
the last one said, so that a timer of minutes says the same thing once. The daemon's metrics read
it. What is damaged counts as not there.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from deepclean.system.atomic import publish

STATE = "retrain.json"


@dataclass(slots=True)
class RetrainState:
    """The state of a coupling's retrainings.

    Args:
        searched: GPS second of the last full training, successful or not; None before the first.
        succeeded: Unix time at which a candidate was last judged; that of the first retraining
            until one is; None before that.
        said: mode and outcome of the last retraining.
    """

    searched: int | None = None
    succeeded: float | None = None
    said: str = ""

    def succeed(self) -> None:
        """Note that a candidate has just been judged."""
        self.succeeded = time.time()

    def write(self, directory: Path) -> None:
        """Replace the state in a coupling's directory.

        Raises:
            OutputError: the file system refused.
        """
        if self.succeeded is None:
            self.succeed()  # a trainer that never judges anything is noticed from here on
        content = json.dumps(asdict(self)) + "\n"
        publish(directory / STATE, content.encode(), fsync=True, mode=0o644)


def read_state(directory: Path) -> RetrainState:
    """Return the state in a coupling's directory; that before the first retraining where none is.

    It decides nothing but when data are read again, so whoever may write there may write it.
    """
    try:
        held = json.loads((directory / STATE).read_bytes())
        searched, succeeded, said = (held.get(key) for key in ("searched", "succeeded", "said"))
    except (OSError, ValueError, AttributeError):
        return RetrainState()
    return RetrainState(
        searched if isinstance(searched, int) else None,
        succeeded if isinstance(succeeded, float) else None,
        said if isinstance(said, str) else "",
    )
