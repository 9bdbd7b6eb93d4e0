"""A site's history on disk, read back as any reader would."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError, OutputError
from deepclean.io import gwf, hdf5
from deepclean.io.t050017 import FrameName
from deepclean.simulate import Layout, Simulator, with_dummies, write_history
from tests.helpers.builders import same_series
from tests.helpers.sites import configured_site, demo_site

GPS = 1370000000
SITE = demo_site()
WITNESSES = [witness.channel for witness in SITE.witnesses]


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(SITE)


def listed(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def assert_same(found: dict[str, Series], expected: dict[str, Series]) -> None:
    assert set(found) == set(expected)
    for name, series in expected.items():
        assert same_series(found[name], series), name


def test_history_is_read_back_bit_for_bit(tmp_path: Path, simulator: Simulator) -> None:
    strain, witnesses, truth = (tmp_path / name for name in ("a/strain", "witnesses", "truth"))
    layout = Layout(
        strain=strain, witnesses=witnesses, truth=truth, strain_length=2, witness_length=4
    )
    paths = list(write_history(simulator, layout, Span.of_seconds(GPS, 8)))
    assert listed(strain) == [f"H-H1_llhoft-{GPS + second}-2.gwf" for second in (0, 2, 4, 6)]
    assert listed(witnesses) == [f"H-H1_lldetchar-{GPS + second}-4.gwf" for second in (0, 4)]
    assert listed(truth) == [f"H-H1_TRUTH-{GPS}-8.hdf5"]
    assert sorted(paths) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for path in paths:
        name = FrameName.parse(path.name)
        assert name is not None
        read: Callable[..., dict[str, Series]] = {"gwf": gwf, "hdf5": hdf5}[name.extension].read
        channels = {
            strain: [SITE.strain, SITE.state],
            witnesses: WITNESSES,
            truth: list(SITE.truth),
        }[path.parent]
        assert_same(read(path, channels), simulator.read(channels, name.span))


def test_frame_files_hold_their_channels(tmp_path: Path, simulator: Simulator) -> None:
    layout = Layout(strain=tmp_path / "strain", witnesses=tmp_path / "witnesses")
    strain, witnesses = write_history(simulator, layout, Span.of_seconds(GPS, 1))
    rates = SITE.channels
    assert gwf.channels(strain) == {name: rates[name] for name in (SITE.strain, SITE.state)}
    assert gwf.channels(witnesses) == {name: rates[name] for name in WITNESSES}


def test_witnesses_can_lie_in_the_strains_files(tmp_path: Path, simulator: Simulator) -> None:
    (path,) = write_history(simulator, Layout(strain=tmp_path), Span.of_seconds(GPS, 1))
    assert gwf.channels(path) == SITE.channels


def test_the_last_file_may_be_shorter(tmp_path: Path, simulator: Simulator) -> None:
    layout = Layout(strain=tmp_path, strain_length=4)
    list(write_history(simulator, layout, Span.of_seconds(GPS, 6)))
    assert listed(tmp_path) == [f"H-H1_llhoft-{GPS}-4.gwf", f"H-H1_llhoft-{GPS + 4}-2.gwf"]


def test_descriptions_can_be_chosen(tmp_path: Path, simulator: Simulator) -> None:
    layout = Layout(
        strain=tmp_path,
        witnesses=tmp_path,
        strain_description="H1_HOFT_C00",
        witness_description="H1_R",
    )
    list(write_history(simulator, layout, Span.of_seconds(GPS, 1)))
    assert listed(tmp_path) == [f"H-H1_HOFT_C00-{GPS}-1.gwf", f"H-H1_R-{GPS}-1.gwf"]


def test_a_file_of_many_channels(tmp_path: Path) -> None:
    simulator = Simulator(with_dummies(SITE, 200))
    (path,) = write_history(simulator, Layout(strain=tmp_path), Span.of_seconds(GPS, 1))
    assert len(gwf.channels(path)) == 2 + 6 + 200
    found = gwf.read(path, WITNESSES)
    assert_same(found, simulator.read(WITNESSES, Span.of_seconds(GPS, 1)))  # type: ignore[arg-type]


def test_other_libraries_read_the_frames(tmp_path: Path, simulator: Simulator) -> None:
    from gwpy.timeseries import TimeSeries

    layout = Layout(strain=tmp_path, truth=tmp_path, strain_length=2, truth_length=2)
    frame, truth = write_history(simulator, layout, Span.of_seconds(GPS, 2))
    made = simulator.read([SITE.strain, *SITE.truth], Span.of_seconds(GPS, 2))
    for path, channel in ((frame, SITE.strain), (truth, "H1:TRUTH-60HZ_NOISE")):
        series = TimeSeries.read(path, channel)
        assert float(series.t0.value) == GPS
        assert float(series.sample_rate.value) == 16384
        assert str(series.unit) == "strain"
        assert np.array_equal(series.value, made[channel].samples)


def test_virgo_can_be_written(tmp_path: Path) -> None:
    site = configured_site("V1")
    layout = Layout(strain=tmp_path / "strain", witnesses=tmp_path / "witnesses")
    strain, witnesses = write_history(Simulator(site), layout, Span.of_seconds(GPS, 1))
    assert strain.name == f"V-V1_llhoft-{GPS}-1.gwf"
    assert gwf.channels(strain)["V1:Hrec_hoft_raw_20000Hz"] == 20000
    assert len(gwf.channels(witnesses)) == 173


def test_a_span_of_parts_of_seconds_is_refused(tmp_path: Path, simulator: Simulator) -> None:
    span = Span(GPS * NS, GPS * NS + NS // 2)
    with pytest.raises(ConfigError, match="whole GPS seconds"):
        write_history(simulator, Layout(strain=tmp_path / "x"), span)
    assert not (tmp_path / "x").exists()


def test_unmade_directory_is_an_output_error(tmp_path: Path, simulator: Simulator) -> None:
    (tmp_path / "file").touch()
    layout = Layout(strain=tmp_path / "file" / "strain")
    with pytest.raises(OutputError, match="file/strain: cannot be made") as caught:
        write_history(simulator, layout, Span.of_seconds(GPS, 1))
    assert caught.value.errno is not None


def test_a_site_on_a_file_writes_nothing_beyond_it(tmp_path: Path) -> None:
    from deepclean.io.channels import OutputChannel
    from deepclean.simulate import on_background

    path = tmp_path / "real.hdf5"
    strain = Series(Span.of_seconds(GPS, 4), 1024, np.random.default_rng(0).normal(size=4096))
    hdf5.write_archive(path, {SITE.strain: OutputChannel(strain)})
    simulator = Simulator(on_background(SITE, path))
    layout = Layout(strain=tmp_path / "frames", strain_length=4)
    with pytest.raises(InputError, match=r"real\.hdf5"):
        write_history(simulator, layout, Span.of_seconds(GPS + 2, 4))
    assert not (tmp_path / "frames").exists()
    (made,) = write_history(simulator, layout, Span.of_seconds(GPS, 4))
    assert gwf.channels(made)[SITE.strain] == 1024


@pytest.mark.parametrize("length", [0, 4097])
def test_a_length_out_of_range_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(ConfigError, match=f"witness_length: {length} is not from 1 to 4096"):
        Layout(strain=tmp_path, witness_length=length)
