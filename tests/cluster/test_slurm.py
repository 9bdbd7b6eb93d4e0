"""A plan carried out by a real Slurm: killed shards are named and resumed, the files are the same.

One node on loopback, with the daemons of Debian's packages; skipped where they are not installed.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from deepclean.cluster.slurm import require_idle
from deepclean.config import Config
from deepclean.errors import ConfigError
from tests.helpers import slurm_cluster
from tests.helpers import small_site as site
from tests.helpers.site_runs import files
from tests.helpers.small_site import START

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(slurm_cluster.missing()),
        reason=f"needs Slurm (slurm-wlm, munge): no {', '.join(slurm_cluster.missing())} here",
    ),
]

SECONDS = 300
GAP = range(START + 130, START + 141)
STUCK = {1: START + 40, 2: START + 100, 3: START + 180}
"""By shard, a second of it that is in a file of its own."""
BEGIN, END = START + 5, START + SECONDS - 5
PLAN = "a plan"

Environ = dict[str, str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environ]:
    place = tmp_path_factory.mktemp("slurm")
    with slurm_cluster.slurm(place) as environ:
        yield environ


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A site with five minutes of data in files of some length, and a hole in it."""
    config = site.make_site(tmp_path)
    alone = [edge for second in STUCK.values() for edge in (second, second + 1)]
    edges = sorted([START, GAP.start, GAP.stop, START + SECONDS, *alone])
    for start, end in pairwise(edges):
        if start != GAP.start:
            write(config, start, end)
    return tmp_path


def write(config: Config, start: int, end: int) -> None:
    for path, frame in (
        (site.strain_path(config, start, end - start), site.strain_frame),
        (site.witness_path(config, start, end - start), site.witness_frame),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(frame(start, end - start))


def run(place: Path, environ: Environ, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=place, env=environ
    )


def deepclean(place: Path, environ: Environ, line: str) -> subprocess.CompletedProcess[str]:
    return run(place, environ, sys.executable, "-m", "deepclean", *shlex.split(line))


def submit(place: Path, environ: Environ, *more: str) -> tuple[str, str, str]:
    """Submit the plan, or what is left of it; return what was said, and the jobs."""
    line = f"replay -c small.yaml --start {BEGIN} --end {END} --output out --scheduler slurm"
    done = deepclean(place, environ, shlex.join([*shlex.split(line), "--plan", PLAN, *more]))
    assert done.returncode == 0, done.stderr
    found = re.search(r"job (\d+), and (\d+)", done.stdout)
    assert found is not None, done.stdout
    return done.stdout, found[1], found[2]


def again() -> str:
    line = f"replay -c small.yaml --start {BEGIN} --end {END} --output out --scheduler slurm"
    return f"{line} --plan {shlex.quote(PLAN)}"


def until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def state(environ: Environ, job: str) -> str:
    """Return what Slurm says of a job."""
    return run(Path("/"), environ, "scontrol", "show", "job", job).stdout


def ended(environ: Environ, job: str) -> bool:
    return re.search(r"JobState=(COMPLETED|FAILED|CANCELLED)", state(environ, job)) is not None


def shards(place: Path) -> dict[int, tuple[int, int]]:
    lines = (place / PLAN / "shards.txt").read_text().splitlines()[1:]
    return {int(n): (int(a), int(b)) for n, a, b, _ in map(str.split, lines)}


def written(place: Path, begin: int, end: int) -> set[int]:
    """Return the seconds of a span that have a frame."""
    starts = {int(path.name.split("-")[-2]) for path in (place / "out").glob("H-*.gwf")}
    return starts & set(range(begin, end))


def processes(begin: int) -> list[int]:
    """Return the deepclean processes that work on the shard that begins then."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--pinned" in words and str(begin).encode() in words:
            found.append(int(path.parent.name))
    return found


def test_killed_shards_resume(
    place: Path, cluster: Environ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are cancelled, of one the process is killed; one of the two is then done alone.

    All three are stuck by then in the midst of their work. Meanwhile another model goes into
    production, which changes nothing.
    """
    one = deepclean(
        place, cluster, f"replay -c small.yaml --start {BEGIN} --end {END} --output one"
    )
    assert one.returncode == 0, one.stderr
    config = site.small_config(place)
    stuck = [site.strain_path(config, second) for second in STUCK.values()]
    for path in stuck:  # whoever opens it now waits for ever
        path.rename(path.with_suffix(".kept"))
        os.mkfifo(path)
    _, array, verify = submit(
        place, cluster, *"--shard 100 --jobs 2 --submit partition=long --retries 1".split()
    )
    monkeypatch.setenv("SLURM_CONF", cluster["SLURM_CONF"])
    with pytest.raises(ConfigError, match=f"its jobs {array} and {verify} have not ended"):
        require_idle(place / PLAN)
    site.publish_model(config, 2)
    planned = shards(place)
    assert all(a < STUCK[n] < b for n, (a, b) in planned.items() if n in STUCK)
    assert list(planned) == [1, 2, 3, 4]
    for number in (1, 2):
        until(partial(written, place, *planned[number]), f"shard {number} does not begin")
        run(place, cluster, "scancel", f"{array}_{number}")
    until(partial(written, place, *planned[3]), "shard 3 does not begin")
    for process in processes(planned[3][0]):
        os.kill(process, signal.SIGKILL)
    for path in stuck:
        path.with_suffix(".kept").replace(path)
    until(lambda: ended(cluster, verify), "the verification does not end")

    assert "JobState=FAILED" in state(cluster, verify)
    assert "ExitCode=1:0" in state(cluster, verify)
    assert "Partition=long" in state(cluster, verify)
    said = (place / PLAN / "logs/verify.log").read_text()
    assert re.findall(r"not all done: shard (\d+)", said) == ["1", "2"]
    assert "2 of 4 shards done" in said
    assert "exit status 137, once more" in (place / PLAN / "logs/shard-3.log").read_text()
    left = {number: written(place, *planned[number]) for number in (1, 2)}
    assert all(0 < len(left[n]) < b - a for n, (a, b) in planned.items() if n in left)

    alone = re.search(r"shard 1, .* alone:\n  (.*)\n", said)
    assert alone is not None
    assert run(place, cluster, *shlex.split(alone[1])).returncode == 0
    said, _, verify = submit(
        place, cluster, *"--shard 100 --jobs 2 --submit partition=long --retries 1".split()
    )
    assert "1 of 4 shards to be done" in said
    until(lambda: ended(cluster, verify), "the verification does not end")
    assert "JobState=COMPLETED" in state(cluster, verify)
    assert files(place / "out") == files(place / "one")


def test_what_slurm_refuses_is_one_message(place: Path, cluster: Environ) -> None:
    done = deepclean(place, cluster, f"{again()} --submit partition=nowhere")
    assert done.returncode == 2
    assert "sbatch refuses" in done.stderr
    assert "nowhere" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    few = deepclean(place, cluster, f"{again()} --jobs 12 --plan many")
    assert few.returncode == 2
    assert "MaxArraySize" in few.stderr
