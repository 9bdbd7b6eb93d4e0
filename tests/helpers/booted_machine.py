"""A machine that has just been booted: this one's own root below a throw-away overlay in memory.

systemd-nspawn starts the machine's own systemd on it. What it writes is memory and goes with it:
the overlay is mounted in a mount namespace of its own, which ends with its processes, and they end
with this one.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]

PLACE = "/opt/boot"
"""Where the machine finds the checkout (source), the packages (site) and an environment (env)."""

_SETUP = r"""
set -eu
for hierarchy in $hierarchies; do echo $$ >"$hierarchy/cgroup.procs"; done
mount -t tmpfs -o size=2g tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/tree"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/tree"
mount -t tmpfs tmpfs /run # where systemd-nspawn leaves directories
cd "$work/tree"
# Nothing of the site's own is started; DeepClean, should this machine have it, is not there.
rm -rf etc/systemd/system etc/init.d etc/rc?.d etc/resolv.conf
rm -rf etc/deepclean opt/deepclean var/lib/deepclean usr/local/bin/deepclean
mkdir -p etc/systemd/system opt/boot/env/bin opt/boot/site usr/local/bin
[ -x usr/bin/sudo ] || printf '#!/bin/sh\nexec "$@"\n' >usr/local/bin/sudo
chmod +x usr/local/bin/* 2>/dev/null || true
while
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_TMPFS_TMP=0 \
    setpriv --pdeathsig KILL systemd-nspawn "$@" &
  echo $! >"$state/process"
  rc=0
  wait $! || rc=$?
  [ $rc -eq 133 ] # it reboots
do :; done
rm -f "$state/process"
"""


def unavailable() -> str | None:
    """Return why no machine can be booted here; None: one can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("systemd-nspawn", "nsenter", "unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"needs {program} (Debian: packages systemd-container and util-linux)"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "needs overlayfs"
    return None


class BootedMachine:
    """A machine that is booted when the context is entered and gone when it is left.

    Args:
        directory: for what this machine notes about it, the console too.
    """

    def __init__(self, directory: Path) -> None:
        self.console = directory / "console"
        self._state = directory
        self._process: subprocess.Popen[bytes] | None = None
        # The service sees no home folder: a Python that lies in one gets another name.
        self._python = "/usr" if sys.base_prefix == "/usr" else f"{PLACE}/python"
        # systemd-nspawn makes control groups below the one that it runs in.
        roots = [Path("/sys/fs/cgroup", name) for name in ("", "unified", "systemd")]
        here = [root for root in roots if (root / "cgroup.procs").exists()]
        self._groups = [root / f"boot{os.getpid()}" for root in here]
        # Not below `directory`: pytest's is too deep for some, and the overlay is mounted here.
        self._work = Path(tempfile.mkdtemp(prefix="boot"))

    def __enter__(self) -> Self:
        try:
            self._start()
            self.until(self.is_up, 90, "it boots")
            self.environment("env")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(
        self, *command: str, text: str | None = None, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside, in the checkout.

        Args:
            command: and its arguments.
            text: its standard input.
            check: assert that it ends well.
            timeout: seconds.
        """
        paths = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        settings = (paths, "HOME=/root", "LANG=C.UTF-8", "COLUMNS=200", "SYSTEMD_PAGER=")
        place = ("nsenter", "--target", str(self._leader()), "--all")
        inside = ("env", "--chdir", f"{PLACE}/source", "-i", *settings, *command)
        done = subprocess.run(
            (*place, *inside),
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if check:
            said = f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
            assert done.returncode == 0, said
        return done

    def said(self, *command: str) -> str:
        """Return what a command prints inside, whatever its status."""
        return self.run(*command, check=False).stdout.strip()

    def shell(self, script: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a script of bash inside; it ends at its first fault."""
        return self.run("bash", "-euo", "pipefail", "-c", script, **options)  # type: ignore[arg-type]

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Write a file inside, with the directories that lead to it."""
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, text=text)

    def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until something holds."""
        limit = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < limit, f"not within {seconds} s: {what}"
            time.sleep(0.1)

    def outside(self, path: str) -> Path:
        """Return where this machine finds a path of the booted one."""
        return Path(f"/proc/{self._leader()}/root{path}")

    def is_up(self) -> bool:
        """Return whether systemd says that the machine is up."""
        if not self._leader():
            return False
        state = self.run("systemctl", "is-system-running", check=False, timeout=10).stdout.strip()
        return state in {"running", "degraded"}

    def reboot(self) -> None:
        """Reboot it, and wait until it is up again."""
        before = self._leader()
        self.run("systemctl", "reboot", "--no-block")
        self.until(lambda: self._leader() not in {0, before} and self.is_up(), 90, "boots again")

    def _leader(self) -> int:
        """Return the process that is its systemd; 0: none."""
        try:
            process = int((self._state / "process").read_text())
            children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
            return int(children[0]) if children else 0
        except (OSError, ValueError):
            return 0

    def _start(self) -> None:
        bound = {str(ROOT): f"{PLACE}/source", sysconfig.get_path("purelib"): f"{PLACE}/site"}
        if self._python != "/usr":
            bound[sys.base_prefix] = self._python
        options = [
            *("--quiet", f"--directory={self._work}/tree", "--boot", "--register=no"),
            *("--keep-unit", f"--machine=boot{os.getpid()}", "--private-network"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe"),
            *("--capability=all", "--system-call-filter=bpf"),
            *("--tmpfs=/tmp", "--tmpfs=/var/tmp"),  # else the boot empties this machine's
            *(f"--bind-ro={outside}:{inside}" for outside, inside in bound.items()),
        ]
        for group in self._groups:
            group.mkdir()
        shell = ("setpriv", "--pdeathsig", "KILL", "bash", "-c", _SETUP, "boot")
        facts = {"work": self._work, "state": self._state}
        settings = {name: str(path) for name, path in facts.items()}
        settings["hierarchies"] = " ".join(map(str, self._groups))
        with self.console.open("wb") as console:
            self._process = subprocess.Popen(
                ("unshare", "--mount", "--propagation", "private", *shell, *options),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, **settings},
                start_new_session=True,
            )

    def environment(self, name: str, settings: str = "") -> str:
        """Make an environment that runs the checkout; return its directory.

        Args:
            name: below PLACE.
            settings: lines of shell before the program starts.
        """
        place, python = f"{PLACE}/{name}", self._python
        packages = f"{PLACE}/source:{PLACE}/site"
        program = (
            f"#!/bin/sh\nexport PYTHONPATH={packages} LD_LIBRARY_PATH={python}/lib "
            f"PYTHONDONTWRITEBYTECODE=1\n{settings}\n"
            f'exec {python}/bin/python3 -m deepclean "$@"\n'
        )
        self.write(f"{place}/bin/deepclean", program, "755")
        self.run("ln", "-sfn", f"{python}/bin/python3", f"{place}/bin/python")
        return place

    def _end(self) -> None:
        """End it: with its processes go its mounts and its memory."""
        process = self._process
        if process is not None and process.poll() is None:
            leader = self._leader()
            if leader:
                os.kill(leader, signal.SIGKILL)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)
        for group in self._groups:
            for place, _, _ in os.walk(group, topdown=False):
                self.until(lambda path=place: _removed(path), 10, f"{place} is empty")  # type: ignore[misc]
        self._work.rmdir()


def _removed(group: str) -> bool:
    """Return whether a control group could be removed: its last process may just be ending."""
    try:
        os.rmdir(group)  # noqa: PTH106
    except OSError:
        return False
    return True
