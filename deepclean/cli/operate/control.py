"""`deepclean control`: steer a running daemon, or list what operators set."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from deepclean.cli import options
from deepclean.cli.terminal import completion, times
from deepclean.config import Config, load
from deepclean.core.control import What
from deepclean.errors import ConfigError, ControlError, InputError, hint
from deepclean.system import lock
from deepclean.system.utc import with_date
from deepclean.telemetry import status_file

LONGEST = 200
"""Characters of a reason at most: it stands in every frame."""

WAIT = 15.0
"""Seconds for which the daemon's answer is waited for: it looks once in `models.probe` seconds, and
takes an order before its next frame."""

_LOOK = 0.05
"""Seconds between two looks for it."""


def control(
    config: options.ConfigOption,
    coupling: Annotated[
        str | None,
        typer.Argument(
            help="Name of the coupling; default: all couplings.",
            autocompletion=completion.couplings,
        ),
    ] = None,
    gain: Annotated[
        float | None,
        typer.Option(metavar="0..1", help="Factor on the coupling's gain; 1 takes control back."),
    ] = None,
    inhibit: Annotated[
        bool | None,
        typer.Option("--inhibit/--no-inhibit", help="Subtract nothing; as --gain 0 for all."),
    ] = None,
    freeze: Annotated[
        bool | None,
        typer.Option(
            "--freeze-adaptation/--no-freeze-adaptation",
            help="Keep the gains of the adaptation as they are, or let them follow again.",
        ),
    ] = None,
    why: Annotated[
        str, typer.Option("--why", metavar="TEXT", help="Reason, for the record and the frames.")
    ] = "",
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="End after this time, as 90s, 30m, 2h or 1d."),
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="List what operators set, and change nothing.")
    ] = False,
    as_json: options.JsonOption = False,
    override: options.SetOption = None,
) -> None:
    """Set the gain of a coupling in the running daemon, or freeze its adaptation.

    It holds from a GPS second on, which is printed, until it is taken back or its time is over. Who
    may publish models may do this. A daemon that does not run takes it when it starts.
    """
    settings = load(config, override or ())
    if listing:
        _list(settings, as_json)
        return
    setting, value = _setting(coupling, gain, inhibit, freeze)
    if coupling is not None and coupling not in settings.enabled_couplings:
        known = settings.enabled_couplings
        raise ConfigError(f"no enabled coupling {coupling}{hint(coupling, known)}")
    if not why.strip() or len(why) > LONGEST or not why.isprintable():
        raise InputError(f"--why: give the reason, in one line of at most {LONGEST} characters")
    from deepclean.control import orders

    path = orders.path_of(settings)
    seconds = None if duration is None else times.seconds_of("--for", duration)
    order = orders.make(setting, coupling, value, seconds, why)
    orders.give(path, order)
    output = settings.output
    if lock.holder(lock.path_in(output.directory, output.description)) is None:
        print(f"{order}: ordered; no daemon runs, it is taken when one starts")
        return
    _await(settings, path, order.id)


def _setting(
    coupling: str | None, gain: float | None, inhibit: bool | None, freeze: bool | None
) -> tuple[What, float]:
    """Return the kind of control that the options ask for, and its value.

    Raises:
        InputError: they ask for none, or for more than one.
    """
    if sum(option is not None for option in (gain, inhibit, freeze)) != 1:
        raise InputError("give one of --gain, --inhibit, --freeze-adaptation, or --list")
    if inhibit is not None:
        if coupling is not None:
            raise InputError(f"--inhibit is for all couplings; for one: {coupling} --gain 0")
        return "gain", 0.0 if inhibit else 1.0
    if freeze is not None:
        return "freeze", float(freeze)
    assert gain is not None
    if not 0 <= gain <= 1:
        raise InputError(f"--gain {gain:g}: a gain is at least 0 and at most 1")
    return "gain", gain


def _await(config: Config, path: Path, order: str) -> None:
    """Print what the daemon made of an order.

    Raises:
        ControlError: it refused it.
    """
    from deepclean.control import orders

    limit = time.monotonic() + WAIT
    while time.monotonic() < limit:
        found = orders.read(path, config.models.directory)
        if order in found.refused:
            raise ControlError(f"refused: {found.refused[order]}")
        if order in found.taken:
            taken = found.taken[order]
            until = taken.control.until
            ends = "" if until is None else f" until GPS {with_date(until)}"
            print(f"{taken.order}: from GPS {with_date(taken.control.instant)}{ends}")
            return
        time.sleep(_LOOK)
    print(f"{found.orders[order]}: ordered; the daemon takes it when its next frame comes in")


def _list(config: Config, as_json: bool) -> None:
    """Print what operators set, and what no daemon took yet."""
    from deepclean.control import lines, orders

    output = config.output
    path = status_file.path_in(output.directory, output.description)
    reached = status_file.read(path, time.time()).ledger.last_in if path.exists() else None
    log = orders.read(orders.path_of(config), config.models.directory)
    held = lines.standing(log.taken.values(), reached or 0)
    waiting = [order for key, order in log.orders.items() if key not in log.answered]
    if as_json:
        facts = {"standing": [taken.facts() for taken in held]}
        print(json.dumps({**facts, "waiting": [lines.order_facts(order) for order in waiting]}))
        return
    for taken in held:
        options.say(str(taken))
    for order in waiting:
        options.say(f"{order}, by {order.who}: {order.why} (not taken yet)")
    if not held and not waiting:
        print("nothing is set")
