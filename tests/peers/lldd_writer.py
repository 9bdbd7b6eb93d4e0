"""Run by the peers' Python: write files as the LIGO distribution does, with its own function.

Takes one JSON object a line: `path`, `content` (a file with the bytes), `unsafe`, and, null where
not wanted, `tmpdir`, `ring` (files), `age` (seconds), `limit` (bytes that the file may have:
beyond them the write fails). Answers each with a line: `written`, or the error.
"""

import json
import resource
import sys
from collections import defaultdict, deque
from pathlib import Path

from igwn_lldd_common.io import write_frame

ours: defaultdict[str, deque[str]] = defaultdict(deque)  # what retention knows, by directory
for line in sys.stdin:
    asked = json.loads(line)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    if asked["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["limit"], unlimited[1]))
    try:
        write_frame(
            asked["path"],
            Path(asked["content"]).read_bytes(),
            asked["ring"],
            ours[str(Path(asked["path"]).parent)],
            tmpdir=asked["tmpdir"],
            retention_time=asked["age"],
            unsafe=asked["unsafe"],
        )
        said = "written"
    except OSError as error:
        said = f"{type(error).__name__}: {error}"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    print(said, flush=True)
