"""SIGTERM at random moments of a busy daemon: it drains and ends with status 0, every time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import small_site as site
from tests.helpers.small_site import START

BACKLOG = 30
"""Seconds of input that the daemon is behind when it starts."""

LIMIT = 10.0
"""TimeoutStopSec of the service."""

DAEMONS = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from deepclean.run import daemon
from tests.helpers import small_site as site

place, count = Path(sys.argv[1]), int(sys.argv[2])
config = site.small_config(
    place, "input.max_lag=null", "output.fsync=true", "models.probe=0.01", "input.probe=0.001",
    f"output.archive={{directory: {place / 'archive'}, length: 8}}", "output.retention.age=600",
)
rng, build = random.Random(count), daemon.build
codes, slowest = {}, 0.0
for number in range(count):
    shutil.rmtree(config.output.directory, ignore_errors=True)
    shutil.copytree(place / "begun", config.output.directory)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        def told(*args, **options):  # the handlers are there
            os.write(writer, b"x")
            return build(*args, **options)
        daemon.build = told
        try:
            ledger = daemon.run(config)
            os._exit(0 if ledger.balanced and not ledger.inside else 4)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(3)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    time.sleep(rng.uniform(0.0, 0.6))
    began = time.monotonic()
    os.kill(child, signal.SIGTERM)
    code = None
    while code is None and time.monotonic() - began < 30:
        ended, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if ended else None
        time.sleep(0.001)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    slowest = max(slowest, time.monotonic() - began)
    codes[str(code)] = codes.get(str(code), 0) + 1
    left = [path.name for path in config.output.directory.glob("*.tmp")]
    assert not left, left
print(json.dumps([codes, slowest]))
"""


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(10, marks=pytest.mark.slow),
        pytest.param(1000, marks=pytest.mark.exhaustive),
    ],
)
def test_every_signal_is_drained(tmp_path: Path, count: int) -> None:
    config = site.make_site(tmp_path, seconds=BACKLOG)
    first = tmp_path / "begun" / f"H-H1_DEEPCLEAN-{START + 2}-1.gwf"
    first.parent.mkdir()
    first.write_bytes(site.strain_frame(START + 2))  # it goes on after this one
    assert not config.output.directory.exists()
    done = subprocess.run(
        [sys.executable, "-c", DAEMONS, str(tmp_path), str(count)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    codes, slowest = json.loads(done.stdout.splitlines()[-1])
    print(f"{count} daemons ended with {codes}, at most {slowest:.2f} s after the signal")
    assert codes == {"0": count}, done.stderr[-3000:]
    assert slowest < LIMIT
