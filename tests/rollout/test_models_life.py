"""What becomes of models over a stretch, and that a replay of it comes to the same decisions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from deepclean.cli.options import histories
from deepclean.config import Config
from deepclean.core.block import Version
from deepclean.core.rollout.rollout import Event
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io.frame_channels import channels_of
from deepclean.io.source import HistorySource
from deepclean.models.store import changes as store
from deepclean.rollout import record
from deepclean.rollout.recorded import RecordedUpdates, RunModels
from tests.helpers.commands import Done, Run
from tests.helpers.model_stream import Stream, directory, faulty, point, put
from tests.helpers.site_runs import daemon, files, is_written, stop, until
from tests.helpers.small_site import START, small_config, write_site

SETTINGS = (
    "gate.enabled=true",
    "gate.window=4",
    "gate.dwell=4",
    "gate.memory=8",
    "output.products=[OUT_DQ,PRODUCTION,CANARY]",
    "models.trial.validation_time=5",
    "models.trial.patience=12",
)
SECONDS = 50
SPAN = Span.of_seconds(START, SECONDS)

Acts = Mapping[int, Callable[[], object]]
"""What a person does, by the second before which it is done."""


def made(place: Path, seconds: int, *settings: str) -> Config:
    """Return a small site with gates and short trials, of three versions; frames from START on."""
    config = small_config(place, *SETTINGS, *settings)
    for version in (1, 2, 3):
        put(config, version)
    point(config, 1)
    write_site(config, START, seconds)
    return config


@pytest.fixture
def gated(tmp_path: Path) -> Config:
    return made(tmp_path, SECONDS + 3)


def candidate(config: Config, version: int | None) -> Callable[[], object]:
    """Return the act of naming the canary."""
    return lambda: store.set_canary(directory(config), version, lambda path: None)


def production(config: Config, version: int) -> Callable[[], object]:
    """Return the act of naming production."""
    return lambda: point(config, version)


def ran(config: Config, acts: Acts) -> list[tuple[str, int]]:
    """Let the daemon's work run over the site's frames; return what its record says happened.

    It begins with the first frame there is, as a daemon does, which has nothing before it.
    """
    stream = Stream(config)
    source = HistorySource(channels_of(config), *histories(config, None, None))
    needed = Span(SPAN.start, stream.engine.needs(SPAN).end)
    for frame in source.frames(SPAN, needed):
        acts.get(frame.span.start // NS - START, lambda: None)()
        stream.take(frame)
    stream.follower.poll()
    assert len(stream.written) == SECONDS
    return [(event.what, event.version.number) for event in record.read(record_of(config))]


def record_of(config: Config) -> Path:
    """Return where the record of the run is."""
    return record.path_in(config.output.directory, config.output.description)


def replayed(deepclean: Run, config: Config, into: Path, more: str = "") -> Done:
    """Replay the run with the models that it had."""
    place = config.input.strain_frames.directory.parent
    settings = " ".join(f"--set {setting}" for setting in SETTINGS)
    return deepclean(
        place,
        f"replay -c small.yaml --start {START} --end {START + SECONDS} --output {into} "
        f"--models-of {record_of(config)} {settings} {more}",
    )


def models_of(config: Config, span: Span = SPAN) -> RunModels:
    """Return the models of the run for a replay of a span."""
    return RunModels(config, record_of(config), config.output.directory.parent / "again", span)


def assert_equal(config: Config, into: Path) -> None:
    """Assert that every frame and the record are the same, byte for byte."""
    held = [*config.output.directory.glob("*.gwf"), record_of(config)]
    first, again = {path.name: path.read_bytes() for path in held}, files(into)
    assert again.keys() == first.keys()
    assert again[record_of(config).name].decode() == first[record_of(config).name].decode()
    assert again == first


def test_a_replay_decides_the_same(deepclean: Run, gated: Config, tmp_path: Path) -> None:
    told = ran(gated, {8: candidate(gated, 2), 38: production(gated, 3)})
    of_2, of_3 = [("offered", 2), ("rejected", 2)], [("offered", 3), ("in_force", 3)]
    assert told == [("started", 1), *of_2, *of_3]
    before = {path: path.read_bytes() for path in directory(gated).iterdir() if path.is_file()}
    done = replayed(deepclean, gated, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert_equal(gated, tmp_path / "again")
    # Nor does it matter how long the files are.
    longer = replayed(deepclean, gated, tmp_path / "longer", "--duration 8")
    assert longer.returncode == 0, longer.stderr
    name = record_of(gated).name
    assert (tmp_path / "longer" / name).read_bytes() == record_of(gated).read_bytes()
    # The store is as it was.
    after = {path: path.read_bytes() for path in directory(gated).iterdir() if path.is_file()}
    assert after == before


def test_replay_without_record_has_one_version(
    deepclean: Run, gated: Config, tmp_path: Path
) -> None:
    """That the frames above agree says something: with other models they do not."""
    ran(gated, {8: production(gated, 3)})
    settings = " ".join(f"--set {setting}" for setting in SETTINGS)
    command = f"replay -c small.yaml --start {START} --end {START + 20} --output again {settings}"
    assert deepclean(gated.input.strain_frames.directory.parent, command).returncode == 0
    names = [path.name for path in sorted((tmp_path / "again").glob("*.gwf"))]
    same = [
        (tmp_path / "again" / name).read_bytes() == (gated.output.directory / name).read_bytes()
        for name in names
    ]
    assert not any(same[:10])  # there version 1 was at work
    assert all(same[15:])


@pytest.mark.parametrize(
    ("first", "then", "withdrawn"),
    [
        (production, lambda config: production(config, 1), "production"),
        pytest.param(
            candidate,
            lambda config: lambda: point(config, 1, "canary"),
            "canary",
            marks=pytest.mark.slow,
        ),
        (candidate, lambda config: candidate(config, None), "canary"),
    ],
)
def test_a_mind_that_was_changed_is_changed_in_the_replay_too(
    deepclean: Run,
    gated: Config,
    tmp_path: Path,
    first: Callable[[Config, int], Callable[[], object]],
    then: Callable[[Config], Callable[[], object]],
    withdrawn: str,
) -> None:
    told = ran(gated, {20: first(gated, 2), 21: then(gated), 30: first(gated, 2)})
    assert told[:4] == [("started", 1), ("offered", 2), ("withdrawn", 2), ("offered", 2)]
    assert record.read(record_of(gated))[2].role == withdrawn
    assert replayed(deepclean, gated, tmp_path / "again").returncode == 0
    assert_equal(gated, tmp_path / "again")


def test_refusals_are_replayed(deepclean: Run, gated: Config, tmp_path: Path) -> None:
    """By the follower, as it cannot be loaded: it still cannot, or it has been mended since."""
    said = faulty(gated, 4, "truncated")
    faulty(gated, 5, "a channel too few")
    refused = {10: production(gated, 4), 14: lambda: point(gated, 5, "canary")}
    told = ran(gated, {**refused, 30: production(gated, 2)})
    assert told[:4] == [("started", 1), ("refused", 4), ("refused", 5), ("offered", 2)]
    assert told[4:] == [("in_force", 2)]
    assert said in record.read(record_of(gated))[1].why
    shutil.rmtree(directory(gated) / "4")
    put(gated, 4)
    assert replayed(deepclean, gated, tmp_path / "again").returncode == 0
    assert_equal(gated, tmp_path / "again")


def test_a_refusal_that_the_data_led_to_is_not_offered(gated: Config, tmp_path: Path) -> None:
    """It is decided anew; a refusal of what could not be loaded is taken over."""
    two, three = Version("60Hz", 2), Version("60Hz", 3)
    events = [
        Event(1, "offered", two, "production"),
        Event(2, "refused", three, "canary", why="damaged"),
        Event(3, "refused", two, "production", why="its gate did not open"),
        Event(4, "refused", two, "production", why="changed in place"),
        Event(5, "offered", two, "production"),
        Event(6, "in_force", two, "production", 1),
        Event(7, "refused", two, "production", why="changed in place"),
    ]
    recorded = RecordedUpdates(gated, events, record.ModelRecord(tmp_path / "record"))
    given = [(o.version, o.role, o.fault) for o in recorded.pop(6)]
    assert given == [
        (two, "production", ""),
        (three, "canary", "damaged"),
        (two, "production", "changed in place"),
        (two, "production", ""),
    ]
    assert [o.fault for o in recorded.pop(7)] == ["changed in place"]
    assert recorded.pop(8) == []


@pytest.mark.parametrize("act", [production, candidate])
def test_a_replay_may_begin_later_with_what_was_in_force(
    gated: Config, tmp_path: Path, act: Callable[[Config, int], Callable[[], object]]
) -> None:
    told = ran(gated, {8: act(gated, 3)})
    later = models_of(gated, Span(SPAN.start + 40 * NS, SPAN.end))
    assert later.loaded["60Hz"].version == (3 if ("in_force", 3) in told else 1)


@pytest.mark.slow
def test_a_daemon_and_its_replay_agree(deepclean: Run, tmp_path: Path) -> None:
    """The process itself: when its thread has loaded a version is chance, and on record."""
    config = made(tmp_path, 8, "models.probe=0.01")
    own = ("models.probe=0.01", "input.deadline=60")  # however slow the machine
    options = [word for one in (*SETTINGS, *own) for word in ("--set", one)]
    seen = dict.fromkeys(("rejected", "in_force"), False)
    acts = {START + 10: candidate(config, 2), START + 12: production(config, 3)}
    with daemon(config, tmp_path / "log", *options) as process:
        for second in range(START + 8, START + 400):
            acts.get(second, lambda: None)()
            write_site(config, second, 1)
            until(partial(is_written, config, second - 1), process)
            until(record_of(config).exists, process)  # its thread writes it
            last = second
            told = [event.what for event in record.read(record_of(config))]
            seen = {what: what in told for what in seen}
            if all(seen.values()):
                break
        stop(process)
    assert all(seen.values())
    write_site(config, last + 1, 3)
    done = deepclean(
        tmp_path,
        f"replay -c small.yaml --start {START + 7} --end {last + 1} --output again "
        f"--models-of {record_of(config)} {' '.join(options)}",
    )
    assert done.returncode == 0, done.stderr
    # The last frame was let go without its look-ahead.
    name = f"H-H1_DEEPCLEAN-{last}-1.gwf"
    (tmp_path / "again" / name).unlink()
    (config.output.directory / name).unlink()
    assert_equal(config, tmp_path / "again")


# what cannot be replayed


def test_a_replay_with_models_begins_anew(deepclean: Run, gated: Config, tmp_path: Path) -> None:
    ran(gated, {})
    assert replayed(deepclean, gated, tmp_path / "again").returncode == 0
    done = replayed(deepclean, gated, tmp_path / "again")
    done.refused("holds frames already")


def test_a_record_that_is_not_there(deepclean: Run, gated: Config, tmp_path: Path) -> None:
    done = replayed(deepclean, gated, tmp_path / "again")
    done.refused("no record of models can be read")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        '{"instant": "x"}',
        '{"instant": "1", "what": "eaten", "role": "production", "coupling": "60Hz", "version": 1,'
        ' "former": null, "why": "", "figures": {}}',
        '{"instant": "soon", "what": "started", "role": "production", "coupling": "60Hz",'
        ' "version": 1, "former": null, "why": "", "figures": {}}',
    ],
)
def test_a_line_that_is_not_of_a_record(gated: Config, tmp_path: Path, line: str) -> None:
    ran(gated, {})
    path = record_of(gated)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(InputError, match="line 2 is not of a record of models"):
        models_of(gated)


def test_a_torn_line_costs_only_itself(gated: Config, caplog: pytest.LogCaptureFixture) -> None:
    ran(gated, {})
    path = record_of(gated)
    whole = path.read_text()
    told = record.read(path)
    path.write_text(whole + whole[: len(whole) // 2] + "\n" + whole)
    assert record.read(path) == [*told, *told]
    assert "line 2 is torn and left out" in caplog.text


def test_a_record_that_does_not_say_what_was_in_production(gated: Config, tmp_path: Path) -> None:
    ran(gated, {})
    earlier = Span(SPAN.start - NS, SPAN.end)
    with pytest.raises(InputError, match=f"production of 60Hz at {START - 1}"):
        models_of(gated, earlier)
    later = models_of(gated, Span(SPAN.start + 5 * NS, SPAN.end))
    assert later.loaded["60Hz"].version == 1


def test_a_run_that_began_anew_is_replayed_in_two_parts(gated: Config, tmp_path: Path) -> None:
    ran(gated, {})
    path, middle = record_of(gated), SPAN.start + 20 * NS
    line = path.read_text()
    path.write_text(line + line.replace(str(START), str(START + 20)).replace(": 1,", ": 2,"))
    with pytest.raises(InputError, match=f"began anew at {START + 20}"):
        models_of(gated)
    parts = (Span(SPAN.start, middle), Span(middle, SPAN.end))
    assert [models_of(gated, part).loaded["60Hz"].version for part in parts] == [1, 2]


def test_version_gone_is_refused_in_replay(deepclean: Run, gated: Config, tmp_path: Path) -> None:
    ran(gated, {8: candidate(gated, 2)})
    (directory(gated) / "2" / "manifest.json").unlink()
    done = replayed(deepclean, gated, tmp_path / "again")
    assert done.returncode == 0
    assert "60Hz version 2 refused as canary" in done.stderr


# a day, unattended


@pytest.mark.slow
def test_a_coupling_drifts_and_nobody_is_there(deepclean: Run, tmp_path: Path) -> None:
    """Retrained, tried, promoted; a bad one rejected, one that turns bad rolled back; and again."""
    from benchmarks.site import START
    from scripts import rehearse_models

    done = rehearse_models.rehearse(tmp_path, fast=True)
    done.require()
    assert [one.verdict for one in done.retrained.values()] == ["not better", "published"]
    place = done.place
    settings = " ".join(f"--set {setting}" for setting in place.plan.overrides)
    again = deepclean(
        tmp_path,
        f"replay -c site.yaml --start {START} --end {START + place.plan.end} --output again "
        f"--models-of {record_of(place.config)} {settings}",
    )
    assert again.returncode == 0, again.stderr
    assert record.read(record.path_in(tmp_path / "again", "H1_DEEPCLEAN")) == done.events
    assert_equal(place.config, tmp_path / "again")
