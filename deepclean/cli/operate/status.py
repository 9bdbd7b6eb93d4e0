"""`deepclean status`: the state of a configuration's daemon."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from math import degrees
from typing import Annotated, Any

import typer

from deepclean.cli import options
from deepclean.config import Config, load
from deepclean.core.reasons import CLEANED
from deepclean.errors import InputError
from deepclean.system import lock
from deepclean.system.clock import Clock, SystemClock
from deepclean.system.utc import with_date
from deepclean.telemetry import status_file
from deepclean.telemetry.status_file import StatusContent

NOT_RUNNING = 3
"""Exit status if no daemon of the configuration runs."""

_CLEAR = "\033[H\033[2J"
"""Moves a terminal's cursor to its upper left corner, and clears the screen (ECMA-48)."""


def status(
    config: options.ConfigOption,
    as_json: options.JsonOption = False,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch",
            "-w",
            min=0.1,
            metavar="SECONDS",
            help="Print the state again and again, so many seconds apart, until Ctrl-C.",
        ),
    ] = None,
    override: options.SetOption = None,
) -> None:
    """Print the state of the daemon, from its status file.

    There are some lines about the daemon, one for each coupling, and one for each control of an
    operator. Exit status 3: no daemon runs; the state is that of the last one.
    """
    settings = load(config, override or ())
    if watch is not None:
        _watch(settings, as_json, watch, SystemClock())
    if not _print(settings, as_json):
        raise typer.Exit(NOT_RUNNING)


def _watch(config: Config, as_json: bool, seconds: float, clock: Clock) -> None:
    """Print the state until Ctrl-C."""
    while True:
        if options.width() is not None and not as_json:
            print(_CLEAR, end="")
        try:
            _print(config, as_json)
        except InputError as error:
            if as_json:
                raise
            options.say(str(error))  # a daemon may be about to start
        clock.wait(seconds)


def _print(config: Config, as_json: bool) -> bool:
    """Print the state once; return whether the daemon runs."""
    output = config.output
    path = status_file.path_in(output.directory, output.description)
    kept = status_file.read(path, time.time())
    running = lock.holder(lock.path_in(output.directory, output.description)) is not None
    if as_json:
        facts: dict[str, Any] = {"process": kept.process, "age": kept.age, "running": running}
        facts |= {"ledger": status_file.facts(kept.ledger)}
        facts |= {"models": dict(kept.models), "couplings": kept.couplings}
        facts |= {"controls": list(kept.controls), "waiting": dict(kept.waiting)}
        facts |= {"latency": kept.latency, "history": dict(kept.history), "trouble": kept.trouble}
        print(json.dumps(facts), flush=True)
        return running
    for line in _lines(config, kept, running):
        options.say(line, "      ")
    sys.stdout.flush()
    return running


def _lines(config: Config, kept: StatusContent, running: bool) -> Iterator[str]:
    """Yield the state in words."""
    ledger, strain = kept.ledger, kept.waiting.get("strain", 0.0)
    state = "running" if running else "not running"
    unit = "block" if config.input.streams_strain else "frame"
    if running and strain >= 5:
        given = config.input
        place = f"in {given.strain.directory}"
        place = f"from {given.arrakis.server}" if given.streams_strain else place
        why = f" ({kept.trouble})" if given.streams_strain and kept.trouble else ""
        state += f", no strain for {strain:.0f} s {place}{why}"
    elif running and ledger.last_in is None:
        read, whole = kept.history.get("read", 0.0), kept.history.get("whole", 0.0)
        part = f": {read:.0f} of {whole:.0f} s" if whole else " first"
        state += f", no {unit} yet: it reads its history{part}"
    yield f"{config.interferometer}: {state}, process {kept.process}, {kept.age:.0f} s ago"
    passed = "blocks" if config.input.streams_strain else "files"
    ignored = f"{ledger.ignored.total()} {passed} ignored{_listed(ledger.ignored)}"
    yield f"in:   {ledger.frames_in} {unit}s, the last to GPS {_gps(ledger.last_in)}; {ignored}"
    cleaned = ledger.written[CLEANED]
    reduced = {reason: n for reason, n in ledger.written.items() if reason != CLEANED and n}
    yield f"out:  {cleaned} cleaned{_listed(reduced)}, the last to GPS {_gps(ledger.last_out)}"
    if kept.latency is not None:
        last, median, worst = (kept.latency[key] for key in ("last", "median", "worst"))
        frames = round(kept.latency["frames"])
        yield (
            f"latency: {last:.2f} s from the raw {unit} to the cleaned one; of the last {frames} "
            f"{unit}s the median {median:.2f} s, the worst {worst:.2f} s"
        )
    yield f"lost: {ledger.lost.total()}{_listed(ledger.lost)}, {ledger.inside} inside"
    models = "; ".join(f"{name} version {said}" for name, said in kept.models.items())
    yield f"models: {models or '-'}"
    for name, figures in kept.couplings.items():
        yield f"{name}: {_figures(figures)}"
    for said in kept.controls:
        yield f"control: {said}"
    balance = "balanced" if ledger.balanced else "NOT BALANCED"
    yield f"gaps: {ledger.gaps.total()} s{_listed(ledger.gaps)}; the ledger is {balance}"


def _figures(figures: Mapping[str, Any]) -> str:
    """Return the figures of a coupling in words.

    >>> known = {"gain": 1.0, "gate": "open", "asd_ratio": 0.627}
    >>> _figures(known | {"amplitude": 1.02, "phase": -0.05})
    'gain 1.00, gate open, ASD ratio 0.627, adapted by 1.020 and -2.9 degrees'
    >>> unknown = {"amplitude": None, "phase": None}
    >>> _figures(known | unknown | {"gain": 0.0, "reasons": ["missing"]})
    'gain 0.00 (missing), gate open, ASD ratio 0.627'
    """
    ratio, amplitude, phase = (figures[key] for key in ("asd_ratio", "amplitude", "phase"))
    said = [f"gain {figures['gain']:.2f}"]
    if figures["gate"] is not None:
        said.append(f"gate {figures['gate']}")
    said.append(f"ASD ratio {'-' if ratio is None else f'{ratio:.3f}'}")
    if amplitude is not None and phase is not None:
        said.append(f"adapted by {amplitude:.3f} and {degrees(phase):+.1f} degrees")
    if figures["gain"] < 1 and figures["gate"] in {None, "open"} and figures.get("reasons"):
        said[0] += f" ({', '.join(figures['reasons'])})"
    return ", ".join(said)


def _gps(instant: int | None) -> str:
    return "-" if instant is None else with_date(instant)


def _listed(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()))
    return f" ({listed})" if listed else ""
