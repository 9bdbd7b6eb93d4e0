"""A stream of the small site with faults, and what was seen of it; on a clock that tests turn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pytest

from deepclean.core.time import Span
from deepclean.simulate import Fault, Layout, Pace, Simulator, Site, site_of, stream
from deepclean.simulate.faults import parse_fault
from tests.helpers import small_site
from tests.helpers.small_site import FakeClock

GPS = 1370000000
SPAN = Span.of_seconds(GPS, 6)
DEADLINE = 2.0
TIMING = 2e-6
"""Seconds within which a file must appear."""
REAL_TIME = Pace()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site_of(small_site.small_config(tmp_path_factory.mktemp("site")))


class Seen(NamedTuple):
    """A file as it was when its path came out of the stream."""

    name: str
    time: float
    data: bytes
    inode: int


def fault(text: str) -> Fault:
    return parse_fault(text, SPAN, DEADLINE)


def strain_file(second: int) -> str:
    return f"H-H1_llhoft-{GPS + second}-1.gwf"


def witness_file(second: int) -> str:
    return f"H-H1_lldetchar-{GPS + second}-1.gwf"


class Streamed:
    """Streams into a directory of its own each time, and keeps what was seen."""

    def __init__(self, site: Site, place: Path) -> None:
        self.site = site
        self.place = place
        self.runs = 0
        self.layout = Layout(strain=place)

    def __call__(
        self, *faults: str | Fault, pace: Pace = REAL_TIME, span: Span = SPAN
    ) -> list[Seen]:
        self.runs += 1
        place = self.place / str(self.runs)
        self.layout = Layout(strain=place / "strain", witnesses=place / "witnesses")
        clock = FakeClock()
        made = [fault(one) if isinstance(one, str) else one for one in faults]
        paths = stream(Simulator(self.site), self.layout, span, clock, pace=pace, faults=made)
        return [
            Seen(path.name, clock.now - 1000, path.read_bytes(), path.stat().st_ino)
            for path in paths
        ]

    @cached_property
    def undisturbed(self) -> dict[str, Seen]:
        """What appears without a fault, by name."""
        layout = self.layout
        found = {seen.name: seen for seen in self()}
        self.layout = layout  # of the stream that the test looks at
        return found

    def hit(self, fault: str, *names: str) -> list[Seen]:
        """Stream with a fault; assert that files other than these appear as ever."""
        found = self(fault)
        assert_others(found, self.undisturbed, *names)
        return found

    def path(self, name: str) -> Path:
        place = self.layout.witnesses if "lldetchar" in name else self.layout.strain
        assert place is not None
        return place / name


@pytest.fixture(scope="module")
def streamed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Streamed:
    return Streamed(site, tmp_path_factory.mktemp("streams"))


def assert_others(found: Sequence[Seen], undisturbed: dict[str, Seen], *hit: str) -> None:
    """Assert that whatever is not hit appeared once, when and as it would have."""
    assert {*hit} <= undisturbed.keys()
    others = {seen.name: seen for seen in found if seen.name not in hit}
    assert others.keys() == undisturbed.keys() - {*hit}
    assert len(others) == len([seen for seen in found if seen.name not in hit])
    for name, seen in others.items():
        assert seen.data == undisturbed[name].data
        assert seen.time == pytest.approx(undisturbed[name].time, abs=TIMING)


def of(found: Sequence[Seen], name: str) -> list[Seen]:
    return [seen for seen in found if seen.name == name]
