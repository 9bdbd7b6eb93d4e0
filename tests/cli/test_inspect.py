"""`deepclean inspect`, and the history records it reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deepclean import __version__
from deepclean.cli import main
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.frhistory import history
from tests.helpers import small_site as site
from tests.helpers.site_runs import clean
from tests.helpers.small_site import START


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two cleaned frames, the second of them beside a second without witnesses."""
    place = tmp_path_factory.mktemp("site")
    config = site.make_site(
        place, "couplings.60Hz.adapt=gain", seconds=12, no_witnesses=[START + 6]
    )
    clean(config, START + 4, START + 7, place / "cleaned")
    return sorted((place / "cleaned").glob("*.gwf"))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["deepclean", "inspect", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_history_says_who_made_it(frames: list[Path]) -> None:
    record = history(frames[0])
    assert list(record) == ["deepclean", "configuration", "wait", "model 60Hz"]
    assert (record["deepclean"], record["wait"]) == (__version__, "1")
    assert record["model 60Hz"].startswith("version 1 sha256 ")


def test_one_line_a_second(
    frames: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *map(str, frames)) == 0
    made, lines = capsys.readouterr().out.splitlines()[:4], []
    assert made[0] == f"deepclean: {__version__}"
    run(monkeypatch, *map(str, frames))
    lines = capsys.readouterr().out.splitlines()[4:]
    whole = "60HZ v1 gain 1.00 x 1.000 at +0.0 deg  not IN_SPEC, SETTLED"
    assert lines[0] == f"{START + 4} 2024-05-17 16:53:06  {whole}"
    none = "60HZ v1 gain 0.00 (missing) x 1.000 at +0.0 deg  not "
    assert lines[2].startswith(f"{START + 6} 2024-05-17 16:53:08  {none}")
    assert lines[2].endswith("  not WITNESSES_GOOD, IN_SPEC, CLEANED, SETTLED")


def test_json_on_request(
    frames: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--json", *map(str, frames))
    seconds = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [second["gps"] for second in seconds] == [START + 4, START + 5, START + 6]
    adapted = {"adapt_amplitude": 1.0, "adapt_phase": 0.0}
    assert seconds[0]["couplings"] == {"60HZ": {"versions": [1], "gain": 1.0} | adapted}
    assert "CLEANED" in seconds[0]["bits"]
    assert seconds[0]["made"]["deepclean"] == __version__


def test_a_second_that_is_there_in_stretches_is_judged_by_them(
    frames: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A stream with a gap within a second gives a file with a frame for each stretch."""
    second, sixteenth = Span.of_seconds(START + 4, 1), NS // 16
    read = gwf.read(frames[0], list(gwf.channels(frames[0])))
    stretches = [
        Span(second.start, second.start + 5 * sixteenth),
        Span(second.start + 8 * sixteenth, second.end),
    ]
    parts = [
        (span, {n: OutputChannel(one.cut(span)) for n, one in read.items() if type(one) is Series})
        for span in stretches
    ]
    path = tmp_path / frames[0].name
    gwf.write_frames(path, parts)
    assert run(monkeypatch, "--json", str(path), str(frames[1])) == 0
    there, whole = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (there["gps"], there["there"]) == (START + 4, 13 / 16)
    assert (whole["gps"], whole["there"]) == (START + 5, 1)
    assert there["couplings"]["60HZ"]["gain"] == 1
    assert "CLEANED" in there["bits"]
    assert run(monkeypatch, str(path)) == 0
    assert "not IN_SPEC, SETTLED  0.8125 s of it are there" in capsys.readouterr().out


def test_what_is_no_cleaned_frame_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw.gwf"
    raw.write_bytes(site.strain_frame(START))
    assert run(monkeypatch, str(raw)) == 2
    assert "not a cleaned frame" in capsys.readouterr().err


@pytest.mark.parametrize("cut", [0, 20, 100, 400, 1000])
def test_damaged_files_are_faults(frames: list[Path], tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.gwf"
    path.write_bytes(frames[0].read_bytes()[:cut])
    with pytest.raises(InputError):
        history(path)
    with pytest.raises(InputError, match="cannot be read"):
        history(tmp_path / "none.gwf")
