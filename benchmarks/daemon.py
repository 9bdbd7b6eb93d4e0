"""`deepclean run`, with the moments of its start noted: what `benchmarks/latency.py` runs.

    python -m benchmarks.daemon NOTES run -c FILE ...

writes into NOTES, as soon as the first frame is to be cleaned, when what was done (Unix time in
nanoseconds). From then on the process is the daemon and nothing else.
"""

from __future__ import annotations

import time

MOMENTS = {"interpreter": time.time_ns()}

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepclean.config import Config
    from deepclean.core.frame import InputFrame
    from deepclean.run.cleaner import Cleaning


def main() -> None:
    """Import what the daemon imports, then run it."""
    notes = Path(sys.argv.pop(1))

    from deepclean import cli
    from deepclean.run import cleaner, daemon

    MOMENTS["imports"] = time.time_ns()
    load, take = daemon.load_models_or_former, cleaner.Cleaning.take

    def loading(config: Config) -> Any:
        loaded = load(config)
        MOMENTS["models"] = time.time_ns()
        return loaded

    def taking(cleaning: Cleaning, frame: InputFrame) -> list[Path]:
        if frame.wanted:
            MOMENTS["history"] = time.time_ns()
            notes.write_text(json.dumps(MOMENTS))
            setattr(cleaner.Cleaning, take.__name__, take)
        return take(cleaning, frame)

    setattr(daemon, load.__name__, loading)
    setattr(cleaner.Cleaning, take.__name__, taking)
    cli.main()


if __name__ == "__main__":
    main()
