"""The systemd units and their installer: systemd's own lint, real installations below a prefix."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from deepclean.config import load
from deepclean.models.store import directory as coupling_directory

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "systemd" / "deepclean@.service"
TRAIN = ROOT / "systemd" / "deepclean-train@.service"
TIMER = ROOT / "systemd" / "deepclean-train@.timer"
SUMMARY = ROOT / "systemd" / "deepclean-summary@.service"
EVERY_NIGHT = ROOT / "systemd" / "deepclean-summary@.timer"
UNITS = (UNIT, TRAIN, TIMER, SUMMARY, EVERY_NIGHT)
TMPFILES = ROOT / "systemd" / "deepclean.tmpfiles"
INSTALLER = ROOT / "scripts" / "install-service"
INTERFEROMETERS = ("H1", "K1", "L1", "V1")
EXPOSURE = {UNIT: 15, TRAIN: 10, SUMMARY: 10}
"""Tenths: the most that `systemd-analyze security` may say."""

Setting = dict[str, list[str]]


def settings(file: Path) -> dict[str, Setting]:
    """Return the settings of a unit file by section; each may be set more than once."""
    sections: dict[str, Setting] = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in file.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            sections[section][key].append(value)
    return sections


def directories() -> set[Path]:
    """Return the directories that the tmpfiles entry makes."""
    lines = [line.split() for line in TMPFILES.read_text().splitlines()]
    return {Path(line[1]) for line in lines if line and line[0] == "d"}


def tool(name: str) -> str:
    """Return a program of the host, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} (Debian: package {name.partition('-')[0]})")
    return found


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


# The units


@pytest.mark.parametrize("units", [[UNIT, SUMMARY, EVERY_NIGHT], [TRAIN, TIMER]])
def test_systemd_finds_no_fault(units: list[Path], tmp_path: Path) -> None:
    for unit in units:
        text, count = re.subn(
            r"^ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text(), flags=re.MULTILINE
        )
        assert count == (unit.suffix == ".service")  # the program is not installed here
        text = re.sub(r"^ExecReload=\S+", f"ExecReload={sys.executable}", text, flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    copies = [tmp_path / unit.name for unit in units]
    verified = run(tool("systemd-analyze"), "--man=no", "verify", *copies)
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize("unit", EXPOSURE)
def test_exposure_is_small(unit: Path) -> None:
    command = (tool("systemd-analyze"), "security", "--offline=true", "--no-pager")
    judged = run(*command, f"--threshold={EXPOSURE[unit]}", unit)
    assert "Overall exposure level" in judged.stdout, judged.stderr
    assert judged.returncode == 0, judged.stdout[-200:]


@pytest.mark.parametrize("unit", EXPOSURE)
def test_output_outlives_the_service(unit: Path) -> None:
    service = settings(unit)["Service"]
    assert service["RemoveIPC"] == ["no"]
    assert service["User"] == ["deepclean"]
    assert "DynamicUser" not in service


def test_it_is_restarted_for_ever() -> None:
    unit, service = settings(UNIT)["Unit"], settings(UNIT)["Service"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert service["Restart"] == ["always"]
    assert service["Type"] == ["notify"]
    assert int(service["WatchdogSec"][0]) <= 60


def test_the_pause_does_not_grow() -> None:
    """From systemd 254 on it would stay at its longest, however well the service was meanwhile."""
    service = settings(UNIT)["Service"]
    assert float(service["RestartSec"][0]) <= 5
    assert not {"RestartSteps", "RestartMaxDelaySec"} & set(service)


def test_what_hangs_is_aborted_with_its_stacks() -> None:
    service = settings(UNIT)["Service"]
    assert service["TimeoutStartFailureMode"] == ["abort"]
    assert service["TimeoutStopFailureMode"] == ["abort"]
    assert "PYTHONFAULTHANDLER=1" in service["Environment"]


def test_a_restart_is_not_tried_where_it_cannot_help(tmp_path: Path) -> None:
    """A configuration that cannot be used ends with the very status that the unit names."""
    (status,) = settings(UNIT)["Service"]["RestartPreventExitStatus"]
    ended = run(sys.executable, "-m", "deepclean", "run", "--config", tmp_path / "H1.yaml")
    assert ended.returncode == int(status) == 2
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("unit", [UNIT, TRAIN])
def test_torch_may_write_the_code_that_it_runs(unit: Path) -> None:
    """With MemoryDenyWriteExecute every wide convolution fails: could not create a primitive."""
    assert "MemoryDenyWriteExecute" not in settings(unit)["Service"]


def test_the_page_of_a_day_is_written_every_night() -> None:
    assert settings(UNIT)["Unit"]["Wants"] == ["deepclean-summary@%i.timer"]
    assert settings(EVERY_NIGHT)["Unit"]["PartOf"] == ["deepclean@%i.service"]
    (command,) = settings(SUMMARY)["Service"]["ExecStart"]
    (state,) = settings(SUMMARY)["Service"]["StateDirectory"]
    assert command.endswith(f"--output /var/lib/{state}/days")


@pytest.mark.parametrize("unit", [TRAIN, SUMMARY])
def test_other_work_does_not_compete_with_the_daemon(unit: Path) -> None:
    service = settings(unit)["Service"]
    assert service["Nice"] == ["19"]
    assert service["IOSchedulingClass"] == ["idle"]
    assert service["CPUWeight"] == service["IOWeight"] == ["1"]
    assert service["OOMScoreAdjust"] == ["1000"]
    assert {"CPUQuota", "MemoryMax"} <= set(service)
    daemon = settings(UNIT)["Service"]
    assert int(daemon.get("Nice", ["0"])[0]) < 19
    assert int(daemon.get("CPUWeight", ["100"])[0]) > 1
    assert int(daemon.get("OOMScoreAdjust", ["0"])[0]) < 1000


def test_retraining_takes_place_every_ten_minutes() -> None:
    """systemd starts no second run of a service that is at work; in the end a full one is due."""
    service, timer = settings(TRAIN)["Service"], settings(TIMER)["Timer"]
    assert service["Type"] == ["oneshot"]
    (command,) = service["ExecStart"]
    assert "retrain --changes " in command
    assert timer["OnCalendar"] == ["*:0/10"]
    (minutes,) = timer["RandomizedDelaySec"]
    assert int(minutes.removesuffix("min")) < 10
    (hours,) = service["TimeoutStartSec"]
    config = load(ROOT / "config" / "H1.yaml", (), environ={})
    assert int(hours.removesuffix("h")) * 3600 < config.retrain.search_every
    assert settings(TIMER)["Install"]["WantedBy"] == ["timers.target"]


def test_retraining_may_make_directories_in_the_store(tmp_path: Path) -> None:
    """They take the store's set-group-ID bit over, which RestrictSUIDSGID would refuse."""
    tmp_path.chmod(0o2775)
    with coupling_directory.changing(tmp_path / "H1" / "60Hz"):
        pass
    assert (tmp_path / "H1" / "60Hz").stat().st_mode & 0o7777 == 0o2775
    assert "RestrictSUIDSGID" not in settings(TRAIN)["Service"]
    (written,) = settings(TRAIN)["Service"]["ReadWritePaths"]
    assert load(ROOT / "config" / "H1.yaml", (), environ={}).models.directory == Path(written)


# What unit, entry and configurations say of one another


def test_a_machine_can_run_every_shipped_configuration() -> None:
    files = [ROOT / "config" / f"{name}.yaml" for name in INTERFEROMETERS]
    ports = {load(file, (), environ={}).metrics.port for file in files}
    assert len(ports) == len(INTERFEROMETERS)


@pytest.mark.parametrize("name", INTERFEROMETERS)
def test_configurations_use_the_service_s_directories(name: str) -> None:
    config = load(ROOT / "config" / f"{name}.yaml", (), environ={})
    assert config.interferometer == name
    assert config.models.directory in directories()
    assert config.output.directory.parent in directories()
    assert config.output.directory.name == name


@pytest.mark.parametrize("unit", UNITS)
def test_every_path_of_a_unit_is_installed(installed: Path, unit: Path) -> None:
    named = [line for line in unit.read_text().splitlines() if not line.startswith("#")]
    paths = re.findall(r"(?:^|[=\s]|file://)(/[\w./%@-]+)", "\n".join(named))
    assert len(paths) >= (1 if unit.suffix == ".timer" else 3)
    state = "/var/lib/deepclean/%i/"  # systemd makes it (StateDirectory)
    for path in (one for one in paths if not one.startswith(state)):
        there = path.replace("%i", "H1").replace("/opt/deepclean/current", "/opt/site")
        assert (installed / there[1:]).exists(), path


def test_the_state_directory_is_the_service_s() -> None:
    (state,) = settings(UNIT)["Service"]["StateDirectory"]
    assert Path("/var/lib", state).parent in directories()


def test_entry_is_what_systemd_takes_it_for(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    ids = f"{os.getuid()}:{os.getgid()}"
    lines = [f"{user}:x:{ids}::/:/bin/sh\n" for user in ("root", "deepclean")]
    (tmp_path / "etc" / "passwd").write_text("".join(lines))
    lines = [f"{group}:x:{os.getgid()}:\n" for group in ("root", "deepclean")]
    (tmp_path / "etc" / "group").write_text("".join(lines))
    made = run(tool("systemd-tmpfiles"), "--create", f"--root={tmp_path}", TMPFILES)
    assert (made.returncode, made.stderr) == (0, "")
    for directory in directories():
        assert (tmp_path / directory.relative_to("/")).is_dir()


# The installer


def install(command: str, prefix: Path, *options: str | Path, **environment: str) -> list[str]:
    """Run the installer below a prefix; return what it says."""
    done = run(INSTALLER, command, "--prefix", prefix, *options, **environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return [line.removeprefix("install-service: ") for line in done.stdout.splitlines()]


def refused(*arguments: str | Path) -> str:
    done = run(INSTALLER, *arguments)
    assert done.returncode != 0
    return done.stderr


def contents(prefix: Path) -> dict[str, object]:
    """Return everything below a prefix: directories, links and files with their time of change."""
    found: dict[str, object] = {}
    for path in sorted(prefix.rglob("*")):
        name = str(path.relative_to(prefix))
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = "directory" if path.is_dir() else path.stat().st_mtime_ns
    return found


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A machine's tree with an environment in /opt/site and nothing of ours."""
    program = tmp_path / "opt" / "site" / "bin" / "deepclean"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m deepclean\n")
    program.chmod(0o755)
    return tmp_path


@pytest.fixture
def installed(bare: Path) -> Path:
    install("install", bare, "--environment", "/opt/site")
    return bare


def test_every_line_is_one_thing_done(bare: Path) -> None:
    before = set(contents(bare))
    said = install("install", bare, "--environment", "/opt/site")
    for path in set(contents(bare)) - before:
        if "deepclean" in Path(path).name or "deepclean" in Path(path).parent.name:
            assert any(f"/{path}" in line for line in said), path
    assert not any(line.startswith("keep") for line in said)


def test_installing_again_changes_nothing(installed: Path) -> None:
    before = contents(installed)
    said = install("install", installed, "--environment", "/opt/site")
    assert contents(installed) == before
    assert {line.split()[0] for line in said} == {"make", "keep", "next:"}
    assert [line for line in said if line.startswith("make")] == ["make no user below a prefix"]


@pytest.mark.parametrize("command", ["install", "upgrade", "remove"])
def test_a_dry_run_says_all_and_does_nothing(installed: Path, command: str) -> None:
    (installed / "etc/deepclean/H1.yaml").unlink()
    options = [] if command == "remove" else ["--environment", "/opt/site"]
    before = contents(installed)
    said = install(command, installed, "--dry-run", *options)
    assert contents(installed) == before
    assert any(line.startswith("would ") for line in said)


def test_upgrade_keeps_the_configuration(installed: Path) -> None:
    changed = installed / "etc/deepclean/H1.yaml"
    changed.write_text("interferometer: H1\n")
    units = {installed / "etc/systemd/system" / unit.name: unit for unit in UNITS}
    for unit in units:
        unit.write_text("[Unit]\n")
    said = install("upgrade", installed, "--environment", "/opt/site")
    assert changed.read_text() == "interferometer: H1\n"
    assert all(unit.read_text() == shipped.read_text() for unit, shipped in units.items())
    (line,) = [line for line in said if "H1.yaml" in line]
    assert "not the one shipped" in line


def test_upgrade_needs_an_installation(bare: Path) -> None:
    message = refused("upgrade", "--prefix", bare, "--environment", "/opt/site")
    assert "install first" in message


def test_upgrade_switches_the_environment_and_keeps_the_last_two(installed: Path) -> None:
    home = installed / "opt/deepclean"
    for number in (1, 2, 3):
        (home / f"env-{number}" / "bin").mkdir(parents=True)
        shutil.copy(installed / "opt/site/bin/deepclean", home / f"env-{number}" / "bin")
    install("upgrade", installed, "--environment", "/opt/deepclean/env-3")
    assert (home / "current").readlink() == Path("/opt/deepclean/env-3")
    assert sorted(path.name for path in home.glob("env-*")) == ["env-2", "env-3"]
    install("upgrade", installed, "--environment", "/opt/deepclean/env-2")
    (home / "env-4").mkdir()
    (home / "env-5").mkdir()
    install("upgrade", installed, "--environment", "/opt/deepclean/env-2")
    assert sorted(path.name for path in home.glob("env-*")) == ["env-2", "env-4", "env-5"]


def test_what_former_releases_left_is_taken_away(installed: Path) -> None:
    steps = installed / "etc/systemd/system/deepclean@.service.d/restart-steps.conf"
    steps.parent.mkdir()
    steps.write_text("[Service]\nRestartSteps=5\n")
    install("upgrade", installed, "--environment", "/opt/site")
    assert not steps.exists()


def test_going_back_puts_environment_and_units_back(installed: Path) -> None:
    assert "nothing to go back to" in refused("back", "--prefix", installed)
    unit, current = (
        installed / "etc/systemd/system" / UNIT.name,
        installed / "opt/deepclean/current",
    )
    unit.write_text("[Unit]\n")
    shutil.copytree(installed / "opt/site", installed / "opt/next")
    install("upgrade", installed, "--environment", "/opt/next")
    assert (current.readlink(), unit.read_text()) == (Path("/opt/next"), UNIT.read_text())
    install("back", installed)
    assert (current.readlink(), unit.read_text()) == (Path("/opt/site"), "[Unit]\n")
    install("back", installed)
    assert (current.readlink(), unit.read_text()) == (Path("/opt/next"), UNIT.read_text())


def test_the_program_is_on_the_path_of_everybody(installed: Path) -> None:
    program = installed / "usr/local/bin/deepclean"
    assert program.readlink() == Path("/opt/deepclean/current/bin/deepclean")
    install("remove", installed)
    assert not program.is_symlink()
    program.write_text("of the site\n")
    said = install("install", installed, "--environment", "/opt/site")
    assert any("is not ours" in line for line in said)
    install("remove", installed)
    assert program.read_text() == "of the site\n"


@pytest.mark.parametrize("gpu", [True, False])
def test_torch_is_the_cpu_s_unless_a_gpu_is_wanted(tmp_path: Path, gpu: bool) -> None:
    """Pip is asked for no other build; what it is asked for is written down here."""
    python = tmp_path / "python3"
    asked = tmp_path / "asked"
    python.write_text(
        f"""#!/bin/sh
case "$*" in
  *"-m venv "*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  *"-m pip "*) echo "$*" >>{asked}; exit 1 ;;
  *) echo /usr/bin/python3 ;;
esac
"""
    )
    python.chmod(0o755)
    script = f"""
set -- install --dry-run {"--gpu" if gpu else ""}
PYTHON={python}
. {INSTALLER} >/dev/null
find_python() {{ echo {python}; }}
uname() {{ echo x86_64; }}
build_environment {tmp_path}/env
"""
    done = run("bash", "-c", script, INSTALLER)
    assert done.returncode == 1
    assert ("or say --gpu" in done.stderr) is not gpu
    (torch,) = re.findall(r" (torch==\S+) setuptools", asked.read_text())
    assert torch.endswith("+cpu") is not gpu
    assert torch.removesuffix("+cpu") in (ROOT / "constraints.txt").read_text().splitlines()


def test_remove_keeps_what_is_the_site_s(installed: Path) -> None:
    wants = installed / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "deepclean@H1.service").symlink_to("/etc/systemd/system/deepclean@.service")
    timers = wants.parent / "timers.target.wants"
    timers.mkdir()
    (timers / "deepclean-train@H1.timer").symlink_to("/etc/systemd/system/deepclean-train@.timer")
    model = installed / "var/lib/deepclean/models/H1"
    model.mkdir()
    own = installed / "etc/systemd/system/deepclean@H1.service.d/own.conf"
    own.parent.mkdir()
    own.write_text("[Service]\nNice=-5\n")
    cadence = installed / "etc/systemd/system/deepclean-train@H1.timer.d/own.conf"
    cadence.parent.mkdir()
    cadence.write_text("[Timer]\nOnCalendar=\nOnCalendar=weekly\n")
    install("remove", installed)
    assert model.is_dir()
    assert own.exists()
    assert cadence.exists()
    assert (installed / "etc/deepclean/H1.yaml").exists()
    assert not list(wants.iterdir())
    assert not list(timers.iterdir())
    assert not (installed / "opt/deepclean").exists()
    assert not (installed / "etc/tmpfiles.d/deepclean.conf").exists()
    for unit in (UNIT, TRAIN, TIMER):
        assert not (installed / "etc/systemd/system" / unit.name).exists()
    assert (installed / "opt/site/bin/deepclean").exists()


def test_purge_leaves_nothing_behind(bare: Path) -> None:
    before = {name for name, kind in contents(bare).items() if kind != "directory"}
    install("install", bare, "--environment", "/opt/site")
    (bare / "var/lib/deepclean/H1").mkdir()
    (bare / "dev/shm/deepclean/H1").mkdir()
    (bare / "etc/systemd/system/deepclean-train@H1.service.d").mkdir()
    (bare / "dev/shm/deepclean/H1/H-H1_DEEPCLEAN-1-1.gwf").touch()
    install("remove", bare, "--purge")
    after = contents(bare)
    assert {name for name, kind in after.items() if kind != "directory"} == before
    ours = [name for name in after if "deepclean" in name and not name.startswith("opt/site")]
    assert ours == []
    assert install("remove", bare, "--purge") == []


def test_an_environment_that_the_service_cannot_see_is_refused(bare: Path) -> None:
    for hidden in ("/home/me/env", "/tmp/env"):
        shutil.copytree(bare / "opt/site", bare / hidden[1:])
        message = refused("install", "--prefix", bare, "--environment", hidden)
        assert "cannot see home and temporary folders" in message
    (bare / "opt/site/bin/python").symlink_to("/root/.local/bin/python3.11")
    message = refused("install", "--prefix", bare, "--environment", "/opt/site")
    assert "/root/.local/bin/python3.11" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["install", "--environment", "/nowhere"], "no bin/deepclean"),
        (["install"], "--prefix needs --environment"),
        (["install", "--environment", "/nowhere", "--purge"], "--purge is for remove"),
        (["remove", "--environment", "/nowhere"], "for install and upgrade"),
        (["back", "--environment", "/nowhere"], "for install and upgrade"),
        (["install", "--environment", "/nowhere", "--gpu"], "made here"),
        (["install", "--forse"], "unknown option --forse"),
        (["install", "--environment"], "--environment needs a directory"),
        (["instal"], "scripts/install-service"),
    ],
)
def test_mistakes_are_refused(bare: Path, arguments: list[str], message: str) -> None:
    assert message in refused(arguments[0], "--prefix", bare, *arguments[1:])
    assert not (bare / "opt/deepclean/current").is_symlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_machine_is_changed_by_root_only() -> None:
    assert "root" in refused("install")


def test_shell_is_sound() -> None:
    checked = run(tool("shellcheck"), INSTALLER)
    assert checked.returncode == 0, checked.stdout
