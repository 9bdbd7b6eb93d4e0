"""The page of a day: its numbers are those of the frames, and equal frames give equal pages."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.products import State
from deepclean.core.spectra import band_ratio
from deepclean.core.time import Span
from deepclean.io.history import History
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.site_runs import OUT_DQ, clean, files
from tests.helpers.small_site import START

DAY, MIDNIGHT = "2024-05-17", 1_400_000_000 // 86400 * 86400 + 18
"""GPS seconds at which that day began in UTC, by 18 leap seconds."""

HOUR = (START - MIDNIGHT) // 3600
BEGIN, END = START + 4, START + 200
ASKED = (
    "output.subtracted=true",
    "output.segments.state=[OUTPUT_VALID]",
    "couplings.60Hz.adapt=gain",
)
RECORD = {
    "what": "promoted",
    "role": "production",
    "former": 1,
    "why": "it cleans better beyond chance",
    "figures": {},
    "instant": str(START + 30),
    "coupling": "60Hz",
    "version": 2,
}
LATER = {**RECORD, "instant": str(START + 100_000)}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    place = tmp_path_factory.mktemp("site")
    config = site.make_site(
        place, *ASKED, seconds=210, no_strain=[START + 90], no_witnesses=[START + 40]
    )
    clean(config, BEGIN, END, config.output.directory)
    record = config.output.directory / ".H1_DEEPCLEAN.models.jsonl"
    record.write_text("".join(json.dumps(line) + "\n" for line in (RECORD, LATER)))
    return config


def summary(run: Run, config: Config, into: Path, options: str = "") -> dict[str, Any]:
    """Make the page of the day; return its numbers."""
    place = config.input.strain.directory.parent
    said = " ".join(f"--set {one}" for one in ASKED)
    done = run(place, f"summary -c small.yaml --day {DAY} -o {into} {said} {options}").good()
    assert done.stdout == f"{into / DAY / 'index.html'}\n"
    read: dict[str, Any] = json.loads((into / DAY / "day.json").read_bytes())
    return read


def test_the_numbers_are_those_of_the_frames(
    deepclean: Run, config: Config, tmp_path: Path
) -> None:
    day = summary(deepclean, config, tmp_path)
    assert day["span"] == [MIDNIGHT, MIDNIGHT + 86400]
    assert len(day["hours"]) == 24
    hour = day["hours"][HOUR]
    written = END - BEGIN - 1
    assert day["seconds"] == day["good"] == hour["seconds"] == written
    assert all(h["seconds"] == 0 and h["range"]["raw"] == [] for h in day["hours"] if h != hour)
    gaps = [[MIDNIGHT, BEGIN], [START + 90, START + 91], [END, MIDNIGHT + 86400]]
    assert day["gaps"] == gaps
    assert day["not_set"]["WITNESSES_GOOD"] == {
        "seconds": 1,
        "longest": [[START + 40, START + 41]],
    }
    assert set(day["not_set"]) == {bit.name for bit in State}
    coupling = hour["couplings"]["60Hz"]
    assert coupling["versions"] == [1]
    assert 0.9 < coupling["full"] < 1
    assert 0 < coupling["none"] < 0.05
    assert coupling["amplitude"][0] <= coupling["amplitude"][1] <= coupling["amplitude"][2]
    assert [event["gps"] for event in day["events"]] == [str(START + 30)]
    span = Span.of_seconds(START + 100, 60)
    held = History([config.output.directory]).read([OUT_DQ], span)[OUT_DQ]
    assert isinstance(held, Series)
    seconds = range(START + 100, START + 160)
    raw = np.concatenate([site.samples(site.STRAIN, s, site.STRAIN_RATE) for s in seconds]) * 1e-21
    ratio = band_ratio(held.samples, raw, site.STRAIN_RATE, [(55.0, 65.0)])
    assert coupling["asd_ratio"] == pytest.approx(ratio, rel=0.03)
    ranges = [np.array(hour["range"][key]) for key in ("raw", "out_dq")]
    assert len(ranges[0]) == 3
    assert (ranges[0] > 0).all()


def test_the_same_frames_give_the_same_page(deepclean: Run, config: Config, tmp_path: Path) -> None:
    for into in ("a", "b"):
        summary(deepclean, config, tmp_path / into)
    first, second = (files(tmp_path / into / DAY) for into in "ab")
    assert sorted(first) == ["day.json", "index.html", "range.png", "ratio.png"]
    assert first == second


@pytest.mark.slow
def test_the_raw_strain_may_be_the_source_s(deepclean: Run, config: Config, tmp_path: Path) -> None:
    with_sum = summary(deepclean, config, tmp_path / "a")
    bare = tmp_path / "bare"
    clean(config.model_copy(update={"output": _without_sum(config)}), BEGIN, END, bare)
    source = summary(deepclean, config, tmp_path / "b", f"--frames {bare}")
    for one in (with_sum, source):
        one["versions"] = None
    assert json.dumps(with_sum) == json.dumps(source)


def _without_sum(config: Config) -> Any:
    return config.output.model_copy(update={"subtracted": False})


class _Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        self.found += [value for key, value in attrs if key in {"href", "src"} and value]


def test_pages_are_folders_of_their_own(deepclean: Run, config: Config, tmp_path: Path) -> None:
    summary(deepclean, config, tmp_path)
    (tmp_path / "2024-05-16").mkdir()
    earlier = json.loads((tmp_path / DAY / "day.json").read_text())
    earlier["versions"] = [{"gps": START, "coupling": "60Hz", "from": 1, "to": 2}]
    (tmp_path / "2024-05-16" / "day.json").write_text(json.dumps(earlier))
    summary(deepclean, config, tmp_path)
    index, page = tmp_path / "index.html", tmp_path / DAY / "index.html"
    rows = index.read_text().split("<tr>")[2:]
    assert [row.split("index.html")[0].rsplit('"', 1)[1] for row in rows] == [
        "2024-05-17/",
        "2024-05-16/",
    ]
    (tmp_path / "2024-05-16" / "index.html").touch()
    for path in (index, page):
        links = _Links()
        links.feed(path.read_text())
        assert all((path.parent / link).is_file() for link in links.found), links.found
    assert "it cleans better beyond chance" in page.read_text()


def test_the_page_s_own_command_works(deepclean: Run, config: Config, tmp_path: Path) -> None:
    place = config.input.strain.directory.parent
    lines = (Path(__file__).parents[2] / "docs" / "summary.md").read_text().splitlines()
    command = next(line for line in lines if line.startswith("    deepclean summary"))
    words = command.removeprefix("    deepclean ").replace("config/H1.yaml", "small.yaml")
    words = words.replace("2026-11-27", DAY).replace("days", str(tmp_path))
    deepclean(place, words).good()
    assert (tmp_path / DAY / "index.html").is_file()


def test_mistakes_are_one_message(deepclean: Run, config: Config, tmp_path: Path) -> None:
    place = config.input.strain.directory.parent
    command = f"summary -c small.yaml -o {tmp_path}"
    deepclean(place, f"{command} --day 2020-01-01").refused("no frames of 2020-01-01", lines=1)
    deepclean(place, f"{command} --day yesterday").refused("write it like 2026-11-27")
