"""What an operator sets: a coupling's gain, whether its adaptation goes on, limits of the gates.

A control holds from a whole GPS second on, until another one of the same kind and coupling begins
or its own time is over. All controls together are a timeline: the gain that an operator allows is a
function of time alone, so it is the same live, in a replay and after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf
from typing import Literal, NamedTuple, get_args

from deepclean.core.gate.settings import GateSettings
from deepclean.core.time import NS

Limit = Literal["open_below", "close_above", "worst_above", "jump", "sigma"]
"""The limits of gates that may change in a stream (core.gate.settings)."""

What = Literal["gain", "enabled", "freeze", Limit]
"""The kinds of control: a factor on a gain by an operator, the same by the configuration, a freeze
of adaptation, or a limit of all gates."""

LIMITS: tuple[Limit, ...] = get_args(Limit)

FOR_EVER = 1 << 62
"""An instant in GPS nanoseconds after all others, in the year 2126."""


@dataclass(frozen=True, slots=True)
class Control:
    """One setting of an operator.

    Args:
        instant: the instant from which on it holds, GPS nanoseconds, a whole second.
        what: the kind.
        coupling: the coupling's name; None for all couplings.
        value: of `gain` the factor on the gain, in [0, 1]; of `enabled` 0 or 1; of `freeze` 1 to
            freeze, 0 to go on; of a limit the limit, which is positive.
        until: the instant at which it ends, GPS nanoseconds, a whole second; None: it stays.

    Raises:
        ValueError: a time is not a whole second, the end is not after the start, or the value is
            outside its range.
    """

    instant: int
    what: What
    coupling: str | None
    value: float
    until: int | None = None

    def __post_init__(self) -> None:
        if self.instant % NS or (self.until or 0) % NS:
            raise ValueError("a control begins and ends at whole GPS seconds")
        if self.until is not None and self.until <= self.instant:
            raise ValueError("a control ends after it begins")
        highest = inf if self.what in LIMITS else 1
        switched = self.what in ("enabled", "freeze")
        if not 0 <= self.value <= highest or (switched and self.value not in (0, 1)):
            raise ValueError(f"{self.value} is no value of {self.what}")


class Step(NamedTuple):
    """A change of the gain that an operator allows, at an instant (GPS ns), to a value."""

    instant: int
    gain: float


class Freeze(NamedTuple):
    """A stretch in which gains are not to change, in GPS seconds; it ends before `stop`."""

    start: int
    stop: int


def in_force(controls: Iterable[Control]) -> list[tuple[Control, int]]:
    """Return the controls that ever hold, each with the instant (GPS ns) at which it is over.

    >>> first, second = Control(0, "gain", "A", 0.0, 9 * NS), Control(4 * NS, "gain", "A", 1.0)
    >>> [(control.value, end // NS) for control, end in in_force([first, second])][0]
    (0.0, 4)
    """
    # Of two that begin at once the later in the list holds.
    ordered = sorted(controls, key=lambda control: control.instant)
    found, following = [], dict[tuple[What, str | None], int]()
    for control in reversed(ordered):
        key = control.what, control.coupling
        ends = FOR_EVER if control.until is None else control.until
        ends = min(ends, following.get(key, FOR_EVER))
        following[key] = control.instant
        if ends > control.instant:
            found.append((control, ends))
    return found[::-1]


def steps(controls: Iterable[Control], coupling: str) -> list[Step]:
    """Return the changes of a coupling's gain, in order; before the first it is 1.

    Where one control is for the coupling and another for all, the lower gain holds.

    >>> controls = [Control(2 * NS, "gain", "A", 0.5), Control(3 * NS, "gain", None, 0.0, 4 * NS)]
    >>> [(step.instant // NS, step.gain) for step in steps(controls, "A")]
    [(2, 0.5), (3, 0.0), (4, 0.5)]
    """
    held = [
        (control.instant, end, control.value)
        for control, end in in_force(controls)
        if control.what in ("gain", "enabled") and control.coupling in (coupling, None)
    ]
    found, gain = [], 1.0
    for instant in sorted({edge for start, end, _ in held for edge in (start, end)} - {FOR_EVER}):
        now = min((value for start, end, value in held if start <= instant < end), default=1.0)
        if now != gain:
            found.append(Step(instant, now))
        gain = now
    return found


def freezes(controls: Iterable[Control], coupling: str) -> tuple[Freeze, ...]:
    """Return the stretches in which a coupling's adaptation is frozen, in order and disjoint."""
    found: list[Freeze] = []
    for control, end in in_force(controls):
        if control.what != "freeze" or not control.value:
            continue
        if control.coupling not in (coupling, None):
            continue
        start, stop = control.instant // NS, end // NS
        if found and start <= found[-1].stop:
            found[-1] = Freeze(found[-1].start, max(stop, found[-1].stop))
        else:
            found.append(Freeze(start, stop))
    return tuple(found)


def gate_limits(
    controls: Iterable[Control], settings: GateSettings
) -> tuple[tuple[int, GateSettings], ...]:
    """Return the settings of the gates from each instant (GPS ns) on at which they change.

    Args:
        controls: the controls.
        settings: the settings before the first change.
    """
    found, now = [], dict[str, float]()
    for control, _ in in_force(controls):
        if control.what in LIMITS:
            now[control.what] = control.value
            found.append((control.instant, replace(settings, **now)))  # type: ignore[arg-type]
    return tuple(found)
