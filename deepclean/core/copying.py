"""Copies of the states that stages keep, for a computation that must leave the original alone."""

from __future__ import annotations

from collections import deque
from dataclasses import fields, replace
from typing import Any, TypeVar, cast

from deepclean.core.buffer import StreamBuffer
from deepclean.core.gain import InvalidSpans

T = TypeVar("T")


def copy_state(state: T) -> T:
    """Return an independent copy of a state, which shares with it whatever nobody changes.

    Dataclasses and dictionaries are copied with what they hold, lists and queues as they are.
    Frozen dataclasses, tuples, numbers and arrays are shared: samples are never written twice.

    >>> state = {"levels": deque([1.0]), "limits": (0, 1)}
    >>> twin = copy_state(state)
    >>> twin["levels"].append(2.0)
    >>> state["levels"], twin["limits"] is state["limits"]
    (deque([1.0]), True)
    """
    value: Any = state
    if isinstance(value, dict):
        return cast("T", {key: copy_state(item) for key, item in value.items()})
    if isinstance(value, (list, deque, InvalidSpans, StreamBuffer)):
        return cast("T", value.copy())
    parameters = getattr(value, "__dataclass_params__", None)
    if parameters is None or parameters.frozen:
        return state
    held = {one.name: copy_state(getattr(value, one.name)) for one in fields(value)}
    return cast("T", replace(value, **held))
