"""A configuration held against what is really there: files, channels, models, room, ports."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepclean.config import Config
from deepclean.core.output.segments import intersection, total_seconds
from deepclean.core.time import NS, Span
from deepclean.errors import DeepCleanError, InputError, listed
from deepclean.io.catalogue import Directory
from deepclean.io.history import History
from deepclean.models.budget import budget
from deepclean.models.content import model_path
from deepclean.models.loading import load_model, resolve_device
from deepclean.site.findings import Grade, SiteFinding
from deepclean.site.published import published
from deepclean.site.streamed import streamed
from deepclean.site.streams import Stream, find_streams
from deepclean.system import lock

_LATE = 60
"""Seconds behind the clock beyond which a directory counts as one in which nothing arrives."""

_MEMORY = 400 + 30
"""MB of memory: what a daemon with one coupling takes, and what each coupling may add."""

_WATCHES = 16
"""inotify watches that must be left for this user's daemon: one a directory, and some to spare."""


def check(config: Config, now: int) -> Iterator[SiteFinding]:
    """Yield what is found, one subject after the other. Nothing is written and nothing is changed.

    Args:
        config: to be held against what is there.
        now: GPS nanoseconds.
    """
    given = config.input.arrakis
    live = given.server is None
    if not live:
        yield from streamed(config)
    if live or given.channels == "witnesses":
        yield from _strain(config, now)
    if live or given.channels == "strain":
        yield from _witnesses(config)
    if live:
        yield from _history(config)
    yield from _models(config)
    yield from _output(config)
    if config.output.arrakis.server is not None:
        yield from published(config)
    yield from _machine(config)


def _strain(config: Config, now: int) -> Iterator[SiteFinding]:
    live, subject = config.input.strain_frames, "input.strain"
    streams = _streams_of(live.directory, live.description)
    if isinstance(streams, SiteFinding):
        yield SiteFinding(subject, streams.found, Grade.FAULT, streams.remedy)
        return
    if not streams:
        there = sorted({each.description or "-" for each in find_streams([live.directory])})
        yield SiteFinding(
            subject,
            f"{live.directory}: no files of {live.description or 'any description'}; there are "
            f"{', '.join(there) or 'none'}",
            Grade.FAULT,
            "set input.strain.description, or wait for the first files",
        )
        return
    newest = max(each.spans[-1].end for each in streams)
    behind = (now - newest) / NS
    files = sum(each.files for each in streams)
    said = f"{live.directory}: {files} files, the newest to GPS {newest // NS}"
    below = _below(live.directory, streams, subject)
    if below is not None:
        yield below
    elif behind > _LATE:
        yield SiteFinding(
            subject,
            f"{said}, {_ago(behind)} behind the clock",
            Grade.WARNING,
            "for a replay that is right; for `run`: is the site's data distribution up?",
        )
    else:
        yield SiteFinding(subject, f"{said}, {behind:.0f} s behind the clock")
    rates = {name: rate for each in streams for name, rate in each.rates.items()}
    channel, rate = config.strain.channel, config.strain.rate
    if channel not in rates:
        absent = f"no channel {listed([channel], rates)}"
        remedy = f"`deepclean init {config.input.strain_frames.directory}` shows what is there"
        yield SiteFinding("strain.channel", absent, Grade.FAULT, remedy)
    elif rates[channel] != rate:
        remedy = f"set strain.rate: {rates[channel]}"
        yield SiteFinding(
            "strain.rate", f"the files have {rates[channel]} Hz, not {rate}", Grade.FAULT, remedy
        )
    else:
        yield SiteFinding("strain.channel", f"{channel} at {rate} Hz")
    state = config.strain.state_vector
    if state is not None and state not in rates:
        yield SiteFinding(
            "strain.state_vector",
            f"no channel {listed([state], rates)}: no time counts as ready, all gates stay closed",
            Grade.FAULT,
            "name it, or set strain.state_vector: null",
        )
    elif state is not None:
        yield SiteFinding("strain.state_vector", f"{state} at {rates[state]} Hz")


def _below(directory: Path, streams: Sequence[Stream], subject: str) -> SiteFinding | None:
    """Return the fault of a directory whose files all lie in directories below it."""
    places = sorted({place for each in streams for place in each.places})
    if not places or directory in places:
        return None
    return SiteFinding(
        subject,
        f"{directory}: the files lie in {_few(places)} below it, where `run` does not look",
        Grade.FAULT,
        f"set its directory: {places[0]}" + ", or another of them" * (len(places) > 1),
    )


def _few(places: Sequence[Path]) -> str:
    return str(places[0]) if len(places) == 1 else f"{len(places)} directories"


def _streams_of(directory: Path, description: str | None) -> list[Stream] | SiteFinding:
    """Return the streams of a configured directory, or what keeps it from being read."""
    if not directory.is_dir():
        said = f"{directory}: no such directory"
        return SiteFinding("", said, remedy="make it, or name another")
    if not os.access(directory, os.R_OK | os.X_OK):
        user = f"user {os.geteuid()}"
        return SiteFinding(
            "", f"{directory}: {user} may not list it", remedy="give it the right to"
        )
    streams = find_streams([directory])
    return [each for each in streams if description in {None, each.description}]


def _witnesses(config: Config) -> Iterator[SiteFinding]:
    directories = config.input.witnesses or (config.input.strain_frames,)
    rates: dict[str, int] = {}
    for each in directories:
        streams = _streams_of(each.directory, each.description)
        if isinstance(streams, SiteFinding):
            yield SiteFinding("input.witnesses", streams.found, Grade.FAULT, streams.remedy)
            continue
        below = _below(each.directory, streams, "input.witnesses")
        if below is not None and config.input.witnesses:
            yield below  # the strain's own directory has been judged
        for stream in streams:
            rates |= stream.rates
            if stream.fault is not None:
                yield SiteFinding("input.witnesses", str(stream.fault), Grade.WARNING, "look at it")
    for name, coupling in config.enabled_couplings.items() if rates else ():
        absent = [channel for channel in coupling.witnesses if channel not in rates]
        subject = f"couplings.{name}.witnesses"
        count = len(coupling.witnesses)
        if absent:
            yield SiteFinding(
                subject,
                f"{len(absent)} of {count} are not there: {listed(absent[:4], rates)}"
                + (", ..." if len(absent) > 4 else ""),
                Grade.FAULT if len(absent) == count else Grade.WARNING,
                "name the channels that are there, and train again",
            )
        else:
            slowest = min(rates[channel] for channel in coupling.witnesses)
            fastest = max(rates[channel] for channel in coupling.witnesses)
            shown = f"{slowest}" if slowest == fastest else f"{slowest} to {fastest}"
            yield SiteFinding(subject, f"{count} channels at {shown} Hz")


def _history(config: Config) -> Iterator[SiteFinding]:
    """Yield whether the directories keep as much as a start reads before its first frame."""
    plan = budget(config).plan
    needed = plan.history / NS
    kept: list[Sequence[Span]] = []
    for each in (config.input.strain_frames, *config.input.witnesses):
        try:
            history = History([Directory(each.directory, each.description)])
        except InputError:
            return  # said already
        kept.append(history.spans())
    shared = intersection(*kept)
    seconds = total_seconds(shared)
    said = f"a start reads H = {needed:.0f} s before its first frame; kept are {seconds} s"
    if shared:
        said += f", GPS {shared[0].start // NS} to {shared[-1].end // NS}"
    if seconds >= needed:
        yield SiteFinding("history", said)
    else:
        remedy = "it cleans with less at first"
        if any(c.adapt == "features" for c in config.enabled_couplings.values()):
            remedy += "; `adapt: gain` or `off` reads less than `features`"
        yield SiteFinding("history", said, Grade.WARNING, remedy)


def _models(config: Config) -> Iterator[SiteFinding]:
    try:
        place = resolve_device(config.runtime.device)
    except DeepCleanError as error:
        yield SiteFinding("runtime.device", str(error), Grade.FAULT, "set runtime.device: cpu")
        return
    faults: dict[str, list[str]] = {}
    for name in config.enabled_couplings:
        try:
            model = load_model(config, name, model_path(config, name), place)
        except DeepCleanError as error:
            faults.setdefault(str(error), []).append(name)
        else:
            said = f"version {model.version} in production, {model.architecture['name']}"
            yield SiteFinding(f"couplings.{name}", said)
    for fault, names in faults.items():
        train = f"deepclean train -c CONFIG {' '.join(names)} --start START --end END"
        remedy = "set enabled: false for those that are not wanted"
        # The fault of a model that is not there says how it is trained; that of a network of
        # another package, what is to be named or installed.
        says_how = "`deepclean train " in fault or "architecture " in fault
        remedy = f"or {remedy}" if says_how else f"train them (`{train}`), or {remedy}"
        yield SiteFinding(f"couplings {', '.join(names)}", fault, Grade.FAULT, remedy)


def _output(config: Config) -> Iterator[SiteFinding]:
    directory, subject = config.output.directory, "output.directory"
    place = next((each for each in (directory, *directory.parents) if each.exists()), directory)
    if not os.access(place, os.W_OK | os.X_OK):
        said = f"{place}: user {os.geteuid()} may not write there"
        yield SiteFinding(subject, said, Grade.FAULT, "give it the right to, or name another")
        return
    free = shutil.disk_usage(place).free
    age = config.output.retention.age
    # Two float64 channels and what is beside them; a frame file adds little to its samples.
    second = (8 * len(config.output.products) + 1) * config.strain.rate
    held = None if age is None else round(age / NS * second)
    said = f"{directory}: {free / 1e9:.1f} GB are free"
    if held is None:
        yield SiteFinding(
            subject,
            f"{said}; frames are never deleted, {second * 86400 / 1e9:.0f} GB a day",
            Grade.WARNING,
            "set output.retention.age",
        )
    elif held > free:
        yield SiteFinding(
            subject,
            f"{said}, {held / 1e9:.1f} GB are needed",
            Grade.FAULT,
            "make room, or shorten output.retention.age",
        )
    else:
        yield SiteFinding(subject, f"{said}, {held / 1e9:.2f} GB are needed")


def _machine(config: Config) -> Iterator[SiteFinding]:
    running = lock.holder(lock.path_in(config.output.directory, config.output.description))
    if running is not None:
        yield SiteFinding("daemon", f"runs already: {running}")
    elif config.metrics.enabled:
        yield _port(config.metrics.address, config.metrics.port)
    yield from _watches()
    needed = _MEMORY + 30 * (len(config.enabled_couplings) - 1)
    memory = _available_memory()
    if memory is not None:
        few = memory < needed
        said = f"{memory:.0f} MB are available, about {needed} are needed"
        yield SiteFinding("memory", said, Grade.WARNING if few else Grade.FINE, "free some" * few)


def _port(address: str, port: int) -> SiteFinding:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address, port))
        except OSError as error:
            said = f"{address}:{port}: {error.strerror}"
            return SiteFinding("metrics.port", said, Grade.WARNING, "set another; cleaning goes on")
    return SiteFinding("metrics.port", f"{address}:{port} is free")


def _watches() -> Iterator[SiteFinding]:
    limits = Path("/proc/sys/fs/inotify")
    for name, least in (("max_user_watches", _WATCHES), ("max_user_instances", 1)):
        try:
            limit = int((limits / name).read_text())
        except (OSError, ValueError):
            continue
        few = limit < least
        remedy = f"raise fs.inotify.{name}; without it files are found by asking" * few
        grade = Grade.WARNING if few else Grade.FINE
        yield SiteFinding("inotify", f"{name} is {limit}", grade, remedy)


def _available_memory() -> float | None:
    """Return MB of memory that new processes can have; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if found is None else int(found) / 1000


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def worst(findings: Sequence[SiteFinding]) -> Grade:
    """Return the gravest grade of some findings."""
    order = list(Grade)
    return max((each.grade for each in findings), key=order.index, default=Grade.FINE)
