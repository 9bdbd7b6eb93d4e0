"""Live and history read the same directories alike: the same samples, gaps and words."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span
from deepclean.io.history import History
from deepclean.io.live.files import WitnessFiles
from deepclean.io.live.run import LiveRun
from deepclean.io.live.source import LiveSource
from deepclean.io.live.strain_files import StrainFiles
from deepclean.io.source import HistorySource
from deepclean.io.tail import FrameTail
from tests.helpers.random_directories import SECONDS, START, Cell, Place, cells_of, make_place
from tests.helpers.small_site import FakeClock

Told = tuple[dict[int, dict[str, Cell]], list[str]]
"""What was given by half seconds, and what was said."""


MANY = [range(start, start + 206) for start in range(40, 2100, 206)]
"""2,060 directories, in parts that test processes share; half of them are slow tests."""


class Words(logging.Handler):
    """Keeps what is said of the channels."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def said_by(read: list[InputFrame], words: Words) -> Told:
    given: dict[int, dict[str, Cell]] = {}
    for frame in read:
        assert not given or 2 * frame.span.start // NS == max(given) + 1, "a stretch is left out"
        given |= dict(cells_of(frame.blocks))
    return given, list(words.said)


def read_live(place: Place, words: Words, clock: FakeClock | None = None) -> Told:
    words.said.clear()
    clock = clock or FakeClock()
    end: list[float] = []
    run = LiveRun(
        channels=place.channels,
        clock=clock,
        deadline=2.0,
        probe=0.25,
        history=1000 * NS,
        stopped=lambda: bool(end) and clock.now > end[0],
    )
    tails = [FrameTail(each.path, each.description, clock) for each in place.witnesses]
    strain = FrameTail(place.strain.path, place.strain.description, clock)
    reader = StrainFiles(run, strain, WitnessFiles(run, tails) if tails else None)
    source = LiveSource(run, reader, outputs=[START * NS])
    frames = []
    for event in source.events():
        if isinstance(event, InputFrame):
            frames.append(event)
            end[:] = [clock.now + 10.0]
    return said_by(frames, words)


def read_history(place: Place, words: Words) -> Told:
    words.said.clear()
    strain = History([place.strain])
    witnesses = History(place.witnesses) if place.witnesses else strain
    source = HistorySource(place.channels, strain, witnesses)
    span = Span.of_seconds(START, SECONDS)
    return said_by(list(source.frames(span, span)), words)


@pytest.mark.parametrize(
    "seeds",
    [
        range(40),
        *(pytest.param(part, marks=pytest.mark.slow) for part in MANY[:2]),
        *(pytest.param(part, marks=pytest.mark.exhaustive) for part in MANY[2:]),
    ],
    ids=["few", *(f"from {part.start}" for part in MANY)],
)
def test_any_directories_are_read_alike(tmp_path: Path, seeds: range) -> None:
    words, logger = Words(), logging.getLogger("deepclean.io.source")
    logging.getLogger("deepclean").propagate = False  # some hundred lines a directory
    logger.addHandler(words)
    level = logger.level
    logger.setLevel(logging.INFO)
    kinds: set[str] = set()
    try:
        for seed in seeds:
            place = make_place(tmp_path / str(seed), seed)
            history, live = read_history(place, words), read_live(place, words)
            assert sorted(live[0]) == list(range(2 * START, 2 * (START + SECONDS))), seed
            for half, cells in live[0].items():
                assert cells == place.expected(half), f"live {seed}, {half / 2 - START} s"
                assert cells == history[0][half], f"history {seed}, {half / 2 - START} s"
            assert live[1] == history[1], seed
            shutil.rmtree(tmp_path / str(seed))
            kinds |= {c for cells in live[0].values() for c in cells.values() if isinstance(c, str)}
    finally:
        logger.removeHandler(words)
        logger.setLevel(level)
    assert kinds >= {"missing", "invalid", "corrupt", "strain_missing", "strain_unreadable"}
    assert kinds >= {"strain_rate"}
