"""Cleaned frames as their readers read them: gwframe, gwpy and lalframe say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepclean.core import channels
from deepclean.core.output.products import State
from tests.helpers import small_site as site
from tests.helpers.site_runs import clean
from tests.helpers.small_site import START

SECOND, SECONDS = START + 4, 4
OUT_DQ = f"{site.STRAIN}_DEEPCLEAN_PRODUCTION_OUT_DQ"
PRODUCTION = f"{site.STRAIN}_DEEPCLEAN_PRODUCTION"
EXPECTED = {
    OUT_DQ: (site.STRAIN_RATE, "float64", "strain"),
    PRODUCTION: (site.STRAIN_RATE, "float64", "strain"),
    "H1:DEEPCLEAN-STATE_VECTOR": (16, "uint32", ""),
    "H1:DEEPCLEAN-60HZ_MODEL_VERSION": (16, "int32", ""),
    "H1:DEEPCLEAN-60HZ_GAIN": (16, "float32", ""),
    site.STATE: (16, "uint32", ""),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Consecutive seconds, in order, the first of them `SECOND`."""
    place = tmp_path_factory.mktemp("site")
    config = site.make_site(place, seconds=10)
    clean(config, SECOND, SECOND + SECONDS, place / "cleaned")
    return sorted((place / "cleaned").glob("H-H1_DEEPCLEAN-*-1.gwf"))


@pytest.fixture(scope="module")
def path(paths: list[Path]) -> Path:
    return paths[0]


@pytest.fixture(scope="module")
def by_gwframe(path: Path) -> dict[str, np.ndarray]:
    import gwframe

    read = gwframe.read(path)
    assert {
        name: (round(series.sample_rate), str(series.array.dtype), series.unit)
        for name, series in read.items()
    } == EXPECTED
    assert {series.start for series in read.values()} == {float(SECOND)}
    return {name: series.array for name, series in read.items()}


def test_gwframe(by_gwframe: dict[str, np.ndarray]) -> None:
    assert set(by_gwframe[site.STATE]) == {7}
    assert set(by_gwframe["H1:DEEPCLEAN-60HZ_MODEL_VERSION"]) == {1}
    assert channels.state_vector("H1") in by_gwframe


def test_gwpy_joins_seconds_into_one_series(paths: list[Path]) -> None:
    import gwframe
    from gwpy.timeseries import TimeSeries

    assert len(paths) == SECONDS
    read = TimeSeries.read(paths, OUT_DQ, format="gwf")
    assert tuple(read.span) == (SECOND, SECOND + SECONDS)
    expected = np.concatenate([gwframe.read(path, OUT_DQ).array for path in paths])
    np.testing.assert_array_equal(read.value, expected)


def test_gwpy_names_the_bits(paths: list[Path]) -> None:
    from gwpy.timeseries import StateVector

    bits = [bit.name for bit in State]
    vector = StateVector.read(paths, channels.state_vector("H1"), format="gwf", bits=bits)
    active = {name: [tuple(s) for s in f.active] for name, f in vector.to_dqflags().items()}
    throughout = [(SECOND, SECOND + SECONDS)]
    without_gates = {"IN_SPEC", "SETTLED"}
    assert active == {name: [] if name in without_gates else throughout for name in bits}


def test_lalframe(path: Path, by_gwframe: dict[str, np.ndarray]) -> None:
    import lalframe

    stream = lalframe.FrStreamOpen(str(path.parent), path.name)
    readers = {
        "float64": lalframe.FrStreamReadREAL8TimeSeries,
        "float32": lalframe.FrStreamReadREAL4TimeSeries,
        "int32": lalframe.FrStreamReadINT4TimeSeries,
        "uint32": lalframe.FrStreamReadUINT4TimeSeries,
    }
    for name, (rate, dtype, _) in EXPECTED.items():
        series = readers[dtype](stream, name, SECOND, 1.0, 0)
        assert 1 / series.deltaT == pytest.approx(rate, rel=1e-12, abs=0)
        assert float(series.epoch) == SECOND
        np.testing.assert_array_equal(series.data.data, by_gwframe[name])
