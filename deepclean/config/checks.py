"""How the keys of a configuration must agree. Each fault names the keys that it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from deepclean.config import coupling_checks, training_checks
from deepclean.config.coupling_checks import (
    STRAIN_RATE,
    band_in_hz,
    in_seconds,
    overlapping,
    whole_samples,
)
from deepclean.config.faults import ConfigFault, Key, fault_of, show_key
from deepclean.config.schema import ConfigTree
from deepclean.core.channels import STATE_RATE, frame_part
from deepclean.core.time import NS, format_gps
from deepclean.errors import hint

_HOPS = (NS // 16, NS // 8, NS // 4, NS // 2, *range(NS, 65 * NS, NS))
"""Nanoseconds. Whole seconds and whole hops coincide, and a 16 Hz channel has whole samples."""

_LATE = 60
"""Seconds that the archive is given to merge a stretch, and the segments to read one. Files may be
as short as a second."""


def faults(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield the faults of a configuration whose values are valid each, but not together."""
    engine = config.engine
    yield from _hop(config)
    yield from whole_samples(engine.ramp, config.strain.rate, ("engine", "ramp"), STRAIN_RATE)
    yield from _slowest_witness(config)
    yield from _limits(config)
    if config.gate.enabled:
        yield from _gate(config)
    yield from _sites(config)
    yield from _strain_files(config)
    yield from _directories(config)
    yield from _retained(config)
    yield from _published(config)
    yield from _streamed(config)
    for product, count in Counter(config.output.products).items():
        if count > 1:
            yield fault_of("output.products", f"{product} is listed {count} times; keep one")
    for name in sorted(set(config.output.estimates) - {"all", *config.couplings}):
        said = f"{name} is no coupling{hint(name, ['all', *config.couplings])}"
        yield fault_of("output.estimates couplings", said)
    for name, coupling in config.couplings.items():
        yield from coupling_checks.faults(config, coupling, ("couplings", name))
    yield from _overlaps(config)
    yield from _same_channels(config)
    if not config.couplings:
        yield fault_of("couplings", "there is none; add one")
    elif not config.enabled_couplings:
        switches = (("couplings", name, "enabled") for name in config.couplings)
        yield ConfigFault("none is enabled; enable at least one", (("couplings",), *switches))
    yield from training_checks.faults(config)


def _hop(config: ConfigTree) -> Iterator[ConfigFault]:
    hop = config.engine.hop
    if hop not in _HOPS:
        yield fault_of(
            "engine.hop",
            f"{in_seconds(hop)} is not 1/16, 1/8, 1/4, 1/2 or a whole number of seconds up to 64; "
            "use one of these",
        )
        return
    for key, rate in (("engine.rate", config.engine.rate), ("strain.rate", config.strain.rate)):
        if hop * rate % NS:
            yield fault_of(
                f"engine.hop {key}",
                f"{in_seconds(hop)} is not a whole number of samples at {rate} Hz ({key}); use a "
                f"longer hop or a multiple of {NS // hop} Hz",
            )


def _slowest_witness(config: ConfigTree) -> Iterator[ConfigFault]:
    delay, slowest = config.engine.resample.max_delay, config.engine.resample.slowest_rate
    if delay * slowest < NS:
        yield fault_of(
            "engine.resample.max_delay engine.resample.slowest_rate",
            f"{in_seconds(delay)} is less than one sample at {slowest} Hz (slowest_rate); use at "
            f"least {format_gps(-(-NS // slowest))}",
        )


def _limits(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault for each limit of a channel that is no coupling's witness."""
    used = {w for coupling in config.couplings.values() for w in coupling.witnesses}
    for channel in config.engine.witnesses.limits:
        if channel not in used:
            said = f"{channel} is no coupling's witness{hint(channel, used)}"
            yield fault_of("engine.witnesses.limits", said)


def _gate(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault for each time that the gates cannot be computed with."""
    gate, ramp, rate = config.gate, config.engine.ramp, config.engine.rate
    if gate.window % NS or gate.window < 4 * NS:
        yield fault_of(
            "gate.window gate.enabled",
            f"{in_seconds(gate.window)} is not a whole number of seconds from 4 on",
        )
    if ramp % (NS // 16) and not ramp * config.strain.rate % NS:
        yield fault_of(
            "engine.ramp gate.enabled",
            f"{in_seconds(ramp)} is not a whole number of sixteenths of a second, as gates need; "
            "use one, or switch the gates off",
        )
    if rate % 16 and not config.engine.hop * rate % NS:
        yield fault_of(
            "engine.rate gate.enabled",
            f"{rate} Hz is not a multiple of 16 Hz, as gates need; use one, or switch them off",
        )
    if gate.open_below > gate.close_above:
        yield fault_of(
            "gate.open_below gate.close_above",
            f"{gate.open_below} is above close_above, {gate.close_above}; lower it",
        )
    # Else the ramp down would have to begin before the verdict that it follows from.
    if gate.fade > gate.dwell:
        yield fault_of(
            "gate.fade gate.dwell gate.enabled",
            f"{in_seconds(gate.fade)} is longer than dwell, {in_seconds(gate.dwell)}; shorten it",
        )


def _sites(config: ConfigTree) -> Iterator[ConfigFault]:
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


def _strain_files(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault where the strain's directory is needed, or its files are told apart in none."""
    given, arrakis = config.input, config.input.arrakis
    if given.strain.directory is not None:
        return
    if arrakis.server is None:
        yield fault_of(
            "input.strain.directory input.arrakis.server",
            "missing; add it, or name a server that streams the strain (input.arrakis.server)",
        )
    elif not given.streams_strain:
        yield fault_of(
            "input.strain.directory input.arrakis.channels",
            "missing; add it, for only the witnesses are streamed; or stream all",
        )
    elif given.strain.description is not None:
        yield fault_of(
            "input.strain.description input.strain.directory",
            "there is no directory of these files; add it (input.strain.directory), or leave this "
            "out",
        )


def _directories(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault for each directory written to that is in use already."""
    witnesses = enumerate(config.input.witnesses)
    taken: dict[Key, Path | None] = {
        ("input", "strain", "directory"): config.input.strain.directory,
        **{("input", "witnesses", n, "directory"): frames.directory for n, frames in witnesses},
    }
    outputs: dict[Key, Path | None] = {
        ("output", "directory"): config.output.directory,
        ("output", "archive", "directory"): config.output.archive.directory,
        ("output", "segments", "directory"): config.output.segments.directory,
    }
    for key, directory in outputs.items():
        for other, path in taken.items():
            if path is not None and path == directory:
                yield ConfigFault(
                    f"{directory} is {show_key(other)} too; write to a directory of its own",
                    (key, other),
                )
        if directory is not None:
            taken[key] = directory


def _retained(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault where frames would be gone before something has read them."""
    output, retention = config.output, config.output.retention
    age = None if retention.age is None else retention.age / NS
    for section, key, length, does in (
        (output.archive, "archive.length", output.archive.length, "the archive has merged"),
        (output.segments, "segments.every", output.segments.every, "the segments hold"),
    ):
        if section.directory is None:
            continue
        least = length + _LATE
        for name, unit, kept in (("age", "s", age), ("count", "files", retention.count)):
            if kept is not None and kept < least:
                where = f"output.{key.split('.')[0]}.directory"
                yield fault_of(
                    f"output.retention.{name} output.{key} {where}",
                    f"{kept:.10g} {unit} are gone before {does} {length} s (output.{key}); use at "
                    f"least {least}, or a shorter length",
                )


def _published(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault for what cannot be published, and for what needs the frames that are not."""
    output, arrakis = config.output, config.output.arrakis
    if not output.frames:
        if arrakis.server is None:
            yield fault_of(
                "output.frames output.arrakis.server",
                "there would be no output; write frames, or name a server (output.arrakis.server)",
            )
        for name, directory in (
            ("archive", output.archive.directory),
            ("segments", output.segments.directory),
        ):
            if directory is not None:
                yield fault_of(
                    f"output.frames output.{name}.directory",
                    f"the files of output.{name} are made from the frames; write these",
                )
    if arrakis.server is None:
        return
    # All rates of the output are whole numbers of samples in 1/16 s where the strain's is.
    if arrakis.stride % (NS // STATE_RATE):
        yield fault_of(
            "output.arrakis.stride",
            f"{in_seconds(arrakis.stride)} is not a multiple of 1/16 s; use one",
        )
    if config.strain.rate % STATE_RATE:
        yield fault_of(
            "strain.rate output.arrakis.server",
            f"{config.strain.rate} Hz is not a multiple of 16 Hz, as published blocks need",
        )


def _streamed(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault for what does not agree with an input that is streamed."""
    arrakis = config.input.arrakis
    if arrakis.server is None:
        return
    if arrakis.stride not in _HOPS:
        yield fault_of(
            "input.arrakis.stride",
            f"{in_seconds(arrakis.stride)} is not 1/16, 1/8, 1/4, 1/2 or a whole number of seconds "
            "up to 64; use one of these",
        )
    if config.strain.rate % STATE_RATE:
        said = f"{config.strain.rate} Hz is not a multiple of 16 Hz, as blocks of 1/16 s need"
        yield fault_of("strain.rate input.arrakis.server", said)
    if arrakis.channels == "strain" and not config.input.witnesses:
        yield fault_of(
            "input.witnesses input.arrakis.channels",
            "there are none, and arrakis.channels is strain; name their directories, or use all",
        )


def _overlaps(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault for each two enabled couplings with bands that overlap."""
    for (name, one), (other_name, other) in combinations(config.enabled_couplings.items(), 2):
        pairs = [(a, b) for a in one.bands for b in other.bands if overlapping(a, b)]
        for first, second in pairs[:1]:
            both = [("couplings", each) for each in (other_name, name)]
            yield ConfigFault(
                f"{band_in_hz(second)} overlaps {band_in_hz(first)} of {name}: that noise would be "
                "subtracted twice; disable one of them or merge them",
                tuple((*key, part) for part in ("bands", "enabled") for key in both),
            )


def _same_channels(config: ConfigTree) -> Iterator[ConfigFault]:
    """Yield a fault for each coupling whose frame channels have another's names."""
    found: dict[str, str] = {}
    for name in config.couplings:
        part = frame_part(name)
        if part in found:
            yield ConfigFault(
                f"has the same frame channels as {found[part]} ({part}_...); rename one of them",
                (("couplings", name), ("couplings", found[part])),
            )
        found.setdefault(part, name)
