"""The strain under the couplings: a published curve's noise, or a file's."""

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import welch

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError
from deepclean.io.channels import OutputChannel
from deepclean.io.gwf import publish, serialise
from deepclean.io.hdf5 import write_archive
from deepclean.simulate import Simulator, on_background
from deepclean.simulate.background import (
    CurveBackground,
    background_channel,
    curve_asd,
    curve_floor,
)
from deepclean.simulate.compose import PLACES
from tests.helpers.sites import configured_site, demo_site

GPS = 1370000000
RATE = 1024
CHANNEL = "H1:GDS-CALIB_STRAIN"
LINE = "mains_60"

NOISE_TOLERANCE = 1e-3  # rms, between one coupling's noise made at two rates
ASD_TOLERANCE = 0.03  # of the curve, 20 Hz to 2 kHz, averaged over 40 Hz
VIOLIN_TOLERANCE = (
    0.05  # where the curve has the violin modes' forest, narrower than the FIR's bins
)


@pytest.mark.parametrize("ifo", ["H1", "K1", "V1"])
def test_asd_is_the_curve(ifo: str) -> None:
    place = PLACES[ifo]
    background = CurveBackground(place.curve, place.rate, 0, "x")
    samples = np.concatenate([background.stream(GPS + second) for second in range(128)])
    hertz, density = welch(samples, place.rate, nperseg=2 * place.rate)
    excess = density / curve_asd(place.curve, place.rate) ** 2
    for low in range(20, 2000, 40):
        inside = (hertz >= low) & (hertz < low + 40)
        tolerance = VIOLIN_TOLERANCE if 460 <= low <= 500 else ASD_TOLERANCE
        assert np.sqrt(excess[inside].mean()) == pytest.approx(1, abs=tolerance), low


def test_below_the_wall_the_curve_is_flat() -> None:
    asd = curve_asd("aLIGO175MpcT1800545", 4096)
    assert asd.shape == (4097,)
    assert np.all(asd[:20] == asd[20])
    assert np.all(asd > 0)


def test_floor_of_a_curve_is_its_asd_in_the_middle_of_the_band() -> None:
    asd = curve_asd("aLIGO175MpcT1800545", 4096)
    assert curve_floor("aLIGO175MpcT1800545", (55.0, 65.0)) == asd[120]
    assert curve_floor("aLIGO175MpcT1800545", (27.5, 32.0)) == asd[60]
    assert curve_floor("aLIGO175MpcT1800545", (2.0, 4.0)) == asd[6]


def test_unknown_curve_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean aLIGO175MpcT1800545"):
        CurveBackground("aLIGO175Mpc", 4096, 0, "x")


@pytest.fixture
def strain() -> Series:
    span = Span.of_seconds(GPS, 16)
    samples = 1e-23 * np.random.default_rng(0).standard_normal(16 * RATE) * np.sqrt(RATE / 2)
    return Series(span, RATE, samples)


@pytest.fixture(params=["gwf", "hdf5"])
def strain_file(request: pytest.FixtureRequest, tmp_path: Path, strain: Series) -> Path:
    path = tmp_path / f"H-H1_REAL-{GPS}-16.{request.param}"
    channels = {CHANNEL: OutputChannel(strain, "strain")}
    if request.param == "gwf":
        publish(path, serialise(strain.span, channels))
    else:
        write_archive(path, channels)
    return path


def test_a_file_is_the_background_bit_for_bit(strain_file: Path, strain: Series) -> None:
    site = on_background(demo_site(), strain_file)
    assert site.rate == RATE
    span = Span.of_seconds(GPS + 3, 4)
    made = Simulator(site).read([CHANNEL, *site.truth], span)
    background = made["H1:TRUTH-BACKGROUND"].samples
    assert background.tobytes() == strain.cut(span).samples.tobytes()
    noise = made["H1:TRUTH-60HZ_NOISE"].samples
    assert made[CHANNEL].samples == pytest.approx(background + noise, rel=1e-12, abs=0)


def test_couplings_are_as_strong_on_a_file_as_on_the_curve(strain_file: Path) -> None:
    simulated, span = demo_site(), Span.of_seconds(GPS, 4)
    real = on_background(simulated, strain_file)
    floors = [Simulator(site).floor(site.couplings[0]) for site in (simulated, real)]
    assert floors[0] == floors[1] == curve_floor(simulated.curve, (55.0, 65.0))
    noise = "H1:TRUTH-60HZ_NOISE"
    fine, coarse = (Simulator(site).read([noise], span)[noise] for site in (simulated, real))
    assert coarse.samples == pytest.approx(
        fine.samples[:: fine.rate // RATE], abs=NOISE_TOLERANCE * coarse.samples.std()
    )


def test_a_site_on_a_file_ends_with_it(strain_file: Path) -> None:
    simulator = Simulator(on_background(demo_site(), strain_file))
    last = Span.of_seconds(GPS + 15, 1)
    simulator.require(last)
    assert simulator.read([CHANNEL], last)[CHANNEL].samples.size == RATE
    beyond = Span.of_seconds(GPS + 15, 2)
    with pytest.raises(InputError, match=str(strain_file)):
        simulator.require(beyond)
    with pytest.raises(InputError, match=f"{GPS + 16}"):
        simulator.read([CHANNEL], beyond)


def test_the_strain_of_a_file_is_found_by_name_or_asked_for(tmp_path: Path, strain: Series) -> None:
    path = tmp_path / "two.hdf5"
    write_archive(path, {f"H1:{name}_STRAIN": OutputChannel(strain) for name in "AB"})
    with pytest.raises(InputError, match="H1:A_STRAIN, H1:B_STRAIN"):
        background_channel(path)
    assert background_channel(path, "H1:A_STRAIN") == ("H1:A_STRAIN", RATE)
    with pytest.raises(InputError, match="no channel H1:C_STRAIN"):
        background_channel(path, "H1:C_STRAIN")


def white(seconds: float, rate: int = RATE, spoilt: float = 1.0) -> Series:
    """Return a constant, whose first sample is another value."""
    span = Span(GPS * NS, GPS * NS + round(seconds * NS))
    return Series(span, rate, np.concatenate([[spoilt], np.ones(span.samples(rate) - 1)]))


@pytest.mark.parametrize(
    ("channel", "made", "error", "said"),
    [
        ("H1:OTHER", white(4), InputError, "name its strain channel"),
        (CHANNEL, white(4, spoilt=np.nan), InputError, "not all of its samples are valid"),
        (CHANNEL, white(4.5), InputError, "whole GPS seconds"),
        (CHANNEL, white(4, 64), ConfigError, f"64 Hz cannot hold {LINE}"),
    ],
)
def test_a_file_that_cannot_be_the_background_is_refused(
    tmp_path: Path, channel: str, made: Series, error: type[Exception], said: str
) -> None:
    path = tmp_path / "file.hdf5"
    write_archive(path, {channel: OutputChannel(made)})
    with pytest.raises(error, match=said):
        Simulator(on_background(demo_site(), path))


@pytest.mark.parametrize("name", ["H-H1_LOSC_4_V2-1126259446-32.hdf5"])
def test_real_strain(test_data: Path, name: str) -> None:
    site = on_background(configured_site("H1", couplings=["60Hz"]), test_data / name)
    assert (site.rate, site.background_channel) == (4096, "H1:STRAIN")
    simulator = Simulator(site)
    made = simulator.read([CHANNEL, *site.truth], Span.of_seconds(1126259446, 32))
    assert np.isfinite(made[CHANNEL].samples).all()
