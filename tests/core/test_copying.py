"""Copies of states."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from deepclean.core.buffer import StreamBuffer
from deepclean.core.copying import copy_state
from deepclean.core.gain import InvalidSpans


@dataclass(frozen=True)
class Value:
    numbers: list[int]


@dataclass(slots=True)
class Inner:
    queue: deque[int] = field(default_factory=lambda: deque([1, 2], maxlen=2))
    spans: InvalidSpans = field(default_factory=InvalidSpans)


@dataclass(slots=True)
class Outer:
    value: Value
    by_name: dict[str, Inner]
    buffer: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    samples: object = field(default_factory=lambda: np.zeros(3))


def test_what_changes_is_copied_at_any_depth_and_the_rest_is_shared() -> None:
    state = Outer(Value([1]), {"a": Inner()})
    twin = copy_state(state)
    twin.by_name["a"].queue.append(3)
    twin.by_name["a"].spans.add(0, 1)
    twin.by_name["b"] = Inner()
    twin.buffer.append(0, np.ones((1, 2)))
    assert list(state.by_name) == ["a"]
    assert state.by_name["a"].queue == deque([1, 2])
    assert twin.by_name["a"].queue == deque([2, 3])
    assert state.by_name["a"].spans.overlapping(0, 1) == []
    assert len(state.buffer) == 0
    assert twin.value is state.value
    assert twin.samples is state.samples
