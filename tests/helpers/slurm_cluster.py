"""A real Slurm of one node on loopback: munged, slurmctld and slurmd in a directory of the test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")

_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket
CredType=cred/munge
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
KillWait=1
MaxArraySize=8
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=short Nodes=ALL Default=YES State=UP
PartitionName=long Nodes=ALL State=UP
"""


def missing() -> list[str]:
    """Return the programs of Slurm that are not installed here."""
    return [name for name in NEEDED if _found(name) is None]


def _found(name: str) -> str | None:
    # Daemons are not on everybody's path.
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        held = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


@contextmanager
def slurm(place: Path) -> Iterator[dict[str, str]]:
    """Run a cluster in a directory; yield the environment in which its commands find it."""
    for name in ("state", "spool"):
        (place / name).mkdir(mode=0o755)
    place.chmod(0o755)
    key = place / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    host = socket.gethostname().partition(".")[0]
    conf = place / "slurm.conf"
    conf.write_text(_CONF.format(place=place, host=host, user=user, ports=free_ports(2)))
    environ = {**os.environ, "SLURM_CONF": str(conf)}
    # Forced: directories above that others may write, as of a temporary directory, are fine here.
    munge = ["--foreground", "--force", f"--key-file={key}", f"--socket={place}/munge.socket"]
    munge += [f"--{kind}-file={place}/munged.{kind}" for kind in ("pid", "log", "seed")]
    daemons = (
        ["munged", *munge],
        ["slurmctld", "-D", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", host],
    )
    with ExitStack() as stack:
        for name, *arguments in daemons:
            program = _found(name)
            assert program is not None
            said = stack.enter_context((place / f"{name}.out").open("w"))
            process = subprocess.Popen(
                [program, *arguments], stdout=said, stderr=said, env=environ, cwd=place
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        _await_idle(environ, place)
        yield environ


def _await_idle(environ: dict[str, str], place: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        asked = ["sinfo", "--noheader", "--format=%T", "--partition=short"]
        done = subprocess.run(asked, capture_output=True, text=True, env=environ, check=False)
        if done.stdout.strip() == "idle":
            return
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text()[-2000:] for path in sorted(place.glob("slurm*.log")))
            raise AssertionError(f"no Slurm came up: {done.stdout}{done.stderr}\n{logs}")
        time.sleep(0.2)
