"""The commands of docs/tune.md and those for trainings in docs/scale-out.md, as they are printed.

They are run on a small site under the names of the pages. A scheduler's commands are written and
not submitted.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deepclean.config import load
from deepclean.tune.space import SearchSpace
from tests.helpers import tuned_site
from tests.helpers.commands import Run
from tests.helpers.training_site import START

DOCS = Path(__file__).parents[2] / "docs"
END = START + tuned_site.SECONDS


def commands(page: str) -> list[str]:
    """Return the commands of a page, those that go on in the next line joined."""
    text = re.sub(r" *\\\n +", " ", (DOCS / page).read_text())
    found = re.findall(r"^    deepclean (.*)$", text, re.MULTILINE)
    return [line for line in found if "my-site" in line or line.startswith("shards ")]


TUNE = commands("tune.md")
SCALE = [
    line
    for line in commands("scale-out.md")
    if not line.startswith("replay") and "archive" not in line
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A site under the pages' names: its coupling is 60Hz, and there are two others."""
    tuned_site.make_site(tmp_path)
    text = (tmp_path / "tuned.yaml").read_text()
    head, rest = text.split("  30Hz:\n")
    one, training = rest.split("training:\n")
    one = one.replace("[LINE, DULL]", "[LINE, MOTION]")
    bands = {"60Hz": "[29, 31]", "105Hz": "[31, 35]", "180Hz": "[25, 29]"}
    couplings = [f"  {name}:\n{one.replace('[25, 35]', b)}" for name, b in bands.items()]
    (tmp_path / "my-site").mkdir()
    text = f"{head}{''.join(couplings)}training:\n{training}"
    for key in ("strain", "cleaned", "models"):
        text = text.replace(f"directory: {key}}}", f"directory: {tmp_path / key}}}")
    (tmp_path / "my-site/H1.yaml").write_text(text)
    return tmp_path


def short(line: str, trials: int = 2) -> str:
    """Return a command with the span of the small site and few trials."""
    line = line.replace("1400001024", str(END))
    line = re.sub(r"--trials \d+|--timeout \d+", "", line)
    return f"{line} --trials {trials}" if line.startswith("tune") else line


def test_pages_have_commands() -> None:
    assert len(TUNE) == 4
    assert [line.split()[0] for line in SCALE] == ["train", "train", "shards", "tune", "shards"]


@pytest.mark.slow
@pytest.mark.parametrize("line", TUNE[1:])
def test_searches_of_the_page(place: Path, deepclean: Run, line: str) -> None:
    pytest.importorskip("optuna", reason="needs the extra tune")
    if "tensorboard" in line:
        pytest.importorskip("tensorboard", reason="needs the extra dashboards")
    done = deepclean(place, short(line, 4)).good()
    assert "4 of 4 trials done" in done.stdout
    if "tensorboard" in line:
        runs = {path.name for path in (place / "watched/dashboards/tensorboard").iterdir()}
        best = re.search(r"best, trial (\d+):", done.stdout)
        assert best is not None
        assert {"asis", f"trial-{int(best[1]):04d}"} <= runs


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_commands_that_start_processes(place: Path, deepclean: Run) -> None:
    pytest.importorskip("optuna", reason="needs the extra tune")
    deepclean(place, short(TUNE[0], 4)).good()
    assert len(list((place / "tune-60Hz/trials").iterdir())) == 4
    done = deepclean(place, short(SCALE[0])).good()
    assert done.stdout.count(" trained ") == 3


def test_submissions_of_the_page(place: Path, deepclean: Run) -> None:
    train, listed, tune, listed_tune = (short(line) for line in SCALE[1:])
    assert "3 of 3 couplings" in deepclean(place, f"{train} --plan-only").good().stdout
    assert "0 of 3 couplings trained" in deepclean(place, listed).stdout
    pytest.importorskip("optuna", reason="needs the extra tune")
    assert "worker" in deepclean(place, f"{tune} --plan-only").good().stdout
    assert '--array="1-8%8"' in (place / "search/slurm/workers.sh").read_text()
    assert "0 of 2 trials done" in deepclean(place, listed_tune).stdout
    pytest.importorskip("ezdag", reason="needs the extra scheduler")
    condor = tune.replace("slurm", "condor")
    assert "condor_submit_dag" in deepclean(place, f"{condor} --plan-only").good().stdout
    assert 'own="8"' in (place / "search/condor/tune.dag").read_text()


def test_section_of_the_page_is_a_configuration(place: Path) -> None:
    text = (DOCS / "tune.md").read_text()
    section = re.search(r"^    tune:\n(?:      .*\n)+", text, re.MULTILINE)
    assert section is not None
    path = place / "my-site/H1.yaml"
    whole = YAML(typ="safe").load(path.read_text())
    tune = YAML(typ="safe").load(re.sub(r"^    ", "", section[0], flags=re.MULTILINE))["tune"]
    channels = tune["groups"]["angular"]
    whole["couplings"]["60Hz"]["witnesses"] += channels
    whole["tune"] = tune
    with path.open("w") as file:
        YAML(typ="safe").dump(whole, file)
    space = SearchSpace(load(path, environ={}), "60Hz")
    assert space.groups["angular"] == tuple(f"H1:{name}" for name in channels)
    assert space.judged == ((27.0, 33.0),)


def test_words_of_the_page_are_those_of_the_command() -> None:
    text = (DOCS / "tune.md").read_text()
    for said in ("as configured: ASD ratio", "on data that no trial has seen:", "train it with"):
        assert said in text
    assert shlex.split(TUNE[0])[0] == "tune"
