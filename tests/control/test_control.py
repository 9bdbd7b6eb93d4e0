"""Steering a stream: who may, from which second on, and that the frames and a replay say so."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deepclean.cli.options import histories
from deepclean.config import Config
from deepclean.control import lines, orders
from deepclean.control.known import known_controls
from deepclean.control.lines import Order
from deepclean.core.adapt.held import HeldGains
from deepclean.core.adapt.knot import HELD, Knot
from deepclean.core.block import Series, Version
from deepclean.core.control import What
from deepclean.core.time import NS, Span
from deepclean.errors import ControlError, OutputError
from deepclean.io import gwf
from deepclean.io.frame_channels import channels_of
from deepclean.io.frhistory import history
from deepclean.io.source import HistorySource
from deepclean.rollout import record
from deepclean.system import jsonl
from tests.helpers.builders import same_bits
from tests.helpers.commands import Run
from tests.helpers.model_stream import Stream, input_frame, promote, put
from tests.helpers.site_runs import COMMAND, OUT_DQ, daemon, is_written, stop, stream, until
from tests.helpers.small_site import START, STRAIN, small_config, strain_path, write_site

GAIN = "H1:DEEPCLEAN-60HZ_GAIN"

SECONDS = 24
SPAN = Span.of_seconds(START, SECONDS)

SETTINGS = ("couplings.60Hz.adapt=gain", "models.probe=0.01", "input.deadline=60")
"""Frames name their configuration; however slow the machine, nothing is given up."""

DOCUMENT = Path(__file__).parents[2] / "docs" / "control.md"

Acts = Mapping[int, Callable[[], object]]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A small site with a model."""
    made = small_config(tmp_path, *SETTINGS)
    promote(made, 1)
    return made


def give(
    config: Config,
    value: float,
    seconds: int | None = None,
    setting: What = "gain",
    coupling: str | None = "60Hz",
) -> Order:
    """Give an order, as the command does."""
    order = orders.make(setting, coupling, value, seconds, "a test of the pumps")
    orders.give(orders.path_of(config), order)
    return order


def gains(live: Stream) -> dict[int, tuple[float, float]]:
    """Return the lowest and the highest gain of each second that is written."""
    found = {}
    for path in live.written:
        (series,) = gwf.read(path, [GAIN]).values()
        assert isinstance(series, Series)
        second = series.span.start // NS - START
        found[second] = float(series.samples.min()), float(series.samples.max())
    return found


def lines_of(path: Path) -> list[str]:
    """Return the lines of a record that are about controls, sorted."""
    found = path.read_text().splitlines()
    return sorted(line for line in found if json.loads(line)["what"] in lines.KINDS)


def ran(config: Config, acts: Acts) -> Stream:
    """Let the daemon's work run over the site's frames; before some seconds, act."""
    live = Stream(config)
    source = HistorySource(channels_of(config), *histories(config, None, None))
    for frame in source.frames(SPAN, Span(SPAN.start, live.engine.needs(SPAN).end)):
        acts.get(frame.span.start // NS - START, lambda: None)()
        live.take(frame)
    return live


def test_an_order_holds_from_the_second_that_is_stated(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    live = Stream(config, 8)
    order = give(config, 0.5, 4)
    live.steps(12)
    live.orders.poll()
    found = orders.read(orders.path_of(config), config.models.directory)
    taken = found.taken[order.id]
    # The second that goes in when it is read is the eighth, and the ninth may still be controlled.
    assert taken.control.instant == (START + 9) * NS
    assert taken.control.until == (START + 13) * NS
    seen = gains(live)
    assert seen[8] == (1.0, 1.0)
    assert seen[9][0] < 1
    assert seen[11] == seen[12] == (0.5, 0.5)
    assert seen[15] == (1.0, 1.0)
    said = "60Hz gain 0.5 from GPS 1400000009 until GPS 1400000013, by "
    assert said in caplog.text
    (path,) = [path for path in live.written if str(START + 12) in path.name]
    (made,) = [text for name, text in history(path).items() if name.startswith("control ")]
    assert made.startswith(said)
    assert made.endswith(": a test of the pumps")
    assert not [name for name in history(live.written[-1]) if name.startswith("control ")]
    assert live.figures.controls == {"taken": 1}
    assert live.controls.standing() == []


def test_what_ends_while_no_frame_comes_is_not_listed(config: Config) -> None:
    live = Stream(config, 6)
    give(config, 0.5, 4)
    live.steps(3)
    (taken,) = live.controls.standing()
    assert taken.control.until is not None
    left = taken.control.until - (START + 9) * NS
    assert live.controls.standing(left / NS - 1) == [taken]
    assert live.controls.standing(left / NS) == []


def test_what_stands_is_listed_until_it_is_taken_back(config: Config) -> None:
    live = Stream(config, 6)
    give(config, 0.0, coupling=None)
    give(config, 1, setting="freeze")
    live.steps(3)
    assert [str(one).partition(",")[0] for one in live.controls.standing()] == [
        "all couplings gain 0 from GPS 1400000007",
        "60Hz adaptation frozen from GPS 1400000007",
    ]
    live.steps(1)
    assert live.figures.allowed["60Hz"] < 1
    assert live.figures.frozen == {"60Hz"}
    give(config, 1.0, coupling=None)
    give(config, 0, setting="freeze")
    live.steps(6)
    give(config, 0.0, 1)  # what has ended is not found to hold again
    live.steps(6)
    assert live.controls.standing() == []
    assert live.figures.allowed == {"60Hz": 1.0}
    assert live.figures.frozen == frozenset()


def test_a_replay_of_the_record_gives_the_same_files(
    deepclean: Run, config: Config, tmp_path: Path
) -> None:
    write_site(config, START, SECONDS + 3)
    live = ran(
        config,
        {
            4: lambda: give(config, 0.0),
            9: lambda: give(config, 0.5, 5),
            12: lambda: give(config, 1, setting="freeze"),
            16: lambda: give(config, 0.0, 3, coupling=None),
        },
    )
    assert len(live.written) == SECONDS
    path = record.path_in(config.output.directory, config.output.description)
    assert [json.loads(line)["what"] for line in lines_of(path)].count("held") == 1
    settings = " ".join(f"--set {setting}" for setting in SETTINGS)
    deepclean(
        tmp_path,
        f"replay -c small.yaml --start {START} --end {START + SECONDS} --output again "
        f"--models-of {path} {settings}",
    ).good()
    again = tmp_path / "again"
    assert lines_of(again / path.name) == lines_of(path)
    for one in live.written:
        assert (again / one.name).read_bytes() == one.read_bytes()
    # Against a replay that is not steered, every second that differs is explained.
    found = deepclean(
        tmp_path,
        f"validate -c small.yaml --start {START} --end {START + SECONDS} --against cleaned "
        f"--out parity {settings}",
    ).good()
    assert "operator: " in found.stdout
    assert "no unexplained difference" in found.stdout
    shown = deepclean(tmp_path, f"inspect cleaned/{live.written[8].name}").good().stdout
    assert ": 60Hz gain 0 from GPS 1400000005, by" in shown
    assert "gain 0.00" in shown
    assert "AUTOMATIC" in shown.splitlines()[-2]
    # A replay that begins in the middle has what held then.
    deepclean(
        tmp_path,
        f"replay -c small.yaml --start {START + 15} --end {START + SECONDS} --output later "
        f"--models-of {path} {settings}",
    ).good()
    for one in live.written[15:]:
        assert (tmp_path / "later" / one.name).read_bytes() == one.read_bytes()
    # And one without the record has not.
    deepclean(
        tmp_path,
        f"replay -c small.yaml --start {START} --end {START + 12} --output free {settings}",
    ).good()
    free = (tmp_path / "free" / live.written[8].name).read_bytes()
    assert free != live.written[8].read_bytes()


def test_what_the_daemon_was_told_is_kept_when_the_machine_starts_anew(config: Config) -> None:
    live = Stream(config, 8)
    give(config, 0.5)
    give(config, 1, setting="freeze")
    live.steps(8)
    live.orders.poll()
    first = lines_of(live.record.path)
    shutil.rmtree(config.output.directory)  # it was in memory
    again = Stream(config)
    for second in (START + 20, START + 21):
        again.take(input_frame(second))
    assert [one.control for one in again.controls.standing()] == [
        one.control for one in live.controls.standing()
    ]
    assert lines_of(again.record.path) == first
    assert again.figures.controls == {}


@pytest.mark.parametrize("taken", [False, True])
def test_a_crash_in_the_middle_keeps_the_order(config: Config, taken: bool) -> None:
    """It ends before the order was taken, or before its answer was in the store."""
    live = Stream(config, 6)
    order = give(config, 0.5)
    give(config, 1, setting="freeze")
    live.orders.poll()
    if taken:
        live.cleaning.push(input_frame(START + 6))
        live.cleaning.push(input_frame(START + 7))
    found = orders.read(orders.path_of(config), config.models.directory)
    assert order.id not in found.taken
    again = Stream(config)
    for second in range(START + 8, START + 12):
        again.take(input_frame(second))
    instant = (START + (7 if taken else 9)) * NS
    assert [one.control.instant for one in again.controls.standing()] == [instant] * 2
    assert again.figures.controls == ({} if taken else {"taken": 2})
    again.orders.poll()
    found = orders.read(orders.path_of(config), config.models.directory)
    assert found.taken[order.id].control.instant == instant
    assert len(found.taken) == len(lines.read(again.record.path).taken) == 2
    assert {one.key for one in lines.read(again.record.path).held} == {o.key for o in found.held}


def test_an_order_to_a_daemon_that_does_not_run_waits(config: Config) -> None:
    order = give(config, 0.0, 3600)
    live = Stream(config, 3)
    live.orders.poll()
    log = orders.read(orders.path_of(config), config.models.directory)
    assert log.taken[order.id].control.instant == (START + 1) * NS


def test_an_order_that_cannot_be_followed_is_answered(config: Config) -> None:
    live = Stream(config, 4)
    order = give(config, 0.0, coupling="70Hz")
    jsonl.append(
        orders.path_of(config),
        lines.order_facts(orders.make("gain", "60Hz", 7.0, None, "too much")),
    )
    live.steps(3)
    live.orders.poll()
    log = orders.read(orders.path_of(config), config.models.directory)
    assert log.refused[order.id] == "no coupling 70Hz runs; did you mean 60Hz?"
    assert "7.0 is no value of gain" in log.refused.values()
    assert log.taken == {}
    assert live.figures.controls == {"refused": 2}


def test_nothing_is_taken_that_is_not_on_record(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="deepclean.control")
    live = Stream(config, 6)
    give(config, 0.0)

    def full(path: Path, facts: object) -> None:
        raise OutputError("no space", path=path, errno=errno.ENOSPC)

    with monkeypatch.context() as patched:
        patched.setattr(live.record, "append_facts", lambda facts: full(Path(), facts))
        live.steps(4)
        assert live.controls.standing() == []
    live.steps(4)
    (taken,) = live.controls.standing()
    assert taken.control.instant == (START + 11) * NS
    assert {lowest for second, (lowest, _) in gains(live).items() if second < 11} <= {0.0, 1.0}
    assert caplog.text.count("none is taken until they are") == 1
    assert "controls are on record again" in caplog.text


# who may


@pytest.fixture
def shared() -> Iterator[Config]:
    """A small site in a place that other users can look into."""
    place = Path(tempfile.mkdtemp(prefix="deepclean-"))
    place.chmod(0o755)
    made = small_config(place, *SETTINGS)
    put(made, 1)
    yield made
    shutil.rmtree(place)


@pytest.mark.parametrize("there", [False, True])
def test_others_are_refused_with_one_message(shared: Config, there: bool) -> None:
    path = orders.path_of(shared)
    if there:
        give(shared, 1.0)
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            with pytest.raises(ControlError, match="you may not steer this stream: root") as fault:
                give(shared, 0.0)
        finally:
            os.seteuid(0)
    else:
        for place in (path, path.parent):
            if place.exists():
                place.chmod(0o500)
        with pytest.raises(ControlError, match="you may not steer this stream: root") as fault:
            give(shared, 0.0)
        path.parent.chmod(0o700)
    assert str(fault.value).startswith(str(path))
    assert len(orders.read(path, shared.models.directory).orders) == there


def test_members_of_the_stores_group_may(shared: Config) -> None:
    store = shared.models.directory
    for place in (store, store / "H1"):
        place.chmod(0o2775)
    give(shared, 0.0)
    assert orders.path_of(shared).stat().st_mode & 0o777 == 0o664


def _anybodys(path: Path) -> None:
    path.chmod(0o666)


def _anybodys_directory(path: Path) -> None:
    path.parent.chmod(0o777)


def _leaving(path: Path) -> None:
    elsewhere = path.parents[2] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_anybodys, "everybody can write it"),
        (_anybodys_directory, "everybody can write it"),
        (_leaving, "leads out of the store"),
        (_pipe, "not a regular file"),
    ],
)
def test_a_log_that_cannot_be_trusted_is_not_obeyed(
    config: Config, spoil: Callable[[Path], None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    live = Stream(config, 4)
    path = orders.path_of(config)
    give(config, 0.0)
    spoil(path)
    with pytest.raises(ControlError, match=said):
        live.orders.poll()
    assert live.orders.pop() == []
    with caplog.at_level(logging.ERROR):
        assert known_controls(config, live.record.path).log.taken == {}
    assert said in caplog.text


def test_a_torn_line_costs_only_itself(config: Config) -> None:
    first = give(config, 0.0)
    path = orders.path_of(config)
    with path.open("ab") as file:
        file.write(b'{"what": "order", "id": "torn')
    second = give(config, 0.5)
    log = orders.read(path, config.models.directory)
    assert (list(log.orders), log.damaged) == ([first.id, second.id], 1)


def test_no_bit_of_what_a_freeze_holds_is_lost() -> None:
    rng = np.random.default_rng(0)
    gains = rng.standard_normal(5) + 1j * rng.standard_normal(5)
    none = np.zeros((1, 5), dtype=np.complex128)
    knot = Knot(START + 1, gains, HELD, rng.standard_normal(5) ** 2, 0.0, none, 0.1 + 0.3j)
    held = HeldGains(Version("60Hz", 3), True, START, knot)
    (again,) = lines.parse(json.dumps(lines.held_facts(held)).encode()).held
    assert again.key == held.key
    assert same_bits(again.knot.gains, gains)
    assert same_bits(again.knot.significance, knot.significance)
    assert (again.knot.second, again.knot.whole) == (START + 1, 0.1 + 0.3j)


# the command


def test_the_command_steers_a_daemon_through_a_crash(deepclean: Run, tmp_path: Path) -> None:
    """The process itself: steered, killed at once, started again; a replay gives the same."""
    config = small_config(tmp_path, *SETTINGS)
    promote(config, 1)
    write_site(config, START, 8)
    options = [word for one in SETTINGS for word in ("--set", one)]
    settings = " ".join(options)

    with daemon(config, tmp_path / "log1", *options) as process:
        stream(config, process, range(START + 8, START + 12))
        waiting = orders.make("gain", "60Hz", 0.0, None, "pumps")
        orders.give(orders.path_of(config), waiting)
        taken = set[str]()
        for second in range(START + 12, START + 40):
            stream(config, process, range(second, second + 1))
            taken = set(orders.read(orders.path_of(config), config.models.directory).taken)
            if taken:
                break
        assert taken == {waiting.id}
        process.kill()  # what was acknowledged is kept
        process.wait()
    said = deepclean(
        tmp_path, f"control -c small.yaml --inhibit --why snow --for 2h {settings}"
    ).good()
    assert said.stdout == (
        "all couplings gain 0: ordered; no daemon runs, it is taken when one starts\n"
    )
    listed = deepclean(tmp_path, f"control -c small.yaml --list {settings}").good().stdout
    assert "snow (not taken yet)" in listed
    begin = second + 1
    with daemon(config, tmp_path / "log2", *options) as process:
        stream(config, process, range(begin, begin + 6))
        listed = deepclean(tmp_path, f"control -c small.yaml --list {settings}").good().stdout
        shown = deepclean(tmp_path, f"status -c small.yaml {settings}").good().stdout
        stop(process)
    assert "60Hz gain 0 from GPS" in listed
    assert "all couplings gain 0 from GPS" in listed
    assert "control: 60Hz gain 0 from GPS" in shown
    # The second run began where the first was killed: each is replayed by itself.
    path = record.path_in(config.output.directory, config.output.description)
    starts = [e.instant // NS for e in record.read(path) if e.what == "started"]
    assert len(starts) == 2
    write_site(config, begin + 6, 3)
    last = begin + 5
    for number, (low, high) in enumerate([(starts[0], starts[1]), (starts[1], last)]):
        deepclean(
            tmp_path,
            f"replay -c small.yaml --start {low} --end {high} --output again{number} "
            f"--models-of {path} {settings}",
        ).good()
        names = sorted(one.name for one in (tmp_path / f"again{number}").glob("*.gwf"))
        assert len(names) == high - low
        for name in names:
            first = (config.output.directory / name).read_bytes()
            assert (tmp_path / f"again{number}" / name).read_bytes() == first, name
    raw, official = (
        gwf.read(path, [channel])[channel]
        for path, channel in [
            (strain_path(config, begin + 2), STRAIN),
            (config.output.directory / f"H-H1_DEEPCLEAN-{begin + 2}-1.gwf", OUT_DQ),
        ]
    )
    assert isinstance(raw, Series)
    assert isinstance(official, Series)
    assert same_bits(np.asarray(raw.samples), np.asarray(official.samples))


@pytest.mark.slow
def test_the_command_says_from_when_on(config: Config, tmp_path: Path) -> None:
    options = [word for one in SETTINGS for word in ("--set", one)]
    write_site(config, START, 8)
    file = tmp_path / "small.yaml"
    words = f"control -c {file} 60Hz --gain 0.5 --why pumps --for 90s".split()
    with daemon(config, tmp_path / "log", *options) as process:
        command = subprocess.Popen([*COMMAND, *words, *options], stdout=subprocess.PIPE, text=True)
        for second in range(START + 8, START + 400):
            write_site(config, second, 1)
            until(partial(is_written, config, second - 1), process)
            if command.poll() is not None:
                break
        said, _ = command.communicate()
        write_site(config, second + 1, 4)
        until(partial(is_written, config, second + 3), process)
        stop(process)
    assert command.returncode == 0
    when = r"GPS (\d+) \([^)]*\)"
    found = re.fullmatch(rf"60Hz gain 0.5: from {when} until {when}\n", said)
    assert found is not None, said
    start, end = int(found[1]), int(found[2])
    assert end == start + 90
    for at, lowest in ((start - 1, 1.0), (start + 2, 0.5)):
        frame = config.output.directory / f"H-H1_DEEPCLEAN-{at}-1.gwf"
        (series,) = gwf.read(frame, [GAIN]).values()
        assert isinstance(series, Series)
        assert series.samples.min() == lowest


def test_every_documented_command_is_taken(deepclean: Run, config: Config, tmp_path: Path) -> None:
    found = re.findall(r"^    deepclean (control .*)$", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert len(found) == 8
    for command in found:
        deepclean(tmp_path, command.replace("/etc/deepclean/H1.yaml", "small.yaml")).good()
    given = orders.read(orders.path_of(config), config.models.directory).orders.values()
    assert len(given) == 7
    live = Stream(config, 4)
    assert live.figures.controls == {"taken": 7}
    assert live.controls.standing() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("60Hz --why x", "give one of --gain"),
        ("60Hz --gain 0 --freeze-adaptation --why x", "give one of --gain"),
        ("60Hz --gain 1.5 --why x", "at most 1"),
        ("60Hz --inhibit --why x", "for one: 60Hz --gain 0"),
        ("60Hz --gain 0", "--why: give the reason"),
        ("60Hz --gain 0 --why x --for soon", "--for soon: must be whole seconds"),
        ("60Hz --gain 0 --why x --for 0.5s", "must be whole seconds"),
        ("70Hz --gain 0 --why x", "did you mean 60Hz?"),
    ],
)
def test_what_the_command_refuses(
    deepclean: Run, config: Config, tmp_path: Path, words: str, said: str
) -> None:
    deepclean(tmp_path, f"control -c small.yaml {words}").refused(said, lines=1)
    assert not orders.path_of(config).exists()
