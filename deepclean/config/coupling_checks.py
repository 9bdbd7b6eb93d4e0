"""How the keys of one coupling must agree with one another and with the rates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from math import gcd
from typing import TYPE_CHECKING

from deepclean.config.faults import ConfigFault, Key, show_key
from deepclean.core.time import NS, format_gps

if TYPE_CHECKING:
    from deepclean.config.couplings import CouplingConfig
    from deepclean.config.schema import Config

RATE: Key = ("engine", "rate")
STRAIN_RATE: Key = ("strain", "rate")


def faults(config: Config, coupling: CouplingConfig, key: Key) -> Iterator[ConfigFault]:
    """Yield the faults of one coupling, enabled or not.

    Args:
        config: the whole configuration.
        coupling: the coupling.
        key: the coupling's key.
    """
    if re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", str(key[-1])) is None:
        yield ConfigFault(
            "a coupling's name holds letters, digits, _ and - only, a letter or digit first; "
            "rename it",
            (key,),
        )
    yield from _bands(config, coupling, (*key, "bands"))
    yield from _transition(coupling, key)
    yield from _windows(config, coupling, (*key, "predict"))
    settle_in = coupling.bandpass.settle_in
    if settle_in is not None:
        place = (*key, "bandpass", "settle_in")
        yield from whole_samples(settle_in, config.engine.rate, place, RATE)
    yield from _witnesses(config, coupling, (*key, "witnesses"))


def whole_samples(duration: int, rate: int, key: Key, rate_key: Key) -> Iterator[ConfigFault]:
    """Yield a fault where `duration` (nanoseconds) is no whole number of samples at `rate`."""
    if duration * rate % NS == 0:
        return
    unit = NS // gcd(NS, rate)
    nearest = max(round(duration / unit), 1) * unit
    yield ConfigFault(
        f"{in_seconds(duration)} is not a whole number of samples at {rate} Hz "
        f"({show_key(rate_key)}); use {format_gps(nearest)}",
        (key, rate_key),
    )


def in_seconds(duration: int) -> str:
    """Return a duration as messages write it: `0.25 s`."""
    return f"{format_gps(duration)} s"


def band_in_hz(band: tuple[float, float]) -> str:
    """Return a band as messages write it: `55-65 Hz`."""
    return f"{band[0]:g}-{band[1]:g} Hz"


def overlapping(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether two bands share more than an edge."""
    return max(one[0], other[0]) < min(one[1], other[1])


def _bands(config: Config, coupling: CouplingConfig, key: Key) -> Iterator[ConfigFault]:
    limits = ((RATE, config.engine.rate), (STRAIN_RATE, config.strain.rate))
    for index, band in enumerate(coupling.bands):
        low, high = band
        place, shown = (*key, index), band_in_hz(band)
        if low >= high:
            yield ConfigFault(
                f"{shown}: the low edge is not below the high edge; swap them", (place,)
            )
        if min(band) <= 0:
            yield ConfigFault(f"{shown}: an edge is not above 0 Hz; raise it", (place,))
        for rate_key, rate in limits:
            if max(band) >= rate / 2:
                yield ConfigFault(
                    f"{shown}: an edge is not below {rate / 2:g} Hz, half of "
                    f"{show_key(rate_key)}; lower it",
                    (place, rate_key),
                )
    for (first, a), (second, b) in combinations(enumerate(coupling.bands), 2):
        if overlapping(a, b):
            yield ConfigFault(
                f"{band_in_hz(b)} overlaps {band_in_hz(a)}; merge them",
                ((*key, second), (*key, first)),
            )


def _transition(coupling: CouplingConfig, key: Key) -> Iterator[ConfigFault]:
    bandpass = coupling.bandpass
    if bandpass.filter != "fir" or bandpass.settle_in is not None:
        return  # nothing is built from the transition
    lowest = min(min(band) for band in coupling.bands)
    if 0 < lowest <= bandpass.transition:
        settings = ("transition", "filter", "settle_in")
        yield ConfigFault(
            f"{bandpass.transition:g} Hz leaves no stop band below the band edge at {lowest:g} Hz; "
            f"use less than {lowest:g}",
            (*((*key, "bandpass", name) for name in settings), (*key, "bands")),
        )


def _windows(config: Config, coupling: CouplingConfig, key: Key) -> Iterator[ConfigFault]:
    predict, rate = coupling.predict, config.engine.rate
    kernel, edge, stride = predict.kernel, predict.edge, predict.stride
    kernel_key, edge_key, stride_key = ((*key, name) for name in ("kernel", "edge", "stride"))
    yield from whole_samples(kernel, rate, kernel_key, RATE)
    yield from whole_samples(edge, rate, edge_key, RATE)
    if stride is not None:
        yield from whole_samples(stride, rate, stride_key, RATE)
    if 2 * edge >= kernel:
        yield ConfigFault(
            f"{in_seconds(edge)} is not less than half of the kernel, {in_seconds(kernel)}; "
            "shorten the edge or lengthen the kernel",
            (edge_key, kernel_key),
        )
    elif stride is not None and stride > kernel - 2 * edge:
        yield ConfigFault(
            f"{in_seconds(stride)} leaves samples that no window predicts; use at most kernel "
            f"- 2 edge, {format_gps(kernel - 2 * edge)}",
            (stride_key, kernel_key, edge_key),
        )


def _witnesses(config: Config, coupling: CouplingConfig, key: Key) -> Iterator[ConfigFault]:
    for name, count in Counter(coupling.witnesses).items():
        if count > 1:
            yield ConfigFault(f"{name} is listed {count} times; keep one", (key,))
        if name == config.strain.channel:
            yield ConfigFault(
                f"{name} is the strain itself; remove it", (key, ("strain", "channel"))
            )
