"""Whatever comes in whatever order, every frame is accounted for (promises 1, 3 and 6).

A state machine publishes real files into real directories, on time, late, twice, damaged, in any
order or not at all, and stops, kills and restarts the daemon meanwhile. What must come of it is
said from the files and the source's decisions, not from how the daemon keeps its books.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from deepclean.core.block import Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS
from deepclean.io import gwf
from deepclean.io.live import Overdue
from deepclean.io.t050017 import FrameName
from tests.helpers import small_site as site
from tests.helpers.small_site import START
from tests.helpers.turned_clock_daemon import WITNESS, Daemon, StepClock, assert_sound

strain_frame = lru_cache(site.strain_frame)
witness_frame = lru_cache(site.witness_frame)

DAMAGES = ["cut", "flipped", "empty"]


def damaged(content: bytes, kind: str, place: float) -> bytes:
    position = int(place * (len(content) - 1))
    if kind == "flipped":
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        return bytes(flipped)
    return content[:position] if kind == "cut" else b""


def _as_one(ignored: Counter[str]) -> Counter[str]:
    """Return counts of ignored files in which what is late and what is doubled are one."""
    others = Counter({why: n for why, n in ignored.items() if why not in ("late", "duplicate")})
    return others + Counter(again=ignored["late"] + ignored["duplicate"])


@dataclass(frozen=True)
class Piece:
    """A frame file of either stream."""

    stream: str
    start: int
    length: int = 1

    @property
    def content(self) -> bytes:
        make = strain_frame if self.stream == "strain" else witness_frame
        return make(self.start, self.length)

    @property
    def end(self) -> int:
        return self.start + self.length


class Interleavings(RuleBasedStateMachine):
    """The site, the daemon, and what is known of both."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.config = site.small_config(
            self.place,
            "input.max_lag=null",
            "input.probe=0.25",
            "input.deadline=1.5",  # not a multiple of the time between listings
            "input.checksum=true",
        )
        site.write_site(self.config, START, 0)
        self.clock = StepClock()
        self.head = START
        self.held: list[Piece] = []
        """Not published yet, or only damaged."""
        self.there: set[Piece] = set()
        """Published and sound."""
        self.decided: dict[int, bool] = {}
        """By second: whether there was strain, when it was decided."""
        self.read: dict[str, tuple[int, int]] = {}
        """Outputs seen, with what identifies the file."""
        self.daemon: Daemon | None = None
        self.events: list[InputFrame] = []
        self.expected: Counter[str] = Counter()
        self.again: set[str] = set()

    # The daemon

    @initialize(seconds=st.integers(0, 4))
    def begin(self, seconds: int) -> None:
        for _ in range(seconds):
            self._publish_head(1)
        self._start()

    def _start(self) -> None:
        self.events, self.expected, self.again = [], Counter(), set()
        finished = self._outputs()
        self.resume = finished[-1].start + finished[-1].duration if finished else None
        # What a killed run took and had inside is for the next one to decide.
        self.decided = {s: v for s, v in self.decided.items() if self.resume and s < self.resume}
        self.daemon = Daemon(self.config, self.clock, self._note)
        self.clock.start(self.daemon.run)

    def _note(self, event: InputFrame | Overdue) -> None:
        """Check a decision of the daemon against the files that are there at this moment."""
        if not isinstance(event, InputFrame):
            return
        if self.events:
            assert event.span.start == self.events[-1].span.end, "a stretch is left out or doubled"
        self.events.append(event)
        if not event.wanted:
            return
        first, end = event.span.start // NS, event.span.end // NS
        if self.resume is not None and not any(e.wanted for e in self.events[:-1]):
            assert first == self.resume
        taken = all(isinstance(block.strain, Series) for block in event.blocks)
        for second in range(first, end):
            sound = any(p.stream == "strain" and p.start <= second < p.end for p in self.there)
            assert sound == taken, f"second {second - START}: strain there {sound}, taken {taken}"
            self.decided[second] = taken

    def _outputs(self) -> list[FrameName]:
        if not self.config.output.directory.exists():
            return []
        names = [FrameName.parse(path.name) for path in self.config.output.directory.iterdir()]
        return sorted(name for name in names if name is not None)

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        assert self.daemon is not None
        self.daemon.stopping = not kill
        self.clock.finish(kill=kill)
        self._check_ignored(at_most=True)
        self._start()

    # The site

    def _path(self, piece: Piece) -> Path:
        path = site.strain_path if piece.stream == "strain" else site.witness_path
        return path(self.config, piece.start, piece.length)

    def _publish(self, piece: Piece) -> None:
        self._expect(piece)
        gwf.publish(self._path(piece), piece.content)
        self.there.add(piece)

    def _expect(self, piece: Piece) -> None:
        """Say what becomes of a file that appears now, where that is not to be read."""
        if not self.events:
            return
        began, cursor = (self.events[i].span for i in (0, -1))
        if began.start // NS < piece.end <= cursor.end // NS:
            taken = self._taken(piece)
            self.expected["duplicate" if taken else "late"] += 1

    def _taken(self, piece: Piece) -> bool:
        """Return whether the daemon has taken what a file holds."""
        parts = [
            block.strain if piece.stream == "strain" else block.witnesses.get(WITNESS)
            for event in self.events
            for block in event.blocks
            if block.span.start < piece.end * NS and block.span.end > piece.start * NS
        ]
        return all(isinstance(part, Series) for part in parts)

    def _decided(self, piece: Piece) -> bool:
        """Return whether the time of a file lies behind in this run."""
        return bool(self.events) and piece.end * NS <= self.events[-1].span.end

    def _publish_head(self, length: int) -> None:
        for second in range(self.head, self.head + length):
            self._publish(Piece("witnesses", second))
        self._publish(Piece("strain", self.head, length))
        self.head += length

    @rule(length=st.integers(1, 3))
    def on_time(self, length: int) -> None:
        self._publish_head(length)
        self.clock.advance(float(length))

    @rule(count=st.integers(1, 3), which=st.sampled_from(["strain", "witnesses", "both"]))
    def missing(self, count: int, which: str) -> None:
        """Frames that do not come, or come later, in any order."""
        for second in range(self.head, self.head + count):
            for piece in (Piece("witnesses", second), Piece("strain", second)):
                if which in (piece.stream, "both"):
                    self.held.append(piece)
                else:
                    self._publish(piece)
            self.clock.advance(1.0)
        self.head += count

    @rule(
        stream=st.sampled_from(["strain", "witnesses"]),
        kind=st.sampled_from(DAMAGES),
        place=st.floats(0, 1),
    )
    def corrupt(self, stream: str, kind: str, place: float) -> None:
        for piece in (Piece("witnesses", self.head), Piece("strain", self.head)):
            if piece.stream == stream:
                gwf.publish(self._path(piece), damaged(piece.content, kind, place))
                self.held.append(piece)
            else:
                self._publish(piece)
        self.head += 1
        self.clock.advance(1.0)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        """What was missing comes, in time or not; what was damaged is made anew."""
        piece = data.draw(st.sampled_from(self.held))
        self.held.remove(piece)
        self._publish(piece)
        self.clock.advance(data.draw(st.sampled_from([0.0, 1.25])))

    @rule(data=st.data(), other=st.booleans())
    def duplicate(self, data: st.DataObject, other: bool) -> None:
        """What is decided comes again, under its own name or that of another site."""
        decided = sorted(filter(self._decided, self.there), key=repr)
        if not decided:
            return
        piece = data.draw(st.sampled_from(decided))
        path = self._path(piece)
        if other:
            path = path.with_name(path.name.replace("H-", "L-", 1))
        if path.name in self.again:
            return
        self.again.add(path.name)
        for seconds in (2.5, 1.25):  # until a listing has shown the file that was taken
            self._publish_head(1)
            self.clock.advance(seconds)
        if not path.exists() or not other:
            self._expect(piece)
        gwf.publish(path, piece.content)

    @rule(stream=st.sampled_from(["strain", "witnesses"]), ahead=st.integers(-3, 3))
    def foreign(self, stream: str, ahead: int) -> None:
        path = self._path(Piece(stream, self.head + ahead))
        for name in (f".{path.name}.tmp", path.name + ".part", path.name.replace("_ll", "_xx")):
            path.with_name(name).write_bytes(b"foreign")
        path.with_name("README").write_bytes(b"foreign")

    @rule(quarters=st.integers(1, 16))
    def time_passes(self, quarters: int) -> None:
        self.clock.advance(quarters / 4)

    # What holds

    @invariant()
    def ledger_balances(self) -> None:
        if self.daemon is not None:
            assert self.daemon.ledger.balanced
            out = self.daemon.ledger.written.total()
            assert out + self.daemon.ledger.inside == self.daemon.ledger.frames_in
            assert self.daemon.ledger.inside <= 2

    @invariant()
    def outputs_are_sound(self) -> None:
        for name in self._outputs():
            path = self.config.output.directory / str(name)
            status = path.stat()
            identity = status.st_ino, status.st_mtime_ns
            if self.read.get(path.name) != identity:
                assert path.name not in self.read, f"{path.name} was written again"
                assert_sound(path, name.start, name.duration)
                self.read[path.name] = identity

    def _check_ignored(self, *, at_most: bool = False) -> None:
        assert self.daemon is not None
        # A witness's file in a stretch without strain is read for the history of what comes after,
        # but nobody has waited for it: what comes again of it is late, or a duplicate.
        ignored, expected = map(_as_one, (self.daemon.ledger.ignored, self.expected))
        good = ignored <= expected if at_most else ignored == expected
        assert good, f"ignored {dict(ignored)}, expected {dict(expected)}"

    def teardown(self) -> None:
        try:
            if self.daemon is not None:
                self._end()
        finally:
            self.clock.finish(kill=True)
            shutil.rmtree(self.place)

    def _end(self) -> None:
        """Let what is there be decided and listed, then count."""
        assert self.daemon is not None
        self.clock.advance(4.0)
        for _ in range(4):
            self._publish_head(1)
            self.clock.advance(1.0)
        self.clock.advance(4.0)
        self.ledger_balances()
        self._check_ignored()
        assert self.daemon.ledger.inside == 0
        self.daemon.stopping = True
        self.clock.finish(kill=False)
        self.outputs_are_sound()
        written = [s for n in self._outputs() for s in range(n.start, n.start + n.duration)]
        assert written == sorted(second for second, strain in self.decided.items() if strain)


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        (20, 15),
        pytest.param(120, 25, marks=pytest.mark.slow),
        pytest.param(1000, 25, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)]),
    ],
    ids=["short", "long", "longer"],
)
def test_any_interleaving_is_accounted_for(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Interleavings,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
