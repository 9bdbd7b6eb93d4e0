"""The lines by which controls are kept: orders, what was taken from which second on, held gains.

A log is a file of one JSON object a line (system.jsonl). There are two of them: the log of the
orders in the model store, which outlives the machine's memory, and the record of the run beside its
frames, where these lines stand among those of the models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepclean.core.adapt.held import HeldGains
from deepclean.core.adapt.knot import HELD, Knot
from deepclean.core.block import Version
from deepclean.core.control import FOR_EVER, LIMITS, Control, What, in_force
from deepclean.core.time import NS, format_gps, seconds_to_ns

ORDER, CONTROL, REFUSED, HELD_GAINS = "order", "control", "control_refused", "held"
"""What a line is: its `what`."""

ORIGIN = 0
"""The instant (GPS ns) of a line that says what was configured before the first change."""

KINDS = (ORDER, CONTROL, REFUSED, HELD_GAINS)


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator wants.

    Args:
        id: the order's own name.
        when: UTC, ISO 8601.
        who: the user, with the user before `sudo`.
        why: the reason.
        setting: the kind of control.
        coupling: the coupling's name; None for all.
        value: of the control (core.control).
        seconds: whole seconds for which it is to hold; None: until the next order.
        run: the start of the run (GPS) where it comes from a configuration that was read again: the
            next run begins with that configuration. None where an operator gave it.
    """

    id: str
    when: str
    who: str
    why: str
    setting: What
    coupling: str | None
    value: float
    seconds: int | None = None
    run: str | None = None

    def control(self, instant: int) -> Control:
        """Return the control that holds from an instant (GPS ns) on.

        Raises:
            ValueError: the value is not one of such a control.
        """
        until = None if self.seconds is None else instant + self.seconds * NS
        return Control(instant, self.setting, self.coupling, self.value, until)

    def __str__(self) -> str:
        where = "all couplings" if self.coupling is None else self.coupling
        if self.setting == "gain":
            return f"{where} gain {self.value:g}"
        if self.setting == "enabled":
            return f"{where} {'enabled' if self.value else 'disabled'}"
        if self.setting in LIMITS:
            return f"gate {self.setting} {self.value:g}"
        return f"{where} adaptation {'frozen' if self.value else 'not frozen'}"


@dataclass(frozen=True, slots=True)
class TakenOrder:
    """An order and the control that it became."""

    order: Order
    control: Control

    def __str__(self) -> str:
        until = self.control.until
        span = f"from GPS {format_gps(self.control.instant)}"
        span += "" if until is None else f" until GPS {format_gps(until)}"
        return f"{self.order} {span}, by {self.order.who}: {self.order.why}"

    def facts(self) -> dict[str, Any]:
        """Return the line of this order."""
        until = None if self.control.until is None else format_gps(self.control.until)
        times = {"instant": format_gps(self.control.instant), "until": until}
        return {"what": CONTROL, **times, **asdict(self.order)}


@dataclass(slots=True)
class ControlLog:
    """The content of a log.

    Args:
        orders: the orders by their id.
        taken: the orders that were taken by their id, in order.
        refused: the reasons for which orders were refused, by their id.
        held: the gains that freezes hold.
        damaged: the number of lines that cannot be read.
    """

    orders: dict[str, Order] = field(default_factory=dict)
    taken: dict[str, TakenOrder] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    held: list[HeldGains] = field(default_factory=list)
    damaged: int = 0

    @property
    def answered(self) -> set[str]:
        """The ids of the orders that were taken or refused."""
        return {*self.taken, *self.refused}

    def joined(self, other: ControlLog) -> ControlLog:
        """Return this log with what only another one holds after it."""
        known = {one.key for one in self.held}
        return ControlLog(
            self.orders | other.orders,
            self.taken | {key: one for key, one in other.taken.items() if key not in self.taken},
            self.refused | other.refused,
            [*self.held, *(one for one in other.held if one.key not in known)],
            self.damaged + other.damaged,
        )

    def before(self, instant: int) -> ControlLog:
        """Return the controls that begin before an instant, GPS nanoseconds."""
        taken = {key: one for key, one in self.taken.items() if one.control.instant < instant}
        held = [one for one in self.held if one.start * NS < instant]
        return ControlLog(taken=taken, held=held)

    def of_run(self, start: str | None) -> ControlLog:
        """Return the log without what only holds in other runs than the one from a GPS instant."""
        taken = {k: one for k, one in self.taken.items() if one.order.run in (None, start)}
        return replace(self, taken=taken)


def parse(content: bytes) -> ControlLog:
    """Return what the lines of a log say; lines of another kind are passed over."""
    log = ControlLog()
    for line in content.splitlines():
        try:
            facts = json.loads(line)
            what = facts["what"]
            if what == ORDER:
                order = _order(facts)
                log.orders[order.id] = order
            elif what == CONTROL:
                taken = _taken(facts)
                # One that was written twice holds from where the last line says.
                log.taken.pop(taken.order.id, None)
                log.taken[taken.order.id] = taken
            elif what == REFUSED:
                log.refused[str(facts["id"])] = str(facts["why"])
            elif what == HELD_GAINS:
                log.held.append(_held(facts))
        except (ValueError, KeyError, TypeError, AttributeError):
            log.damaged += 1
    return log


def read(path: Path) -> ControlLog:
    """Return what a record says; an absent one says nothing.

    Raises:
        OSError: the file cannot be read.
    """
    return parse(path.read_bytes()) if path.exists() else ControlLog()


def after(taken: Iterable[TakenOrder], instant: int) -> list[TakenOrder]:
    """Return the orders that end after an instant (GPS ns), or do not end, in their order."""
    taken = list(taken)
    ends = {id(control): end for control, end in in_force(one.control for one in taken)}
    return [one for one in taken if ends.get(id(one.control), 0) > instant]


def standing(taken: Iterable[TakenOrder], start: int, end: int = FOR_EVER) -> list[TakenOrder]:
    """Return the orders that hold at some time between two instants (GPS ns), in their order.

    Those that only take another one back are left out, and what was configured before (ORIGIN).
    """
    return [
        one
        for one in after(taken, start)
        if one.control.value != (1 if one.control.what in ("gain", "enabled") else 0)
        and ORIGIN < one.control.instant < end
    ]


def order_facts(order: Order) -> dict[str, Any]:
    """Return the line of an order."""
    return {"what": ORDER, **asdict(order)}


def refusal_facts(order: Order, why: str) -> dict[str, Any]:
    """Return the line of an order that is refused."""
    return {"what": REFUSED, "id": order.id, "why": why}


def held_facts(held: HeldGains) -> dict[str, Any]:
    """Return the line of the gains that a freeze holds, in which no bit of them is lost."""
    knot = held.knot
    return {
        "what": HELD_GAINS,
        "instant": str(held.start),
        "coupling": held.version.coupling,
        "version": held.version.number,
        "features": held.features,
        "second": knot.second,
        "gains": [[gain.real, gain.imag] for gain in knot.gains.tolist()],
        "whole": [complex(knot.whole).real, complex(knot.whole).imag],
        "significance": knot.significance.tolist(),
    }


def _order(facts: Mapping[str, Any]) -> Order:
    setting, coupling, seconds = (facts[key] for key in ("setting", "coupling", "seconds"))
    if setting not in ("gain", "enabled", "freeze", *LIMITS):
        raise ValueError(f"there is no setting {setting}")
    name, when, who, why = (str(facts[key]) for key in ("id", "when", "who", "why"))
    return Order(
        name,
        when,
        who,
        why,
        setting,
        None if coupling is None else str(coupling),
        float(facts["value"]),
        None if seconds is None else int(seconds),
        facts.get("run"),
    )


def _taken(facts: Mapping[str, Any]) -> TakenOrder:
    order, until = _order(facts), facts["until"]
    ends = None if until is None else seconds_to_ns(str(until))
    instant = seconds_to_ns(str(facts["instant"]))
    return TakenOrder(order, Control(instant, order.setting, order.coupling, order.value, ends))


def _held(facts: Mapping[str, Any]) -> HeldGains:
    gains = _complex(facts["gains"])
    knot = Knot(
        int(facts["second"]),
        gains,
        HELD,
        np.array(facts["significance"], dtype=np.float64),
        0.0,
        np.zeros((1, len(gains)), dtype=np.complex128),
        complex(_complex([facts["whole"]])[0]),
    )
    version = Version(str(facts["coupling"]), int(facts["version"]))
    return HeldGains(version, bool(facts["features"]), int(facts["instant"]), knot)


def _complex(pairs: Any) -> NDArray[np.complex128]:
    """Return complex numbers from pairs of real and imaginary part."""
    return np.array([complex(*pair) for pair in pairs], dtype=np.complex128)
