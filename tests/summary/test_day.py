"""A day of a site at full speed, its page, and the same page from its frames.

The daemon's parts run in a time that the test turns, over a stream with gaps, witnesses that fail,
a noise that drifts and ends for a while, and frames that come late. The day is as long as
`DEEPCLEAN_TEST_HOURS` says, six by default, which take minutes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from math import pi, sin
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.config import Config, load
from deepclean.core.block import Samples, Series
from deepclean.core.time import Span
from deepclean.io import gwf
from deepclean.io.archive import FrameArchive
from deepclean.io.channels import OutputChannel
from deepclean.run.daemon import work
from tests.helpers import small_site as site
from tests.helpers.commands import Run as Command
from tests.helpers.metrics_run import Run
from tests.helpers.site_runs import files

HOURS = int(os.environ.get("DEEPCLEAN_TEST_HOURS", "6"))
DAY, MIDNIGHT, UNIX = "2024-05-17", 1_399_939_218, 1_715_904_000
PAST = 900
"""Seconds of history before the day, from which the model is trained."""

RATE, LONG = 512, 64
SITE = """
interferometer: H1
strain: {rate: 512}
input:
  strain: {directory: strain, description: H1_llhoft}
  witnesses: [{directory: witnesses, description: H1_lldetchar}]
  deadline: 2.0
  probe: 0.25
output:
  directory: cleaned
  subtracted: true
  retention: {age: 1200}
  archive: {directory: archive, length: 512}
models: {directory: models}
engine: {rate: 256, resample: {zeros: 4}}
metrics: {port: 1}  # nothing is served
couplings:
  60Hz:
    band: [55, 65]
    witnesses: [MIDDLE, FAST]
    predict: {edge: 0.25}
    bandpass: {transition: 20}
"""


def strength(second: int) -> float:
    """Return how strong the coupling is: it drifts, and is off for a quarter of an hour."""
    at = second - MIDNIGHT
    if 7200 <= at < 8100:
        return 0.0
    return 2.0 + 0.5 * sin(2 * pi * at / 3600)


def strain_of(second: int) -> Samples:
    """Return a second of strain: white noise, and what the fast witness couples."""
    witness = site.samples("H1:FAST", second, 256)
    samples = site.samples(site.STRAIN, second, RATE) + strength(second) * np.repeat(witness, 2)
    return np.asarray(samples * 1e-21)


def frames_of(second: int, length: int, *, witnesses: bool = True) -> dict[Path, bytes]:
    """Return the files of some seconds by their path below the site."""
    span, seconds = Span.of_seconds(second, length), range(second, second + length)
    strain = Series(span, RATE, np.concatenate([strain_of(one) for one in seconds]))
    state = Series(span, 16, np.full(16 * length, 7, dtype=np.uint32))
    channels = {site.STRAIN: OutputChannel(strain, "strain"), site.STATE: OutputChannel(state)}
    made = {Path(f"strain/H-H1_llhoft-{second}-{length}.gwf"): gwf.serialise(span, channels)}
    if witnesses:
        name = Path(f"witnesses/H-H1_lldetchar-{second}-{length}.gwf")
        made[name] = site.witness_frame(second, length)
    return made


class TurnedDay:
    """The day's stream: a second at a time, in the run's own clock.

    Args:
        place: of the site.
        run: over it.
        archive: that is filled as the day goes on.
    """

    def __init__(self, place: Path, run: Run, archive: FrameArchive) -> None:
        self._place, self._run, self._archive = place, run, archive
        self._chance = np.random.default_rng(5)
        self.no_strain: list[int] = []

    def go(self, first: int, last: int) -> None:
        """Let the frames of `[first, last)` appear, each when its time has come."""
        self._last = last
        self._next(first)
        begin = UNIX + first - MIDNIGHT - 1e9
        self._run._end = begin + (last - first) + 10.0
        work(self._run.source, self._run.cleaning, self._run._health)

    def _next(self, second: int) -> None:
        if second < self._last:
            self._at(second + 1.1, lambda: self._write(second))

    def _at(self, second: float, action: Callable[[], None]) -> None:
        """Let something happen at a GPS second."""
        self._run.clock.at(UNIX + second - MIDNIGHT - 1e9 - 1000.0, action)

    def _write(self, second: int) -> None:
        self._run.clock.waits = 0
        fault = self._chance.random()
        gone = fault < 0.001 or 5000 <= second - MIDNIGHT < 5060
        for path, content in frames_of(second, 1, witnesses=fault > 0.002).items():
            publish = partial(gwf.publish, self._place / path, content)
            if path.parts[0] == "witnesses" and self._chance.random() < 0.002:
                self._at(second + 2.8, publish)
            elif not (gone and path.parts[0] == "strain"):
                publish()
        self.no_strain += [second] if gone else []
        if second % LONG == 0:
            self._tidy(second)
        self._next(second + 1)

    def _tidy(self, second: int) -> None:
        """Delete what is old, as a site does, and keep the witnesses in long files."""
        for name in ("strain", "witnesses"):
            for path in (self._place / name).iterdir():
                if int(path.name.split("-")[2]) < second - 400:
                    path.unlink()
        for path, content in frames_of(second - LONG, LONG).items():
            gwf.publish(self._place / "raw" / path.name, content)
        if second % 512 == 0:
            assert self._archive.round()


def summary(deepclean: Command, place: Path, into: Path, *options: str) -> dict[str, Any]:
    asked = f"summary -c day.yaml --day {DAY} -o {into} --strain raw --witnesses raw"
    deepclean(place, " ".join((asked, *options))).good()
    read: dict[str, Any] = json.loads((into / DAY / "day.json").read_bytes())
    return read


@pytest.mark.exhaustive
@pytest.mark.timeout(7200)
def test_a_day_and_its_page(
    deepclean: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "day.yaml").write_text(SITE)
    config: Config = load(tmp_path / "day.yaml", environ={})
    for name in ("strain", "witnesses", "raw"):
        (tmp_path / name).mkdir()
    for second in range(MIDNIGHT - PAST, MIDNIGHT):
        for path, content in frames_of(second, 1).items():
            gwf.publish(tmp_path / path, content)
    span = f"--start {MIDNIGHT - PAST} --end {MIDNIGHT}"
    deepclean(tmp_path, f"train -c day.yaml 60Hz {span}").good()
    run = Run(config, began=UNIX - 1e9 - 1.0)
    assert run.page is not None
    archive, seconds = FrameArchive(config, pause=0.0), HOURS * 3600
    day = TurnedDay(tmp_path, run, archive)
    day.go(MIDNIGHT, MIDNIGHT + seconds)
    run.page.__exit__()
    archive.round()
    archive.close()

    ledger = run.cleaning.ledger
    assert ledger.balanced
    first = summary(deepclean, tmp_path, tmp_path / "days")
    notes = first["recorded"]
    # The daemon began with the last frame before midnight.
    assert ledger.written.total() - 2 <= sum(notes["frames"].values()) <= ledger.written.total()
    assert notes["gaps"] == dict(ledger.gaps)
    assert sum(notes["gaps"].values()) == len(day.no_strain)
    assert notes["slowest"][0]["latency"] > 2.5
    (coupling,) = first["couplings"].values()
    assert coupling["coherence"]["H1:FAST"]["raw"] > 0.5
    assert coupling["coherence"]["H1:FAST"]["out_dq"] < 0.05
    ratios = [hour["couplings"]["60Hz"]["asd_ratio"] for hour in first["hours"][:HOURS]]
    assert all(0.2 < ratio < 0.75 for ratio in ratios if ratio is not None)
    sizes = {name: len(content) for name, content in files(tmp_path / "days" / DAY).items()}
    with capsys.disabled():
        ranges = [
            [hour["range"][f"median_{key}"] for hour in first["hours"][:HOURS]]
            for key in ("raw", "out_dq")
        ]
        print(json.dumps({**notes, "hours": None, "ratios": ratios, "ranges": ranges}))
        print(json.dumps([first["couplings"], first["gap_reasons"], sizes]))

    # The daemon's notes are gone after some days. The archive is there.
    before = files(tmp_path / "days" / DAY)
    for path in config.output.directory.glob(".*minutes*"):
        path.unlink()
    summary(deepclean, tmp_path, tmp_path / "days")
    assert files(tmp_path / "days" / DAY) == before
    again = summary(deepclean, tmp_path, tmp_path / "again")
    assert {**again, "recorded": None} == {**first, "recorded": None}
