"""`deepclean validate`: what it prints, its exit status, and the page in a real browser."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from deepclean.config import Config
from tests.helpers import training_site as site
from tests.helpers.commands import Run
from tests.helpers.datafind_service import somewhere
from tests.helpers.site_runs import files
from tests.helpers.training_site import START

SPAN = f"--start {START + 40} --end {START + 104}"
"""By then the gates have opened."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return site.make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def place(config: Config) -> Path:
    return config.models.directory.parent


@pytest.fixture(scope="module")
def command(config: Config) -> str:
    return "validate -c toy.yaml " + " ".join(f"--set {gate}" for gate in site.GATES)


@pytest.fixture(scope="module")
def page(place: Path, command: str) -> Path:
    """Return the page of a report that the command line wrote."""
    out = place / "report"
    arguments = f"{command} {SPAN} --out {out} --inject {START + 70},30,30,300"
    done = subprocess.run(
        [sys.executable, "-m", "deepclean", *arguments.split(), "--compare", "models/H1/30Hz/1"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"in spec: {out / 'index.html'}"
    assert done.stdout.startswith("met     asd_ratio (30Hz) 0.8")
    return out / "index.html"


@pytest.mark.slow
def test_report_says_what_it_is_made_from(page: Path, config: Config) -> None:
    report = json.loads((page.parent / "report.json").read_text())
    assert report["verdict"]["passed"]
    assert report["span"] == [START + 40, START + 104]
    first, second = report["runs"]
    assert first["models"] == second["models"]
    assert first["configuration"] != second["configuration"]  # one names its model outright
    assert first["couplings"] == second["couplings"]
    assert [signal["gps"] for signal in first["injections"]] == [str(START + 70)]
    text = page.read_text()
    assert first["configuration"] in text
    assert first["models"]["30Hz"]["sha256"] in text


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_browser_shows_verdict_and_every_image(page: Path, tmp_path: Path, scheme: str) -> None:
    # The page carries no script; what the browser made of it is asked by one that stands beside.
    probe = tmp_path / "probe.html"
    probe.write_text(
        f"""<iframe id="f" src="{page.as_uri()}" style="width:1200px;height:900px"></iframe>
<script>
document.getElementById("f").onload = () => {{
  const page = document.getElementById("f").contentDocument;
  const images = [...page.images];
  const seen = {{
    verdict: page.getElementById("verdict").textContent,
    images: images.length,
    loaded: images.filter(i => i.complete && i.naturalWidth > 300).length,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    tiles: page.querySelectorAll(".tile").length,
    back: getComputedStyle(page.body).backgroundColor,
  }};
  document.title = JSON.stringify(seen);
  document.body.innerHTML = `<p id="seen">${{JSON.stringify(seen)}}</p>`;
}};
</script>"""
    )
    assert BROWSER is not None
    options = "--headless --no-sandbox --disable-gpu --allow-file-access-from-files".split()
    options += ["--virtual-time-budget=10000", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND"]  # nothing may come from a network
    if scheme == "dark":
        options.append("--blink-settings=preferredColorScheme=0")
    dom = subprocess.run(
        [BROWSER, *options, "--dump-dom", probe.as_uri()],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout
    seen = json.loads(dom.split('<p id="seen">')[1].split("</p>")[0])
    assert seen["verdict"].startswith("In spec")
    assert seen["images"] == seen["loaded"] == 10
    assert seen["tiles"] == 4
    assert seen["overflow"] == 0
    red = int(seen["back"].removeprefix("rgb(").split(",")[0])
    assert (red < 64) is (scheme == "dark")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")
def test_browser_draws_it(page: Path, tmp_path: Path) -> None:
    assert BROWSER is not None
    picture = tmp_path / "page.png"
    options = "--headless --no-sandbox --disable-gpu --window-size=1200,800".split()
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}"]
    subprocess.run([BROWSER, *options, page.as_uri()], capture_output=True, timeout=100, check=True)
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1200, 800)


@pytest.mark.slow
def test_status_3_is_not_in_spec(deepclean: Run, place: Path, command: str, tmp_path: Path) -> None:
    done = deepclean(place, f"{command} {SPAN} --out {tmp_path} --criteria asd_ratio=0.5")
    assert done.returncode == 3, done.stderr
    assert "NOT MET asd_ratio (30Hz) 0.8" in done.stdout
    assert done.stdout.splitlines()[-1] == f"not in spec: {tmp_path / 'index.html'}"
    text = (tmp_path / "index.html").read_text()
    assert "Not in spec" in text
    assert "http" not in text
    held = json.loads((tmp_path / "report.json").read_text())
    assert held["schema"] == 1
    assert not held["verdict"]["passed"]
    named = [part.split('"')[0] for part in text.split('src="')[1:]]
    assert len(named) == 9
    for name in named:
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
        assert (tmp_path / name).with_suffix(".svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "--out DIR for a report, or --against DIR"),
        ("--out o --criteria bad=1", "no criterion bad"),
        ("--out o --segments none.txt", "none.txt: no such file"),
        ("--out o --segments two.txt", "two.txt: no segment in GPS"),
        ("--out o --inject 5", "does not merge in the span"),
        (f"--out o --inject {START + 103},1.4,1.4,100", "s of strain before its merger and"),
        ("--out o --inject much", "not a time in seconds"),
        ("--out o --compare a --compare-config b", "exclude each other"),
        ("--out o --compare 30hz=models/H1/30Hz/1", "no coupling 30hz; did you mean 30Hz?"),
        ("--against empty", "no frame or HDF5 files found"),
        ("--against strain", "_DEEPCLEAN_PRODUCTION_OUT_DQ"),
    ],
)
def test_status_2_where_something_has_to_be_mended(
    deepclean: Run, place: Path, command: str, options: str, said: str
) -> None:
    (place / "two.txt").write_text("10 20\n")
    (place / "empty").mkdir(exist_ok=True)
    deepclean(place, f"{command} {SPAN} {options}").refused(said)


def test_a_range_that_cannot_be_measured_is_said(
    deepclean: Run, place: Path, command: str, tmp_path: Path
) -> None:
    span = f"--start {START + 40} --end +8s"
    done = deepclean(place, f"{command} {span} --out {tmp_path}")
    assert done.returncode == 3, done.stderr
    said = "cannot be measured: needs 32 s of 64 s (--criteria range_gain=none leaves it out)"
    assert f"NOT MET range_gain {said} >= 0.999" in " ".join(done.stdout.split())
    page = (tmp_path / "index.html").read_text()
    assert said in page
    assert "range: none" not in page


@pytest.mark.slow
def test_replay_of_fetched_data(deepclean: Run, place: Path, command: str, tmp_path: Path) -> None:
    asked = f"{command.replace('validate', 'replay')} --start {START + 40} --end {START + 44}"
    assert deepclean(place, f"{asked} --output {tmp_path / 'a'}").returncode == 0
    with somewhere(place / "strain"):
        assert deepclean(place, f"{asked} --output {tmp_path / 'b'} --fetch").returncode == 0
    held = files(tmp_path / "a")
    assert held == files(tmp_path / "b")
    assert len(held) == 4
    span = f"--start {START + 40} --end {START + 44}"
    with somewhere(place / "strain"):
        done = deepclean(place, f"{command} {span} --fetch --against {tmp_path / 'a'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "no unexplained difference"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--fetch", "gwpy has nothing of H1:LINE, H1:MOTION in [1400000000, 1400000128)"),
        ("--fetch --set couplings.30Hz.witnesses=[LINE,NONE]", "H1:NONE"),
        ("--fetch --strain strain", "--fetch cannot be combined with --strain"),
    ],
)
def test_status_2_where_gwpy_cannot_get_it(
    deepclean: Run, place: Path, command: str, tmp_path: Path, options: str, said: str
) -> None:
    # Only the case of a wrong channel has a service with anything in it.
    with somewhere(place / ("strain" if "NONE" in options else "none")):
        done = deepclean(place, f"{command} {SPAN} --out {tmp_path} {options}")
    done.refused(said)


def test_parity_of_a_replay(deepclean: Run, place: Path, command: str, tmp_path: Path) -> None:
    sets = command.removeprefix("validate ")
    span = f"--start {START + 40} --end {START + 50}"
    assert deepclean(place, f"replay {sets} {span} --output {tmp_path / 'a'}").returncode == 0
    same = deepclean(
        place, f"{command} {span} --against {tmp_path / 'a'} --out {tmp_path / 'j'}"
    ).good()
    assert same.stdout.splitlines()[-1] == "no unexplained difference"
    assert json.loads((tmp_path / "j" / "parity.json").read_text())["passed"]
    # A gate that would not have opened.
    changed = deepclean(
        place, f"{command} --set gate.open_below=0.5 {span} --against {tmp_path / 'a'}"
    )
    assert changed.returncode == 3, changed.stdout + changed.stderr
    assert changed.stdout.splitlines()[-1].endswith("unexplained differences")
