"""Replay in several processes: the files of one process, byte for byte; what fails is named."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import (
    ConfigError,
    DeepCleanError,
    DeviceError,
    InputError,
    ModelError,
    OutputError,
    WorkerError,
)
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.models.loading import load_models
from deepclean.run import parallel
from deepclean.run.parallel import ReplayTask, cut, set_up
from deepclean.run.replay import ReplayOutput, ReplayResult
from tests.helpers import small_site as site
from tests.helpers.datafind_service import open_fetched, somewhere
from tests.helpers.site_runs import clean, files, open_failing, open_source
from tests.helpers.small_site import START

GAPS = (START + 11, START + 23, START + 24)
"""Seconds without strain; a shard of ten seconds from the start ends between the last two."""
BEGIN, END = START + 5, START + 37
SPAN = Span(BEGIN * NS, END * NS)

Files = dict[str, bytes]


def processes(
    config: Config,
    into: Path,
    jobs: int,
    duration: int = 1,
    opened: Callable[[], HistorySource] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> parallel.ParallelReplay:
    return parallel.replay(
        config,
        load_models(config),
        opened or partial(open_source, config),
        into,
        SPAN,
        jobs,
        output=ReplayOutput(duration * NS),
        progress=progress,
    )


@pytest.fixture(autouse=True)
def _short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let shards be as short as the history before them."""
    monkeypatch.setattr(parallel, "WORTH", 1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return site.make_site(
        tmp_path_factory.mktemp("site"), seconds=40, no_strain=GAPS, no_witnesses=[START + 18]
    )


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Files]:
    """Return, by duration, the files of one process, and what it did."""
    held: dict[int, Files] = {}

    def of(duration: int) -> Files:
        if duration not in held:
            into = tmp_path_factory.mktemp("whole")
            assert clean(config, BEGIN, END, into, duration).gaps == len(GAPS)
            held[duration] = files(into)
        return held[duration]

    return of


def shards_here(config: Config, into: Path, duration: int, shards: Sequence[Span]) -> None:
    """Clean shards in this process, by the very code of the others."""
    models = {name: (model.path, model.hash) for name, model in load_models(config).items()}
    work = set_up(ReplayTask(config, partial(open_source, config), models, into, duration * NS))
    for shard in shards:
        work(shard, lambda what: None)


@pytest.mark.parametrize("duration", [1, 16])
@pytest.mark.parametrize("count", [2, 3])
def test_shards_in_any_order_make_the_files_of_one_run(
    config: Config, whole: Callable[[int], Files], duration: int, count: int, tmp_path: Path
) -> None:
    shards = list(cut([SPAN], duration * NS, count, shortest=NS))
    assert len(shards) > 1
    shards_here(config, tmp_path, duration, shards[::-1])
    assert files(tmp_path) == whole(duration)


@pytest.mark.slow  # 8 s: two processes
def test_two_processes_make_the_files_of_one(
    config: Config, whole: Callable[[int], Files], tmp_path: Path
) -> None:
    """Resumed, with gaps, where something is left of an earlier run."""
    clean(config, START + 19, START + 21, tmp_path)
    (tmp_path / ".H-H1_DEEPCLEAN-1-1.gwf.tmp").write_bytes(b"half")
    told: list[int] = []
    done = processes(config, tmp_path, 2, progress=told.append)
    assert done == parallel.ParallelReplay(ReplayResult(27, 2 * NS, 3), [], [])
    assert sum(told) == (END - BEGIN) * NS
    assert files(tmp_path) == whole(1)


@pytest.mark.slow  # 10 s: five processes
@pytest.mark.parametrize("duration", [1, 16])
def test_number_of_processes_changes_nothing(
    config: Config, whole: Callable[[int], Files], duration: int, tmp_path: Path
) -> None:
    for jobs in (2, 3):
        done = processes(config, tmp_path / str(jobs), jobs, duration)
        assert not done.failed
        assert files(tmp_path / str(jobs)) == whole(duration)


def test_killed_shard(config: Config, tmp_path: Path) -> None:
    """In the configuration's own directory, of which a live run keeps three files."""
    here = config.input.strain_frames.directory.parent
    into, spared = tmp_path / "own", tmp_path / "spared"
    kept = site.small_config(here, "output.retention.count=3", f"output.directory={into}")
    clean(kept, BEGIN, BEGIN + 2, into)
    (into / ".H-H1_DEEPCLEAN-1-1.gwf.tmp").write_bytes(b"half")
    opened = partial(open_failing, kept, START + 12, spared)
    told: list[int] = []
    done = processes(kept, into, 2, opened=opened, progress=told.append)
    ((shard, error),) = done.failed
    assert shard == Span.of_seconds(BEGIN + 2, 15)
    assert isinstance(error, WorkerError)
    assert "was killed by SIGKILL" in str(error)
    # The other one is all there, byte for byte; of this one what was finished.
    clean(kept, BEGIN, END, tmp_path / "one")
    wanted, found = files(tmp_path / "one"), files(into)
    assert found.items() <= wanted.items()
    missing = {int(name.split("-")[-2]) for name in wanted.keys() - found.keys()}
    assert missing
    assert max(missing) < shard.end // NS
    spared.touch()
    clean(kept, BEGIN, END, into)
    assert files(into) == wanted


@pytest.mark.slow  # 6 s: three processes
def test_failing_shard(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not the next one of the same process."""
    monkeypatch.setattr(parallel, "LONGEST", 8 * NS)
    opened = partial(open_failing, config, START + 7)
    done = processes(config, tmp_path, 2, opened=opened)
    ((shard, error),) = done.failed
    assert shard.start == BEGIN * NS
    assert isinstance(error, DeviceError)
    assert error.coupling == "60Hz"
    written = {int(name.split("-")[-2]) for name in files(tmp_path)}
    assert written >= set(range(shard.end // NS, END)) - set(GAPS)


@pytest.mark.slow  # 10 s: two processes that import gwpy
def test_processes_fetch(config: Config, tmp_path: Path) -> None:
    there, apart = tmp_path / "all", tmp_path / "apart"
    there.mkdir()
    apart.mkdir()
    gwf.publish(apart / "strain", site.strain_frame(START, 40))
    gwf.publish(apart / "witnesses", site.witness_frame(START, 40))
    read = gwf.read(apart / "strain", [site.STRAIN, site.STATE])
    read |= gwf.read(apart / "witnesses", list(site.RATES))
    together = {name: OutputChannel(s) for name, s in read.items() if isinstance(s, Series)}
    frame = gwf.serialise(Span.of_seconds(START, 40), together)
    gwf.publish(there / f"H-H1_llhoft-{START}-40.gwf", frame)
    here = config.input.strain_frames.directory.parent
    fetched = site.small_config(here, f"input.strain.directory={there}")
    opened = partial(open_fetched, fetched, SPAN)
    with somewhere(there):
        done = processes(fetched, tmp_path / "fetched", 2, opened=opened)
    assert not done.failed
    history = History([there])
    source = HistorySource(channels_of(fetched), history, history)
    clean(fetched, BEGIN, END, tmp_path / "one", source=source)
    assert files(tmp_path / "fetched") == files(tmp_path / "one")
    assert len(files(tmp_path / "one")) == END - BEGIN


def test_missing_channel_begins_no_process(config: Config, tmp_path: Path) -> None:
    other = site.small_config(
        config.input.strain_frames.directory.parent, "strain.channel=H1:OTHER"
    )
    with pytest.raises(InputError, match="H1:OTHER"):
        processes(other, tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()


def test_another_model_than_at_the_start_is_refused(config: Config, tmp_path: Path) -> None:
    models = {name: (model.path, "0" * 64) for name, model in load_models(config).items()}
    with pytest.raises(ModelError, match="another model"):
        set_up(ReplayTask(config, partial(open_source, config), models, tmp_path, NS))


def test_process_of_shards_sweeps_nothing(config: Config, tmp_path: Path) -> None:
    temporary = tmp_path / ".H-H1_DEEPCLEAN-1-1.gwf.tmp"
    temporary.write_bytes(b"what a process beside it writes")
    shards_here(config, tmp_path, 1, [])
    assert temporary.exists()


def test_shards_share_the_work_in_whole_rounds() -> None:
    def shards(*parts: tuple[int, int], duration: int = 1) -> list[tuple[int, int]]:
        whole = [Span(a * NS, b * NS) for a, b in parts]
        made = cut(whole, duration * NS, 2, shortest=40 * NS, longest=1000 * NS)
        return [(shard.start // NS, shard.end // NS) for shard in made]

    assert shards() == []
    assert shards((0, 1000)) == [(0, 500), (500, 1000)]
    assert shards((0, 2400)) == [(0, 600), (600, 1200), (1200, 1800), (1800, 2400)]
    # Not shorter than is worth while; the last bit goes with the one before it.
    assert shards((0, 50)) == [(0, 40), (40, 50)]
    assert shards((0, 49)) == [(0, 49)]
    # Between multiples of the duration, also where the span begins beside one.
    assert shards((7, 1007), duration=64) == [(7, 512), (512, 1007)]
    # What was finished lies between.
    assert shards((0, 500), (600, 1100)) == [(0, 500), (600, 1100)]
    assert shards((3, 5), (600, 601)) == [(3, 5), (600, 601)]


@pytest.mark.parametrize(
    "error",
    [
        DeviceError("no memory", coupling="60Hz"),
        InputError("torn", path=Path("a"), channels=["H1:A"]),
        OutputError("full", path=Path("a"), errno=28),
        ConfigError(["one", "two"], path=Path("a")),
    ],
)
def test_faults_come_out_of_a_process_as_they_were(error: DeepCleanError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))


def command(config: Config, *more: str) -> list[str]:
    path = config.input.strain_frames.directory.parent / "small.yaml"
    span = ["--start", str(START + 5), "--end", str(START + 595), "--output", "out"]
    return [sys.executable, "-m", "deepclean", "replay", "-c", str(path), *span, *more]


def test_models_of_a_run_go_with_one_process(config: Config, tmp_path: Path) -> None:
    words = command(config, "--jobs", "2", "--models-of", "record")
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "--models-of with --jobs 2" in done.stderr


def at_work(group: int) -> list[str]:
    """Return the processes of a group that have not ended."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            text = status.read_text()
            state, _, number = text.rpartition(")")[2].split()[:3]
            if int(number) == group and state != "Z":
                found.append(text)
    return found


@pytest.mark.slow  # 10 s: two processes, twice, over 10 minutes of data
def test_interrupt_ends_the_processes_and_repeating_resumes(tmp_path: Path) -> None:
    config = site.make_site(tmp_path)
    for path, frame in (
        (site.strain_path(config, START, 600), site.strain_frame(START, 600)),
        (site.witness_path(config, START, 600), site.witness_frame(START, 600)),
    ):
        path.parent.mkdir()
        path.write_bytes(frame)
    out = tmp_path / "out"
    # A shell that runs the tests in the background has its children ignore the signal.
    run = subprocess.Popen(
        ["env", "--default-signal=INT", *command(config, "--jobs", "2")],
        cwd=tmp_path,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (out.is_dir() and list(out.glob("*.gwf"))):
        assert time.monotonic() < deadline
        assert run.poll() is None
    # As the terminal does it: to every process of the group.
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130, said
    assert "Traceback" not in said
    while at_work(run.pid):
        assert time.monotonic() < deadline
    finished = files(out)
    assert 0 < len(finished) < 590
    assert not [name for name in finished if name.startswith(".")]
    subprocess.run(command(config, "--jobs", "2"), cwd=tmp_path, check=True)
    clean(config, START + 5, START + 595, tmp_path / "one")
    assert files(out) == files(tmp_path / "one")
