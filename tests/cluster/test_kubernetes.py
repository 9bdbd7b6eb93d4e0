"""A plan as a Kubernetes Job: by Kubernetes' own schemas, and its script run as a pod runs it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deepclean.run import parallel
from tests.helpers import peer_environment
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.site_runs import files
from tests.helpers.small_site import START

BEGIN, END = START + 5, START + 37
SPAN = f"-c small.yaml --start {BEGIN} --end {END}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(parallel, "WORTH", 1)
    site.make_site(tmp_path, seconds=40)
    return tmp_path


def plan(place: Path, more: str = "") -> str:
    return (
        f"replay {SPAN} --output {place}/out --plan plan --scheduler kubernetes --shard 8 "
        f"--submit image=deepclean:1 --submit claims=site:{place} {more}"
    )


def written(place: Path) -> dict[str, Any]:
    text = (place / "plan" / "kubernetes" / "job.yaml").read_text()
    return dict(YAML(typ="safe").load(text))


def run_index(place: Path, job: dict[str, Any], index: int) -> subprocess.CompletedProcess[str]:
    """Run an index's command as its container does, with `deepclean` on the path."""
    programs = place / "programs"
    programs.mkdir(exist_ok=True)
    script = programs / "deepclean"
    script.write_text(f'#!/bin/bash\nexec "{sys.executable}" -m deepclean "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    environ |= {each["name"]: each["value"] for each in container["env"]}
    environ |= {"JOB_COMPLETION_INDEX": str(index)}
    return subprocess.run(
        container["command"],
        cwd=container["workingDir"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_index_cleans_its_shard(place: Path, deepclean: Run) -> None:
    done = deepclean(place, plan(place, "--jobs 2 --retries 5")).good()
    assert f"kubectl create -f {place}/plan/kubernetes/job.yaml" in done.stdout
    job = written(place)
    assert job["spec"]["completions"] == 4
    assert job["spec"]["parallelism"] == 2
    assert job["spec"]["backoffLimitPerIndex"] == 5
    ran = run_index(place, job, 1)
    assert ran.returncode == 0, ran.stderr
    names = [path.name for path in (place / "out").glob("*.gwf")]
    starts = sorted(int(name.split("-")[2]) for name in names)
    assert starts == list(range(starts[0], starts[0] + 8))
    deepclean(place, f"replay {SPAN} --output whole").good()
    whole = files(place / "whole")
    assert {n: d for n, d in files(place / "out").items() if n.endswith(".gwf")} == {
        name: whole[name] for name in names
    }
    # What is finished is not submitted again.
    deepclean(place, plan(place, "--jobs 2 --retries 5")).good()
    assert written(place)["spec"]["completions"] == 3


@pytest.mark.parametrize("more", ["", "--submit secret=keys --submit gpus=1 --submit memory=4Gi"])
def test_the_manifest_is_what_kubernetes_takes(
    place: Path, deepclean: Run, tmp_path: Path, more: str
) -> None:
    python = peer_environment.python()
    deepclean(place, plan(place, f"{more} --submit namespace=gw --submit account=runner")).good()
    text = (place / "plan" / "kubernetes" / "job.yaml").read_text()
    wrong = text.replace("image:", "imag:")  # the check can fail
    for content, version, good in (
        (text, "1.30", True),
        (text, "1.37", True),
        (wrong, "1.37", False),
    ):
        (tmp_path / "job.yaml").write_text(content)
        words = [
            str(python),
            "-I",
            "-m",
            "kubernetes_validate",
            "--strict",
            "-k",
            version,
            "job.yaml",
        ]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is good, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--submit image=deepclean:1 ", ""), "image=...: name the container image"),
        (("claims=site:", "claims=site"), "write it like data:/data"),
        (("--submit claims=site:", "--submit claims=site:/elsewhere"), "must lie in a claim"),
        (("image=", "queue=long --submit image="), "queue: for kubernetes it is one of"),
        (("image=", "parallelism=3 --submit image="), "parallelism is the plan's own"),
    ],
)
def test_settings_are_checked(
    place: Path, deepclean: Run, change: tuple[str, str], said: str
) -> None:
    deepclean(place, plan(place).replace(*change)).refused(said)
