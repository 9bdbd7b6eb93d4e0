"""A stream buffer against the plainest model of it: a dictionary from index to sample."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.buffer import StreamBuffer

steps = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(0, 40)), min_size=1, max_size=12
)
"""Per piece: how many indices are left out before it, its length, how much of the past is kept."""


@dataclass
class Model:
    buffer: StreamBuffer = field(default_factory=lambda: StreamBuffer(2))
    known: dict[int, tuple[float, float]] = field(default_factory=dict)
    end: int = -7
    kept: int = -7

    def step(self, hole: int, count: int, keep: int) -> None:
        first = self.end + hole
        piece = np.arange(1, 2 * count + 1, dtype=float).reshape(2, count) + 100 * first
        self.buffer.append(first, piece)
        for offset in range(count):
            self.known[first + offset] = (piece[0, offset], piece[1, offset])
        self.end = first + count
        self.kept = max(self.kept, self.end - keep)
        self.buffer.drop_before(self.kept)

    def check(self) -> None:
        first, stop = self.kept, self.end + 6
        expected = [self.known.get(index, (0.0, 0.0)) for index in range(first, stop)]
        assert self.buffer.read(first, stop).T.tolist() == [list(pair) for pair in expected]
        for low in (first, self.end - 1, self.end):
            assert self.buffer.view(low, stop).tolist() == self.buffer.read(low, stop).tolist()


@given(steps)
def test_reads_what_was_written_and_zero_elsewhere(history: list[tuple[int, int, int]]) -> None:
    model = Model()
    for step in history:
        model.step(*step)
        model.check()


@given(steps)
def test_forgets_what_it_may_and_only_that(history: list[tuple[int, int, int]]) -> None:
    model = Model()
    for hole, count, _ in history:
        model.step(hole, count, 10**6)
    assert 1 <= len(model.buffer) <= len(history)  # short ones share an array
    model.buffer.drop_before(model.end - 1)
    assert len(model.buffer) == 1
    model.buffer.drop_before(model.end)
    assert len(model.buffer) == 0


@given(steps, steps)
def test_a_copy_goes_its_own_way(
    history: list[tuple[int, int, int]], future: list[tuple[int, int, int]]
) -> None:
    model = Model()
    for step in history:
        model.step(*step)
    twin = Model(model.buffer.copy(), dict(model.known), model.end, model.kept)
    for step in future:
        twin.step(*step)
    twin.check()
    model.check()


def test_a_read_is_not_a_view() -> None:
    buffer = StreamBuffer(1, np.float32)
    piece = np.ones((1, 4), dtype=np.float32)
    buffer.append(0, piece)
    window = buffer.read(0, 4)
    assert window.dtype == np.float32
    window[:] = 7
    assert buffer.read(0, 4).tolist() == piece.tolist() == [[1, 1, 1, 1]]


def test_a_view_stays_what_it_was() -> None:
    buffer = StreamBuffer(1)
    for first in range(100):
        buffer.append(first, np.full((1, 1), float(first)))
        if first == 50:
            view = buffer.view(48, 51)
    assert np.shares_memory(buffer.view(97, 100), buffer.view(98, 100))
    assert view.tolist() == [[48.0, 49.0, 50.0]]
    alone = StreamBuffer(1)
    alone.append(0, np.ones((1, 5000), dtype=np.float32))
    assert alone.view(0, 5000).dtype == alone.dtype


@pytest.mark.parametrize("first", [0, 3])
def test_nothing_is_written_twice(first: int) -> None:
    buffer = StreamBuffer(1)
    buffer.append(0, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="already written"):
        buffer.append(first, np.zeros((1, 4)))


@pytest.mark.parametrize("shape", [(1, 4), (3, 4), (4,)])
def test_a_piece_has_the_rows_of_the_buffer(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="in a buffer of 2 rows"):
        StreamBuffer(2).append(0, np.zeros(shape))


@given(steps)
def test_new_rows_are_zero_so_far(history: list[tuple[int, int, int]]) -> None:
    model = Model()
    for step in history:
        model.step(*step)
    wide, first, stop = model.buffer.widened(3), model.kept, model.end
    assert (wide.read(first, stop)[:2] == model.buffer.read(first, stop)).all()
    assert not wide.read(first, stop, slice(2, 3)).any()
    wide.append(stop, np.ones((3, 1)))
    assert wide.read(stop, stop + 1).tolist() == [[1], [1], [1]]
    assert not model.buffer.read(stop, stop + 1).any()
