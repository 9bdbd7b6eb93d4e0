"""The service as the service that it is: under systemd, on a machine that is booted for it.

One test, because one machine lives through it: the walk of docs/service.md as it is printed there,
then all that may happen to the service. Each step prints the seconds since the start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.helpers.booted_machine import PLACE, BootedMachine, unavailable
from tests.helpers.booted_service import UNIT, BootedService, commands

CONFIG = "/etc/deepclean/H1.yaml"
SECOND, ELSEWHERE = "deepclean@H1b", "/dev/shm/deepclean/H1b"
TRAIN = "deepclean-train@H1"
UNITS = "/etc/systemd/system"
SUMMARY, DAYS = "deepclean-summary@H1", "/var/lib/deepclean/H1/days"
EXPOSURE = {UNIT: 15, TRAIN: 10, SUMMARY: 10}
"""Tenths: the most that `systemd-analyze security` may say of the loaded unit."""

# Shorter than shipped: a test does not wait for half a minute.
STAY = 2
QUICK = """[Service]
WatchdogSec=6
TimeoutStopSec=6
# No canary is promoted by itself while other things are looked at.
Environment=DEEPCLEAN__MODELS__TRIAL__VALIDATION_TIME=500
"""
QUICK_TRAINING = """[Service]
Nice=5
CPUWeight=100
Environment=DEEPCLEAN__RETRAIN__MIN_READY=200 DEEPCLEAN__RETRAIN__HELD_OUT=64
"""
LATER = "systemd-run --quiet --unit=linear /usr/local/bin/deepclean"
AT_ONCE = """[Timer]
OnCalendar=
OnActiveSec=1
RandomizedDelaySec=0
AccuracySec=1s
"""

(
    INSTALL,
    CONFIGURE,
    DATA,
    TRAINED,
    PUBLISHED,
    START,
    LOOK,
    RETRAIN,
) = commands("From an empty machine to cleaned frames")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_service_on_a_booted_machine(tmp_path: Path) -> None:
    if reason := unavailable():
        pytest.skip(reason)
    with BootedMachine(tmp_path) as machine:
        service = BootedService(machine)
        service.say("it boots")
        try:
            for step in STEPS:
                step(service, machine)
                service.say(step.__name__.replace("_", " "))
        except BaseException:
            print(machine.said("journalctl", "--no-hostname", "-n", "100"))
            raise


def installer(machine: BootedMachine, command: str, environment: str, **options: bool) -> str:
    """Run the installer of the page with an environment: nothing is downloaded here."""
    (line,) = (
        line.partition("#")[0]
        for block in (INSTALL, *commands("Upgrade, go back, remove"))
        for line in block.splitlines()
        if line.split("#")[0].rstrip().endswith(f"install-service {command}")
    )
    command = f"export STAY={STAY}; {line.strip()} --environment {PLACE}/{environment}"
    done = machine.shell(command, **options)
    return done.stdout + done.stderr


def current(machine: BootedMachine) -> str:
    """Return the environment in force."""
    return machine.said("readlink", "/opt/deepclean/current")


def the_walk_of_the_page(service: BootedService, machine: BootedMachine) -> None:
    installer(machine, "install", "env")
    for unit, limit in EXPOSURE.items():
        machine.run("systemd-analyze", "--man=no", "verify", f"{unit}.service")
        machine.run("systemd-analyze", "security", f"--threshold={limit}", f"{unit}.service")
    machine.write(f"{UNITS}/deepclean@.service.d/quick.conf", QUICK)
    machine.write(f"{UNITS}/deepclean-train@.service.d/quick.conf", QUICK_TRAINING)
    machine.run("systemctl", "daemon-reload")
    for block in (CONFIGURE, DATA, TRAINED, PUBLISHED):
        machine.shell(block)
        service.say(block.split("\n")[0])
    # For later: a worse model, made while other things happen.
    linear = TRAINED.replace("sudo deepclean train -c", f"{LATER} train --architecture wiener -c")
    machine.shell(linear)
    told = machine.shell(START).stdout
    assert "active (running)" in told
    # Its status file is of each second: it may still say that there is no frame yet.
    assert re.search(r"^H1: running,.* process \d+", told, re.MULTILINE)
    assert "60Hz version 2" in told
    machine.until(service.is_cleaned, 90, "frames are cleaned")
    shown = machine.shell(LOOK).stdout
    assert "gain 1.00" in shown
    assert re.search(
        r'^deepclean_output_frames_total.*result="cleaned".* [1-9]', shown, re.MULTILINE
    )
    machine.shell(RETRAIN)
    timers = machine.said("systemctl", "list-timers", "--no-legend")
    assert "deepclean-train@H1.timer" in timers
    assert f"{SUMMARY}.timer" in timers


def its_journal_has_priorities_and_no_second_time(
    service: BootedService, machine: BootedMachine
) -> None:
    (line, *_) = [one for one in service.journal("-p", "info").splitlines() if "look-ahead" in one]
    assert line.startswith("deepclean ")
    assert "look-ahead" not in service.journal("-p", "warning")


def killed_it_comes_back(service: BootedService, machine: BootedMachine) -> None:
    def happens() -> None:
        before = service.pid()
        machine.run("kill", "-KILL", str(before))
        service.await_anew(before)

    service.costs_nothing(happens)


def hanging_it_is_aborted_with_its_stacks(service: BootedService, machine: BootedMachine) -> None:
    before, stacks = service.pid(), service.stacks()

    def happens() -> None:
        service.hang()
        machine.until(lambda: service.stacks() > stacks, 20, "the stacks are in the journal")
        service.mend()
        service.await_anew(before)

    service.costs_nothing(happens)


def hanging_in_a_stop_too(service: BootedService, machine: BootedMachine) -> None:
    stacks = service.stacks()
    service.hang()
    machine.run("systemctl", "stop", UNIT, check=False)
    service.mend()
    machine.until(lambda: service.stacks() > stacks, 5, "the stacks are in the journal")
    assert "State 'stop-sigterm' timed out" in machine.said("journalctl", "-u", UNIT)


def hanging_in_a_start_too(service: BootedService, machine: BootedMachine) -> None:
    drop_in = f"{UNITS}/{SECOND}.service.d/hang.conf"
    machine.write(drop_in, "[Service]\nTimeoutStartSec=4\n")
    machine.shell("systemctl daemon-reload; mkfifo /etc/deepclean/H1b.yaml")
    machine.run("systemctl", "start", "--no-block", SECOND)
    service.await_journal("most recent call first", SECOND)
    machine.shell(f"systemctl stop {SECOND}; rm /etc/deepclean/H1b.yaml {drop_in}")
    machine.run("systemctl", "daemon-reload")


def a_restart_costs_nothing(service: BootedService, machine: BootedMachine) -> None:
    service.costs_nothing(partial(machine.run, "systemctl", "restart", UNIT))


def an_upgrade_costs_nothing(service: BootedService, machine: BootedMachine) -> None:
    machine.environment("next")
    before = service.pid()
    service.costs_nothing(lambda: installer(machine, "upgrade", "next"))
    assert service.pid() != before
    assert current(machine) == f"{PLACE}/next"


def an_upgrade_that_refuses_changes_nothing(service: BootedService, machine: BootedMachine) -> None:
    machine.environment("refuses", "export DEEPCLEAN__STRAIN__RATE=none")
    before = service.pid()
    said = installer(machine, "upgrade", "refuses", check=False)
    assert "strain.rate" in said
    assert f"{UNIT}.service would not start with {PLACE}/refuses" in said
    assert service.pid() == before
    assert current(machine) == f"{PLACE}/env"


def an_upgrade_that_fails_goes_back(service: BootedService, machine: BootedMachine) -> None:
    machine.environment("fails", 'case "$*" in *--check*) ;; run*) exit 1 ;; esac')
    said = []
    service.costs_nothing(lambda: said.append(installer(machine, "upgrade", "fails", check=False)))
    assert "the upgrade failed, and what was there before is in force again" in said[0]
    assert service.is_active()
    assert current(machine) == f"{PLACE}/env"


def a_wrong_configuration_is_for_people(service: BootedService, machine: BootedMachine) -> None:
    for spoil, mend, said in (
        ("sed -i s/^couplings:/couplngs:/", "sed -i s/^couplngs:/couplings:/", "couplngs"),
        ("chmod 600", "chmod 644", f"{CONFIG}: cannot be read: permission denied"),
    ):
        machine.shell(f"{spoil} {CONFIG}")
        machine.run("systemctl", "start", UNIT, check=False)
        machine.until(lambda: service.show("SubState") == "failed", 20, "it fails")
        assert (service.show("NRestarts"), service.show("ExecMainStatus")) == ("0", "2")
        (*_, last) = service.journal("-p", "err").splitlines()
        assert said in last
        machine.shell(f"{mend} {CONFIG}")


def a_worse_model_is_put_into_force(service: BootedService, machine: BootedMachine) -> None:
    """A linear filter. From now on the timer trains, while other things happen."""
    machine.until(lambda: not service.is_active("linear"), 60, "it is trained")
    promote(service, machine, 3)
    machine.write(f"{UNITS}/{TRAIN}.timer.d/at-once.conf", AT_ONCE)
    machine.shell(f"systemctl daemon-reload; systemctl restart {TRAIN}.timer")


def silence_is_said(service: BootedService, machine: BootedMachine) -> None:
    machine.until(service.is_cleaned, 60, "frames are cleaned")
    machine.run("systemctl", "stop", "detector")
    said = "no strain for 5 s in /dev/shm/kafka/H1"
    machine.until(lambda: service.show("StatusText") == said, 20, said)
    # The status file is written once a second.
    machine.until(lambda: "no strain for" in status(machine), 10, "the status says so")
    assert "no strain for 5 s: waiting for" in service.journal("-p", "warning")
    last = service.frames()[-1]
    machine.run("systemctl", "restart", UNIT, timeout=30)
    assert machine.said("systemctl", "is-system-running") == "running"
    start_detector(machine)
    service.await_frame(last + 1)
    gap = f"GPS {last + 1}: no samples of H1:ASC-CHARD_P_IN1_DQ (missing)"
    assert gap in service.journal("-p", "warning")


def start_detector(machine: BootedMachine) -> None:
    """Let the page's stream flow, from now on."""
    now, live = DATA.index("now="), DATA.index("sudo systemd-run")
    machine.run("systemctl", "reset-failed", "detector", check=False)
    machine.shell(DATA[now:].partition("\n")[0] + "\n" + DATA[live:])


def the_timer_trained_what_is_better(service: BootedService, machine: BootedMachine) -> None:
    """What was trained while a linear filter is in production became the canary.

    Whichever daemon sees it first has something to say. If that refuses it, it takes the pointer
    away, and the other instance may have seen nothing.
    """

    def is_answered() -> bool:
        said = "60Hz version 4"
        return any(said in service.journal(unit=unit) for unit in (UNIT, SECOND))

    service.loses_nothing(partial(service.await_journal, "version 4 is the canary", TRAIN))
    machine.until(is_answered, 20, "a daemon answers")
    machine.shell(f"rm -r {UNITS}/{TRAIN}.timer.d; systemctl daemon-reload")
    assert service.show("Result", TRAIN) == "success"
    assert "Matplotlib" not in service.journal(unit=TRAIN)
    promote(service, machine, 4)
    machine.until(service.is_cleaned, 60, "frames are cleaned")


def promote(service: BootedService, machine: BootedMachine, version: int) -> None:
    """Put a version into force; one with another look-ahead comes into force with a restart."""
    command = f"deepclean models promote -c {CONFIG} 60Hz {version} --why"
    machine.run(*command.split(), "to be tried")
    machine.run("systemctl", "restart", UNIT)
    said = f"60Hz version {version}"
    machine.until(lambda: said in status(machine), 20, f"{said} is in production")


def status(machine: BootedMachine) -> str:
    return machine.said("deepclean", "status", "-c", CONFIG)


def two_instances_run_beside_each_other(service: BootedService, machine: BootedMachine) -> None:
    machine.write(
        "/etc/deepclean/H1b.yaml",
        f"extends: H1.yaml\noutput: {{directory: {ELSEWHERE}}}\nmetrics: {{port: 9110}}\n",
    )

    def happens() -> None:
        machine.run("systemctl", "enable", "--now", SECOND)
        machine.until(lambda: len(service.frames(ELSEWHERE)) >= 2, 40, "both write frames")

    service.costs_nothing(happens)
    for port in (9109, 9110):
        machine.run("curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{port}/metrics")


def going_back_is_for_all_of_them(service: BootedService, machine: BootedMachine) -> None:
    before = {unit: service.pid(unit) for unit in (UNIT, SECOND)}
    back = f"STAY={STAY} scripts/install-service back"
    service.costs_nothing(partial(machine.shell, back))
    assert all(service.pid(unit) not in {0, process} for unit, process in before.items())
    assert current(machine) == f"{PLACE}/env"
    machine.run("systemctl", "stop", SECOND)  # until the machine boots again


def after_a_reboot_all_is_as_before(service: BootedService, machine: BootedMachine) -> None:
    machine.reboot()
    machine.until(lambda: service.is_active() and service.is_active(SECOND), 60, "both run")
    start_detector(machine)
    machine.until(lambda: len(service.frames()) >= 2, 60, "frames are written")
    assert machine.said("systemctl", "is-enabled", "deepclean-train@H1.timer") == "enabled"


def stopped_it_leaves_its_frames(service: BootedService, machine: BootedMachine) -> None:
    machine.run("systemctl", "stop", UNIT, SECOND, timeout=15)
    assert service.show("Result") == "success"
    frames = service.frames()
    assert frames
    assert "written, " in service.journal("-n", "1")
    assert SUMMARY not in machine.said("systemctl", "list-timers", "--no-legend")


def the_page_of_a_day_is_written(service: BootedService, machine: BootedMachine) -> None:
    """Of yesterday, so what the daemon noted is moved there."""
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    place = "/dev/shm/deepclean/H1/.H1_DEEPCLEAN.minutes-{}.jsonl"
    notes = machine.outside(place.format(today)).read_text().splitlines()
    moved = [{**json.loads(line), "t": json.loads(line)["t"] - 86400} for line in notes]
    machine.write(place.format(yesterday), "".join(json.dumps(one) + "\n" for one in moved))
    machine.run("systemctl", "start", SUMMARY)
    day = json.loads(machine.outside(f"{DAYS}/{yesterday}/day.json").read_text())
    written = sum(day["recorded"]["frames"].values())
    assert written == sum(sum(one["frames"].values()) for one in moved) > 0
    assert machine.outside(f"{DAYS}/index.html").is_file()


def a_purge_leaves_nothing(service: BootedService, machine: BootedMachine) -> None:
    (line,) = [
        line
        for block in commands("Upgrade, go back, remove")
        for line in block.splitlines()
        if "--purge" in line
    ]
    machine.run("systemctl", "stop", "detector")
    machine.shell(line)
    places = "/etc/deepclean /var/lib/deepclean /dev/shm/deepclean /opt/deepclean"
    left = f"{places} /usr/local/bin/deepclean {UNITS}/deepclean* {UNITS}/*/deepclean*"
    assert machine.said("bash", "-O", "nullglob", "-c", f"ls -d {left} 2>/dev/null") == ""
    assert machine.said("getent", "passwd", "deepclean") == ""
    assert machine.said("systemctl", "list-units", "--no-legend", "deepclean*") == ""


STEPS: list[Callable[[BootedService, BootedMachine], None]] = [
    the_walk_of_the_page,
    its_journal_has_priorities_and_no_second_time,
    killed_it_comes_back,
    hanging_it_is_aborted_with_its_stacks,
    hanging_in_a_stop_too,
    a_wrong_configuration_is_for_people,
    a_worse_model_is_put_into_force,
    hanging_in_a_start_too,
    a_restart_costs_nothing,
    an_upgrade_costs_nothing,
    two_instances_run_beside_each_other,
    going_back_is_for_all_of_them,
    an_upgrade_that_refuses_changes_nothing,
    an_upgrade_that_fails_goes_back,
    silence_is_said,
    the_timer_trained_what_is_better,
    after_a_reboot_all_is_as_before,
    stopped_it_leaves_its_frames,
    the_page_of_a_day_is_written,
    a_purge_leaves_nothing,
]
