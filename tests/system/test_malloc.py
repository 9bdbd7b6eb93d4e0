"""Memory that is free goes back to the operating system."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepclean.system.malloc import INTERVAL, Trimmer
from tests.helpers.small_site import FakeClock


def resident() -> float:
    """Return this process's resident memory in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_what_is_free_goes_back_after_the_interval() -> None:
    clock = FakeClock()
    trimmer = Trimmer(clock)
    # Small pieces, of which every thousandth lives on: the library keeps the pages between.
    pieces = [np.ones(1000) for _ in range(10_000)]
    kept = pieces[::1000]
    before = resident()
    del pieces
    clock.now += INTERVAL - 1
    trimmer.step()
    held = resident()
    clock.now += 1
    trimmer.step()
    assert held - resident() > 40
    assert before - resident() > 40
    assert len(kept) == 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_what_a_frame_uses_again_stays_and_a_burst_goes_back() -> None:
    """In a process of its own, for `retain` holds until that ends."""
    script = """
import numpy as np
from deepclean.system import malloc
from tests.helpers.small_site import FakeClock
clock = FakeClock()
trimmer = malloc.Trimmer(clock)
malloc.retain()
def held(count):
    pieces = [np.ones(1000) for _ in range(count)]
    kept.append(pieces[-1])
    del pieces
    clock.now += malloc.INTERVAL
    before = malloc._resident()
    trimmer.step()
    return round((before - malloc._resident()) / 1e6)
kept = []
held(1)
print(held(1_250), held(1_250), held(12_500), held(1_250))
"""
    command = [sys.executable, "-c", script]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    frame, again, burst, after = map(int, said.split())
    assert (frame, again, after) == (0, 0, 0)
    assert 80 < burst < 110


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_what_is_kept_is_not_taken_from_the_system_again() -> None:
    """In a process of its own, for it holds until that ends."""
    script = """
import resource, sys
import numpy as np
from deepclean.system import malloc as memory
if sys.argv[1] == "keep":
    memory.retain()
for turn in range(11):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

    def faults(how: str) -> int:
        command = [sys.executable, "-c", script, how]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    # Pages of 4 kB, or of 2 MB where the kernel likes.
    assert faults("keep") < 10 < 10 * 10 < faults("as it is")
