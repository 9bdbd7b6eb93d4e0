"""`deepclean models`: every command, its help, its errors, and what it says as JSON."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepclean.errors import ModelError
from deepclean.models import loading
from deepclean.models.budget import budget
from deepclean.models.store import changes as store
from deepclean.models.store import log as model_log
from deepclean.models.store import rejections
from tests.helpers import small_site as site
from tests.helpers.commands import Done, Run
from tests.helpers.deepcleanv2_directory import original
from tests.helpers.store_site import anything, state

__all__ = ["original"]

COMMANDS = (
    "list show log diff verify publish import promote clear-canary rollback prune push pull".split()
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with three versions, of which the first is in force."""
    place = tmp_path_factory.mktemp("site")
    config = site.small_config(place)
    for version in (1, 2, 3):
        site.publish_model(config, version)
    directory = place / "models" / "H1" / "60Hz"
    (directory / "production").unlink()
    store.promote(directory, 1, anything, "the first")
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    shutil.copytree(made, tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def directory(place: Path) -> Path:
    return place / "models" / "H1" / "60Hz"


@pytest.fixture
def run(deepclean: Run, place: Path) -> Callable[..., Done]:
    """Run a command of `deepclean models` on the site."""

    def run(command: str, status: int = 0) -> Done:
        name, _, rest = command.partition(" ")
        done = deepclean(place, f"models {name} -c small.yaml {rest}")
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


Models = Callable[..., Done]


def test_no_command_is_missing_here(deepclean: Run, tmp_path: Path) -> None:
    from deepclean.cli.models.show import app

    assert sorted(str(one.name) for one in app.registered_commands) == sorted(COMMANDS)


def test_list(run: Models, directory: Path) -> None:
    store.set_canary(directory, 3, anything)
    lines = run("list").stdout.splitlines()
    assert any("60Hz" in line and "1" in line and "production" in line for line in lines)
    assert any("3" in line and "canary" in line for line in lines)
    [facts] = json.loads(run("list --json").stdout)
    assert (facts["coupling"], facts["production"], facts["canary"]) == ("60Hz", 1, 3)
    assert [version["version"] for version in facts["versions"]] == [1, 2, 3]
    assert facts["versions"][0]["architecture"] == {"name": "autoencoder"}


def test_list_goes_on_after_a_damaged_version(run: Models, directory: Path) -> None:
    (directory / "2" / "manifest.json").write_text("{")
    lines = run("list", status=1).stdout.splitlines()
    [damaged] = [line for line in lines if "DAMAGED" in line]
    assert "2" in damaged
    assert sum("autoencoder" in line for line in lines) == 2
    [facts] = json.loads(run("list --json 60Hz", status=1).stdout)
    assert "not a valid manifest" in facts["versions"][1]["fault"]
    assert facts["faults"] == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("two\n", "holds 'two', not a version number"),
        ("", "holds '', not a version number"),
        ("9\n", "no version 9; there: 1, 2, 3"),
        (None, "cannot be read: Is a directory"),
    ],
)
@pytest.mark.parametrize("pointer", ["production", "canary"])
def test_list_goes_on_after_a_damaged_pointer(
    run: Models, directory: Path, pointer: str, content: str | None, said: str
) -> None:
    (directory / pointer).unlink(missing_ok=True)
    if content is None:
        (directory / pointer).mkdir()
    else:
        (directory / pointer).write_text(content)
    lines = run("list", status=1).stdout.splitlines()
    [damaged] = [line for line in lines if "DAMAGED" in line]
    assert pointer in damaged
    assert sum("autoencoder" in line for line in lines) == 3
    [facts] = json.loads(run("list --json", status=1).stdout)
    assert said in facts["faults"][pointer]
    assert len(facts["faults"]) == 1
    assert [version["version"] for version in facts["versions"]] == [1, 2, 3]


def test_list_of_other_couplings_goes_on(deepclean: Run, place: Path, directory: Path) -> None:
    (directory / "production").write_text("x")
    with (place / "small.yaml").open("a") as file:
        file.write("  90Hz: {band: [85, 95], witnesses: [FAST]}\n")
    done = deepclean(place, "models list -c small.yaml --json")
    assert done.returncode == 1
    first, second = json.loads(done.stdout)
    assert (first["coupling"], list(first["faults"])) == ("60Hz", ["production"])
    assert (second["coupling"], second["faults"], second["versions"]) == ("90Hz", {}, [])


def test_what_was_rejected_says_so(run: Models, directory: Path) -> None:
    rejections.write(directory, 3, "out of spec, and [more]", {"counted": 5e9})
    (line,) = [line for line in run("list").stdout.splitlines() if "rejected" in line]
    assert "3" in line
    assert "out of spec, and [more]" in run("show 60Hz 3").stdout
    [facts] = json.loads(run("list --json 60Hz").stdout)
    assert [row["rejected"] is None for row in facts["versions"]] == [True, True, False]
    shown = json.loads(run("show 60Hz 3 --json").stdout)["rejected"]
    assert (shown["why"], shown["figures"]) == ("out of spec, and [more]", {"counted": 5e9})
    rejections.path_of(directory, 3).write_text("[")
    assert "rejected" not in run("list").stdout


def test_list_of_an_empty_store(deepclean: Run, tmp_path: Path) -> None:
    site.small_config(tmp_path)
    assert "none" in deepclean(tmp_path, "models list -c small.yaml").stdout
    assert not (tmp_path / "models").exists()


def test_show(run: Models, directory: Path) -> None:
    text = run("show 60Hz").stdout
    for said in ("in force as", "production", "H1:SLOW, 16 Hz", "55-65 Hz", "the first"):
        assert said in text
    facts = json.loads(run("show 60Hz 2 --json").stdout)
    assert (facts["version"], facts["pointers"], facts["changes"]) == (2, [], [])
    assert set(facts["files"]) == {f"{n}.safetensors" for n in ("weights", "scalers", "golden")}
    assert json.loads(run("show 60Hz production --json").stdout)["pointers"] == ["production"]


def test_log(run: Models) -> None:
    run("promote 60Hz 2 --why 'less noise [at night]'")
    assert "less noise [at night]" in run("log 60Hz").stdout
    first, last = json.loads(run("log 60Hz --json").stdout)
    assert (first["what"], first["from"], first["to"]) == ("promote", None, 1)
    assert (last["what"], last["from"], last["to"]) == ("promote", 1, 2)
    assert last["why"] == "less noise [at night]"
    assert set(last) == {"when", "who", "what", "from", "to", "why"}


def test_diff(run: Models) -> None:
    text = run("diff 60Hz 1 2").stdout
    assert "of their norm" in text
    facts = json.loads(run("diff 60Hz production 2 --json").stdout)
    assert facts["versions"] == [1, 2]
    assert facts["weights"] > 0
    assert facts["fields"] == {}


def test_publish(run: Models, directory: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(directory / "2", tmp_path / "2"))
    done = run(f"publish {source} --why 'by hand'")
    assert done.stdout.splitlines() == [
        f"60Hz: version 4 is {directory / '4'}",
        "not in force; `deepclean models promote -c small.yaml 60Hz 4` does that",
    ]
    assert state(directory) == ((1, 2, 3, 4), 1, None)
    assert model_log.read(directory).changes[-1].why == "by hand"
    run("verify")


def test_import(run: Models, directory: Path, original: Path) -> None:
    done = run(f"import {original} 60Hz")
    assert "cannot be put in force with this configuration" in done.stdout
    assert "runs at 4096 Hz, the configuration says 512 Hz" in done.stdout
    assert "deepcleanv2, 60Hz-run" in run("show 60Hz 4").stdout
    assert "runs at 4096 Hz" in run("promote 60Hz 4", status=2).stderr
    assert state(directory)[1] == 1


def test_promote_canary_and_back(run: Models, directory: Path) -> None:
    assert run("promote 60Hz 2 --canary").stdout == "60Hz: canary is version 2\n"
    assert run("promote 60Hz 3 --canary").stdout == "60Hz: canary is version 3, it was 2\n"
    assert run("promote 60Hz canary").stdout == "60Hz: production is version 3, it was 1\n"
    assert state(directory) == ((1, 2, 3), 3, None)
    done = run("rollback 60Hz --why worse")
    assert done.stdout == "60Hz: production is version 1 again, it was 3\n"
    assert "nothing to go back to" in run("rollback 60Hz", status=2).stderr
    run("promote 60Hz 2 --canary")
    assert run("clear-canary 60Hz").stdout == "60Hz: no canary; it was 2\n"
    assert run("clear-canary 60Hz").stdout == "60Hz: there was no canary\n"
    what = [(c.what, c.before, c.after) for c in model_log.read(directory).changes[1:]]
    assert what == [
        ("canary", None, 2),
        ("canary", 2, 3),
        ("promote", 1, 3),
        ("canary", 3, None),
        ("rollback", 3, 1),
        ("canary", None, 2),
        ("canary", 2, None),
    ]


def test_verify(run: Models, directory: Path) -> None:
    assert run("verify").stdout.count("good") == 4
    weights = directory / "2" / "weights.safetensors"
    weights.chmod(0o666)
    weights.write_bytes(weights.read_bytes()[:-1])
    done = run("verify", status=2)
    assert done.stdout.count("good") == 3
    assert "everybody can write it (mode 0666)" in done.stdout
    assert "does not match the sha256" in done.stdout
    run("verify 60Hz 1")
    results = json.loads(run("verify 60Hz 2 --json", status=2).stdout)
    assert [(r["coupling"], r["version"], len(r["faults"])) for r in results] == [("60Hz", 2, 2)]
    run("promote 60Hz 2", status=2)
    assert state(directory)[1] == 1


def test_prune(run: Models, directory: Path) -> None:
    done = run("prune --keep 1")
    assert done.stdout.splitlines() == [
        "60Hz: 2 would be removed",
        "nothing was removed; repeat with --yes",
    ]
    assert state(directory)[0] == (1, 2, 3)
    assert run("prune 60Hz --keep 1 --yes --why disk").stdout == "60Hz: 2 removed\n"
    assert state(directory)[0] == (1, 3)
    assert run("prune").stdout == "60Hz: nothing would be removed\n"
    assert "greater than or equal to 1" in run("prune --keep 0", status=2).stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("list 60Hx", "no coupling 60Hx; did you mean 60Hz?"),
        ("show 60Hx", "no coupling 60Hx; did you mean 60Hz?"),
        ("show 60Hz 9", "no version 9; there: 1, 2, 3"),
        ("show 60Hz prodution", "no version prodution; did you mean production?"),
        ("show 60Hz canary", "there is no canary version"),
        (f"show 60Hz {'9' * 5000}", "no version 9"),
        ("log 60Hx", "did you mean 60Hz?"),
        ("diff 60Hz 1 9", "no version 9; there: 1, 2, 3"),
        ("verify 60Hx", "did you mean 60Hz?"),
        ("verify 60Hz 9", "no version 9; there: 1, 2, 3"),
        ("publish nowhere", "nowhere/manifest.json: cannot be read: No such file"),
        ("publish models/H1/60Hz/2", "is in this store already: promote it"),
        ("import nowhere 60Hz", "nowhere/config.yaml: cannot be read: No such file"),
        (
            "import models/H1/60Hz/2 60Hz",
            "use `deepclean models publish -c small.yaml models/H1/60Hz/2`",
        ),
        ("import nowhere 60Hx", "did you mean 60Hz?"),
        ("promote 60Hx 1", "did you mean 60Hz?"),
        ("promote 60Hz 9", "no version 9; there: 1, 2, 3"),
        ("promote 60Hz 1 --canary", "version 1 is in production already"),
        ("clear-canary 60Hx", "did you mean 60Hz?"),
        ("rollback 60Hx", "did you mean 60Hz?"),
        ("rollback 60Hz", "no version was in force before 1: nothing to go back to"),
        ("prune 60Hx", "did you mean 60Hz?"),
        ("diff 60Hx 1 2", "did you mean 60Hz?"),
        ("diff 60Hz canary 1", "there is no canary version"),
        ("verify 60Hz canary", "there is no canary version"),
        ("promote 60Hz canary", "there is no canary version"),
        ("promote 60Hz canarry", "no version canarry; did you mean canary?"),
    ],
)
def test_a_fault_is_one_message(run: Models, directory: Path, command: str, said: str) -> None:
    run(command, status=2).refused(said, lines=1)
    assert state(directory) == ((1, 2, 3), 1, None)


def test_publishing_what_is_for_another_site_is_refused(
    run: Models, deepclean: Run, directory: Path, tmp_path: Path, original: Path
) -> None:
    assert (
        "use `deepclean models import -c small.yaml " in run(f"publish {original}", status=2).stderr
    )
    source = Path(shutil.copytree(directory / "2", tmp_path / "2"))

    def publish_as(**changed: Any) -> str:
        facts = json.loads((directory / "2" / "manifest.json").read_text())
        (source / "manifest.json").write_text(json.dumps(facts | changed))
        return run(f"publish {source}", status=2).stderr

    assert "is for L1, the configuration for H1" in publish_as(interferometer="L1")
    assert "no coupling 61Hz; did you mean 60Hz?" in publish_as(coupling="61Hz")


def test_the_daemon_trusts_the_store_only_as_far_as_its_modes(place: Path, directory: Path) -> None:
    config = site.small_config(place)
    assert loading.load_models(config)["60Hz"].version == 1
    (directory / "1" / "weights.safetensors").chmod(0o664)
    with pytest.raises(ModelError, match="its group can write"):
        loading.load_models(config)
    assert "its group can write" in budget(config).assumed["60Hz"]
    named = site.small_config(place, f"couplings.60Hz.model={directory / '1'}")
    assert loading.load_models(named)["60Hz"].version == 1  # the operator's own choice


def test_a_store_that_cannot_be_written_ends_with_1(run: Models, directory: Path) -> None:
    (directory / "changes.jsonl").unlink()
    (directory / "changes.jsonl").mkdir()
    done = run("promote 60Hz 2", status=1)
    assert "could not be logged" in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("show 60Hz 2", "2/manifest.json: not a valid manifest"),
        ("diff 60Hz 1 2", "2/manifest.json: not a valid manifest"),
        ("promote 60Hz 2", "2/manifest.json: not a valid manifest"),
        ("promote 60Hz 2 --canary", "2/manifest.json: not a valid manifest"),
        ("publish {copy}", "manifest.json: not a valid manifest"),
    ],
)
def test_a_damaged_version_is_one_message_and_changes_nothing(
    run: Models, directory: Path, tmp_path: Path, command: str, said: str
) -> None:
    (directory / "2" / "manifest.json").write_text("{")
    copy = shutil.copytree(directory / "2", tmp_path / "2")
    run(command.format(copy=copy), status=2).refused(said, lines=1)
    assert state(directory) == ((1, 2, 3), 1, None)


@pytest.mark.parametrize("command", ["show", "rollback", "prune --keep 1 --yes"])
def test_a_damaged_pointer_is_one_message(run: Models, directory: Path, command: str) -> None:
    (directory / "production").write_text("x\n")
    name, _, rest = command.partition(" ")
    done = run(f"{name} 60Hz {rest}", status=2)
    done.refused("production: holds 'x', not a version number", lines=1)
    assert (directory / "production").read_text() == "x\n"
    assert [path.name for path in sorted(directory.glob("[0-9]"))] == ["1", "2", "3"]


def test_a_damaged_pointer_is_mended_by_what_would_replace_it(run: Models, directory: Path) -> None:
    for pointer in ("production", "canary"):
        (directory / pointer).write_text("x\n")
    assert run("clear-canary 60Hz").returncode == 0
    assert run("promote 60Hz 2").stdout == "60Hz: production is version 2\n"
    assert state(directory) == ((1, 2, 3), 2, None)
    run("list")


def test_verify_names_a_pointer_that_leads_nowhere(run: Models, directory: Path) -> None:
    (directory / "canary").write_text("9\n")
    done = run("verify", status=2)
    assert "canary: names version 9, which is not there" in done.stdout
    assert "60Hz pointers and log: BAD" in done.stdout


def test_a_log_that_cannot_be_read_is_one_message(run: Models, directory: Path) -> None:
    (directory / "changes.jsonl").unlink()
    (directory / "changes.jsonl").mkdir()
    for command in ("log 60Hz", "show 60Hz 1"):
        run(command, status=2).refused("changes.jsonl: cannot be read", lines=1)


def test_a_torn_line_of_the_log_is_passed_over(run: Models, directory: Path) -> None:
    with (directory / "changes.jsonl").open("a") as file:
        file.write('{"what": "prom')
    assert [change["what"] for change in json.loads(run("log 60Hz --json").stdout)] == ["promote"]
    assert "1 damaged lines" in run("verify", status=2).stdout


NEED_ARGUMENTS = "show log diff publish import promote clear-canary rollback".split()
"""Commands of one coupling or directory; the others take all couplings."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_argument_is_named(deepclean: Run, place: Path, command: str) -> None:
    if command in NEED_ARGUMENTS:
        done = deepclean(place, f"models {command} -c small.yaml")
        assert "Missing argument" in done.stderr
    else:
        done = deepclean(place, f"models {command}")
        assert "Missing option '--config'" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_no_configuration_is_one_message(deepclean: Run, tmp_path: Path, command: str) -> None:
    arguments = {"publish": "d", "import": "d 60Hz", "diff": "60Hz 1 2", "promote": "60Hz 1"}
    rest = arguments.get(command, "60Hz" if command in NEED_ARGUMENTS else "")
    deepclean(tmp_path, f"models {command} -c nowhere.yaml {rest}").refused("nowhere.yaml", lines=1)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(deepclean: Run, tmp_path: Path, command: str) -> None:
    from typer.main import get_command

    from deepclean.cli.models.show import app

    assert f" {command} " in deepclean(tmp_path, "models --help").stdout
    done = deepclean(tmp_path, f"models {command} --help", COLUMNS="200").good()
    told = " ".join(done.stdout.split())
    group: Any = get_command(app)
    one = group.commands[command]
    assert one.help.splitlines()[0] in told
    for parameter in one.params:
        assert parameter.help, f"{command}: {parameter.name} is not explained"
        assert parameter.help in told


def test_a_command_that_is_not_there_is_refused(deepclean: Run, tmp_path: Path) -> None:
    deepclean(tmp_path, "models lsit -c small.yaml").refused("No such command 'lsit'")
