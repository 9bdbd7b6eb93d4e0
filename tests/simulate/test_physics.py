"""The couplings do what they say: how strong, how seen, how far they can be predicted."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
from scipy.signal import csd, firwin, oaconvolve, resample_poly, welch

from deepclean.core.block import Samples, Series
from deepclean.core.time import Span
from deepclean.simulate import Simulator, Site
from tests.helpers.sites import SHIPPED, configured_site, demo_site

GPS = 1370000000
SECONDS = 256
BASEBAND = 32
"""Complex samples per second after moving 60 Hz to 0."""

RAW = (3.0, 4.0)
"""In-band raw / floor of the sites with sidebands (mean over 55-65 Hz of the ASD ratio)."""

IDEAL = 1.01
"""Residual / floor of the ideal predictor: what the witnesses' sensor noise leaves."""

MAINS_ONLY = 1.8
"""Residual / floor at least, where only the line is predicted."""

COHERENT, INCOHERENT = 0.6, 0.15

MAINS = "H1:PEM-CS_MAINSMON_EBAY_1_DQ"


def lowpassed(samples: Samples, rate: int) -> Samples:
    """Return the part below 10 Hz (flat to 8 Hz) at `BASEBAND`, by a linear-phase filter."""
    if rate < BASEBAND:  # a witness at 16 Hz: nothing above 3 Hz in it
        finer: Samples = resample_poly(samples, BASEBAND, rate, window=("kaiser", 12.0))
        return finer
    taps = firwin(rate // 2 * 2 + 1, 10.0, fs=rate)
    coarser: Samples = oaconvolve(samples, taps, mode="same")[:: rate // BASEBAND]
    return coarser


def demodulated(series: Series, hertz: int) -> Samples:
    turns = np.arange(series.samples.size) * hertz % series.rate / series.rate
    return lowpassed(series.samples * np.exp(-2j * np.pi * turns), series.rate)


def asd(samples: Samples) -> Samples:
    """Return the ASD within 5 Hz of the demodulated line, 2-s FFTs, median average."""
    hertz, density = welch(
        samples[2 * BASEBAND : -2 * BASEBAND],
        BASEBAND,
        nperseg=2 * BASEBAND,
        average="median",
        detrend=False,
        return_onesided=False,
    )
    inside: Samples = np.sqrt(density[np.abs(hertz) <= 5])
    return inside


def unexplained(target: Samples, regressors: list[Samples]) -> Samples:
    """Return what a least-squares combination (complex, one delay each) leaves of the target."""
    columns = np.stack([*regressors, *map(np.gradient, regressors)], axis=1)
    inside = slice(2 * BASEBAND, -2 * BASEBAND)
    weights, *_ = np.linalg.lstsq(columns[inside], target[inside], rcond=None)
    rest: Samples = target - columns @ weights
    return rest


@pytest.fixture(scope="module", params=["demo", "H1"])
def site(request: pytest.FixtureRequest) -> Site:
    return demo_site() if request.param == "demo" else configured_site("H1", couplings=["60Hz"])


@pytest.fixture(scope="module")
def made(site: Site) -> dict[str, Series]:
    simulator = Simulator(site)
    return simulator.read(list(simulator.rates), Span.of_seconds(GPS, SECONDS))


@pytest.mark.slow
def test_sidebands_need_the_product_of_witnesses(site: Site, made: dict[str, Series]) -> None:
    mains = demodulated(made[site.witnesses[0].channel], 60)
    motions = [lowpassed(made[w.channel].samples, w.rate) for w in site.witnesses[1:]]
    noise = demodulated(made["H1:TRUTH-60HZ_NOISE"], 60)
    background = demodulated(made["H1:TRUTH-BACKGROUND"], 60)
    floor = asd(background)

    def over_floor(residual: Samples) -> float:
        return float(np.mean(asd(background + residual) / floor))

    assert RAW[0] < over_floor(noise) < RAW[1]
    assert over_floor(unexplained(noise, [mains])) > MAINS_ONLY
    # A linear filter can use what a witness of alignment holds near 60 Hz: nothing of help.
    fast = [demodulated(made[w.channel], 60) for w in site.witnesses[1:] if w.rate > 128]
    assert over_floor(unexplained(noise, [mains, *fast])) > MAINS_ONLY
    products = [motion * mains for motion in motions]
    assert over_floor(unexplained(noise, [mains, *products])) < IDEAL


def test_only_the_product_sees_the_sidebands(site: Site, made: dict[str, Series]) -> None:
    rate = 512

    def at_rate(channel: str) -> Samples:
        series = made[channel]
        samples: Samples = resample_poly(series.samples.astype(float), rate, series.rate)
        return samples

    strain, mains, motion = map(at_rate, (site.strain, MAINS, "H1:ASC-CHARD_P_IN1_DQ"))

    def coherence(witness: Samples) -> float:
        """Return the largest one with the strain in the sidebands."""
        hertz, found = scipy.signal.coherence(strain, witness, fs=rate, nperseg=4 * rate)
        beside = (np.abs(hertz - 60) >= 0.75) & (np.abs(hertz - 60) <= 3)
        return float(np.max(found[beside]))

    assert coherence(motion * mains) > COHERENT
    assert coherence(mains) < INCOHERENT
    assert coherence(motion) < INCOHERENT


def test_nothing_couples_outside_the_band(site: Site, made: dict[str, Series]) -> None:
    raw, floor = (
        welch(made[name].samples, site.rate, nperseg=2 * site.rate, window="blackmanharris")
        for name in (site.strain, "H1:TRUTH-BACKGROUND")
    )
    outside = ((raw[0] > 20) & (raw[0] < 54)) | ((raw[0] > 66) & (raw[0] < 2000))
    assert np.abs(raw[1][outside] / floor[1][outside] - 1).max() < 1e-3


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name == "V1" else name for name in SHIPPED],
)
def test_strength_is_what_the_coupling_says(name: str) -> None:
    site = configured_site(name)
    simulator = Simulator(site)
    made = simulator.read(list(site.truth), Span.of_seconds(GPS, 64))
    for coupling, channel in zip(site.couplings, list(site.truth)[1:], strict=True):
        stated = coupling.linear**2 + sum(strength**2 for _, strength in coupling.bilinear)
        measured = made[channel].samples.std() / simulator.floor(coupling)
        # 64 s hold few independent swings of the slowest hums.
        assert measured == pytest.approx(np.sqrt(stated), rel=0.15), channel


def test_a_line_is_as_strong_as_stated() -> None:
    # Without sidebands only the wander of its amplitude is left to average over.
    site = configured_site("K1")
    simulator = Simulator(site)
    channel = "K1:TRUTH-60HZ_MAINS_ONLY_NOISE"
    noise = simulator.read([channel], Span.of_seconds(GPS, 128))[channel].samples
    measured = noise.std() / simulator.floor(site.couplings[0])
    assert measured == pytest.approx(site.couplings[0].linear, rel=0.04)


def test_the_strain_follows_the_witness_by_the_delay() -> None:
    # Of a hum 1 Hz wide, the phase between accelerometer and strain turns with frequency.
    site = configured_site("H1", couplings=["105Hz"])
    coupling = replace(site.couplings[0], bilinear=())
    witness = "H1:PEM-CS_ACC_PSL_TABLE1_X_DQ"
    made = Simulator(replace(site, couplings=(coupling,))).read(
        ["H1:TRUTH-105HZ_NOISE", witness], Span.of_seconds(GPS, 64)
    )
    noise, seen = made["H1:TRUTH-105HZ_NOISE"], made[witness]
    decimated = noise.samples[:: noise.rate // seen.rate]  # nothing above 115 Hz in it to fold
    hertz, cross = csd(seen.samples, decimated, fs=seen.rate, nperseg=4 * seen.rate)
    inside = (hertz >= 104.5) & (hertz <= 107.5)
    slope = np.polyfit(hertz[inside], np.unwrap(np.angle(cross[inside])), 1)[0]
    assert -slope / (2 * np.pi) == pytest.approx(coupling.delay * 1e-9, rel=0.05, abs=0)
