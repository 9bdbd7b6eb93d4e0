"""The HTCondor DAG: as text, as HTCondor's own bindings understand it, and carried out by hand."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deepclean.run import parallel
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.site_runs import files
from tests.helpers.small_site import START

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # no pool is configured here
    import htcondor2

GAPS = (START + 11, START + 23, START + 24)
BEGIN, END = START + 5, START + 37
SPAN = f"-c small.yaml --start {BEGIN} --end {END}"
PLAN = f"replay {SPAN} --output out --plan plan --scheduler condor --plan-only --shard 8"
SENT = f"{PLAN} --submit should_transfer_files=YES"

Vars = Mapping[str, str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with its model and 40 s of data, in which strain is missing."""
    monkeypatch.setattr(parallel, "WORTH", 1)
    site.make_site(tmp_path, seconds=40, no_strain=GAPS)
    return tmp_path


def dag(place: Path) -> list[str]:
    return (place / "plan/condor/replay.dag").read_text().splitlines()


def nodes(place: Path) -> dict[str, Vars]:
    """Return the variables of every node of the DAG."""
    found: dict[str, Vars] = {}
    for line in dag(place):
        if line.startswith("VARS "):
            _, name, *pairs = shlex.split(line)
            found[name] = dict(pair.split("=", 1) for pair in pairs)
    return found


def submit(place: Path, name: str = "shard") -> Any:
    """Return a submit description as HTCondor parses it."""
    return htcondor2.Submit((place / f"plan/condor/{name}.sub").read_text())


def expanded(place: Path, variables: Vars) -> dict[str, str]:
    """Return the submit description of a node; HTCondor itself puts the variables in."""
    description = submit(place)
    for name, value in variables.items():
        description[name] = value
    return {key: description.expand(key) for key in description if key not in variables}


def test_every_shard_is_a_node_and_the_last_one_always_runs(place: Path, deepclean: Run) -> None:
    done = deepclean(place, f"{PLAN} --jobs 2 --retries 5").good()
    path = place / "plan/condor/replay.dag"
    assert f"condor_submit_dag -usedagdir -force -maxjobs 2 {path}\n" in done.stdout
    names = list(nodes(place))
    lines = (place / "plan/shards.txt").read_text().splitlines()[1:]
    assert names == [f"shard-{int(line.split()[0]):04d}" for line in lines]
    assert len(names) > 2
    for name in names:
        assert f"JOB {name} shard.sub" in dag(place)
        assert f"RETRY {name} 5 UNLESS-EXIT 2" in dag(place)
    assert "FINAL verify verify.sub" in dag(place)
    assert not [line for line in dag(place) if line.startswith("PARENT")]
    final = submit(place, "verify")
    assert final["universe"] == "local"
    assert final["arguments"].endswith(f"shards {place}/plan")


def test_nodes_have_the_shards_numbers(place: Path, deepclean: Run) -> None:
    """Also beyond nine: decimal ones."""
    good = [f"{second} {second + 1}\n" for second in range(START + 6, START + 36, 2)]
    (place / "good.txt").write_text("".join(good))
    deepclean(place, f"{PLAN} --segments good.txt").good()
    # Of fifteen seconds one has no strain, and two have nothing between them.
    assert list(nodes(place)) == [f"shard-{n:04d}" for n in range(1, 14)]


def test_shards_in_place_make_the_files_of_one_run(place: Path, deepclean: Run) -> None:
    deepclean(place, f"replay {SPAN} --output one")
    deepclean(place, PLAN)
    for number, variables in enumerate(nodes(place).values(), 1):
        job = expanded(place, variables)
        assert job["should_transfer_files"] == "NO"
        assert job["output"] == f"logs/shard-{number:04d}.log"
        words = shlex.split(job["arguments"])
        assert deepclean(place, shlex.join(words[words.index("replay") :])).returncode == 0
    assert files(place / "out") == files(place / "one")
    assert deepclean(place, "shards plan").returncode == 0


def test_settings_go_into_the_submit_description(place: Path, deepclean: Run) -> None:
    given = {
        "accounting_group": "site.dev.deepclean",
        "accounting_group_user": "albert.einstein",
        "request_memory": "3GB",
        "request_cpus": "2",
        "requirements": "(OpSysMajorVer > 8) && (Memory > 1)",
        "+Long": "true",
    }
    options = " ".join(f"--submit {shlex.quote(f'{key}={v}')}" for key, v in given.items())
    deepclean(place, f"{PLAN} {options}").good()
    description = submit(place)
    for key, value in given.items():
        assert description[key.replace("+", "MY.")] == value
    assert description["universe"] == "vanilla"
    final = submit(place, "verify")
    assert final["accounting_group"] == "site.dev.deepclean"
    assert "request_memory" not in final


def send(place: Path, job: Mapping[str, str], node: Path) -> None:
    """Bring a job's files to a node, as HTCondor does; of a link the file."""
    assert job["preserve_relative_paths"].lower() == "true"
    for name in job["transfer_input_files"].split(","):
        source, target = place / "plan" / name, node / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)


def work(place: Path, job: Mapping[str, str], node: Path, deepclean: Run) -> None:
    """Run a job on a node, where nothing else of the site can be seen; bring back its frames."""
    away = place.with_name(f"{place.name}-away")
    place.rename(away)
    words = shlex.split(job["arguments"])
    done = deepclean(node, shlex.join(words[words.index("replay") :]))
    away.rename(place)
    assert done.returncode == 0, done.stderr
    for name in job["transfer_output_files"].split(","):
        shutil.copytree(node / name, place / "plan" / name, dirs_exist_ok=True)


def test_shards_that_are_sent_their_files_make_those_of_one_run(
    place: Path, deepclean: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What came back damaged is done again."""

    def carry_out(variables: Vars) -> None:
        job, node = expanded(place, variables), tmp_path_factory.mktemp("node")
        send(place, job, node)
        work(place, job, node, deepclean)

    deepclean(place, f"replay {SPAN} --output one --duration 4")
    deepclean(place, f"{SENT} --duration 4").good()
    planned = nodes(place)
    for variables in planned.values():
        carry_out(variables)
    last = max((place / "plan/returned").glob("*/*.gwf"))
    content = last.read_bytes()
    last.write_bytes(content[: len(content) // 2])
    (number,) = re.findall(r"not all done: shard (\d+)", deepclean(place, "shards plan").stdout)
    again = deepclean(place, f"{SENT} --duration 4")
    assert f"1 of {len(planned)} shards to be done" in again.stdout
    name = f"shard-{int(number):04d}"
    assert f"JOB {name} shard.sub" in dag(place)
    assert len([line for line in dag(place) if line.endswith(" DONE")]) == len(planned) - 1
    carry_out(nodes(place)[name])
    assert deepclean(place, "shards plan").returncode == 0
    assert files(place / "out") == files(place / "one")


def test_only_what_a_shard_reads_is_sent(place: Path, deepclean: Run) -> None:
    deepclean(place, SENT)
    for name, variables in nodes(place).items():
        begin, end = (int(word) for word in variables["own"].split()[1::2])
        for kind in ("strain", "witnesses"):
            sent = (place / f"plan/shipped/{name[-4:]}/{kind}").rglob("*.gwf")
            starts = {int(path.name.split("-")[-2]) for path in sent}
            there = set(range(START, START + 40)) - (set(GAPS) if kind == "strain" else set())
            assert starts >= there & set(range(begin, end))
            assert starts < there
    assert "shipped/0001/strain" in nodes(place)["shard-0001"]["input_files"]


def test_program_of_the_nodes(place: Path, deepclean: Run) -> None:
    """An environment that is there on the nodes alone."""
    done = deepclean(place, f"{SENT} --submit executable=/cvmfs/site/bin/deepclean")
    assert (done.returncode, done.stderr) == (0, "")
    description = submit(place)
    assert description["executable"] == "/cvmfs/site/bin/deepclean"
    assert description["arguments"].startswith("replay ")
    assert description["transfer_executable"].lower() == "false"


def test_file_that_would_not_be_found_where_it_is_sent(place: Path, deepclean: Run) -> None:
    (place / "mine").mkdir()
    frame = site.strain_path(site.small_config(place), START + 6)
    odd = shutil.copy(frame, place / "mine/odd.gwf")
    deepclean(place, f"{SENT} --strain strain --strain {odd} --witnesses witnesses").refused(
        "not named as LIGO-T050017"
    )


def test_dag_that_is_at_work_is_left_alone(place: Path, deepclean: Run) -> None:
    deepclean(place, PLAN)
    before = dag(place)
    (place / "plan/condor/replay.dag.lock").touch()
    deepclean(place, f"{PLAN} --retries 1").refused("condor_rm")
    assert dag(place) == before


@pytest.mark.parametrize("name", ["a plan", "plan$(x)", "pl,an"])
def test_path_with_special_characters_is_refused(place: Path, deepclean: Run, name: str) -> None:
    deepclean(place, PLAN.replace("--plan plan", f"--plan {shlex.quote(name)}")).refused(
        "HTCondor cannot be told of"
    )


def test_missing_ezdag_is_said(
    place: Path, deepclean: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ezdag", None)
    done = deepclean(place, PLAN)
    assert done.returncode == 2
    assert done.stderr == (
        "deepclean: --scheduler condor needs ezdag: pip install 'deepclean-production[scheduler]'\n"
    )
