"""A configuration that is read again: what is taken, what needs a restart, what is refused."""

from __future__ import annotations

import json
import logging
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deepclean.config import Config, load
from deepclean.control.lines import CONTROL
from deepclean.control.reload import ConfigReloader, ReloadResult, said
from deepclean.core.block import Series
from deepclean.core.time import NS
from deepclean.errors import ConfigError
from deepclean.io import gwf
from deepclean.rollout import record
from tests.helpers.commands import Run
from tests.helpers.model_stream import Stream, promote
from tests.helpers.site_runs import daemon, is_written, stop, stream, until
from tests.helpers.small_site import START, small_config, write_site

GATED = ("gate.enabled=true", "gate.window=4", "gate.dwell=4", "gate.memory=8")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A small site with gates and a model."""
    made = small_config(tmp_path, *GATED)
    promote(made, 1)
    return made


def reloader(config: Config, place: Path, *changes: str, log: Any = None) -> tuple[Stream, Any]:
    """Return a stream and what reads its configuration again, with changes."""
    live = Stream(config, 4)
    read = partial(load, place / "small.yaml", (*GATED, *changes), environ={})
    made = ConfigReloader(config, read, config.enabled_couplings, live.sink)
    live.controls._changed = made.changed
    return live, made


def test_what_can_change_is_taken_from_a_stated_second_on(config: Config, tmp_path: Path) -> None:
    changes = ("gate.close_above=1.01", "couplings.60Hz.enabled=false", "output.retention.age=9")
    with pytest.raises(ConfigError):  # no coupling would be left
        load(tmp_path / "small.yaml", changes, environ={})
    live, made = reloader(config, tmp_path, "gate.close_above=1.01", "output.retention.age=9")
    made.reload()
    assert made.result == ReloadResult(1, ("gate.close_above", "output.retention.age"))
    live.steps(4)
    (taken,) = live.controls.standing()
    assert str(taken) == (
        f"gate close_above 1.01 from GPS {START + 5}, by configuration: deepclean reload"
    )
    assert taken.order.run == str(START)
    lines = [json.loads(line) for line in live.record.path.read_text().splitlines()]
    held = [(one["instant"], one["value"]) for one in lines if one["what"] == CONTROL]
    assert held == [("0", 1.003), (str(START + 5), 1.01)]
    live.steps(20)
    assert len(live.sink.finished()) <= 10
    # Another run begins with its own configuration.
    assert Stream(config).controls.standing() == []
    made.reload()
    assert said(made.result) == "nothing has changed"


def test_what_needs_a_restart_is_named(config: Config, tmp_path: Path) -> None:
    live, made = reloader(config, tmp_path, "gate.window=8", "engine.hop=0.5", "log.level=ERROR")
    made.reload()
    assert said(made.result) == "taken: log.level; needs a restart: engine.hop, gate.window"
    assert logging.getLogger("deepclean").level == logging.ERROR
    live.steps(3)
    assert live.controls.standing() == []
    made.reload()
    assert said(made.result) == "needs a restart: engine.hop, gate.window"


def test_a_configuration_that_is_refused_changes_nothing(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live, made = reloader(config, tmp_path, "gate.close_above=1.01", "gate.widow=3")
    made.reload()
    assert "gate.widow" in made.result.fault
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


def test_the_command_reloads_a_daemon(deepclean: Run, tmp_path: Path) -> None:
    """A coupling is switched off and on; a faulty file is refused; the frames are replayed."""
    from tests.helpers.small_site import publish_model

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
        file.write_text(whole.replace("deadline: 2.0", "deadline: 3.0"))
        done = deepclean(tmp_path, "reload -c small.yaml").good()
        assert done.stdout == "taken: couplings.70Hz.enabled\nneeds a restart: input.deadline\n"
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
        f"--models-of {path}",
    ).good()
    names = sorted(one.name for one in (tmp_path / "again").glob("*.gwf"))
    assert len(names) == 15
    for name in names:
        live = (config.output.directory / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == live, name
    assert NS > 0
    assert os.path.exists(path)


def test_no_daemon_is_no_reload(deepclean: Run, config: Config, tmp_path: Path) -> None:
    assert config.interferometer == "H1"
    deepclean(tmp_path, "reload -c small.yaml").refused("no daemon of this configuration runs")
    assert not is_written(config, START)
    assert until is not None
