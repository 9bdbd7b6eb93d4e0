"""Several couplings trained in one command, here and by a plan, and one at a time of each."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deepclean.cli.training.train_many import combined
from deepclean.errors import OutputError
from deepclean.models.store.versions import read_pointer
from deepclean.system.lock import locked
from deepclean.train import train
from deepclean.train.run import LOCK
from tests.helpers import training_site as toy
from tests.helpers.commands import Done, Run
from tests.helpers.training_site import START

SECONDS = 128
SPAN = f"-c many.yaml --start {START} --end {START + SECONDS}"
CLUSTER = f"train {SPAN} 30Hz 33Hz absent --plan plan --plan-only"

COUPLINGS = """
  33Hz:
    band: [31, 36]
    witnesses: [LINE, MOTION]
    predict: {edge: 0.25}
    bandpass: {transition: 16, tolerance: 0.01}
  absent:
    band: [60, 70]
    witnesses: [NOWHERE]
    bandpass: {transition: 16, tolerance: 0.01}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A site of three couplings, of which one has a witness that the data lack."""
    config = toy.toy_config(tmp_path, "training.architecture=closed_form")
    text = (tmp_path / "toy.yaml").read_text()
    text = text.replace("couplings:\n", f"couplings:{COUPLINGS}")
    text = text.replace("band: [25, 35]", "band: [25, 30.8]")
    text = text.replace("training:\n", "training:\n  architecture: closed_form\n")
    (tmp_path / "many.yaml").write_text(text)
    toy.write(config, toy.channels(SECONDS), seconds=SECONDS)
    return tmp_path


def command(place: Path, line: str) -> Done:
    """Run a command in a process of its own: what its children print is part of its output."""
    words = [sys.executable, "-m", "deepclean", *shlex.split(line)]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def in_force(place: Path, coupling: str) -> int | None:
    return read_pointer(place / "models/H1" / coupling, "production")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_that_fails_leaves_the_others(place: Path) -> None:
    done = command(place, f"train {SPAN} 30Hz absent 33Hz --jobs 2 --set runtime.threads=1")
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.search(
        r"^absent +deepclean: the data has no channel H1:NOWHERE", done.stdout, re.MULTILINE
    )
    table = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.split()}
    assert table["absent"] == ["absent", "failed"]
    for name in ("30Hz", "33Hz"):
        assert table[name][1:3] == ["trained", "1"]
        assert float(table[name][3]) < 0.8
        assert table[name][4] == "yes"
        assert in_force(place, name) == 1
    assert done.stdout.count("\n30Hz ") > 1  # what it prints, and its line of the table


@pytest.mark.parametrize(
    ("statuses", "status"),
    [([0, 0], 0), ([0, 3], 3), ([3, 1], 1), ([1, 2, 3], 2), ([0, -9], 1), ([-9, 3], 1)],
)
def test_exit_status_of_several(statuses: list[int], status: int) -> None:
    assert combined(statuses) == status


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"train {SPAN}", "name the couplings to train, or give --all"),
        (f"train {SPAN} 30Hz --all", "name the couplings to train, or give --all"),
        (f"train {SPAN} 30Hz 31Hz", "no coupling 31Hz"),
        (f"train {SPAN} 30Hz 33Hz --from 1", "--from names a version of one coupling"),
        (f"train {SPAN} 30Hz 33Hz --plan plan", "go with --scheduler"),
        (f"train {SPAN} 30Hz --scheduler pbs", "must be one of condor, slurm, kubernetes"),
        (f"{CLUSTER} --scheduler slurm --submit array=1", "array is the plan's own"),
        (f"{CLUSTER} --scheduler condor --submit should_transfer_files=YES", "have to see"),
    ],
)
def test_wrong_calls_are_refused(place: Path, deepclean: Run, line: str, said: str) -> None:
    deepclean(place, line).refused(said, lines=1)
    assert not (place / "models").exists()


@pytest.mark.slow
def test_plan_is_carried_out_a_coupling_at_a_time(place: Path, deepclean: Run) -> None:
    done = deepclean(place, f"{CLUSTER} --scheduler slurm --production --set training.seed=3")
    assert "3 of 3 couplings to be trained" in done.good().stdout
    script = place / "plan/slurm/trainings.sh"
    assert '#SBATCH --array="1-3"' in script.read_text()
    call = re.search(r"^  .*( train .*) \$own$", script.read_text(), re.MULTILINE)
    assert call is not None
    lines = (place / "plan/slurm/arguments.txt").read_text().splitlines()
    statuses = []
    for number, line in enumerate(lines, 1):
        first, _, own = line.partition(" ")
        assert first == str(number)
        statuses.append(deepclean(place / "plan", f"{call[1]} {own}").returncode)
    assert statuses == [0, 0, 2]
    assert json.loads((place / "models/H1/33Hz/1/manifest.json").read_text())["seed"] == 3
    listed = deepclean(place, "shards plan")
    assert listed.returncode == 1
    assert "2 of 3 couplings trained" in listed.stdout
    alone = re.search(r"not trained: absent; alone:\n  cd \S+ && (.*)\n", listed.stdout)
    assert alone is not None
    words = shlex.split(alone[1])
    assert words[words.index("train") :][-3:] == ["absent", "--outcome", "outcomes/3"]
    again = deepclean(
        place, f"{CLUSTER} --scheduler slurm --production --set training.seed=3", PATH="/bin"
    )
    assert "1 of 3 couplings to be trained" in again.good().stdout
    assert '#SBATCH --array="3"' in script.read_text()
    deepclean(place, f"{CLUSTER} --scheduler slurm").refused("other arguments, configuration")


def test_plan_as_a_dag(place: Path, deepclean: Run) -> None:
    pytest.importorskip("ezdag", reason="needs the extra scheduler")
    done = deepclean(place, f"{CLUSTER} --scheduler condor --retries 2").good()
    assert "condor_submit_dag" in done.stdout
    dag = (place / "plan/condor/train.dag").read_text()
    assert "RETRY training-0003 2 UNLESS-EXIT 2" in dag
    assert 'own="30Hz --outcome outcomes/1"' in dag
    assert "FINAL verify verify.sub" in dag
    words = (place / "plan/condor/training.sub").read_text()
    assert f"train --config {place}/plan/config.yaml --start {START}" in words


def test_second_training_of_a_coupling_is_refused(place: Path) -> None:
    config = toy.toy_config(place, "training.architecture=closed_form")
    directory = place / "models/H1/30Hz"
    directory.mkdir(parents=True)
    with locked(directory / LOCK), pytest.raises(OutputError) as caught:
        train(config, "30Hz", toy.toy_data(SECONDS))
    assert f"process {os.getpid()} trains this coupling already" in str(caught.value)
    assert not list(directory.glob("[0-9]*"))
    train(config, "30Hz", toy.toy_data(SECONDS))
    assert (directory / "1").is_dir()
