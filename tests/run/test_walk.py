"""The walk of a frame, as docs/architecture.md tells it, is the way that it takes."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import cast

import deepclean
from deepclean.run.daemon import build, work
from deepclean.system.clock import SystemClock
from tests.helpers import small_site as site
from tests.helpers.metrics_run import whole
from tests.helpers.small_site import START, FakeClock

DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"
PACKAGE = Path(deepclean.__file__).parent
ROW = re.compile(r"^\| \d+ \| `([\w/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)
SECONDS = 24
"""Of data: at the end the gate has been judging, and every stage is full."""


def test_a_frame_walks_as_the_document_says(tmp_path: Path) -> None:
    told = ROW.findall(DOCUMENT.read_text())
    assert len(told) > 20
    files = [file for file, _ in told]
    assert len(set(files)) == len(files), "a module stands twice in the walk"

    config = site.make_site(tmp_path, "gate.enabled=true", seconds=0)
    clock, entered = FakeClock(), list[tuple[str, str]]()
    end = 1000.0 + SECONDS + 10
    daemon = build(config, cast("SystemClock", clock), lambda: clock.now > end, guard=lambda: None)
    daemon.source.run.turn = lambda: None  # a watch would look at a real clock

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            entered.append((path.relative_to(PACKAGE).as_posix(), frame.f_code.co_qualname))

    def last() -> None:
        whole(config, START + SECONDS)
        sys.setprofile(note)

    for second in range(SECONDS):
        clock.at(second + 0.1, partial(whole, config, START + second))
    clock.at(SECONDS + 0.1, last)
    try:
        work(daemon.source, daemon.cleaner, daemon.notifier)
    finally:
        sys.setprofile(None)
    position = -1
    for step in told:
        places = [index for index, one in enumerate(entered) if one == step and index > position]
        assert places, f"{step} is not entered where it should be"
        position = places[0]
    assert daemon.cleaner.ledger.balanced
