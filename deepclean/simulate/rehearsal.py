"""The faults of one stream, applied to the channels and files of its simulator."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from deepclean.core.block import Series
from deepclean.core.time import NS, Span, index_from
from deepclean.io.t050017 import FrameName
from deepclean.simulate.damage import Act, acts, faster, spoiled
from deepclean.simulate.faults import Fault, FaultSchedule
from deepclean.simulate.noise import generator
from deepclean.simulate.simulator import Simulator
from deepclean.simulate.site import STATE_RATE


class Rehearsal:
    """Applies faults to a stream. Without faults it changes nothing.

    Args:
        simulator: of the site.
        faults: in the order in which they act on the same samples or file.
        span: of the stream.

    Raises:
        ConfigError: an unknown kind or target.
        InputError: the strain freezes before the site's background begins.
    """

    def __init__(self, simulator: Simulator, faults: Iterable[Fault], span: Span) -> None:
        self._site = simulator.site
        self._span = span
        self._schedule = FaultSchedule(faults, self._site)

        @lru_cache(maxsize=4096)
        def held(channel: str, fault: Fault) -> Any:
            """Return the value that a channel had when a fault began."""
            rate = simulator.rates[channel]
            second, number = divmod(index_from(fault.span.start, rate), rate)
            return simulator.read([channel], Span.of_seconds(second, 1))[channel].samples[number]

        self._held = held
        for fault in self._schedule.over(span, "samples"):
            if fault.kind == "frozen" and self._site.strain in self._schedule.channels(fault):
                held(self._site.strain, fault)

    def samples(self, made: dict[str, Series], second: Span) -> dict[str, Series]:
        """Return the channels of a second with the faults of samples and of the state vector."""
        hurt = dict(made)
        for fault in self._schedule.over(second, "samples", "state"):
            for name in self._schedule.channels(fault) & hurt.keys():
                hurt[name] = spoiled(hurt[name], fault, partial(self._held, name, fault))
        return hurt

    def channels(
        self, series: dict[str, Series], span: Span
    ) -> tuple[dict[str, Series], frozenset[str]]:
        """Return the channels of a file with the faults of channels, and those flagged invalid.

        A frame must hold a channel. If all are left out, it holds `SIM-NOTHING`, zeros.
        """
        left, flagged = dict(series), frozenset[str]()
        for fault in self._schedule.over(span, "channel"):
            for name in self._schedule.channels(fault) & left.keys():
                if fault.kind == "absent":
                    del left[name]
                elif fault.kind == "rate":
                    left[name] = faster(left[name])
                else:
                    flagged |= {name}
        if not left:
            nothing = np.zeros(span.samples(STATE_RATE), dtype=np.float32)
            left[f"{self._site.ifo}:SIM-NOTHING"] = Series(span, STATE_RATE, nothing)
        return left, flagged & left.keys()

    def acts(self, name: FrameName, data: bytes, held: Iterable[str], length: int) -> list[Act]:
        """Return the operations on a file.

        Args:
            name: of the file.
            data: its content.
            held: full names of its channels.
            length: seconds of the files of its kind.
        """
        # The file before may swap with this one.
        reach = Span(name.span.start - length * NS, name.span.end)
        faults = [
            fault
            for fault in self._schedule.over(reach, "file")
            if not self._schedule.channels(fault).isdisjoint(held)
        ]
        seed = self._site.seed

        def random(kind: str) -> np.random.Generator:
            return generator(seed, f"{kind} {name.description}", name.start)

        return acts(name, data, faults, self._span, length, random)
