"""The estimates in the frames that a replay writes: asked for, exact, the same in shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.config import Config, load
from deepclean.core.block import Series
from deepclean.errors import ConfigError
from deepclean.io import gwf
from deepclean.io.archive import FrameArchive
from deepclean.io.frame_channels import cleaned_channels
from deepclean.io.t050017 import FrameName
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.site_runs import OUT_DQ, clean, contents
from tests.helpers.small_site import START

ROOT = Path(__file__).parents[2]
NOISE, FACTOR = "H1:DEEPCLEAN-60HZ_NOISE", "H1:DEEPCLEAN-60HZ_NOISE_FACTOR"
SUBTRACTED = "H1:GDS-CALIB_STRAIN_DEEPCLEAN_SUBTRACTED"
ALL = (NOISE, FACTOR, SUBTRACTED, OUT_DQ)
RATE = 512
"""Samples per second of the estimate of 55 to 65 Hz, a quarter of the strain's."""

ASKED = ("output.estimates=[60Hz]", "output.subtracted=true")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    place = tmp_path_factory.mktemp("site")
    return site.make_site(place, *ASKED, seconds=24, no_witnesses=[START + 11])


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("whole")
    clean(config, START + 5, START + 20, into)
    return into


def test_the_raw_strain_comes_back(whole: Path) -> None:
    gains = []
    for path in sorted(whole.glob("*.gwf")):
        name = FrameName.parse(path.name)
        assert name is not None
        rates = gwf.channels(path)
        assert [rates[n] for n in ALL] == [RATE, RATE, site.STRAIN_RATE, site.STRAIN_RATE]
        read = {n: s.samples for n, s in gwf.read(path, ALL).items() if isinstance(s, Series)}
        assert [read[n].dtype.name for n in ALL] == ["float32", "float32", "float64", "float64"]
        raw = site.samples(site.STRAIN, name.start, site.STRAIN_RATE) * 1e-21
        errors = np.abs(read[OUT_DQ] + read[SUBTRACTED] - raw)
        assert (errors <= np.spacing(np.maximum(np.abs(read[OUT_DQ]), np.abs(raw)))).all()
        noise = read[NOISE].astype(np.float64)  # its square is too small for float32
        low = read[OUT_DQ][::4] + read[FACTOR] * noise - raw[::4]
        assert np.abs(low).max() <= 1e-6 * np.std(noise)
        gains.append(read[FACTOR].min())
    assert len(gains) == 15
    assert sorted(set(gains)) == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("adapt", ["off", "gain"])
def test_the_channels_of_a_frame_are_those_that_the_configuration_says(
    tmp_path: Path, adapt: str
) -> None:
    overrides = ("output.products=[OUT_DQ,CANARY]", f"couplings.60Hz.adapt={adapt}", *ASKED)
    config = site.make_site(tmp_path, *overrides, seconds=4)
    clean(config, START + 1, START + 2, tmp_path / "made")
    (path,) = (tmp_path / "made").glob("*.gwf")
    held = gwf.read(path, list(gwf.channels(path)))
    series = {name: each for name, each in held.items() if isinstance(each, Series)}
    del series[site.STATE]
    found = {name: (each.rate, each.samples.dtype.name) for name, each in series.items()}
    assert found == cleaned_channels(config)


def test_shards_and_long_frames_hold_the_same(config: Config, whole: Path, tmp_path: Path) -> None:
    first, second, long = (tmp_path / name for name in "abc")
    clean(config, START + 5, START + 9, first)
    clean(config, START + 9, START + 20, second)
    clean(config, START + 5, START + 20, long, duration=8)
    expected = contents(whole, ALL)
    assert contents(first, ALL) | contents(second, ALL) == expected
    assert contents(long, ALL) == expected


def test_gwpy_reads_them(whole: Path) -> None:
    from gwpy.timeseries import TimeSeriesDict

    read = TimeSeriesDict.read(sorted(map(str, whole.glob("*.gwf"))), list(ALL), format="gwf")
    assert [str(read[name].unit) for name in ALL] == ["strain", "", "strain", "strain"]
    assert read[NOISE].sample_rate.value == RATE


def test_the_recipe_of_the_page_puts_noise_back(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cleaned").symlink_to(whole)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "products.md").read_text()
    found: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], found)
    seconds = range(START + 5, START + 20)
    raw = np.concatenate([site.samples(site.STRAIN, s, site.STRAIN_RATE) for s in seconds]) * 1e-21
    np.testing.assert_allclose(found["raw"], raw, rtol=0, atol=1e-36)
    # With one coupling the strain that has its noise again is the raw one.
    inside = slice(site.STRAIN_RATE, -site.STRAIN_RATE)
    errors, taken = (found["with_60hz"] - raw)[inside], (raw - found["cleaned"])[inside]
    assert np.std(errors) < 1e-3 * np.std(taken)


def test_the_archive_of_out_dq_alone_holds_them(config: Config, whole: Path) -> None:
    archived = whole / "archive"
    changed = [f"output.directory={whole}", f"output.archive.directory={archived}"]
    file = config.input.strain_frames.directory.parent / "small.yaml"
    again = load(file, [*ASKED, *changed, "output.archive.length=8"], environ={})
    archive = FrameArchive(again, pause=0.0)
    assert archive.round()
    archive.close()
    held = {
        path.name.split("-")[1]: set(gwf.channels(path)) & {NOISE, FACTOR, SUBTRACTED}
        for path in archived.glob("*.gwf")
    }
    whole_set = {NOISE, FACTOR, SUBTRACTED}
    assert held == {"H1_DEEPCLEAN_OUT_DQ": whole_set, "H1_DEEPCLEAN_PRODUCTION": set()}


def test_none_is_written_unless_asked_for(tmp_path: Path) -> None:
    config = site.make_site(tmp_path, seconds=4)
    clean(config, START + 1, START + 2, tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.gwf")
    assert not {NOISE, FACTOR, SUBTRACTED} & set(gwf.channels(path))


def test_only_couplings_can_be_named(config: Config) -> None:
    file = config.input.strain_frames.directory.parent / "small.yaml"
    with pytest.raises(ConfigError, match=r"output.estimates: 6OHz is no coupling.*60Hz\?"):
        load(file, ["output.estimates=[6OHz]"], environ={})
    assert load(file, ["output.estimates=[all]"], environ={}).estimated_couplings == ("60Hz",)


def test_config_lists_the_channels_of_a_frame(deepclean: Run, config: Config) -> None:
    place = config.input.strain_frames.directory.parent
    said = " ".join(f"--set {one}" for one in ASKED)
    lines = deepclean(place, f"config small.yaml {said}").good().stdout.splitlines()
    rows = [line.split() for line in lines]
    assert [NOISE, "512", "float32", "2.0"] in rows
    assert [SUBTRACTED, "2048", "float64", "16.4"] in rows
    assert ["H1:DEEPCLEAN-STATE_VECTOR", "16", "uint32", "0.1"] in rows
