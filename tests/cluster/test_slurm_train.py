"""Trainings and a search carried out by a real Slurm (see test_slurm)."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepclean.models.store.versions import read_pointer
from tests.helpers import slurm_cluster, tuned_site
from tests.helpers import training_site as toy
from tests.helpers.training_site import START

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        bool(slurm_cluster.missing()),
        reason=f"needs Slurm (slurm-wlm, munge): no {', '.join(slurm_cluster.missing())} here",
    ),
]

SECONDS = 128
SPAN = f"-c toy.yaml --start {START} --end {START + SECONDS}"
BANDS = {"low": (25, 29.2), "30Hz": (29.2, 30.8), "high": (30.8, 35)}

Environ = dict[str, str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environ]:
    with slurm_cluster.slurm(tmp_path_factory.mktemp("slurm")) as environ:
        yield environ


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The toy's files, and a configuration of three couplings in their band."""
    config = toy.toy_config(tmp_path)
    toy.write(config, toy.channels(SECONDS), seconds=SECONDS)
    head, rest = (tmp_path / "toy.yaml").read_text().split("  30Hz:\n")
    one, training = rest.split("training:\n")
    couplings = [
        f"  {name}:\n{one.replace('[25, 35]', str(list(band)))}" for name, band in BANDS.items()
    ]
    text = f"{head}{''.join(couplings)}training:\n  architecture: closed_form\n{training}"
    (tmp_path / "toy.yaml").write_text(text)
    return tmp_path


def deepclean(place: Path, environ: Environ, line: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "deepclean", *shlex.split(line)]
    return subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=place, env=environ
    )


def wait_for(environ: Environ, job: str) -> str:
    """Return what Slurm says of a job that has ended."""
    deadline = time.monotonic() + 300
    while True:
        said = subprocess.run(
            ["scontrol", "show", "job", job],
            capture_output=True,
            text=True,
            check=False,
            env=environ,
        ).stdout
        if re.search(r"JobState=(COMPLETED|FAILED|CANCELLED)", said):
            return said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def submitted(place: Path, environ: Environ, line: str) -> str:
    """Submit a command; return what Slurm says of its last job when that has ended."""
    done = deepclean(place, environ, line)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"job \d+, and (\d+)", done.stdout)
    assert found is not None, done.stdout
    return wait_for(environ, found[1])


def test_three_couplings(place: Path, cluster: Environ) -> None:
    """One cannot be published at first: the repeated command trains that one alone."""
    line = f"train {SPAN} --all --scheduler slurm --plan plan --jobs 2 --submit partition=long"
    blocked = place / "models/H1/high"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    said = submitted(place, cluster, f"{line} --retries 0")
    log = (place / "plan/logs/verify.log").read_text()
    assert "JobState=FAILED" in said
    assert "2 of 3 couplings trained" in log
    assert "not trained: high" in log
    assert "training-3" in {path.stem for path in (place / "plan/logs").glob("training-*.log")}
    blocked.unlink()
    said = submitted(place, cluster, f"{line} --retries 0")
    log = (place / "plan/logs/verify.log").read_text()
    assert "JobState=COMPLETED" in said, log
    assert "3 of 3 couplings trained" in log
    assert [read_pointer(place / "models/H1" / name, "production") for name in BANDS] == [1, 1, 1]


def test_search_of_two_processes(tmp_path: Path, cluster: Environ) -> None:
    pytest.importorskip("optuna", reason="needs the extra tune")
    tuned_site.make_site(tmp_path)
    line = f"tune {tuned_site.SPAN} 30Hz --study search --trials 8 --scheduler slurm --jobs 2"
    said = submitted(tmp_path, cluster, line)
    log = (tmp_path / "search/logs/verify.log").read_text()
    assert "JobState=COMPLETED" in said, log
    assert "8 of 8 trials done" in log
    logs = [path.read_text() for path in sorted((tmp_path / "search/logs").glob("worker-*.log"))]
    assert len(logs) == 2
    numbers = re.findall(r"^trial (\d+):", "".join(logs), re.MULTILINE)
    assert sorted(map(int, numbers)) == list(range(8))
    assert (tmp_path / "search/index.html").exists()
    done = deepclean(tmp_path, cluster, "shards search")
    assert done.returncode == 0
    assert "train it with" in done.stdout
