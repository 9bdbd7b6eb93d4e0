"""The page of a day: its numbers are those of the frames, and equal frames give equal pages."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import resample_poly

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.output.products import State
from deepclean.core.spectra import band_ratio
from deepclean.core.time import NS, Span
from deepclean.io.history import History
from deepclean.summary.coherence import SECONDS, WitnessCoherence, WitnessedBand
from deepclean.summary.page import write
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.timeline import Timeline
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.site_runs import OUT_DQ, clean, files
from tests.helpers.small_site import START

DAY, MIDNIGHT = "2024-05-17", 1_400_000_000 // 86400 * 86400 + 18
"""GPS seconds at which that day began in UTC, by 18 leap seconds."""

UNIX = 1_715_904_000
"""The same in seconds since the Unix epoch."""

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
    place = config.input.strain_frames.directory.parent
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
    # Strain that came before and after what was cleaned gave no output.
    whole = BEGIN - START + (START + 210) - END
    assert day["gap_reasons"] == {"missing": 1, "no_output": whole, "unknown": 86400 - 210}
    for one in day["couplings"]["60Hz"]["coherence"].values():
        assert one["transforms"] == 9
        assert 0 < one["raw"] < 1
        assert 55 <= one["peak"] <= 65
    # The others are too slow for the band.
    assert set(day["couplings"]["60Hz"]["coherence"]) == {"H1:FAST"}
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


def noted(config: Config, into: Path) -> Config:
    """Return the configuration with another output directory, in which the daemon noted the day."""
    output = config.output.model_copy(update={"directory": into})
    wall = UNIX + 3600.0
    accounts = Accounts()
    into.mkdir()
    timeline = Timeline(accounts, into, output.description, lambda: wall)
    for second in range(150):
        wall = UNIX + 3600.0 + second
        accounts.counters.gains = {"60Hz": 0.5}
        accounts.ledger.last_out = (MIDNIGHT + 3600 + second) * NS
        accounts.latencies.append(9.0 if second == 70 else 1.0)
        accounts.ledger.written["missing" if second < 3 else "cleaned"] += 1
        accounts.ledger.gaps["strain_missing"] += second == 100
        timeline.step()
    timeline.close()
    return config.model_copy(update={"output": output})


def test_what_the_daemon_noted_is_there_and_stays(
    deepclean: Run, config: Config, tmp_path: Path
) -> None:
    place = noted(config, tmp_path / "out").output.directory
    into, there = tmp_path / "days", f"--set output.directory={place}"
    frames = f"--frames {config.output.directory}"
    day = summary(deepclean, config, into, f"{there} {frames}")
    notes = day["recorded"]
    assert notes["frames"] == {"cleaned": 147, "missing": 3}
    assert notes["gaps"] == {"strain_missing": 1}
    assert notes["starts"] == 1
    assert notes["slowest"][0] == {"gps": MIDNIGHT + 3670, "latency": 9.0}
    (hour,) = notes["hours"]
    assert (hour["start"], hour["latency"]) == (MIDNIGHT + 3600, 9.0)
    assert hour["couplings"]["60Hz"] == {"gain": 0.5, "closed": 0.0, "asd_ratio": None}
    page = (into / DAY / "index.html").read_text()
    assert "strain_missing 1" in page
    assert "missing 3" in page
    assert str(MIDNIGHT + 3670) in page
    # The notes are gone, the archive is there: the same page from it.
    before = files(into / DAY)
    for path in place.glob(".*minutes*"):
        path.unlink()
    summary(deepclean, config, into, f"{there} {frames}")
    assert files(into / DAY) == before


def test_without_frames_there_are_the_notes(deepclean: Run, config: Config, tmp_path: Path) -> None:
    place = noted(config, tmp_path / "out").output.directory
    day = summary(deepclean, config, tmp_path / "days", f"--set output.directory={place}")
    assert day["seconds"] == 0
    assert day["recorded"]["frames"] == {"cleaned": 147, "missing": 3}
    page = (tmp_path / "days" / DAY / "index.html").read_text()
    assert "what the daemon noted" in page
    # Nobody noted anything of yesterday, which is no fault of the nightly run.
    command = f"summary -c small.yaml -o {tmp_path} --set output.directory={place}"
    done = deepclean(config.input.strain_frames.directory.parent, command).good()
    assert "no page" in done.stdout


def test_coherence_is_what_a_witness_explains() -> None:
    rate, rng = 512, np.random.default_rng(3)
    floor, slow = rng.standard_normal((2, 240 * rate))
    witness = rng.standard_normal(240 * 256)
    coupled = resample_poly(witness, 2, 1)
    sums = WitnessCoherence({"60Hz": WitnessedBand([(55.0, 65.0)], ["W", "S", "X"])}, rate)
    for start in range(0, 240, SECONDS):
        part, counts = slice(start * rate, (start + SECONDS) * rate), np.ones(SECONDS, dtype=bool)
        held = witness[start * 256 : (start + SECONDS) * 256].copy()
        held[0] = np.nan if start == 100 else held[0]
        streams = {"W": (256, held), "S": (rate, slow[part])}
        sums.add(counts, floor[part] + coupled[part], floor[part], streams)
    found = sums.results("60Hz")
    assert set(found) == {"W", "S"}
    # Coupled noise has twice the density in half the band: C = 1 / (1 + 1/2).
    assert found["W"]["raw"] == pytest.approx(2 / 3, abs=0.05)
    assert found["W"]["out_dq"] < 0.03
    assert found["S"]["raw"] < 0.03
    assert (found["S"]["transforms"], found["W"]["transforms"]) == (180, 179)


@pytest.mark.slow
def test_a_month_is_small(tmp_path: Path) -> None:
    """A day in which everything happened, of fifteen couplings with a hundred witnesses."""
    begin = 1_400_000_000
    one = {"asd_ratio": 0.123456, "full": 0.987654, "none": 0.012346, "versions": [1, 2, 3]}
    one |= {"amplitude": [0.912345, 1.012345, 1.112345], "phase": [-0.112345, 0.012345, 0.2]}
    names = [f"{10 * n}Hz" for n in range(1, 16)]
    spans = [[begin + 100 * n, begin + 100 * n + 9] for n in range(20)]
    heard = {"transforms": 4320, "raw": 0.1234567, "out_dq": 0.01234567, "peak": 60.5}
    witnessed = {f"V1:A_CHANNEL_WITH_A_LONG_NAME_{n}_DQ": heard for n in range(7)}
    reasons = {f"reason_{n}": 12345 for n in range(25)}
    told = {"gain": 0.9123, "closed": 0.0123, "asd_ratio": 0.6543}
    counts = {"starts": 3, "frames": reasons, "gaps": reasons, "lost": reasons}
    day = {
        "schema": 1,
        "software": "0",
        "interferometer": "V1",
        "strain": "V1:Hrec_hoft_20000Hz",
        "span": [begin, begin + 86400],
        "seconds": 86000,
        "good": 85000,
        "good_bits": ["OUTPUT_VALID"],
        "couplings": {n: {"bands": [[10, 20]], "coherence": witnessed} for n in names},
        "hours": [
            {
                "start": begin + 3600 * h,
                "seconds": 3600,
                "good": 3500,
                "range": {
                    "start": [begin + 3600 * h + 60 * m for m in range(60)],
                    "raw": [123.456 + m for m in range(60)],
                    "out_dq": [125.456 + m for m in range(60)],
                    "median_raw": 123.4567,
                    "median_out_dq": 125.4567,
                },
                "couplings": dict.fromkeys(names, one),
            }
            for h in range(24)
        ],
        "gaps": spans,
        "gap_reasons": reasons,
        "not_set": {str(b.name): {"seconds": 9999, "longest": spans} for b in State},
        "versions": [{"gps": begin, "coupling": n, "from": 1, "to": 2} for n in names * 10],
        "events": [],
        "changes": [],
        "recorded": {
            **counts,
            "slowest": [{"gps": begin, "latency": 9.123}] * 10,
            "hours": [
                {"start": begin, **counts, "latency": 9.9, "couplings": dict.fromkeys(names, told)}
            ]
            * 24,
        },
    }
    write(day, "2026-11-27", tmp_path)
    size = sum(len(content) for content in files(tmp_path / "2026-11-27").values())
    assert 200_000 < size < 700_000


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
    place = config.input.strain_frames.directory.parent
    lines = (Path(__file__).parents[2] / "docs" / "summary.md").read_text().splitlines()
    command = next(line for line in lines if line.startswith("    deepclean summary"))
    words = command.removeprefix("    deepclean ").replace("config/H1.yaml", "small.yaml")
    words = words.replace("2026-11-27", DAY).replace("days", str(tmp_path))
    deepclean(place, words).good()
    assert (tmp_path / DAY / "index.html").is_file()


def test_mistakes_are_one_message(deepclean: Run, config: Config, tmp_path: Path) -> None:
    place = config.input.strain_frames.directory.parent
    command = f"summary -c small.yaml -o {tmp_path}"
    deepclean(place, f"{command} --day 2020-01-01").refused("no frames of 2020-01-01", lines=1)
    deepclean(place, f"{command} --day yesterday").refused("write it like 2026-11-27")
