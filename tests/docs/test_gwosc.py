"""The page on public data, docs/gwosc.md, from the first download to the comparison.

What stands in is the far side: GWOSC's addresses are a server on loopback with files of GWOSC's
layout, and gwpy's `fetch`, whose NDS2 client is not there, gives the stand-in's series.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.helpers import gwosc_release as release
from tests.helpers.commands import Run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gwosc.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^    deepclean (.*)$", PAGE, re.MULTILINE)
STAND_IN = """
from gwpy.timeseries import TimeSeriesDict
from tests.helpers import gwosc_release
TimeSeriesDict.fetch = lambda names, start, end, host: gwosc_release.series(names, start, end)
"""
SHORT = {
    "1186739264": "1186738496",
    "1186739200": "1186738432",
    "1186738944": "1186738368",
    "1240560704": "1240559936",
    "1240560640": "1240559872",
    "1240560384": "1240559808",
    "1240560448": "1240559808",
    "1240560576": "1240559872",
    "rate: 16384": f"rate: {release.RATE}",
}
"""The page's stretches cut to a quarter, and its strain at the stand-in's rate."""


def shortened(text: str) -> str:
    """Return text of the page for what the stand-in has."""
    for said, instead in SHORT.items():
        text = text.replace(said, instead)
    return text


def program(place: Path, text: str, **environment: str) -> str:
    """Run a program of the page; return what it prints."""
    command = [sys.executable, "-W", "ignore", "-c", STAND_IN + shortened(text)]
    around = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        command, cwd=place, env=around, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_three_hours(tmp_path: Path, deepclean: Run) -> None:
    far, start = tmp_path / "far", 1186738176
    far.mkdir()
    for begin in (start, start + release.FILE):
        name = f"L-L1_GWOSC_O2_4KHZ_R1-{begin}-{release.FILE}.hdf5"
        release.write_strain(far / name, "L1", begin, release.FILE)
    with release.served(far) as address:
        program(tmp_path, PROGRAMS[0], GWOSC_SERVER_URL=address)
    assert len(list((tmp_path / "gwosc/strain").iterdir())) == 1
    (tmp_path / "channels.txt").write_text("".join(f"L1:{n}\n" for n in release.WITNESSES))
    program(tmp_path, PROGRAMS[1])
    first = COMMANDS.index(next(line for line in COMMANDS if "O3.yaml" in line))
    *_, witnesses, train, replay, validate = [
        deepclean(tmp_path, shortened(line)).good().stdout for line in COMMANDS[:first]
    ]
    assert f"L1:{release.LINE}" in witnesses
    assert "60Hz: production is version 1" in train
    assert "64 s cleaned" in replay
    assert "in spec: gwosc/report/index.html" in validate


@pytest.mark.slow
def test_the_comparison(tmp_path: Path, deepclean: Run) -> None:
    """What stands in for the reference has no noise at all but the floor's."""
    block = next(b for b in re.findall(r"(?:^    .*\n)+", PAGE, re.MULTILINE) if "END" in b)
    lines = textwrap.dedent(block).splitlines()
    (tmp_path / "gwosc").mkdir()
    text = "\n".join(lines[1 : lines.index("END")])
    (tmp_path / "gwosc/O3.yaml").write_text(shortened(text))
    strain = [f"L1:DCS-CALIB_STRAIN_CLEAN{what}_C01_AR" for what in ("", "_SUB60HZ")]
    names = [*strain, *(f"L1:{n}" for n in release.WITNESSES)]
    (tmp_path / "channels.txt").write_text("\n".join(names))
    changed = re.findall(r"^    ((?:start, end|place) = .*)$", PAGE, re.MULTILINE)
    assert len(changed) == 2
    fetch = PROGRAMS[1]
    for line in changed:
        was = next(one for one in fetch.splitlines() if one.startswith(line.partition(" = ")[0]))
        fetch = fetch.replace(was, line)
    program(tmp_path, fetch)
    for line in COMMANDS:
        if "O3.yaml" in line:
            deepclean(tmp_path, shortened(line)).good()
    said = program(tmp_path, PROGRAMS[2])
    ratio = float(said.rpartition(": ")[2])
    assert 0.9 < ratio < 1.1, said
