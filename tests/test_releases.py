"""A release says one thing everywhere: version, dependencies, what images and pages are made of."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ruamel.yaml import YAML

import deepclean
from deepclean.config import Config, load
from deepclean.system.commands import program
from tests.helpers.commands import Run

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = deepclean.__version__
CONTAINERFILE = ROOT / "packaging" / "Containerfile"
INSTALL = (ROOT / "docs" / "install.md").read_text()


def test_the_version_is_the_same_everywhere(deepclean: Run, tmp_path: Path) -> None:
    assert str(Version(VERSION)) == VERSION
    assert deepclean(tmp_path, "--version").good().stdout == f"deepclean {VERSION}\n"
    newest = re.findall(r"^## \[(.*?)\] - (unreleased|\d{4}-\d\d-\d\d)$", changelog(), re.MULTILINE)
    assert newest[0][0] == VERSION
    assert [Version(one) for one, _ in newest] == sorted((Version(one) for one, _ in newest))[::-1]
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license"} <= citation.keys()
    assert citation["version"] == VERSION
    assert ("date-released" in citation) == (newest[0][1] != "unreleased")
    assert citation["license"] == PROJECT["license"]


def test_a_tag_of_this_commit_is_the_versions() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git repository")
    command = [git, "-c", "safe.directory=*", "tag", "--points-at", "HEAD", "--list", "v[0-9]*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {f"v{VERSION}"}


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text()


def test_the_recipe_needs_what_the_project_needs() -> None:
    recipe = YAML(typ="safe").load(ROOT / "packaging" / "conda" / "recipe.yaml")
    conda = {"pytorch": "torch"}
    parsed = [Requirement(line) for line in recipe["requirements"]["run"]]
    needed = {canonicalize_name(conda.get(one.name, one.name)): one.specifier for one in parsed}
    assert str(needed.pop(canonicalize_name("python"))) == PROJECT["requires-python"]
    declared = [Requirement(line) for line in PROJECT["dependencies"]]
    assert needed == {canonicalize_name(one.name): one.specifier for one in declared}
    assert recipe["context"]["version"] == VERSION
    (script,) = recipe["build"]["python"]["entry_points"]
    assert script == f"deepclean = {PROJECT['scripts']['deepclean']}"
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    host = [Requirement(line) for line in recipe["requirements"]["host"]]
    assert {one.name: one.specifier for one in host}["setuptools"] == Requirement(
        build[0]
    ).specifier


def instructions() -> list[tuple[str, str]]:
    """Return the Containerfile's instructions, continued lines joined, without comments."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word, rest)
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
        if word
    ]


def test_the_image_is_made_of_what_is_there_and_does_not_run_as_root() -> None:
    made = instructions()
    last = max(number for number, (word, _) in enumerate(made) if word == "FROM")
    copied = [rest.split()[:-1] for word, rest in made if word == "COPY"]
    assert copied == [["constraints.txt", "dist/*.whl"], ["--from=build", "/opt/deepclean"]]
    assert (ROOT / "constraints.txt").is_file()
    kept = (ROOT / ".containerignore").read_text().split()
    assert kept == ["*", "!constraints.txt", "!dist/*.whl"]
    final = dict(made[last:])
    assert int(final["USER"].partition(":")[0]) > 0
    assert json.loads(final["ENTRYPOINT"]) == list(PROJECT["scripts"])
    assert json.loads(final["CMD"])[0] == "run"
    assert final["STOPSIGNAL"] == "SIGTERM"
    _, _, command = final["HEALTHCHECK"].partition("CMD ")
    *_, checked = json.loads(command)
    compile(checked, "HEALTHCHECK", "exec")
    metrics = Config.model_fields["metrics"].default
    assert f"http://{metrics.address}:{metrics.port}/healthz" in checked
    unit = (ROOT / "systemd" / "deepclean@.service").read_text()
    for setting in ("OMP_NUM_THREADS=1", "OMP_WAIT_POLICY=passive", "PYTHONFAULTHANDLER=1"):
        assert setting in final["ENV"]
        assert setting in unit


def test_apptainer_makes_the_same() -> None:
    definition = (ROOT / "packaging" / "apptainer.def").read_text()
    (base,) = [rest.partition("=")[2] for word, rest in instructions() if rest.startswith("BASE=")]
    assert f"From: {base}\n" in definition
    assert '[train]"' in definition
    assert "constraints.txt /wheels/constraints.txt" in definition


def yaml_blocks() -> list[str]:
    return [part.split("```")[0] for part in INSTALL.split("```yaml\n")[1:]]


@pytest.mark.parametrize("text", yaml_blocks())
def test_the_pages_configurations_load(text: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(text)
    assert load(tmp_path / "site.yaml", environ={}).interferometer == "H1"


def test_the_pages_container_has_the_mounts_that_the_image_expects() -> None:
    (command,) = re.findall(r"    podman run --detach .*?\n\n", INSTALL, re.DOTALL)
    words = shlex.split(command.replace("\\\n", ""))
    mounts = {word.split(":")[1] for word in words if word.startswith("/") and ":" in word}
    header = CONTAINERFILE.read_text().partition("ARG ")[0]
    described = set(re.findall(r"^#   (/\S+)", header, re.MULTILINE))
    assert mounts == described
    assert {"--read-only", "--cap-drop"} <= set(words)
    build = "podman build --format docker --file packaging/Containerfile --tag deepclean ."
    assert build in header
    assert build in INSTALL


@pytest.mark.exhaustive
def test_the_image_runs_the_demonstration_and_the_service(tmp_path: Path) -> None:
    """DEEPCLEAN_TEST_IMAGE names an image that was built; DEEPCLEAN_TEST_PODMAN may say how to run.

    For instance `podman --runtime runc run --ulimit nofile=4096:4096`.
    """
    image = os.environ.get("DEEPCLEAN_TEST_IMAGE")
    if not image:
        pytest.skip("needs DEEPCLEAN_TEST_IMAGE, an image made from packaging/Containerfile")
    given = os.environ.get("DEEPCLEAN_TEST_PODMAN", "podman run")
    podman, _, options = f"{given} ".partition(" run ")
    base, extra = shlex.split(podman), shlex.split(options)
    common = [*base, "run", *extra, "--rm", "--read-only", "--network", "host"]
    common += ["--cap-drop", "all", "--security-opt", "no-new-privileges"]

    def out(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    places = {name: tmp_path / name for name in ("etc", "frames", "output", "store")}
    for place in places.values():
        place.mkdir()
    shutil.copytree(ROOT / "models", places["store"] / "models")
    out("chmod", "755", *map(str, (tmp_path, *tmp_path.parents[:3])))
    out("chown", "-R", "10001:10001", str(places["output"]), str(places["store"]))
    (places["etc"] / "site.yaml").write_text(yaml_blocks()[1])
    volumes = [
        *("--volume", f"{places['etc']}:/etc/deepclean:ro"),
        *("--volume", f"{places['frames']}:/frames:ro"),
        *("--volume", f"{places['output']}:/output"),
        *("--volume", f"{places['store']}:/var/lib/deepclean"),
    ]
    said = out(*common, *volumes, image, "demo", "--seconds", "16", "--output", "/output/demo")
    assert "ended with status 0" in said

    here = tmp_path / "here.yaml"
    here.write_text(yaml_blocks()[1].replace("/frames", str(places["frames"])))
    site = [*program(), "simulate", "-c", str(here), "--motions", "3", "--seed", "7"]
    out(*site, "--start", "1419999940", "--end", "1420000000")
    name = f"deepclean-test-{os.getpid()}"
    process = subprocess.Popen(
        [*common, "--name", name, *volumes, image],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if b"cleaning from GPS" in line:
                break
        out(*site, "--start", "1420000000", "--end", "1420000012", "--live")
        out(*base, "healthcheck", "run", name)
        said = out(*base, "exec", name, "deepclean", "status", "-c", "/etc/deepclean/site.yaml")
        assert re.search(r": running,.* process 1,", said)
        done = subprocess.run([*base, "exec", name, "touch", "/opt/x"], check=False)
        assert done.returncode != 0
        out(*base, "stop", "--time", "30", name)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    frames = sorted(places["output"].glob("H-H1_DEEPCLEAN-14200000*.gwf"))
    assert len(frames) == 12
