"""The command line: what it prints, and that every mendable fault is one message and status 2."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deepclean.config import Config
from deepclean.models.store import log as model_log
from tests.helpers import small_site as site
from tests.helpers import training_site
from tests.helpers.commands import Run
from tests.helpers.faultsite import LOST, SHORT
from tests.helpers.site_runs import COMMAND
from tests.helpers.small_site import START

REPLAY = f"replay -c small.yaml --start {START + 2} --end {START + 4}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    site.make_site(place, seconds=8)
    return place


def test_replay_says_what_it_did(deepclean: Run, place: Path, tmp_path: Path) -> None:
    done = deepclean(place, f"{REPLAY} --output {tmp_path}").good()
    said = "2 s cleaned; 0 s were there, 0 s without strain"
    dates = "(2024-05-17 16:53:04 to 16:53:06 UTC)"
    when = f"GPS {START + 2} to {START + 4} {dates}"
    assert done.stdout.splitlines() == [f"2 frames written to {tmp_path}: {said}", when]
    again = deepclean(place, f"{REPLAY} --output {tmp_path}")
    assert again.stdout.startswith("0 frames written")


def test_config_prints_itself_and_the_budget(deepclean: Run, place: Path) -> None:
    done = deepclean(place, "config small.yaml").good()
    assert "channel: H1:GDS-CALIB_STRAIN" in done.stdout
    assert "look-ahead L = " in done.stdout
    assert "assumed" not in done.stdout
    assert "with 1-s frames a cleaned frame leaves 1 frame after its own" in done.stdout
    streamed = "--set input.arrakis.server=grpc://127.0.0.1:9 --set engine.hop=0.0625"
    done = deepclean(place, f"config small.yaml {streamed}").good()
    assert "with 0.0625-s blocks a cleaned block leaves " in done.stdout
    assert "frames a cleaned" not in done.stdout
    bare = deepclean(place, "config small.yaml --no-budget --set engine.ramp=0.5")
    (place / "printed.yaml").write_text(bare.stdout)
    again = deepclean(place, "config printed.yaml --no-budget")
    assert again.stdout == bare.stdout
    assert "ramp: 0.5" in bare.stdout


def test_environment_overrides(deepclean: Run, place: Path) -> None:
    done = deepclean(place, "config small.yaml --no-budget", DEEPCLEAN__ENGINE__RAMP="0.125")
    assert "ramp: 0.125" in done.stdout


def test_schema_is_json(deepclean: Run, place: Path) -> None:
    done = deepclean(place, "config --schema")
    assert "couplings" in json.loads(done.stdout)["properties"]


def test_training_publishes_and_says_so(deepclean: Run, tmp_path: Path) -> None:
    config = training_site.make_site(tmp_path)
    span = f"--start {training_site.START} --end {training_site.START + training_site.SECONDS}"
    command = f"train -c toy.yaml 30Hz {span} --architecture wiener"
    first = deepclean(tmp_path, command).good()
    lines = first.stdout.splitlines()
    store = config.models.directory / "H1" / "30Hz"
    number = len([path for path in store.iterdir() if path.name.isdigit()])
    assert lines[0].startswith(f"{store}/{number}: ASD ratio over ")
    again = deepclean(tmp_path, command).good().stdout.splitlines()
    assert again[0].startswith(f"{store}/{number + 1}: ")
    assert again[-2] == f"30Hz: production is still version {number - 1}"
    assert max(map(len, lines[1:5])) <= 80
    made = [(change.what, change.after) for change in model_log.read(store).changes]
    assert made[-1] == ("train", number + 1)
    # With one witness fewer the version in production cannot be run: the remedy is a command.
    fewer = f"{command} --set couplings.30Hz.witnesses=[{training_site.LINE}]"
    said = deepclean(tmp_path, fewer).good().stdout
    cannot = f"needs witnesses that are not configured: {training_site.MOTION}\n"
    assert cannot in said  # no other channel is meant
    assert f"still version {number - 1}, which cannot be run with this configuration\n" in said
    assert said.endswith(f"  deepclean models promote -c toy.yaml 30Hz {number + 2}\n")


def test_a_useless_first_version_is_not_put_in_force(deepclean: Run, tmp_path: Path) -> None:
    """The witnesses of the small site know nothing of its strain."""
    config = site.small_config(tmp_path)
    site.write_site(config, START, 60)
    command = f"train -c small.yaml 60Hz --start {START} --end {START + 60} --architecture wiener"
    done = deepclean(tmp_path, command)
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{config.models.directory}/H1/60Hz/1: ASD ratio over ")
    assert lines[-1].startswith("60Hz: version 1 is not put in force: it does not beat no cleaning")
    changes = model_log.read(config.models.directory / "H1" / "60Hz").changes
    assert [(change.what, change.after) for change in changes] == [("train", 1)]


def test_status_says_how_the_daemon_is(deepclean: Run, place: Path) -> None:
    from deepclean.core.accounting import Ledger
    from deepclean.system.lock import OutputLock
    from deepclean.telemetry import status_file

    config = site.small_config(place)
    config.output.directory.mkdir()
    path = status_file.path_in(config.output.directory, config.output.description)
    ledger = Ledger(frames_in=5, written=Counter(cleaned=3, missing=1), inside=1)
    ledger.ignored["late"] = 2
    models = {"60Hz": "2, canary 3 in spec for 4 of 100 s"}
    closed = "closed for 80 s: net 1.02 (limit 1.001)"
    figures: dict[str, float | str | None] = {"gain": 0.0, "gate": closed, "asd_ratio": 0.9}
    figures |= {"amplitude": None, "phase": None}
    latency = {"last": 1.02, "median": 1.03, "worst": 1.5, "frames": 300}
    status = status_file.StatusFile(
        *(path, site.FakeClock(), lambda: models, lambda: {"60Hz": figures}),
        lambda: {"waiting": {"strain": 75.2}, "latency": latency},
    )
    status.write(ledger)
    done = deepclean(place, "status -c small.yaml")
    assert done.returncode == 3  # no daemon runs
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert "not running" in lines[0]  # though the process that it names, this one, lives
    with OutputLock(config.output.directory, config.output.description):
        (first, *_) = deepclean(place, "status -c small.yaml").good().stdout.splitlines()
        assert first.startswith("H1: running, no strain for 75 s in ")
        status_file.StatusFile(path, site.FakeClock()).write(Ledger())
        (first, *_) = deepclean(place, "status -c small.yaml").good().stdout.splitlines()
        assert first.startswith("H1: running, no frame yet: it reads its history first, process ")
        history = {"read": 41.2, "whole": 164.0}
        status_file.StatusFile(
            *(path, site.FakeClock(), dict, dict, lambda: {"history": history})
        ).write(Ledger())
        streamed = "--set input.arrakis.server=grpc://127.0.0.1:9"
        done = deepclean(place, f"status -c small.yaml {streamed}").good()
        first, second, *_ = done.stdout.splitlines()
        said = "H1: running, no block yet: it reads its history: 41 of 164 s, process "
        assert first.startswith(said)
        assert second == "in:   0 blocks, the last to GPS -; 0 blocks ignored"
        rest = {"waiting": {"strain": 9.0}, "trouble": "refused"}
        status_file.StatusFile(*(path, site.FakeClock(), dict, dict, lambda: rest)).write(Ledger())
        (first, *_) = (
            deepclean(place, f"status -c small.yaml {streamed}").good().stdout.splitlines()
        )
        assert first.startswith(
            "H1: running, no strain for 9 s from grpc://127.0.0.1:9 (refused), process "
        )
    assert lines[1] == "in:   5 frames, the last to GPS -; 2 files ignored (2 late)"
    assert lines[2] == "out:  3 cleaned (1 missing), the last to GPS -"
    assert lines[3] == (
        "latency: 1.02 s from the raw frame to the cleaned one; of the last 300 frames the "
        "median 1.03 s, the worst 1.50 s"
    )
    assert lines[5] == "models: 60Hz version 2, canary 3 in spec for 4 of 100 s"
    assert lines[6] == (
        "60Hz: gain 0.00, gate closed for 80 s: net 1.02 (limit 1.001), ASD ratio 0.900"
    )
    assert lines[7] == "gaps: 0 s; the ledger is balanced"
    status.write(ledger, now=True)
    said = json.loads(deepclean(place, "status -c small.yaml --json").stdout)
    assert said["ledger"]["frames_in"] == 5
    assert said["models"] == models
    assert said["couplings"] == {"60Hz": figures}


def test_a_replay_into_a_directory_in_which_a_daemon_writes_is_refused(
    deepclean: Run, place: Path
) -> None:
    """It would sweep away the frame that the daemon is writing."""
    from deepclean.system.lock import OutputLock

    output = site.small_config(place).output
    temporary = output.directory / f".H-{output.description}-{START + 9}-1.gwf.tmp"
    with OutputLock(output.directory, output.description):
        temporary.write_bytes(b"half a frame")
        deepclean(place, REPLAY).refused("writes here already", "--output", status=1)
        assert temporary.exists()
        deepclean(place, f"{REPLAY} --output elsewhere").good()
    temporary.unlink()


def break_nothing(config: Config) -> None:
    """Leave the site as it is."""


def cut_every_strain(config: Config) -> None:
    for path in config.input.strain_frames.directory.glob("*.gwf"):
        path.write_bytes(path.read_bytes()[:500])


def other_channels_in_model(config: Config) -> None:
    path = config.models.directory.parent / "small.yaml"
    path.write_text(path.read_text().replace("[SLOW, MIDDLE, FAST]", "[SLOW, MIDDLE]"))


def flip_a_bit_in_the_weights(config: Config) -> None:
    path = config.models.directory / "H1" / "60Hz" / "1" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def no_witness_files(config: Config) -> None:
    for path in config.input.witnesses[0].directory.glob("*.gwf"):
        path.unlink()


FAULTS: list[tuple[Callable[[Config], None], str, str]] = [
    (break_nothing, "replay -c nowhere.yaml --start 1 --end 2", "nowhere.yaml: cannot be read"),
    (break_nothing, f"{REPLAY} --set engine.hpo=1", "engine.hpo: unknown key; did you mean hop?"),
    (break_nothing, f"{REPLAY} --set engine.hop=0.3", "engine.hop"),
    (
        break_nothing,
        f"{REPLAY} --set strain.rate=4096",
        "is at 2048 Hz, the configuration says 4096",
    ),
    (break_nothing, f"{REPLAY} --set strain.channel=NO_SUCH", "no such channel: H1:NO_SUCH"),
    (break_nothing, f"{REPLAY} --strain nowhere", "nowhere"),
    (break_nothing, "replay -c small.yaml --start 9 --end 8", "a span must end after it starts"),
    (break_nothing, "replay -c small.yaml --start 1.5 --end 8", "whole GPS seconds"),
    (break_nothing, "replay -c small.yaml --start x --end 8", "not a time in seconds"),
    (
        break_nothing,
        f"{REPLAY} --set couplings.60Hz.model=nowhere",
        "manifest.json: cannot be read",
    ),
    (break_nothing, f"{REPLAY} --set engine.rate=1024", "runs at 512 Hz, the configuration says"),
    (
        break_nothing,
        f"{REPLAY} --set couplings.60Hz.bandpass.transition=0.001",
        "couplings.60Hz.bandpass: a transition of 0.001 Hz",
    ),
    (
        break_nothing,
        f"{REPLAY} --set couplings.60Hz.predict.mode=pass --set couplings.60Hz.predict.edge=0.125",
        "couplings.60Hz.predict: mode 'pass' needs",
    ),
    (cut_every_strain, REPLAY, "not a readable frame file"),
    (other_channels_in_model, REPLAY, "needs witnesses that are not configured: H1:FAST"),
    (flip_a_bit_in_the_weights, REPLAY, "does not match the sha256 in the manifest"),
    (no_witness_files, REPLAY, "no frame or HDF5 files"),
    (
        break_nothing,
        f"simulate -c small.yaml --start {START} --end {START + 1} --inject x",
        "--inject x: not a time in seconds",
    ),
]


@pytest.mark.parametrize(("damage", "command", "message"), FAULTS)
def test_fault_is_one_message(
    deepclean: Run, tmp_path: Path, damage: Callable[[Config], None], command: str, message: str
) -> None:
    config = site.make_site(tmp_path, seconds=8)
    damage(config)
    done = deepclean(tmp_path, command).refused(message)
    lines = [line for line in done.stderr.splitlines() if line.startswith("deepclean:")]
    assert len(lines) == 1


@pytest.mark.parametrize("error", [SHORT, LOST])
def test_a_device_of_no_use_at_the_start_may_be_tried_again(
    deepclean: Run, place: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def refuse(module: torch.nn.Module, device: str) -> torch.nn.Module:
        raise error

    monkeypatch.setattr(torch.nn.Module, "to", refuse)
    done = deepclean(place, "run -c small.yaml")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == f"deepclean: coupling 60Hz: {str(error).splitlines()[0]}"


def test_a_damaged_file_gives_one_line_and_nothing_at_exit(tmp_path: Path) -> None:
    """A library that finds its open file when the process ends would print a report on that."""
    config = site.make_site(tmp_path, seconds=6)
    path = site.strain_path(config, START + 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    command = [*COMMAND, "inspect", str(path)]
    truncated = tmp_path / f"H-H1_llhoft-{START}-1.gwf"
    truncated.write_bytes(content[: len(content) // 2])
    for file in (str(path), str(truncated)):
        done = subprocess.run(
            [*command[:-1], file], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert "leak" not in done.stderr
        assert len(done.stderr.splitlines()) <= 1, done.stderr


def test_a_file_that_no_memory_would_hold_is_refused(deepclean: Run, tmp_path: Path) -> None:
    site.make_site(tmp_path, seconds=2)
    span = f"--start {START} --end {START + 2}"
    done = deepclean(tmp_path, f"replay -c small.yaml {span} --output out --duration 86400")
    done.refused("--duration", "4096")
