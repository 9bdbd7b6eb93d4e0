"""The Python interface: gwpy's containers in, the samples of a replay out."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean import api
from deepclean.models.store import versions
from deepclean.system.utc import utc
from tests.helpers import training_site as toy
from tests.helpers.commands import Run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from gwpy.time import LIGOTimeGPS
    from gwpy.timeseries import TimeSeries, TimeSeriesDict

OUT_DQ = f"{toy.STRAIN}_DEEPCLEAN_PRODUCTION_OUT_DQ"
STATE = "H1:DEEPCLEAN-STATE_VECTOR"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    toy.make_site(place)
    return place


def gathered(without: slice | None = None) -> TimeSeriesDict:
    """Return the toy's channels as gwpy has them."""
    made = toy.channels(toy.SECONDS, product=toy.LINE_ONLY)
    data = TimeSeriesDict()
    for name, rate in toy.RATES.items():
        samples = made[name].copy()
        if name == toy.STRAIN and without is not None:
            samples[without] = np.nan
        data[name] = TimeSeries(samples, t0=toy.START, sample_rate=rate, name=name)
    return data


def test_it_cleans_as_a_replay_does(deepclean: Run, place: Path, tmp_path: Path) -> None:
    start, end = toy.START + 40, toy.START + 80  # whole files of 40 s
    command = f"replay -c toy.yaml --start {start} --end {end} --output {tmp_path} --duration 40"
    deepclean(place, command).good()
    cleaned = api.clean(gathered(), place / "toy.yaml", start, end)
    (file,) = tmp_path.glob("*.gwf")
    for name, series in cleaned.items():
        read = TimeSeries.read(file, name)
        np.testing.assert_array_equal(series.value, read.value)
        assert series.t0 == read.t0
        assert series.sample_rate == read.sample_rate
    raw, floor = (gathered()[toy.STRAIN].crop(start, end), toy.channels(toy.SECONDS)["floor"])
    part = floor[40 * 512 : 80 * 512]
    error = cleaned[f"{toy.STRAIN}_DEEPCLEAN_PRODUCTION"].value - part
    assert np.std(error) < 0.2 * np.std(raw.value - part)


def test_seconds_without_strain_stay_without(place: Path) -> None:
    data = gathered(slice(30 * 512 + 5, 31 * 512))
    config = api.load_config(place / "toy.yaml")
    cleaned = api.clean(data, config, toy.START + 28, toy.START + 33)
    strain = cleaned[OUT_DQ].value.reshape(5, -1)
    assert np.isnan(strain[2]).all()
    assert np.isfinite(strain[[0, 1, 3, 4]]).all()
    state = cleaned[STATE].value.reshape(5, -1)
    assert not state[2].any()
    flags = api.state_segments(cleaned[STATE])
    assert [tuple(each) for each in flags["STRAIN_GOOD"].active] == [
        (toy.START + 28, toy.START + 30),
        (toy.START + 31, toy.START + 33),
    ]
    assert float(abs(flags["STRAIN_GOOD"].known)) == 5


def test_any_whole_second_is_taken_for_a_time(place: Path) -> None:
    config = api.load_config(place / "toy.yaml")
    data = gathered().crop(toy.START, toy.START + 8)
    series = data[toy.STRAIN].crop(toy.START + 3, toy.START + 5)
    wanted = api.clean(data, config, toy.START + 3, toy.START + 5)[OUT_DQ]
    for start, end in [
        (float(toy.START + 3), np.int64(toy.START + 5)),
        (series.t0, LIGOTimeGPS(toy.START + 5)),
        (utc(toy.START + 3), str(toy.START + 5)),
    ]:
        found = api.clean(data, config, start, end)[OUT_DQ]
        assert found.t0 == wanted.t0
        np.testing.assert_array_equal(found.value, wanted.value)


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (toy.START + 0.5, "whole GPS seconds"),
        (LIGOTimeGPS(toy.START, 1), "whole GPS seconds"),
        ("2025-13-04", "not a date"),
        ("x", "nor a date"),
        (float("nan"), "nor a date"),
        (1e12, "no plausible GPS time"),
        (True, "no time is taken"),
        ([toy.START], "no time is taken"),
        (np.array([toy.START]), "no time is taken"),
        (TimeSeries([3.0], unit="m")[0], "not convertible"),
    ],
)
def test_what_is_no_time_is_refused(place: Path, start: Any, why: str) -> None:
    data = gathered().crop(toy.START, toy.START + 8)
    with pytest.raises(api.DeepCleanError, match=f"start=.*{why}.* a whole GPS second"):
        api.clean(data, place / "toy.yaml", start)


def test_what_is_no_dict_of_series_is_refused(place: Path) -> None:
    strain = gathered()[toy.STRAIN]
    not_data: list[Any] = [strain, {toy.STRAIN: strain.value}]
    for each in not_data:
        for use in (api.clean, api.validate, partial(api.train, coupling="30Hz")):
            with pytest.raises(api.DeepCleanError, match="a TimeSeriesDict, or a dict of gwpy's"):
                use(each, place / "toy.yaml")


@pytest.mark.slow
def test_it_trains_and_validates(place: Path, tmp_path: Path) -> None:
    config = api.load_config(
        place / "toy.yaml", [f"models.directory={tmp_path}", "training.architecture=wiener"]
    )
    made = api.train(gathered(), config, "30Hz")
    assert made.path == tmp_path / "H1" / "30Hz" / "1"
    assert made.figures["asd_ratio"] < 0.9  # the line is in a few bins of the band
    versions.set_pointer(made.path.parent, "production", 1)
    report = api.validate(gathered(), config, toy.START + 30, toy.START + 130)
    (run,) = report["runs"]
    assert run["couplings"]["30Hz"]["asd_ratio"]["PRODUCTION"]["in_band"] < 0.9


def test_what_is_absent_is_named(place: Path) -> None:
    data = gathered()
    del data[toy.MOTION]
    with pytest.raises(api.DeepCleanError, match=f"not in the data: .*{toy.MOTION}"):
        api.clean(data, place / "toy.yaml")
    with pytest.raises(api.DeepCleanError, match="no whole second"):
        api.clean(gathered(), place / "toy.yaml", toy.START + 5, toy.START + 5)


def test_a_time_far_outside_of_the_data_is_refused(place: Path) -> None:
    """It would be answered with arrays of all that time, or with no memory."""
    data, config, end = gathered(), place / "toy.yaml", toy.START + toy.SECONDS
    with pytest.raises(api.DeepCleanError, match=f"end: .* covers GPS {toy.START} to {end}"):
        api.clean(data, config, toy.START, end + 10**6)
    with pytest.raises(api.DeepCleanError, match=r"start: .* is 100000 s outside"):
        api.validate(data, config, toy.START - 10**5, end)


def test_the_pages_example_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
    example = page.split("```python")[1].split("```")[0]
    (file,) = (place / "strain").glob(f"*-{toy.START + 8}-8.*")
    names: dict[str, object] = {}
    code = example.replace("H1.yaml", "toy.yaml")
    for each in ("strain.gwf", "witnesses.gwf"):
        assert each in code
        code = code.replace(each, str(file))
    exec(code.rpartition(".plot()")[0], names)
    cleaned = names["cleaned"]
    assert isinstance(cleaned, TimeSeriesDict)
    assert cleaned[OUT_DQ].span == (toy.START + 8, toy.START + 16)
