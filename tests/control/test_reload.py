"""A configuration that is read again: what is taken, what needs a restart, what is refused."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config, load
from deepclean.control import lines
from deepclean.control.reload import ReloadResult, said
from deepclean.core.block import Series
from deepclean.core.time import NS
from deepclean.io import gwf
from deepclean.rollout import record
from tests.helpers.commands import Run
from tests.helpers.model_stream import Stream, promote
from tests.helpers.site_runs import daemon, stop, stream
from tests.helpers.small_site import START, publish_model, small_config, write_site

GATED = ("gate.enabled=true", "gate.window=4", "gate.dwell=4", "gate.memory=8")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A small site with gates and a model."""
    made = small_config(tmp_path, *GATED)
    promote(made, 1)
    return made


def reread(config: Config, *changes: str) -> Stream:
    """Return a stream of four seconds that reads its configuration again, with changes."""
    live = Stream(config, 4)
    file = config.input.strain_frames.directory.parent / "small.yaml"
    live.reread = partial(load, file, (*GATED, *changes), environ={})
    live.reloader.reload()
    return live


def test_what_can_change_is_taken_from_a_stated_second_on(config: Config) -> None:
    live = reread(config, "gate.close_above=1.01", "output.retention.age=9")
    found = live.reloader.result
    assert found == ReloadResult(1, ("gate.close_above", "output.retention.age"))
    live.steps(4)
    (taken,) = live.controls.standing()
    assert str(taken) == (
        f"gate close_above 1.01 from GPS {START + 5}, by configuration: deepclean reload"
    )
    live.steps(20)
    assert len(live.sink.finished()) <= 10
    live.reloader.reload()
    assert said(live.reloader.result) == "nothing has changed"
    assert live.figures.configurations == {"taken": 2}


def test_the_record_says_what_a_limit_was_and_in_which_run(config: Config) -> None:
    """So a replay finds it with the former configuration and with the new one."""
    live = reread(config, "gate.close_above=1.01")
    live.steps(3)
    log = lines.read(live.record.path)
    of_run, of_another = (log.of_run(run).taken.values() for run in (str(START), str(START + 9)))
    held = [(one.control.instant, one.control.value) for one in of_run]
    assert held == [(lines.ORIGIN, 1.003), ((START + 5) * NS, 1.01)]
    assert not of_another
    # The next run begins with its own configuration.
    assert Stream(config).controls.standing() == []


def test_what_needs_a_restart_is_named(config: Config) -> None:
    live = reread(config, "gate.window=8", "engine.hop=0.5", "log.level=ERROR")
    found = said(live.reloader.result)
    assert found == "taken: log.level; needs a restart: engine.hop, gate.window"
    assert logging.getLogger("deepclean").level == logging.ERROR
    live.steps(3)
    assert live.controls.standing() == []
    live.reloader.reload()
    assert said(live.reloader.result) == "needs a restart: engine.hop, gate.window"


def test_a_configuration_that_is_refused_changes_nothing(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    live = reread(config, "gate.close_above=1.01", "gate.widow=3")
    assert "gate.widow" in live.reloader.result.fault
    assert live.figures.configurations == {"refused": 1}
    assert "refused, all stays as it is" in caplog.text
    live.steps(3)
    assert live.controls.standing() == []


TWO = """
  70Hz:
    adapt: "off"
    band: [66, 74]
    witnesses: [MIDDLE, FAST]
    predict: {edge: 0.25}
    bandpass: {transition: 20}
"""


@pytest.mark.slow
def test_the_command_reloads_a_daemon(deepclean: Run, tmp_path: Path) -> None:
    """A coupling is switched off and on; a faulty file is refused; the frames are replayed."""
    small_config(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(file.read_text() + TWO.removeprefix("\n"))
    config = load(file, environ={})
    publish_model(config)
    write_site(config, START, 8)
    whole = file.read_text()

    def gain(second: int) -> float:
        path = config.output.directory / f"H-H1_DEEPCLEAN-{second}-1.gwf"
        (series,) = gwf.read(path, ["H1:DEEPCLEAN-70HZ_GAIN"]).values()
        assert isinstance(series, Series)
        return float(series.samples.max())

    with daemon(config, tmp_path / "log") as process:
        stream(config, process, range(START + 8, START + 12))
        file.write_text(whole.replace("band: [66, 74]", "band: [66, 74]\n    enabled: false"))
        done = deepclean(tmp_path, "reload -c small.yaml").good()
        assert done.stdout == "taken: couplings.70Hz.enabled\n"
        stream(config, process, range(START + 12, START + 17))
        file.write_text(whole + "gates: 3\n")
        deepclean(tmp_path, "reload -c small.yaml").refused("gates")
        file.write_text(whole.replace("deadline: 2.0", "probe: 0.1"))
        done = deepclean(tmp_path, "reload -c small.yaml").good()
        assert done.stdout == "taken: couplings.70Hz.enabled\nneeds a restart: input.probe\n"
        stream(config, process, range(START + 17, START + 23))
        stop(process)
    assert gain(START + 11) == 1
    assert gain(START + 15) == 0
    assert gain(START + 21) == 1
    file.write_text(whole)
    write_site(config, START + 23, 3)
    path = record.path_in(config.output.directory, config.output.description)
    deepclean(
        tmp_path,
        f"replay -c small.yaml --start {START + 7} --end {START + 22} --output again "
        f"--models-of {path} --set input.deadline=60",
    ).good()
    names = sorted(one.name for one in (tmp_path / "again").glob("*.gwf"))
    assert len(names) == 15
    for name in names:
        live = (config.output.directory / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == live, name


def test_no_daemon_is_no_reload(deepclean: Run, config: Config, tmp_path: Path) -> None:
    assert config.interferometer == "H1"
    deepclean(tmp_path, "reload -c small.yaml").refused("no daemon of this configuration runs")
