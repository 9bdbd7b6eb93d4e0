"""`deepclean run`, with the moments of its start noted: what benchmarks/latency.py runs.

    python benchmarks/daemon.py NOTES run -c FILE ...

writes into NOTES, as soon as the first frame is to be cleaned, when what was done (Unix time in
nanoseconds). From then on the process is the daemon and nothing else.
"""

from __future__ import annotations

import time

_STARTED = time.time_ns()

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from deepclean.config import Config


def main() -> None:
    """Import what the daemon imports, then run it."""
    notes = Path(sys.argv.pop(1))
    moments = {"interpreter": _STARTED}
    import torch  # noqa: F401  the daemon does, and it is most of the time

    from deepclean import cli
    from deepclean.models.loading import load_models_or_former
    from deepclean.run import daemon
    from deepclean.run.cleaner import FrameCleaner

    moments["imports"] = time.time_ns()
    load, take = load_models_or_former, FrameCleaner.push

    def loading(config: Config) -> Any:
        loaded = load(config)
        moments["models"] = time.time_ns()
        return loaded

    def taking(cleaning: FrameCleaner, frame: Any) -> list[Path]:
        if frame.wanted:
            moments["history"] = time.time_ns()
            notes.write_text(json.dumps(moments))
            _put(FrameCleaner, "take", take)
        return take(cleaning, frame)

    _put(daemon, "load_models_or_former", loading)
    _put(FrameCleaner, "take", taking)
    cli.main()


def _put(owner: Any, name: str, call: Any) -> None:
    setattr(owner, name, call)


if __name__ == "__main__":
    main()
