"""Replay: the same samples in one run, in shards, resumed, and live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.factory import make_engine
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.io.t050017 import FrameName
from deepclean.models.loading import load_models
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.run.replay import ReplayResult, replay
from tests.helpers import small_site as site
from tests.helpers.site_runs import clean, contents, open_source
from tests.helpers.small_site import START


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return site.make_site(tmp_path_factory.mktemp("site"), seconds=40)


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    into = tmp_path_factory.mktemp("whole")
    done = clean(config, START + 5, START + 35, into)
    assert done == ReplayResult(written=30, skipped=0, gaps=0)
    return contents(into)


def test_every_second_is_cleaned(config: Config, whole: dict[int, bytes]) -> None:
    assert sorted(whole) == list(range(START + 5, START + 35))
    for second, held in whole.items():
        raw = site.samples(site.STRAIN, second, site.STRAIN_RATE) * 1e-21
        cleaned = np.frombuffer(held)
        assert np.isfinite(cleaned).all()
        assert (cleaned != raw).all()


def test_replay_is_resumed(config: Config, whole: dict[int, bytes], tmp_path: Path) -> None:
    clean(config, START + 9, START + 12, tmp_path)
    clean(config, START + 20, START + 21, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    done = clean(config, START + 5, START + 35, tmp_path)
    assert done == ReplayResult(written=26, skipped=4 * NS, gaps=0)
    assert contents(tmp_path) == whole
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_long_output_files(config: Config, whole: dict[int, bytes], tmp_path: Path) -> None:
    clean(config, START + 5, START + 35, tmp_path, duration=8)
    assert contents(tmp_path) == whole
    names = [FrameName.parse(path.name) for path in tmp_path.iterdir()]
    assert sorted(name.start - START for name in names if name) == [5, 8, 16, 24, 32]


def test_joined_frames_keep_the_ledger_balanced(config: Config, tmp_path: Path) -> None:
    loaded = load_models(config)
    engine = make_engine(config, loaded)
    sink = sink_of(config, loaded, tmp_path)
    cleaning = FrameCleaner(config, engine, sink, duration=8 * NS)
    span = Span.of_seconds(START + 5, 20)
    for frame in open_source(config).frames(span, engine.needs(span)):
        cleaning.push(frame)
        assert cleaning.ledger.balanced
    cleaning.release()
    assert cleaning.ledger.balanced
    assert (cleaning.ledger.written.total(), cleaning.ledger.inside) == (20, 0)


def test_other_hops_agree(config: Config, whole: dict[int, bytes], tmp_path: Path) -> None:
    for hop in (0.0625, 4):
        other = site.small_config(config.input.strain_frames.directory.parent, f"engine.hop={hop}")
        into = tmp_path / str(hop)
        clean(other, START + 5, START + 35, into)
        for second, held in contents(into).items():
            # The network's output is of the order of 1e-22 (its scaler's deviation).
            difference = np.abs(np.frombuffer(held) - np.frombuffer(whole[second]))
            assert difference.max() < 1e-6 * 1e-22


def test_history_in_hdf5_is_same(config: Config, whole: dict[int, bytes], tmp_path: Path) -> None:
    from deepclean.io import hdf5
    from deepclean.io.channels import OutputChannel

    span = Span.of_seconds(START, 40)
    strain = History([config.input.strain_frames.directory]).read([site.STRAIN, site.STATE], span)
    witnesses = History([config.input.witnesses[0].directory]).read(list(site.RATES), span)
    archive = tmp_path / "archive.hdf5"
    read = {**strain, **witnesses}
    held = {name: OutputChannel(s) for name, s in read.items() if isinstance(s, Series)}
    hdf5.write_archive(archive, held)
    history = History([archive])
    source = HistorySource(channels_of(config), history, history)
    clean(config, START + 5, START + 35, tmp_path / "cleaned", source=source)
    assert contents(tmp_path / "cleaned") == whole


def test_second_without_strain_gives_no_frame(whole: dict[int, bytes], tmp_path: Path) -> None:
    config = site.make_site(tmp_path, seconds=40, no_strain=[START + 17])
    done = clean(config, START + 5, START + 35, tmp_path / "out", duration=8)
    assert done.gaps == 1
    held = contents(tmp_path / "out")
    assert held == {second: w for second, w in whole.items() if second != START + 17}


MONTH = 30 * 86400


def with_gap(place: Path, gap: int) -> Config:
    """Return a site with gates and two stretches of data, the second 30 s long."""
    config = site.make_site(place, "gate.enabled=true", "gate.window=4", seconds=40)
    site.write_site(config, START + 40 + gap, 30)
    return config


def test_a_long_gap_is_skipped_with_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, end = with_gap(tmp_path, 200), START + 270
    seen: list[int] = []
    frames = HistorySource.frames

    def count(*args: Any, **options: Any) -> Iterator[InputFrame]:
        for frame in frames(*args, **options):
            seen.append(frame.span.start)
            yield frame

    monkeypatch.setattr(HistorySource, "frames", count)
    done = clean(config, START + 5, end, tmp_path / "skipping")
    assert done == ReplayResult(written=65, skipped=0, gaps=200)
    skipping = len(seen)
    seen.clear()
    monkeypatch.setattr(HistorySource, "_skipped", lambda *_: ())
    assert clean(config, START + 5, end, tmp_path / "whole") == done
    assert skipping < len(seen) - 100
    assert contents(tmp_path / "skipping") == contents(tmp_path / "whole")


def test_a_gap_of_a_month_takes_no_longer_than_one_of_minutes(tmp_path: Path) -> None:
    config = with_gap(tmp_path, MONTH)
    done = clean(config, START + 5, START + 40 + MONTH + 30, tmp_path / "out")
    assert done == ReplayResult(written=65, skipped=0, gaps=MONTH)


def test_no_witnesses_pass_through(config: Config, whole: dict[int, bytes], tmp_path: Path) -> None:
    site_of_gap = site.make_site(tmp_path, seconds=40, no_witnesses=[START + 17])
    clean(site_of_gap, START + 5, START + 35, tmp_path / "out")
    held = contents(tmp_path / "out")
    raw = site.samples(site.STRAIN, START + 17, site.STRAIN_RATE) * 1e-21
    assert held[START + 17] == raw.tobytes()
    differing = {
        second - START: np.abs(np.frombuffer(held[second]) - np.frombuffer(whole[second])).max()
        for second in whole
        if held[second] != whole[second]
    }
    # The gap, and one frame either side that the filters and the ramp reach into. A hop is
    # transformed with them, so that the last bit of a sample after them may differ too.
    assert {second for second, most in differing.items() if most > 1e-14 * 1e-21} <= {16, 17, 18}


def test_span_must_be_whole_seconds(config: Config, tmp_path: Path) -> None:
    loaded = load_models(config)
    engine, half = make_engine(config, loaded), Span(START * NS, START * NS + NS // 2)
    with pytest.raises(InputError, match="whole seconds"):
        replay(config, lambda: engine, open_source(config), sink_of(config, loaded, tmp_path), half)
