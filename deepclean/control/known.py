"""The controls that a daemon begins with: those of its last run, and those of the store."""

from __future__ import annotations

import logging
from pathlib import Path

from deepclean.config import Config
from deepclean.control import lines, orders
from deepclean.control.lines import ControlLog
from deepclean.control.updates import KnownControls
from deepclean.errors import DeepCleanError, InputError, refusal

_log = logging.getLogger(__name__)


def known_controls(config: Config, record: Path) -> KnownControls:
    """Return the controls that were taken before.

    The record beside the frames is the run's own, and says what the frames hold. It is gone where
    the frames were in the machine's memory and that was restarted; the log in the store tells then.
    A log that cannot be read or trusted now is read by the follower when it can.

    Args:
        config: of the run.
        record: the path of the record of the run before.
    """
    try:
        recorded = lines.read(record)
    except OSError as error:
        _log.error("%s", refusal(error, "controls cannot be read", record, InputError))
        recorded = ControlLog()
    try:
        stored = orders.read(orders.path_of(config), config.models.directory)
    except DeepCleanError as error:
        _log.error("the orders of operators are not obeyed: %s", error)
        stored = ControlLog()
    # The record has no orders of its own; the refused ones are the store's.
    recorded = recorded.of_run(None)
    there = {one.key for one in stored.held}
    missing = [one.facts() for key, one in recorded.taken.items() if key not in stored.taken]
    missing += [lines.held_facts(one) for one in recorded.held if one.key not in there]
    return KnownControls(recorded.joined(stored), frozenset(recorded.taken), missing)
