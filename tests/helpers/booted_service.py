"""The service on a booted machine: what systemd, its journal and its frames say of it."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable

from deepclean.core.block import Series
from deepclean.io import gwf
from tests.helpers.booted_machine import ROOT, BootedMachine

OUTPUT = "/dev/shm/deepclean/H1"
STRAIN = "/dev/shm/kafka/H1"
UNIT = "deepclean@H1"
GAIN = "H1:DEEPCLEAN-60HZ_GAIN"


def commands(title: str) -> list[str]:
    """Return the blocks of commands of a section of docs/service.md, in order."""
    page = (ROOT / "docs" / "service.md").read_text()
    (section,) = re.findall(rf"^## {title}\n(.*?)^## ", page, re.DOTALL | re.MULTILINE)
    return [
        textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    ]


_CLOSES = "closes: gate_out_of_spec"


class BootedService:
    """The service on a machine.

    Args:
        machine: that it is installed on.
    """

    def __init__(self, machine: BootedMachine) -> None:
        self.machine = machine
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        """Print a step that is done, with the seconds since the start."""
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)

    def show(self, key: str, unit: str = UNIT) -> str:
        """Return a property of a unit."""
        return self.machine.said("systemctl", "show", f"--property={key}", "--value", unit)

    def pid(self, unit: str = UNIT) -> int:
        """Return the process of a daemon; 0: none."""
        return int(self.show("MainPID", unit))

    def is_active(self, unit: str = UNIT) -> bool:
        """Return whether a unit is active: READY was said."""
        return self.show("ActiveState", unit) == "active"

    def await_anew(self, before: int) -> None:
        """Wait until the daemon runs as another process."""
        self.machine.until(
            lambda: self.pid() not in {0, before} and self.is_active(), 40, "it runs anew"
        )

    def journal(self, *options: str, unit: str = UNIT) -> str:
        """Return the messages of a daemon in the journal, without systemd's own."""
        tag = unit.replace("@", "-")
        return self.machine.said("journalctl", "-o", "cat", "-q", "-t", tag, *options)

    def await_journal(self, said: str, unit: str = UNIT, times: int = 1) -> None:
        """Wait until a daemon has said something so many times."""
        self.machine.until(
            lambda: self.journal(unit=unit).count(said) >= times, 120, f"{unit} says: {said}"
        )

    def stacks(self, unit: str = UNIT) -> int:
        """Return how often Python has written where its threads were."""
        return self.journal(unit=unit).count("most recent call first")

    def frames(self, directory: str = OUTPUT) -> list[int]:
        """Return the seconds of the frames that are written."""
        paths = self.machine.outside(directory).glob("[!.]*.gwf")
        return sorted(int(path.stem.split("-")[2]) for path in paths)

    def await_frame(self, second: int, directory: str = OUTPUT) -> None:
        """Wait for a frame of this second or a later one."""
        self.machine.until(
            lambda: self.frames(directory)[-1:] >= [second], 60, f"frames to {second}"
        )

    def gains(self, first: int, last: int) -> list[float]:
        """Return the lowest gain in each frame from one second to another."""
        found = []
        for second in range(first, last + 1):
            path = self.machine.outside(f"{OUTPUT}/H-H1_DEEPCLEAN-{second}-1.gwf")
            (series,) = gwf.read(path, [GAIN]).values()
            assert isinstance(series, Series)
            found.append(float(series.samples.min()))
        return found

    def is_cleaned(self) -> bool:
        """Return whether the newest frame is fully cleaned."""
        newest = self.frames()[-1:]
        return bool(newest) and self.gains(newest[0], newest[0]) == [1.0]

    def costs_nothing(self, happens: Callable[[], object]) -> None:
        """Assert that not one frame is missing or raw around something that happens."""
        self.machine.until(self.is_cleaned, 60, "frames are cleaned")
        begin, closings = self.frames()[-1], self.journal().count(_CLOSES)
        happens()
        end = self.frames()[-1] + 2
        self.await_frame(end)
        gains = dict(zip(range(begin, end + 1), self.gains(begin, end), strict=True))
        # The gate of the worse model may close by itself: that is no cost of what happens.
        assert set(gains.values()) == {1.0} or self.journal().count(_CLOSES) > closings, gains

    def loses_nothing(self, happens: Callable[[], object]) -> None:
        """Assert that not one frame is missing around something that happens."""
        begin = self.frames()[-1]
        happens()
        end = self.frames()[-1] + 2
        self.await_frame(end)
        assert [s for s in self.frames() if begin <= s <= end] == list(range(begin, end + 1))

    def hang(self) -> None:
        """Let a file of strain give nothing: the daemon opens it and waits for ever."""
        self.machine.shell(
            f"newest=$(ls {STRAIN} | sort | tail -n 1 | cut -d- -f3)\n"
            f"mkfifo {STRAIN}/H-H1_llhoft-$((newest + 1))-2.gwf"
        )
        waits = f"/proc/{self.pid()}/wchan"
        self.machine.until(lambda: self.machine.said("cat", waits) in _OPENING, 20, "it hangs")

    def mend(self) -> None:
        """Take that file away."""
        self.machine.run("find", STRAIN, "-type", "p", "-delete")


_OPENING = {"wait_for_partner", "fifo_open"}
"""Where the kernel lets a process wait that opens a pipe which nobody writes."""
