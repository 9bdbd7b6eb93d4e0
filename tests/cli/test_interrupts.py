"""Ctrl-C: the command says how it goes on, and that command does."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers import small_site as site
from tests.helpers import training_site
from tests.helpers.commands import Done, Run
from tests.helpers.site_runs import clean, contents
from tests.helpers.small_site import START


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts() -> Iterator[None]:
    """A shell that runs the tests in the background has its children ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def interrupted_when(condition: Callable[[], bool]) -> Iterator[None]:
    """Press Ctrl-C as soon as a condition holds."""
    over = threading.Event()

    def watch() -> None:
        while not condition():
            if over.wait(0.002):
                return
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def command_of(done: Done) -> str:
    """Return the command that an interrupted one printed."""
    assert done.returncode == 130, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (found,) = re.findall(r"^  deepclean (.+)$", done.stderr, re.MULTILINE)
    return str(found)


def test_a_replay_goes_on(deepclean: Run, tmp_path: Path) -> None:
    config = site.make_site(tmp_path, seconds=60)
    # The second command must not depend on when the first was given.
    given = f"replay -c small.yaml --start {START + 2} --end +50s --output 'here it is'"
    place = tmp_path / "here it is"
    with interrupted_when(lambda: any(place.glob("*.gwf"))):
        done = deepclean(tmp_path, given)
    again = command_of(done)
    assert f"--start {START + 2} --end {START + 52}" in again
    there = len(contents(place))
    assert 0 < there < 50
    finished = deepclean(tmp_path, again).good()
    assert f"{there} s were there" in finished.stdout
    deepclean(tmp_path, given.replace("here it is", "at once")).good()
    assert contents(place) == contents(tmp_path / "at once")
    assert config.output.directory != place


@pytest.mark.slow
def test_a_simulation_begins_anew(deepclean: Run, tmp_path: Path) -> None:
    training_site.make_site(tmp_path)
    with interrupted_when(lambda: any((tmp_path / "sim").glob("*.gwf"))):
        done = deepclean(
            tmp_path,
            "simulate -c toy.yaml --start 1410000000 --end +2d --set input.strain.directory=sim "
            "--set input.witnesses=[]",
        )
    assert command_of(done).startswith("simulate -c toy.yaml --start 1410000000 --end 1410172800")


@pytest.mark.slow
def test_a_training_goes_on(deepclean: Run, tmp_path: Path) -> None:
    config = training_site.make_site(tmp_path)
    span = f"--start {training_site.START} --end {training_site.START + training_site.SECONDS}"
    store = config.models.directory / "H1"
    long = "--set couplings.30Hz.predict.edge=0.4375"
    command = f"train -c toy.yaml 30Hz {span} {long} --architecture autoencoder --epochs 500"
    with interrupted_when(lambda: any(store.rglob("*checkpoint*"))):
        done = deepclean(tmp_path, command)
    again = command_of(done)
    assert again.endswith("--epochs 500 --resume")
    resumed = deepclean(tmp_path, again.replace("500", "2"))
    assert "Traceback" not in resumed.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with some seconds of data, and what a replay made of them."""
    place = tmp_path_factory.mktemp("site")
    config = site.make_site(place, seconds=8)
    clean(config, START, START + 8, config.output.directory)
    return place


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("validate -c small.yaml {span} --out report", "deepclean.validate.run.validate"),
        ("validate -c small.yaml {span} --against cleaned", "deepclean.validate.parity.parity"),
        ("witnesses -c small.yaml {span} --coupling 60Hz", "deepclean.witnesses.coherence.rank"),
        (
            "summary -c small.yaml -o days --day 2024-05-17",
            "deepclean.summary.measure.DayMeter.measure",
        ),
        ("retrain -c small.yaml", "deepclean.train.retrain.retrain"),
        ("plot -c small.yaml {frames} -o out", "deepclean.plots.page.write"),
    ],
)
def test_other_commands_say_how_they_begin_anew(
    deepclean: Run, place: Path, monkeypatch: pytest.MonkeyPatch, command: str, where: str
) -> None:
    """Where the work is, Ctrl-C comes: these leave no sign by which a test could know when."""
    span = f"--start {START} --end +8s"

    def press(*given: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(where, press)
    said = command.format(span=span, frames="cleaned")
    again = command_of(deepclean(place, said))
    assert again == said.replace("--end +8s", f"--end {START + 8}")


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("validate -c small.yaml {span} --out report", "deepclean.cli.options.prepare"),
        ("validate -c small.yaml {span} --out report", "deepclean.run.lookahead.decided"),
        ("train -c small.yaml 60Hz {span}", "deepclean.cli.options.prepare"),
        ("simulate -c small.yaml {span}", "deepclean.cli.options.prepare"),
    ],
)
def test_a_command_that_still_loads_says_itself(
    deepclean: Run, place: Path, monkeypatch: pytest.MonkeyPatch, command: str, where: str
) -> None:
    def press(*given: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(where, press)
    said = command.format(span=f"--start {START} --end +8s")
    if "lookahead" in where:
        said += " --set couplings.60Hz.wait=auto"
    assert command_of(deepclean(place, said)) == said
