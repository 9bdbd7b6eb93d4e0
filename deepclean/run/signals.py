"""The signals that a daemon obeys: SIGTERM and SIGINT stop it, SIGHUP is `deepclean reload`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from deepclean.system.clock import SystemClock


@contextmanager
def on_signals(clock: SystemClock, *, reloads: bool) -> Iterator[Signals]:
    """Give what tells which signals came; put the old handlers back.

    Args:
        clock: is woken by them.
        reloads: whether SIGHUP asks for the configuration to be read again.
    """
    told = Signals()

    def stop(number: int, frame: FrameType | None) -> None:
        told.stop = True
        clock.wake()

    def reload(number: int, frame: FrameType | None) -> None:
        told.reload = told.reloaded = True
        clock.wake()

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if reloads:
        handlers[signal.SIGHUP] = reload
    old = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield told
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@dataclass(slots=True)
class Signals:
    """The signals that came.

    Args:
        stop: whether SIGTERM or SIGINT came.
        reload: whether SIGHUP came that nobody was told of.
        reloaded: whether it ever came.
    """

    stop: bool = False
    reload: bool = False
    reloaded: bool = False

    def stopped(self) -> bool:
        """Return whether the daemon is to stop."""
        return self.stop

    def pop_reload(self) -> bool:
        """Return whether the configuration is to be read again; the next call says no."""
        asked, self.reload = self.reload, False
        return asked

    def reload_again(self) -> None:
        """Let a daemon that begins anew read what the one before it had read again."""
        self.reload = self.reload or self.reloaded
