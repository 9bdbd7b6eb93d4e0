"""Orders taken into a running stream: between two frames, each from a stated second on.

An order is taken from the first whole second that no computed sample depends on. That is on
record, beside the frames and on the disk, before the first of these samples is computed. So the
record tells what the frames hold, whatever kills the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from deepclean.control.lines import (
    ORIGIN,
    ControlLog,
    Order,
    TakenOrder,
    after,
    held_facts,
    refusal_facts,
    standing,
)
from deepclean.core.engine.engine import Engine
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import OutputError, hint
from deepclean.rollout.record import ModelRecord
from deepclean.system.logs import Transitions
from deepclean.telemetry.counters import Counters

_log = logging.getLogger(__name__)

_KEPT = 86_400 * NS
"""Nanoseconds for which a control is kept for frames that are still inside after it has ended."""

CONTROL = "control "
"""The beginning of the name of each line in a frame's history record that is about a control."""


class OrderSource(Protocol):
    """Where orders come from, and who is told what became of them."""

    def pop(self) -> list[Order]:
        """Return the orders that came since the last call."""
        ...

    def answer(self, facts: Mapping[str, Any]) -> None:
        """Take the line that says what became of an order."""
        ...


class NoOrders:
    """The source of a replay, in which nobody orders anything."""

    def pop(self) -> list[Order]:
        """Return no order."""
        return []

    def answer(self, facts: Mapping[str, Any]) -> None:
        """Tell nobody."""


@dataclass(frozen=True, slots=True)
class ConfiguredChange:
    """A control that comes from a configuration that was read again.

    Args:
        order: the order; `run` is filled in.
        former: the value before, where it is a limit of the gates; else None.
    """

    order: Order
    former: float | None = None


@dataclass(frozen=True, slots=True)
class KnownControls:
    """The controls that a run begins with.

    Args:
        log: the orders that were taken, and the gains that freezes hold.
        recorded: the ids of those orders that the run's own record has.
        unanswered: the lines that a run before did not come to write into the store.
    """

    log: ControlLog
    recorded: Collection[str] = ()
    unanswered: Sequence[Mapping[str, Any]] = ()


class ControlUpdates:
    """Takes orders into an engine.

    Args:
        engine: of the stream.
        couplings: the names of its couplings.
        source: where orders come from.
        record: of the run.
        counters: told of what happens.
        known: what the run begins with.
        changed: returns what the configuration changes that was read again since the last call.
    """

    def __init__(
        self,
        engine: Engine,
        couplings: Collection[str],
        source: OrderSource,
        record: ModelRecord,
        counters: Counters,
        known: KnownControls,
        changed: Callable[[], Iterable[ConfiguredChange]] = list,
    ) -> None:
        self._engine, self._couplings = engine, couplings
        self._source, self._record, self._counters = source, record, counters
        self._changed, self._run = changed, ""
        self._noted: set[str] = set()
        self._taken = list(known.log.taken.values())
        self._waiting: list[Order] = []
        # What the record lacks is written before the first frame.
        missing = [t for key, t in known.log.taken.items() if key not in known.recorded]
        held = known.log.held if missing else []
        self._unwritten = [*(t.facts() for t in missing), *(held_facts(one) for one in held)]
        self._said = Transitions(_log)
        for facts in known.unanswered:
            source.answer(facts)
        engine.controls.restore(known.log.held)
        for taken in self._taken:
            engine.controls.add(taken.control)

    def step(self, frame: InputFrame) -> None:
        """Take the orders that came, before the next frame goes in."""
        if frame.bypass or not frame.wanted:
            return
        self._run = self._run or format_gps(frame.span.start)
        self._waiting += self._source.pop()
        for change in self._changed():
            self._waiting.append(replace(change.order, run=self._run))
            self._note_origin(change)
        if not self._write():
            return
        while self._waiting:
            order = self._waiting[0]
            fault = self._fault(order)
            if fault:
                self._refuse(order, fault)
            elif not self._take(order, frame.span.start):
                return
            self._waiting.pop(0)

    def finish(self) -> None:
        """Put on record what became known while a frame was computed, before it is written."""
        for held in self._engine.controls.pop_held():
            facts = held_facts(held)
            self._unwritten.append(facts)
            self._source.answer(facts)
        self._write()

    def standing(self, waited: float = 0.0, begin: int = 0) -> list[TakenOrder]:
        """Return the orders that hold or are to hold.

        Args:
            waited: seconds for which the next frame is overdue: an order may end within them.
            begin: the time before the first frame, GPS nanoseconds.
        """
        frontier = self._engine.frontier
        reached = begin if frontier is None else frontier + round(waited * NS)
        return standing(self._taken, reached)

    def history(self, span: Span) -> dict[str, str]:
        """Return what a frame's history record says of the orders that hold within it."""
        held = standing(self._taken, span.start, span.end)
        return {f"{CONTROL}{taken.order.id[:8]}": str(taken) for taken in held}

    def _fault(self, order: Order) -> str:
        """Return why an order cannot be taken; empty where it can."""
        if order.coupling is not None and order.coupling not in self._couplings:
            return f"no coupling {order.coupling} runs{hint(order.coupling, self._couplings)}"
        try:
            order.control(0)
        except ValueError as error:
            return str(error)
        return ""

    def _take(self, order: Order, start: int) -> bool:
        """Take an order and return whether it could be put on record.

        Args:
            order: the order.
            start: the start of the next frame, GPS nanoseconds.
        """
        taken = TakenOrder(order, order.control(self._engine.controls.earliest(start)))
        self._unwritten.append(taken.facts())
        if not self._write():
            self._unwritten.remove(taken.facts())
            return False
        self._engine.controls.add(taken.control)
        # Of those that ended long ago nothing is said any more.
        since = taken.control.instant - _KEPT
        self._taken = [*after(self._taken, since), taken]
        if order.run is None:
            self._source.answer(taken.facts())
        self._counters.controls["taken"] += 1
        _log.warning("GPS %s: taken: %s", format_gps(start), taken)
        return True

    def _note_origin(self, change: ConfiguredChange) -> None:
        """Put on record what a limit was before this run changed it for the first time.

        So a replay finds it whatever its own configuration says.
        """
        order = change.order
        if change.former is None or order.setting in self._noted:
            return
        self._noted.add(order.setting)
        former = replace(order, id=f"{order.id}-former", value=change.former, run=self._run)
        self._unwritten.append(TakenOrder(former, former.control(ORIGIN)).facts())

    def _refuse(self, order: Order, why: str) -> None:
        self._source.answer(refusal_facts(order, why))
        self._counters.controls["refused"] += 1
        _log.error("%s, by %s, is refused: %s", order, order.who, why)

    def _write(self) -> bool:
        """Put on record what is to be there and return whether that was possible."""
        if not self._unwritten:
            return True
        try:
            while self._unwritten:
                self._record.append_facts(self._unwritten[0])
                self._unwritten.pop(0)
        except OutputError as error:
            said = f"controls are not on record; none is taken until they are: {error}"
            self._said.failed("record", said, error, brief=True)
            return False
        self._said.works("record", "controls are on record again")
        return True
