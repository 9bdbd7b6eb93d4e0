"""`wait: 0 | 1 | auto`: from the configuration to the frames, and what waiting buys."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config, load
from deepclean.core.time import Span
from deepclean.errors import ConfigError, InputError
from deepclean.factory import make_engine
from deepclean.models.budget import budget
from deepclean.models.loading import load_models
from deepclean.run.lookahead import LIMIT, decided, decided_live, lookahead_gain
from deepclean.validate.report import html
from tests.helpers import small_site, training_site
from tests.helpers.commands import Run
from tests.helpers.site_runs import clean, contents, daemon, open_source, stop, stream
from tests.helpers.training_site import FLOOR, LINE, RATES, START, STRAIN

NO_WAIT = "couplings.30Hz.wait=0"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A line, which can be forecast."""
    return training_site.make_site(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="module")
def broad(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Noise as broad as the band and ten times the floor, which cannot."""
    rng = np.random.default_rng(8)
    witness = rng.standard_normal(training_site.SECONDS * RATES[LINE])
    noise = np.repeat(witness, RATES[STRAIN] // RATES[LINE])
    strain = FLOOR * (10 * noise + rng.standard_normal(len(noise)))
    return training_site.make_site(
        tmp_path_factory.mktemp("broad"), {LINE: witness, STRAIN: strain}
    )


def of(config: Config, wait: int | str) -> Config:
    """Return a configuration whose couplings wait so."""
    couplings = {n: c.model_copy(update={"wait": wait}) for n, c in config.couplings.items()}
    return config.model_copy(update={"couplings": couplings})


SPAN = Span.of_seconds(START + 30, 60)


def test_line_need_not_wait(line: Config, caplog: pytest.LogCaptureFixture) -> None:
    models, source = load_models(line), open_source(line)
    (found,) = lookahead_gain(line, models, source, SPAN).values()
    assert 0.99 < found.residual < LIMIT
    assert abs(found.outside - 1) < 0.02
    assert 55 < found.seconds <= 60
    caplog.set_level(logging.INFO)
    chosen = decided(of(line, "auto"), models, source, SPAN)
    assert chosen.wait == 0
    assert make_engine(chosen, models).lookahead == 0
    assert "wait: auto is 0" in caplog.text


def test_broad_noise_waits(broad: Config) -> None:
    models, source = load_models(broad), open_source(broad)
    (found,) = lookahead_gain(broad, models, source, SPAN).values()
    assert found.residual > 1.1
    chosen = decided(of(broad, "auto"), models, source, SPAN)
    assert chosen.wait == 1
    assert make_engine(chosen, models).lookahead > 0


def test_what_cannot_be_measured_waits(line: Config, caplog: pytest.LogCaptureFixture) -> None:
    models, source = load_models(line), open_source(line)
    after = Span.of_seconds(START + 1000, 64)
    with pytest.raises(InputError, match="not cleaned in full for 2 s on end"):
        lookahead_gain(line, models, source, after)
    assert decided(of(line, "auto"), models, source, after).wait == 1
    assert "auto waits" in caplog.text


def test_only_auto_is_decided(line: Config) -> None:
    models, source = load_models(line), open_source(line)
    for wait in (0, 1):
        config = of(line, wait)
        assert decided(config, models, source, SPAN) is config
        assert decided_live(config, models) is config


def test_live_run_decides_on_the_newest_data(
    line: Config, broad: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for config, expected in ((line, 0), (broad, 1)):
        assert decided_live(of(config, "auto"), load_models(config)).wait == expected
    strain = line.input.strain.model_copy(update={"directory": tmp_path})
    nothing = line.input.model_copy(update={"strain": strain})
    empty = line.model_copy(update={"input": nothing})
    assert decided_live(of(empty, "auto"), load_models(line)).wait == 1
    assert "there are no data yet" in caplog.text


def test_frame_waits_for_its_slowest_coupling(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(
        """
interferometer: H1
input: {strain: {directory: strain}}
output: {directory: cleaned}
models: {directory: models}
couplings:
  60Hz: {band: [55, 65], witnesses: [A], wait: 0}
  105Hz: {band: [100, 110], witnesses: [B]}
"""
    )

    def wait(*overrides: str) -> int | str:
        return load(path, overrides, environ={}).wait

    assert wait() == 1
    assert wait("couplings.105Hz.enabled=false") == 0
    assert wait("couplings.105Hz.wait=auto") == "auto"
    assert wait("couplings.105Hz.wait=0") == 0
    assert wait("couplings.60Hz.wait=auto") == 1
    assert load(path, ["couplings.105Hz.wait=auto"], environ={}).with_wait(0).wait == 0
    with pytest.raises(ConfigError, match=r"couplings\.60Hz\.wait: must be 0, 1 or auto"):
        wait("couplings.60Hz.wait=2")
    assert budget(load(path, ["couplings.105Hz.wait=0"], environ={})).plan.lookahead == 0
    assert budget(load(path, environ={})).plan.lookahead > 0


def test_budget_says_what_is_forecast(deepclean: Run, line: Config) -> None:
    done = deepclean(line.input.strain_frames.directory.parent, f"config toy.yaml --set {NO_WAIT}")
    assert "Forecast by stage" in done.stdout
    assert "look-ahead L = 0.0000 s" in done.stdout
    assert "it does not wait (wait: 0)" in done.stdout


@pytest.mark.slow
def test_report_says_what_waiting_buys(line: Config) -> None:
    report = training_site.validated(of(line, 0)).report
    found = report["runs"][0]["waiting"]
    assert found["wait"] == 0
    assert found["couplings"]["30Hz"]["auto"] == 0
    page = html(report, [])
    assert "Effect of waiting" in page
    assert f"{found['couplings']['30Hz']['residual']:.4g}" in page
    report["runs"][0]["waiting"] = None
    assert "Not measured" in html(report, [])


def test_parity_must_be_told_what_auto_decided(deepclean: Run, line: Config) -> None:
    place = line.input.strain_frames.directory.parent
    options = f"-c toy.yaml --start {START + 40} --end {START + 44}"
    deepclean(
        place, f"validate {options} --against cleaned --set couplings.30Hz.wait=auto"
    ).refused("couplings.NAME.wait=0")


def test_replay_decides_and_says_so_in_the_frames(deepclean: Run, line: Config) -> None:
    place = line.input.strain_frames.directory.parent
    options = f"-c toy.yaml --start {START + 40} --end {START + 44} --output auto"
    deepclean(place, f"replay {options} --set couplings.30Hz.wait=auto")
    done = deepclean(place, f"inspect auto/H-H1_DEEPCLEAN-{START + 40}-1.gwf")
    assert "wait: 0" in done.stdout


@pytest.mark.slow
def test_frame_leaves_with_its_own_and_is_what_replay_gives(tmp_path: Path) -> None:
    config = small_site.make_site(tmp_path, "couplings.60Hz.wait=0", seconds=24)
    start, log = small_site.START, tmp_path / "log"
    with daemon(config, log, "--set", "couplings.60Hz.wait=0") as process:
        stream(config, process, range(start + 24, start + 30), late=0)
        stop(process)
    live = contents(config.output.directory)
    assert sorted(live) == list(range(start + 23, start + 30))
    clean(config, start + 23, start + 30, tmp_path / "replay")
    assert contents(tmp_path / "replay") == live
    assert "7 frames in, 7 written, 7 of them cleaned, 0 lost" in log.read_text()
