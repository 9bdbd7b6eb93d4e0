"""The clock: a signal may come at any moment of a wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from deepclean.system.clock import SystemClock


def test_a_wait_ends_in_time_or_when_woken() -> None:
    clock = SystemClock()
    start = time.monotonic()
    clock.wait(0.02)
    assert time.monotonic() - start >= 0.02
    for _ in range(3):
        clock.wake()
    clock.wait(1000.0)
    start = time.monotonic()
    clock.wait(0.02)  # three wakes before it ended one wait
    assert time.monotonic() - start >= 0.02
    waker = threading.Timer(0.01, clock.wake)
    waker.start()
    clock.wait(1000.0)
    waker.join()


BOMBARD = """
import os, signal, sys, time
while True:
    time.sleep(0.0002)
    os.kill(int(sys.argv[1]), signal.SIGUSR1)
"""


def test_signals_at_any_moment_of_a_wait_do_no_harm() -> None:
    """A lock that is taken in the wait and again in its handler would never be given up."""
    clock, woken = SystemClock(), [0]

    def handle(*_: object) -> None:
        woken[0] += 1
        clock.wake()

    before = signal.signal(signal.SIGUSR1, handle)
    sender = subprocess.Popen([sys.executable, "-c", BOMBARD, str(os.getpid())])
    try:
        while woken[0] < 1000:
            clock.wait(0.0)
    finally:
        sender.kill()
        sender.wait()
        signal.signal(signal.SIGUSR1, before)
