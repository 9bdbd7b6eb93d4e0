"""`deepclean replay --scheduler`: what a plan holds fast, and what of it is done."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from deepclean.cluster import submit
from deepclean.config import Config, load
from deepclean.errors import ConfigError
from deepclean.models.loading import load_models
from deepclean.models.store import versions
from deepclean.run import parallel
from tests.helpers import small_site as site
from tests.helpers.commands import Done, Run
from tests.helpers.deepcleanv2_directory import write_deepcleanv2
from tests.helpers.site_runs import files
from tests.helpers.small_site import START

GAPS = (START + 11, START + 23, START + 24)
BEGIN, END = START + 5, START + 37
SPAN = f"-c small.yaml --start {BEGIN} --end {END}"
PLAN = f"replay {SPAN} --output out --plan plan --scheduler slurm --plan-only --shard 8"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A site with its model and 40 s of data, in which strain is missing."""
    site.make_site(tmp_path, seconds=40, no_strain=GAPS, no_witnesses=[START + 18])
    return tmp_path


@pytest.fixture(autouse=True)
def _short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let shards be as short as the history before them: there is less than a minute of data."""
    monkeypatch.setattr(parallel, "WORTH", 1)


def config_of(place: Path) -> Config:
    return load(place / "small.yaml", environ={})


def promote(place: Path, version: int) -> None:
    """Publish another model and put it in force."""
    site.publish_model(config_of(place), version)


def numbered(place: Path) -> dict[int, tuple[int, int]]:
    """Return the shards of the plan's file for people."""
    lines = (place / "plan/shards.txt").read_text().splitlines()[1:]
    return {int(n): (int(a), int(b)) for n, a, b, _ in map(str.split, lines)}


def alone(done: Done) -> list[list[str]]:
    """Return the commands that were printed for what is not all done."""
    found = re.findall(r"alone:\n  (.*)\n", done.stdout)
    return [shlex.split(line) for line in found]


def shard(deepclean: Run, place: Path, command: list[str]) -> Done:
    """Run a printed command in this process."""
    return deepclean(place, shlex.join(command[command.index("replay") :]))


def test_shards_make_the_files_of_one_run(place: Path, deepclean: Run) -> None:
    """Done alone, in any order; a pointer that moved meanwhile changes nothing."""
    deepclean(place, f"replay {SPAN} --output one --duration 16").good()
    planned = deepclean(place, f"{PLAN} --duration 16").good()
    assert "29 s of 32 s to be cleaned, in 3 stretches" in planned.stdout
    assert "60Hz version 1" in planned.stdout
    promote(place, 2)
    (place / "out").mkdir()
    (place / "out/.H-H1_DEEPCLEAN-1-1.gwf.tmp").write_bytes(b"what another shard writes")
    left = deepclean(place, "shards plan")
    assert left.returncode == 1
    assert f"0 of {len(numbered(place))} shards done" in left.stdout
    commands = alone(left)
    assert len(commands) == len(numbered(place)) > 2
    for command in reversed(commands):
        assert shard(deepclean, place, command).returncode == 0
    assert (place / "out/.H-H1_DEEPCLEAN-1-1.gwf.tmp").exists()
    (place / "out/.H-H1_DEEPCLEAN-1-1.gwf.tmp").unlink()
    assert files(place / "out") == files(place / "one")
    done = deepclean(place, "shards plan")
    assert (done.returncode, alone(done)) == (0, [])
    again = deepclean(place, f"{PLAN} --duration 16").good()
    assert "all is done: nothing to submit" in again.stdout


def test_what_is_finished_is_not_planned(place: Path, deepclean: Run) -> None:
    deepclean(place, f"replay {SPAN} --output out".replace(str(END), str(START + 26)))
    deepclean(place, PLAN).good()
    assert min(begin for begin, _ in numbered(place).values()) == START + 26
    deepclean(place, f"replay {SPAN} --output out")
    elsewhere = deepclean(place, PLAN.replace("--plan plan", "--plan other"))
    assert "all is done: nothing to submit" in elsewhere.stdout
    assert not (place / "other").exists()


def test_only_what_is_missing_is_submitted_again(place: Path, deepclean: Run) -> None:
    deepclean(place, PLAN)
    first, *_, last = alone(deepclean(place, "shards plan"))
    shard(deepclean, place, first)
    shard(deepclean, place, last)
    again = deepclean(place, PLAN)
    count = len(numbered(place))
    assert f"{count - 2} of {count} shards to be done" in again.stdout
    script = (place / "plan/slurm/shards.sh").read_text()
    expected = "2" if count == 3 else f"2-{count - 1}"
    assert f'#SBATCH --array="{expected}"' in script


def test_frames_that_have_gone_are_named(place: Path, deepclean: Run) -> None:
    deepclean(place, f"replay {SPAN} --output out".replace(str(END), str(START + 26)))
    deepclean(place, PLAN)
    (place / f"out/H-H1_DEEPCLEAN-{START + 9}-1.gwf").unlink()
    left = deepclean(place, "shards plan")
    assert left.returncode == 1
    gone = f"frames that existed when it was planned, GPS [{START + 9}, {START + 10}): 1 s"
    assert gone in left.stdout
    assert gone in deepclean(place, PLAN).stdout
    assert shard(deepclean, place, alone(left)[-1]).returncode == 0
    assert gone not in deepclean(place, "shards plan").stdout


def test_strain_that_cannot_be_read_is_no_unfinished_work(place: Path, deepclean: Run) -> None:
    """The index has it, a replay makes no frame of it."""
    damaged = site.strain_path(config_of(place), START + 30)
    damaged.write_bytes(damaged.read_bytes()[:1000])
    deepclean(place, PLAN)
    for command in alone(deepclean(place, "shards plan")):
        assert shard(deepclean, place, command).returncode == 0
    assert not (place / f"out/H-H1_DEEPCLEAN-{START + 30}-1.gwf").exists()
    assert deepclean(place, "shards plan").returncode == 0


def test_segments_alone_are_cleaned(place: Path, deepclean: Run) -> None:
    (place / "good.txt").write_text(f"{START} {START + 9}\n{START + 26} {START + 30}\n")
    deepclean(place, f"{PLAN} --segments good.txt").good()
    assert numbered(place) == {1: (BEGIN, START + 9), 2: (START + 26, START + 30)}
    for command in alone(deepclean(place, "shards plan")):
        shard(deepclean, place, command)
    deepclean(place, f"replay {SPAN} --output one".replace(str(END), str(START + 9)))
    deepclean(place, f"replay -c small.yaml --start {START + 26} --end {START + 30} --output one")
    assert files(place / "out") == files(place / "one")
    (place / "good.txt").write_text(f"{START - 9} {START - 5}\n")
    deepclean(place, f"{PLAN} --segments good.txt".replace("--plan plan", "--plan other")).refused(
        f"that counts ({place}/good.txt)"
    )


def test_plan_goes_into_an_empty_directory_and_no_other(place: Path, deepclean: Run) -> None:
    (place / "plan").mkdir()
    assert deepclean(place, PLAN).returncode == 0
    deepclean(place, PLAN.replace("--plan plan", "--plan strain")).refused(
        "the plan cannot be written: Directory not empty", status=1
    )
    assert not list(place.glob(".*.tmp"))


def test_default_place_of_the_plan(place: Path, deepclean: Run) -> None:
    done = deepclean(place, PLAN.replace("--plan plan ", ""))
    assert f"plan: {place}/out-plan/{BEGIN}-{END}" in done.stdout
    assert (place / f"out-plan/{BEGIN}-{END}/plan.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("--duration 2", "with another duration"),
        ("--set engine.hop=0.5", "with another configuration"),
        ("--strain strain --witnesses witnesses", "with another strain, witnesses"),
        ("--output elsewhere", "with another output"),
    ],
)
def test_other_plan_is_refused(place: Path, deepclean: Run, change: str, said: str) -> None:
    deepclean(place, PLAN)
    before = {path: path.read_bytes() for path in (place / "plan").rglob("*") if path.is_file()}
    deepclean(place, f"{PLAN} {change}").refused(said)
    after = {path: path.read_bytes() for path in (place / "plan").rglob("*") if path.is_file()}
    assert after == before


def test_plan_holds_the_resolved_configuration(place: Path, deepclean: Run) -> None:
    deepclean(place, f"{PLAN} --set engine.hop=0.5", DEEPCLEAN__ENGINE__RAMP="0.5")
    written = load(place / "plan/config.yaml", environ={})
    wanted = load(place / "small.yaml", ["engine.hop=0.5", "engine.ramp=0.5"], environ={})
    assert written.hash == wanted.hash


def test_plan_for_gpus_is_made_where_there_is_none(place: Path, deepclean: Run) -> None:
    deepclean(place, f"{PLAN} --set runtime.device=cuda --submit gres=gpu:1").good()
    assert '#SBATCH --gres="gpu:1"' in (place / "plan/slurm/shards.sh").read_text()
    assert load(place / "plan/config.yaml", environ={}).runtime.device == "cuda"
    assert deepclean(place, f"{PLAN} --set runtime.device=cuda").returncode == 0


def call(place: Path, *more: str) -> str:
    parts = ["replay -c", str(place / "plan/config.yaml"), "--pinned plan/pinned.json"]
    return " ".join([*parts, f"--start {BEGIN} --end {BEGIN + 2} --output out", *more])


def test_shard_with_another_configuration_is_refused(place: Path, deepclean: Run) -> None:
    deepclean(place, PLAN)
    for environ in ({}, {"DEEPCLEAN__ENGINE__HOP": "0.5"}):
        more = [] if environ else ["--set engine.hop=0.5"]
        deepclean(place, call(place, *more), **environ).refused(
            "the configuration is not the one that was planned with"
        )
    assert not (place / "out").exists()


def test_shard_with_another_model_or_software_is_refused(place: Path, deepclean: Run) -> None:
    deepclean(place, PLAN)
    pinned = place / "plan/pinned.json"
    good = json.loads(pinned.read_text())
    other = json.loads(pinned.read_text())
    other["models"]["60Hz"]["sha256"] = "0" * 64
    pinned.write_text(json.dumps(other))
    assert "is another model" in deepclean(place, call(place)).stderr
    pinned.write_text(json.dumps({**good, "deepclean": "0.0.1"}))
    assert "planned with deepclean 0.0.1" in deepclean(place, call(place)).stderr
    pinned.write_text(json.dumps(good))
    weights = place / "plan/models/60Hz/1/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "does not match the sha256" in deepclean(place, call(place)).stderr
    pinned.write_text("{}")
    assert "pins no models" in deepclean(place, call(place)).stderr
    assert not (place / "out").exists()


def test_pinned_model_outlives_its_version(place: Path, deepclean: Run) -> None:
    """Pruned from the store, or its directory written by others: the copy is what counts."""
    deepclean(place, PLAN)
    promote(place, 2)
    directory = config_of(place).models.directory / "H1/60Hz"
    assert versions.resolve(config_of(place).models.directory, "H1", "60Hz") == directory / "2"
    for path in sorted((directory / "1").rglob("*"), reverse=True):
        path.unlink()
    (directory / "1").rmdir()
    assert deepclean(place, call(place)).returncode == 0


def test_model_of_deepcleanv2_is_pinned_too(place: Path, deepclean: Run) -> None:
    write_deepcleanv2(load_models(config_of(place))["60Hz"], site.STRAIN, place / "old")
    settings = place / "old/config.yaml"
    settings.write_text(settings.read_text() + "  sample_rate: 512\n")
    named = "--set couplings.60Hz.model=old"
    deepclean(place, f"replay {SPAN} {named} --output one".replace(str(END), str(BEGIN + 2)))
    assert deepclean(place, f"{PLAN} {named}").returncode == 0
    (place / "old").rename(place / "gone")
    assert deepclean(place, call(place)).returncode == 0
    assert files(place / "out") == files(place / "one")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"replay {SPAN} --plan plan", "go with --scheduler"),
        (f"replay {SPAN} --segments good.txt", "go with --scheduler"),
        (f"replay {SPAN} --scheduler pbs", "one of condor, slurm, kubernetes"),
        (f"replay {SPAN} --scheduler slurm --models-of x", "--models-of with --scheduler"),
        (f"replay {SPAN} --pinned x --jobs 2", "--pinned is for one shard"),
        (f"{PLAN} --submit array=1-3", "array is the plan's own"),
        (f"{PLAN} --submit =3", "write it like partition=long"),
        ("shards nowhere", "no plan can be read"),
    ],
)
def test_wrong_calls_are_refused(place: Path, deepclean: Run, command: str, said: str) -> None:
    deepclean(place, command).refused(said, lines=1)
    assert not (place / "plan").exists()


def test_plan_is_written_without_scheduler(place: Path, deepclean: Run, tmp_path: Path) -> None:
    command = PLAN.replace("--plan-only ", "")
    deepclean(place, command, PATH=str(tmp_path)).refused("the plan is written")
    assert (place / "plan/slurm/shards.sh").exists()


def test_settings_go_to_slurm_as_they_are(place: Path, deepclean: Run) -> None:
    wanted = "--submit partition=long --submit --exclusive --submit time=2:00:00"
    deepclean(place, f"{PLAN} {wanted} --jobs 2 --retries 7").good()
    scripts = [(place / "plan/slurm" / name).read_text() for name in ("shards.sh", "verify.sh")]
    for script in scripts:
        assert '\n#SBATCH --partition="long"\n' in script
        assert "\n#SBATCH --exclusive\n" in script
        assert '\n#SBATCH --time="2:00:00"\n' in script
    count = len(numbered(place))
    assert f'#SBATCH --array="1-{count}%2"' in scripts[0]
    assert "attempt < 7" in scripts[0]
    assert "--array" not in scripts[1]


def test_setting_with_a_line_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="write it like"):
        submit.settings(["partition=a\n#SBATCH --uid=0"], ())
    assert submit.settings(["a=1", "a=2"], ()) == {"a": "2"}
