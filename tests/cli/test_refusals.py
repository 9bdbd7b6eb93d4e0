"""What cannot work is refused before the libraries are imported that take seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import small_site as site
from tests.helpers.small_site import START

SPAN = f"--start {START} --end {START + 8}"

REFUSED = {
    f"replay -c nowhere.yaml {SPAN}": "nowhere.yaml: cannot be read",
    f"replay -c small.yaml {SPAN} --bad": "No such option",
    f"replay -c small.yaml {SPAN} --set engine.hpo=1": "did you mean hop",
    f"replay -c small.yaml --start 9000000000 --end {START}": "no plausible GPS time",
    f"replay -c small.yaml {SPAN} --strain nowhere": "nowhere",
    "replay -c small.yaml --start x --end y": "not a time",
    "replay -c small.yaml --start 2026-13-01 --end +1h": "not a date",
    f"train -c small.yaml 60hz {SPAN}": "did you mean 60Hz",
    f"train -c small.yaml 60Hz {SPAN} --strain nowhere": "nowhere",
    f"train -c small.yaml {SPAN}": "name the couplings",
    f"train -c small.yaml 60Hz {SPAN} --architecture closed_frm": "did you mean closed_form",
    f"train -c small.yaml 60Hz {SPAN} --set training.architecture_options.tap=3": "no such option",
    f"train -c small.yaml 60Hz {SPAN} --architecture wiener "
    "--set training.architecture_options.taps=4": "taps: 4 is not a positive odd number",
    f"train -c small.yaml 60Hz {SPAN} --set training.loss=log2p": "did you mean log1p",
    f"train -c small.yaml 60Hz {SPAN} --set training.loss_options.x=3": "log1p has no such option",
    f"tune -c small.yaml 60hz {SPAN}": "did you mean 60Hz",
    f"validate -c small.yaml {SPAN}": "no output",
    f"validate -c small.yaml {SPAN} --out o --criteria asd=1": "asd",
    f"witnesses -c small.yaml {SPAN} --band 60": "expected LOW-HIGH",
    f"witnesses {SPAN} --band 55-65": "no input",
    "retrain -c small.yaml --coupling 60hz": "did you mean 60Hz",
    "retrain -c small.yaml --end never": "not a time",
    f"simulate -c small.yaml {SPAN} --set strain.rate=no": "strain.rate",
    "run -c nowhere.yaml": "nowhere.yaml: cannot be read",
    "run -c small.yaml --set gate.windw=3": "did you mean window",
    "status -c nowhere.yaml": "nowhere.yaml: cannot be read",
    "control -c small.yaml 60hz --gain 0 --why x": "did you mean 60Hz",
    "config nowhere.yaml": "nowhere.yaml: cannot be read",
    "models promote -c small.yaml 60Hz 7": "no version 7",
    "models publish -c small.yaml nowhere": "nowhere",
    "models log -c small.yaml 60hz": "did you mean 60Hz",
    "shards nowhere": "nowhere",
    "inspect nowhere.gwf": "nowhere.gwf",
    "plot nowhere": "neither a file nor a time",
    "plot": "no frames",
    "summary -c small.yaml -o days --day yesterday": "is no date",
    "segments nowhere.gwf -o a.txt": "ends neither in",
    "init nowhere --band 3": "expected LOW-HIGH",
    "reload -c nowhere.yaml": "nowhere.yaml: cannot be read",
    "check -c nowhere.yaml": "nowhere.yaml: cannot be read",
}
"""Commands that cannot work, each with a part of what is said."""

HEAVY = ("torch", "gwpy", "lal", "matplotlib", "optuna")

EARLY = (*HEAVY, "numpy", "rich")
"""Modules that the import of the command line does not bring: help and version are quick."""

RUN = """
import contextlib, io, json, shlex, sys
from deepclean.cli import main
said = {"import": [0, "", [name for name in EARLY if name in sys.modules]]}
for command in json.load(sys.stdin):
    sys.argv = ["deepclean", *shlex.split(command)]
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    heavy = [name for name in HEAVY if name in sys.modules]
    said[command] = [status, stream.getvalue(), heavy]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, list[str]]]:
    """Status, message and heavy modules after each command, of one new process."""
    place = tmp_path_factory.mktemp("site")
    config = site.small_config(place)
    site.write_site(config, START, 8)
    done = subprocess.run(
        [sys.executable, "-c", f"HEAVY, EARLY = {HEAVY}, {EARLY}\n{RUN}"],
        input=json.dumps(list(REFUSED)),
        capture_output=True,
        text=True,
        check=True,
        cwd=place,
        env={"COLUMNS": "200", "TERM": "dumb", "PYTHONPATH": ":".join(sys.path)},
    )
    found: dict[str, tuple[int, str, list[str]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("command", REFUSED)
def test_is_refused_before_heavy_imports(
    refused: dict[str, tuple[int, str, list[str]]], command: str
) -> None:
    status, said, heavy = refused[command]
    assert status == 2, said
    assert REFUSED[command] in said
    assert "Traceback" not in said
    assert heavy == []


def test_the_command_line_imports_no_numpy(
    refused: dict[str, tuple[int, str, list[str]]],
) -> None:
    assert refused["import"][2] == []


QUICK = {
    "status -c small.yaml": ("numpy", "rich", "prometheus_client"),
    "control -c small.yaml --list": ("scipy", "prometheus_client"),
    "models list -c small.yaml": ("scipy", "prometheus_client"),
    "config small.yaml": ("prometheus_client",),
}
"""What operators type again and again, each with modules that it does without, beside HEAVY.

They run one after the other in one process, so none may do without what an earlier one needs.
"""


def test_is_quick(tmp_path: Path) -> None:
    site.publish_model(site.small_config(tmp_path))
    watched = {*HEAVY, *(name for names in QUICK.values() for name in names)}
    done = subprocess.run(
        [sys.executable, "-c", f"HEAVY, EARLY = {sorted(watched)}, ()\n{RUN}"],
        input=json.dumps(list(QUICK)),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"COLUMNS": "200", "TERM": "dumb", "PYTHONPATH": ":".join(sys.path)},
    )
    results = json.loads(done.stdout.splitlines()[-1])
    for command, names in QUICK.items():
        status, said, loaded = results[command]
        assert status == (2 if "status" in command else 0), said
        assert set(loaded).isdisjoint({*HEAVY, *names}), command
