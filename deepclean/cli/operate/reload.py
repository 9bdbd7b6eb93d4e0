"""`deepclean reload`: let a running daemon read its configuration again."""

from __future__ import annotations

import os
import re
import signal
import time

from deepclean.cli import options
from deepclean.config import load
from deepclean.errors import ControlError, InputError
from deepclean.system import lock
from deepclean.telemetry import status_file
from deepclean.telemetry.status_file import StatusContent

WAIT = 15.0
"""Seconds for which the daemon's answer is waited for: it writes its status once a second."""

_LOOK = 0.05
"""Seconds between two looks for it."""


def reload(config: options.ConfigOption, override: options.SetOption = None) -> None:
    """Let the running daemon read its configuration again, and print what it takes.

    It takes the limits of the gates, the couplings that are enabled, the retention and the log.
    Other keys need a restart, and are named. A configuration with faults is refused before the
    daemon is asked. Only root and the daemon's own user may ask.
    """
    settings = load(config, override or ())

    output = settings.output
    holder = lock.holder(lock.path_in(output.directory, output.description))
    process = re.fullmatch(r"process (\d+)", holder or "")
    if process is None:
        raise InputError("no daemon of this configuration runs", path=config)
    path = status_file.path_in(output.directory, output.description)
    before = _number(status_file.read(path, time.time()))
    try:
        os.kill(int(process[1]), signal.SIGHUP)
    except PermissionError as error:
        raise ControlError(f"you may not signal {holder}: root and its user may") from error
    limit = time.monotonic() + WAIT
    while time.monotonic() < limit:
        found = status_file.read(path, time.time())
        if _number(found) > before:
            _show(found)
            return
        time.sleep(_LOOK)
    raise InputError(f"{holder} has not answered in {WAIT:.0f} s; its log may say why", path=config)


def _number(content: StatusContent) -> int:
    """Return how often the daemon has read its configuration again."""
    return int(content.reloaded.get("number", 0))


def _show(content: StatusContent) -> None:
    """Print what became of it.

    Raises:
        ControlError: the daemon refused it.
    """
    result = content.reloaded
    if result["fault"]:
        raise ControlError(f"refused, all stays as it is: {result['fault']}")
    for said, keys in (("taken", result["taken"]), ("needs a restart", result["restart"])):
        if keys:
            print(f"{said}: {', '.join(keys)}")
    if not result["taken"] and not result["restart"]:
        print("nothing has changed")
