"""`deepclean run`, with the moments of its start noted: what `benchmarks/latency.py` runs.

    python -m benchmarks.daemon NOTES run -c FILE ...

writes into NOTES, as soon as the first frame is to be cleaned, when what was done (Unix time in
nanoseconds). From then on the process is the daemon and nothing else.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

MOMENTS: dict[str, int] = {}


def main() -> None:
    """Import what the daemon imports, then run it."""
    notes = Path(sys.argv.pop(1))

    from deepclean import cli
    from deepclean.core.frame import InputFrame
    from deepclean.models.loading import load_models_or_former as load
    from deepclean.run import daemon
    from deepclean.run.cleaner import FrameCleaner

    MOMENTS["imports"] = time.time_ns()
    take = FrameCleaner.push

    def noted_load(*arguments: Any) -> Any:
        loaded = load(*arguments)
        MOMENTS["models"] = time.time_ns()
        return loaded

    def noted_take(cleaning: FrameCleaner, frame: InputFrame) -> list[Path]:
        if frame.wanted:
            MOMENTS["history"] = time.time_ns()
            notes.write_text(json.dumps(MOMENTS))
            setattr(FrameCleaner, take.__name__, take)
        return take(cleaning, frame)

    setattr(daemon, load.__name__, noted_load)
    setattr(FrameCleaner, take.__name__, noted_take)
    cli.main()


if __name__ == "__main__":
    main()
