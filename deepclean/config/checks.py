"""What the keys of a configuration must be to one another. Each fault names what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from deepclean.config import coupling_checks
from deepclean.config import retrain as retraining
from deepclean.config.coupling_checks import RATE, STRAIN_RATE, band_in_hz, whole_samples
from deepclean.config.faults import ConfigFault, Key, show_key
from deepclean.core.channels import frame_part
from deepclean.core.time import NS, format_gps
from deepclean.errors import hint

if TYPE_CHECKING:
    from deepclean.config.schema import Config

_HOPS = (NS // 16, NS // 8, NS // 4, NS // 2, *range(NS, 65 * NS, NS))
"""Nanoseconds. Whole seconds and whole hops coincide, and a 16 Hz channel has whole samples."""

_MERGE = 60
"""Seconds that the archive is given to merge a stretch. Files may be as short as a second."""


def faults(config: Config) -> Iterator[ConfigFault]:
    """Yield whatever does not go together in a configuration whose values are valid each."""
    yield from _hop(config)
    yield from whole_samples(
        config.engine.ramp, config.strain.rate, ("engine", "ramp"), STRAIN_RATE
    )
    yield from _slowest_witness(config)
    yield from _limits(config)
    yield from _gate(config)
    yield from _sites(config)
    yield from _directories(config)
    yield from _archive(config)
    yield from _products(config)
    for name, coupling in config.couplings.items():
        yield from coupling_checks.faults(config, coupling, ("couplings", name))
    yield from _overlaps(config)
    yield from _alike(config)
    yield from _none_enabled(config)
    yield from _training(config)
    yield from _trial(config)
    yield from retraining.faults(config)


def _hop(config: Config) -> Iterator[ConfigFault]:
    key: Key = ("engine", "hop")
    hop = config.engine.hop
    if hop not in _HOPS:
        yield ConfigFault(
            f"{format_gps(hop)} s is not 1/16, 1/8, 1/4, 1/2 or a whole number of seconds up to "
            "64; use one of these",
            (key,),
        )
        return
    for rate_key, rate in ((RATE, config.engine.rate), (STRAIN_RATE, config.strain.rate)):
        if hop * rate % NS:
            yield ConfigFault(
                f"{format_gps(hop)} s is not a whole number of samples at {rate} Hz "
                f"({show_key(rate_key)}); use a longer hop or a multiple of {NS // hop} Hz",
                (key, rate_key),
            )


def _slowest_witness(config: Config) -> Iterator[ConfigFault]:
    resample = config.engine.resample
    if resample.max_delay * resample.slowest_rate < NS:
        least = -(-NS // resample.slowest_rate)
        yield ConfigFault(
            f"{format_gps(resample.max_delay)} s is less than one sample at "
            f"{resample.slowest_rate} Hz (slowest_rate); use at least {format_gps(least)}",
            (("engine", "resample", "max_delay"), ("engine", "resample", "slowest_rate")),
        )


def _limits(config: Config) -> Iterator[ConfigFault]:
    """Yield a fault for each limit of a channel that nobody uses."""
    used = {w for coupling in config.couplings.values() for w in coupling.witnesses}
    for channel in config.engine.witnesses.limits:
        if channel not in used:
            yield ConfigFault(
                f"{channel} is no coupling's witness{hint(channel, used)}",
                (("engine", "witnesses", "limits"),),
            )


def _gate(config: Config) -> Iterator[ConfigFault]:
    """Yield a fault for each time that the gates cannot be computed with."""
    gate, ramp, rate = config.gate, config.engine.ramp, config.engine.rate
    if not gate.enabled:
        return
    switch: Key = ("gate", "enabled")
    if gate.window % NS or gate.window < 4 * NS:
        yield ConfigFault(
            f"{format_gps(gate.window)} s is not a whole number of seconds from 4 on",
            (("gate", "window"), switch),
        )
    if ramp % (NS // 16) and not ramp * config.strain.rate % NS:
        yield ConfigFault(
            f"{format_gps(ramp)} s is not a whole number of sixteenths of a second, as gates need; "
            "use one, or switch the gates off",
            (("engine", "ramp"), switch),
        )
    if rate % 16 and not config.engine.hop * rate % NS:
        yield ConfigFault(
            f"{rate} Hz is not a multiple of 16 Hz, as gates need; use one, or switch them off",
            (RATE, switch),
        )
    if gate.open_below > gate.close_above:
        yield ConfigFault(
            f"{gate.open_below} is above close_above, {gate.close_above}; lower it",
            (("gate", "open_below"), ("gate", "close_above")),
        )
    # Else the ramp down would have to begin before the verdict that it follows from.
    if gate.fade > gate.dwell:
        yield ConfigFault(
            f"{format_gps(gate.fade)} s is longer than dwell, "
            f"{format_gps(gate.dwell)} s; shorten it",
            (("gate", "fade"), ("gate", "dwell"), switch),
        )


def _sites(config: Config) -> Iterator[ConfigFault]:
    """Yield a fault for each channel that belongs to another interferometer."""
    site = config.interferometer
    named: dict[Key, tuple[str | None, ...]] = {
        ("strain", "channel"): (config.strain.channel,),
        ("strain", "state_vector"): (config.strain.state_vector,),
        **{("couplings", name, "witnesses"): c.witnesses for name, c in config.couplings.items()},
    }
    for key, channels in named.items():
        for channel in channels:
            if channel is not None and not channel.startswith(f"{site}:"):
                yield ConfigFault(
                    f"{channel} is not a channel of {site}; name one of {site}'s",
                    (key, ("interferometer",)),
                )


def _directories(config: Config) -> Iterator[ConfigFault]:
    """Yield a fault for each directory written to that is in use already."""
    witnesses = enumerate(config.input.witnesses)
    taken: dict[Key, Path] = {
        ("input", "strain", "directory"): config.input.strain.directory,
        **{("input", "witnesses", n, "directory"): frames.directory for n, frames in witnesses},
    }
    outputs: dict[Key, Path | None] = {
        ("output", "directory"): config.output.directory,
        ("output", "archive", "directory"): config.output.archive.directory,
    }
    for key, directory in outputs.items():
        for other, path in taken.items():
            if path == directory:
                yield ConfigFault(
                    f"{directory} is {show_key(other)} too; write to a directory of its own",
                    (key, other),
                )
        if directory is not None:
            taken[key] = directory


def _archive(config: Config) -> Iterator[ConfigFault]:
    """Yield a fault where frames would be gone before the archive has merged them."""
    archive, retention = config.output.archive, config.output.retention
    if archive.directory is None:
        return
    least = archive.length + _MERGE
    age = None if retention.age is None else retention.age / NS
    for name, unit, kept in (("age", "s", age), ("count", "files", retention.count)):
        if kept is not None and kept < least:
            yield ConfigFault(
                f"{kept:.10g} {unit} are gone before the archive has merged {archive.length} s "
                f"(output.archive.length); use at least {least}, or a shorter length",
                (
                    ("output", "retention", name),
                    ("output", "archive", "length"),
                    ("output", "archive", "directory"),
                ),
            )


def _products(config: Config) -> Iterator[ConfigFault]:
    for name, count in Counter(config.output.products).items():
        if count > 1:
            yield ConfigFault(
                f"{name} is listed {count} times; keep one", (("output", "products"),)
            )


def _overlaps(config: Config) -> Iterator[ConfigFault]:
    """Yield a fault for each two enabled couplings of which a band overlaps."""
    for (name, one), (other_name, other) in combinations(config.enabled_couplings.items(), 2):
        shared = next(
            ((a, b) for a in one.bands for b in other.bands if max(a[0], b[0]) < min(a[1], b[1])),
            None,
        )
        if shared is not None:
            both = [("couplings", each) for each in (other_name, name)]
            yield ConfigFault(
                f"{band_in_hz(shared[1])} overlaps {band_in_hz(shared[0])} of {name}: that noise "
                "would be subtracted twice; disable one of them or merge them",
                tuple((*key, part) for part in ("bands", "enabled") for key in both),
            )


def _alike(config: Config) -> Iterator[ConfigFault]:
    """Yield a fault for each coupling whose frame channels have another's names."""
    seen: dict[str, str] = {}
    for name in config.couplings:
        part = frame_part(name)
        if part in seen:
            yield ConfigFault(
                f"has the same frame channels as {seen[part]} ({part}_...); rename one of them",
                (("couplings", name), ("couplings", seen[part])),
            )
        seen.setdefault(part, name)


def _none_enabled(config: Config) -> Iterator[ConfigFault]:
    if not config.couplings:
        yield ConfigFault("there is none; add one", (("couplings",),))
    elif not config.enabled_couplings:
        switches = (("couplings", name, "enabled") for name in config.couplings)
        yield ConfigFault("none is enabled; enable at least one", (("couplings",), *switches))


def _training(config: Config) -> Iterator[ConfigFault]:
    rate = config.engine.rate
    window_key, overlap_key = ("training", "window"), ("training", "overlap")
    window, overlap = config.training.window, config.training.overlap
    yield from whole_samples(window, rate, window_key, RATE)
    yield from whole_samples(overlap, rate, overlap_key, RATE)
    if overlap >= window:
        yield ConfigFault(
            f"{format_gps(overlap)} s is not less than the window, {format_gps(window)} s; "
            "shorten it",
            (overlap_key, window_key),
        )


def _trial(config: Config) -> Iterator[ConfigFault]:
    """Yield a fault where a canary could never be promoted."""
    trial = config.models.trial
    if trial.patience < trial.validation_time:
        yield ConfigFault(
            f"{format_gps(trial.patience)} s is shorter than validation_time, "
            f"{format_gps(trial.validation_time)} s: no canary could be promoted; raise it",
            (
                ("models", "trial", "patience"),
                ("models", "trial", "validation_time"),
            ),
        )
