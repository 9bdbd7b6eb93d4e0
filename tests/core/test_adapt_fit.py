"""The statistics, the fit and its shrinkage, against what they must give on average."""

import numpy as np
import pytest

from deepclean.core.adapt.analytic import AnalyticBandpass, Complex, derivative
from deepclean.core.adapt.fit import SHRINK, fit, moments, plain_fit
from deepclean.core.adapt.spectra import (
    OVERLAP,
    SECONDS,
    Bins,
    band_bins,
    products,
    transform,
    transform_with_slope,
    whitening,
)
from deepclean.core.adapt.window import Evidence, evidence, limited, window
from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import BandpassSettings, make_bandpass
from tests.helpers.adapted_stream import same

BINS = 21


def noise(shape: tuple[int, ...], seed: int = 0) -> Complex:
    """Return complex Gaussian noise of unit power."""
    random = np.random.default_rng(seed)
    parts = random.standard_normal((2, *shape)) / np.sqrt(2)
    return np.asarray(parts[0] + 1j * parts[1])


def rows_of(samples: Float64, rate: int, bins: Bins) -> Complex:
    """Return the transforms of a record, one each second."""
    starts = range(0, len(samples) - SECONDS * rate + 1, rate)
    return np.stack([transform(samples[k : k + SECONDS * rate], rate, bins) for k in starts])


def said_by(spectra: Complex, anchors: Float64) -> Evidence:
    """Return what the last seconds say, in units of four."""
    times = np.arange(-1.0 - len(spectra), -1.0)
    seen = window(spectra, times, anchors, unit=4)
    assert seen is not None
    return evidence([seen], unit=4)


def test_bins_are_those_of_the_band() -> None:
    assert list(band_bins([(55, 65)], 512)) == list(range(110, 131))
    assert list(band_bins([(10, 11), (20, 21.2)], 512, least=6)) == [20, 21, 22, 40, 41, 42]


def test_a_narrow_band_takes_its_neighbours() -> None:
    assert list(band_bins([(59.9, 60.1)], 512)) == list(range(116, 124))
    assert len(band_bins([(59.9, 60.1)], 512, least=12)) == 12


def test_streams_of_two_rates_have_one_transform() -> None:
    bins = band_bins([(10, 20)], 64)
    fast = np.cos(2 * np.pi * 13.3 * np.arange(512) / 256)
    slow, quick = transform(fast[::4], 64, bins), transform(fast, 256, bins)
    # The slower stream folds the far side lobes of the window: 61 bins away they are below 61^-3.
    assert np.abs(slow - quick).max() < 61**-3 * np.abs(slow).max()


def test_the_slope_is_transformed_from_the_estimate_alone() -> None:
    # A band so narrow, in bins, that the window's own slope counts.
    rate, band = 256, (57.0, 61.0)
    settings = BandpassSettings("fir", 8, 4.0, 1e-4, None)
    bandpass = make_bandpass(settings, [band], rate)
    half, random = bandpass.settle_in, np.random.default_rng(4)
    samples = random.standard_normal(SECONDS * rate + 2 * half)
    bins = band_bins([band], rate)
    slope = AnalyticBandpass(bandpass, rate, derivative(*band)).apply(samples).real
    found = transform_with_slope(bandpass.apply(samples), rate, bins, band)
    expected = [transform(one, rate, bins) for one in (bandpass.apply(samples), slope)]
    assert np.allclose(found[0], expected[0], rtol=0, atol=1e-12)
    # The slope's filter is cut to the bandpass's length.
    assert np.abs(found[1] - expected[1]).max() < 2e-3 * np.abs(expected[1]).max()


def test_overlapping_bins_vary_as_stated() -> None:
    # The variance of sum E* N over bins and transforms, in units of bin power times sum |E|^2.
    rate = 64
    random = np.random.default_rng(0)
    bins = np.arange(1, SECONDS * rate // 2)
    own = rows_of(random.standard_normal(33 * rate), rate, bins)
    others = [rows_of(random.standard_normal(33 * rate), rate, bins) for _ in range(600)]
    variance = np.mean([abs(np.vdot(own, other)) ** 2 for other in others])
    unit = np.mean(np.abs(others) ** 2) * np.sum(np.abs(own) ** 2)
    # Squares of 600 complex numbers have 4 % of standard error, and the two ends overlap less.
    assert variance / unit == pytest.approx(OVERLAP, rel=0.12)


def test_plain_fit_is_least_squares() -> None:
    seconds, time = 20, np.arange(20) / 20 - 1
    columns = noise((seconds, 2, BINS), 3)
    truth = np.array([0.3 + 0.1j, -0.2j]), np.array([0.5j, 0.7])
    gains = truth[0] + time[:, None] * truth[1]
    strain = (gains[:, :, None] * columns).sum(axis=1)
    inner = products(np.concatenate([columns, strain[:, None]], axis=1), np.ones(BINS))
    (sums,) = moments(inner[None], np.ones((1, 1, seconds)), time[None])
    for level, slope in (
        plain_fit(sums, np.ones(1)),
        fit(sums, np.ones(1), np.full(1, 1e-12)),
    ):
        assert np.allclose(level[0], truth[0], atol=1e-6)
        assert np.allclose(slope[0], truth[1], atol=1e-6)
    level, slope = fit(sums, np.zeros(1), np.full(1, 1e-12))
    assert not slope.any()
    assert np.allclose(level[0], plain_fit(sums, np.zeros(1))[0][0], atol=1e-6)


def test_what_is_chance_is_shrunk_to_a_fiftieth() -> None:
    # Per direction E[(chi - c)^2 / chi; chi > c] = 0.018 for c = 3 and chi exponential.
    left: list[float] = []
    plain: list[float] = []
    for seed in range(300):
        columns, strain = noise((16, 2, BINS), 2 * seed), noise((16, 1, BINS), 2 * seed + 1)
        inner = products(np.concatenate([columns, strain], axis=1), np.ones(BINS))
        (sums,) = moments(inner[None], np.ones((1, 1, 16)), np.arange(16)[None] / 16 - 1)
        energy = sums[0, 0, :2, :2]
        for into, (level, _) in (
            (left, fit(sums, np.zeros(1), np.ones(1))),
            (plain, plain_fit(sums, np.zeros(1))),
        ):
            into.append(float((level[0].conj() @ energy @ level[0]).real))
    assert np.mean(plain) == pytest.approx(2.0, rel=0.15)
    assert SHRINK == 3.0
    assert np.mean(left) == pytest.approx(2 * 0.018, rel=0.6)
    assert np.mean(np.array(left) == 0.0) == pytest.approx((1 - np.exp(-3)) ** 2, abs=0.06)


@pytest.mark.parametrize("factor", [1.0, 1e9, 1e-9])
def test_two_groups_that_are_the_same_share_and_one_that_is_silent_has_nothing(
    factor: float,
) -> None:
    column = noise((16, 1, BINS), 5)
    rows = [column, factor * column, np.zeros((16, 1, BINS)), 0.8j * column]
    inner = products(np.concatenate(rows, axis=1), np.ones(BINS))
    (sums,) = moments(inner[None], np.ones((1, 1, 16)), np.arange(16)[None] / 16 - 1)
    level, slope = fit(sums, np.ones(1), np.full(1, 1e-6))
    assert level[0, 0] + factor * level[0, 1] == pytest.approx(0.8j, abs=1e-5)
    assert level[0, 2] == slope[0, 2] == 0
    assert np.isfinite(level).all()


def test_each_bin_has_its_own_floor() -> None:
    steep = np.geomspace(100, 1, BINS)
    spectra = np.stack([noise((64, BINS), 1), steep * noise((64, BINS), 2)], axis=1)
    spectra[:, 1, 4] *= 50  # a line that is not the coupling's
    spectra[10:13, 1] *= 1000  # a glitch
    weights = whitening(spectra, unit=4)
    assert weights is not None
    floor = 1 / np.sqrt(weights)
    expected = np.where(np.arange(BINS) == 4, 50, 1) * steep
    # The median of 64 powers is good to 14 %, its root to 7 %. The smoothed floor that is mixed in
    # is too high at the end that is quiet, and damps the line.
    others = np.arange(BINS) != 4
    assert np.abs(floor[others] / expected[others] - 1).max() < 0.6
    assert np.median(np.abs(floor / expected - 1)) < 0.25
    assert floor[4] > 30 * steep[4]


def test_a_drift_does_not_raise_the_floor() -> None:
    group = 30 * noise((64, 1, BINS), 1)
    gains = np.exp(2j * np.pi * np.arange(64) / 64)[:, None, None] - 1
    spectra = np.concatenate([group, gains * group + noise((64, 1, BINS), 2)], axis=1)
    weights = whitening(spectra, unit=1)
    assert weights is not None
    assert np.median(1 / weights) == pytest.approx(1.0, rel=0.15)


def test_a_glitch_in_each_long_unit_does_not_raise_the_floor() -> None:
    # It looks like one of the groups, so it takes the gains of its unit along.
    groups, strain = 5 * noise((64, 5, BINS), 1), noise((64, BINS), 2)
    strain[5::16] += 100 * groups[5::16, 0]
    spectra = np.concatenate([groups, strain[:, None]], axis=1)
    weights = whitening(spectra, 16, np.stack([groups.sum(axis=1), strain], axis=1))
    assert weights is not None
    assert np.median(1 / weights) == pytest.approx(1.0, rel=0.2)
    fooled = whitening(spectra, 16)
    assert fooled is not None
    assert np.median(1 / fooled) > 100


def test_glitches_are_not_trusted() -> None:
    spectra = np.stack([5 * noise((64, BINS), 1), noise((64, BINS), 2)], axis=1)
    spectra[20, 1] *= 30  # in the strain
    spectra[40, 0] *= 300  # in the witness
    said = said_by(spectra, np.ones(1))
    assert said.trust[0, 20] < 1e-3
    assert said.trust[0, 40] < 1e-6
    assert np.median(said.trust) == 1.0
    assert said.noise[0] == pytest.approx(OVERLAP, rel=0.1)


def test_no_group_becomes_louder_than_the_bound() -> None:
    random = np.random.default_rng(0)
    spectra = np.stack(
        [5 * noise((16, BINS), 1), 1e4 * noise((16, BINS), 2), noise((16, BINS), 3)], 1
    )
    anchors = np.array([1.0, 0.0])
    said = said_by(spectra, anchors)
    wild = 10.0 ** random.uniform(-3, 3, (40, 2)) * np.exp(2j * np.pi * random.random((40, 2)))
    wild[:, 1] *= 1e-3
    (found,) = limited(said, wild[None], anchors[None], 4.0)
    loud = np.sqrt(said.trust[0] @ said.products[0].diagonal(axis1=1, axis2=2).real[:, :2])
    part = np.abs(anchors + found) * loud / loud[0]
    assert part.max() == pytest.approx(4.0)
    assert (part <= 4.0 + 1e-9).all()
    # All groups are cut by one factor, and what is within the bound is not cut at all.
    factor = found / wild
    assert np.allclose(factor, factor[:, :1].real)
    tame = (np.abs(anchors + wild) * loud / loud[0] <= 4).all(axis=1)
    assert tame.any()
    assert same(found[tame], wild[tame])
