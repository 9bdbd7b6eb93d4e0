"""Candidates ranked by coherence: against SciPy, against what is true, and against chance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io.datafind import RemoteData
from deepclean.io.history import History
from deepclean.witnesses import joint, significance
from deepclean.witnesses import spectra as data
from deepclean.witnesses.coherence import LEAST, Ranking, rank
from deepclean.witnesses.spectra import Candidate, SearchStretch
from tests.helpers import training_site
from tests.helpers.training_site import (
    LINE,
    MOTION,
    RATES,
    START,
    STATE,
    STRAIN,
    channels,
    toy_config,
    toy_data,
)

BAND = (20.0, 60.0)
TOY_BAND = (25.0, 35.0)
SECONDS = 128
"""Two pieces, exactly."""


def noise(seed: int, rate: int, seconds: int = SECONDS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(rate * seconds)


def low_passed(seed: int, rate: int, seconds: int = SECONDS) -> np.ndarray:
    """Return a signal below 100 Hz, of which any rate from 256 Hz on gives exact samples."""
    generator = np.random.default_rng(seed)
    spectrum = np.zeros(rate * seconds // 2 + 1, dtype=complex)
    count = 100 * seconds
    spectrum[1:count] = np.exp(2j * np.pi * generator.random(count - 1))
    return np.asarray(np.fft.irfft(spectrum) * rate * np.sqrt(seconds) / 20)


def source(made: Mapping[str, np.ndarray], seconds: int = SECONDS) -> RemoteData:
    """Return channels in memory, each at the rate that its length says."""
    span = Span.of_seconds(START, seconds)
    return RemoteData({n: Series(span, len(s) // seconds, s) for n, s in made.items()})


def stretch(
    made: Mapping[str, np.ndarray], seconds: int = SECONDS, length: int = 2
) -> SearchStretch:
    """Return a stretch of channels in memory; the strain is `S`."""
    held = source(made, seconds)
    span = Span.of_seconds(START, seconds)
    return SearchStretch(held, held, "S", None, span, [BAND], length)


def candidates(made: Mapping[str, np.ndarray], seconds: int = SECONDS) -> list[Candidate]:
    return [Candidate(name, len(s) // seconds) for name, s in made.items() if name != "S"]


def ranking(made: Mapping[str, np.ndarray], seconds: int = SECONDS) -> Ranking:
    return rank(stretch(made, seconds), candidates(made, seconds))


def coherences(found: Ranking) -> dict[str, np.ndarray]:
    return {one.candidate.name: one.coherence for one in found.ranked}


def toy(**changes: object) -> SearchStretch:
    """Return the toy's stretch."""
    held = toy_data(SECONDS, **changes)  # type: ignore[arg-type]
    span = Span.of_seconds(START, SECONDS)
    return SearchStretch(held.strain, held.witnesses, STRAIN, STATE, span, [TOY_BAND])


LINE_ALONE = Candidate(LINE, RATES[LINE])


def test_coherence_is_that_of_scipy() -> None:
    seconds, rate = 64, 512
    y = noise(1, rate, seconds) + 50
    filtered = signal.lfilter([1, 0.5, -0.3], [1], y)
    x = (1e3 * (filtered + noise(2, rate, seconds))).astype("f4")
    found = ranking({"S": y * 1e-22, "X": x}, seconds)
    frequencies, expected = signal.coherence(x.astype("f8"), y * 1e-22, rate, nperseg=1024)
    inside = (frequencies >= 20) & (frequencies <= 60)
    np.testing.assert_allclose(coherences(found)["X"], expected[inside], rtol=1e-9)
    assert found.transforms == 63
    assert found.ranked[0].mean == pytest.approx(expected[inside].mean(), rel=1e-9)


def test_coherence_with_itself_is_1_and_nothing_is_left() -> None:
    y = noise(1, 512)
    one = ranking({"S": y, "X": 7 - 1e9 * y}).ranked[0]
    np.testing.assert_allclose(one.coherence, 1, atol=1e-12)
    assert one.residual == pytest.approx(0, abs=1e-6)
    assert one.p_value < 1e-9


def test_the_rate_of_a_channel_does_not_matter() -> None:
    y = low_passed(1, 512) + noise(2, 512)
    found = coherences(ranking({"S": y, "256": low_passed(1, 256), "1024": low_passed(1, 1024)}))
    assert 0.3 < found["1024"].mean() < 0.7
    np.testing.assert_allclose(found["256"], found["1024"], rtol=1e-5)


def test_unrelated_channels_are_as_coherent_as_chance_says() -> None:
    made = {"S": noise(0, 512, 64)} | {f"X{i}": noise(i, 128, 64) for i in range(1, 201)}
    found = ranking(made, 64)
    every = np.concatenate(list(coherences(found).values()))
    assert every.mean() == pytest.approx(1 / found.averages, rel=0.03)
    assert (every > significance.level(0.1, found.averages, 1)).mean() == pytest.approx(
        0.1, rel=0.1
    )
    rare = sum(one.p_value < 0.1 for one in found.ranked)
    assert 6 <= rare <= 32  # 20 expected, or fewer: neighbouring bins are not independent
    residuals = [one.residual for one in found.ranked]
    assert np.mean(residuals) == pytest.approx(1, abs=1e-3)


def test_chance_inverts_itself_and_counts_trials() -> None:
    for trials in (1, 20, 5000):
        level = significance.level(0.01, 40.0, trials)
        assert significance.p_value(level, 40.0, trials) == pytest.approx(0.01)
    assert significance.p_value(0.1, 11.0, 1) == pytest.approx(0.9**10)
    assert (significance.p_value(0.0, 11.0, 3), significance.p_value(1.0, 11.0, 3)) == (
        1.0,
        0.0,
    )
    assert significance.averages(1) == 1
    assert significance.averages(1000) == pytest.approx(1000 / (1 + 2 / 36), rel=1e-3)


def test_witnesses_rank_above_decoys_and_what_is_no_use_comes_last() -> None:
    both = {"A": low_passed(1, 256), "B": low_passed(2, 256)}
    strain = low_passed(1, 512) + 0.5 * low_passed(2, 512) + noise(3, 512)
    made = {f"D{i}": noise(10 + i, 256) for i in range(20)} | {"S": strain} | both
    made |= {"STILL": np.full(256 * SECONDS, 3e5, dtype="f4"), "SLOW": noise(9, 40)}
    found = ranking(made)
    assert [one.candidate.name for one in found.ranked[:2]] == ["A", "B"]
    assert found.ranked[1].mean > 3 * found.ranked[2].mean
    faults = [(one.candidate.name, one.fault) for one in found.ranked if one.fault]
    assert faults == [("SLOW", "too_slow"), ("STILL", "constant")]
    means = [one.mean for one in found.ranked]
    assert means == sorted(means, reverse=True)
    assert not np.isnan(means).any()


def test_bins_above_a_channels_nyquist_frequency_count_as_not_seen() -> None:
    found = coherences(ranking({"S": noise(1, 512), "X": noise(2, 80)}))["X"]
    assert (found[:40] > 0).all()
    assert (found[40:] == 0).all()  # 40 Hz and above


def test_batches_and_files_change_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [LINE_ALONE, Candidate(MOTION, RATES[MOTION])]
    whole = coherences(rank(toy(), wanted))
    monkeypatch.setattr(data, "BATCH", 1)
    alone = coherences(rank(toy(), wanted[::-1]))
    config = toy_config(tmp_path)
    training_site.write(config, channels(training_site.SECONDS))
    files = History([config.input.strain_frames.directory])
    span = Span.of_seconds(START, SECONDS)
    read = coherences(rank(SearchStretch(files, files, STRAIN, STATE, span, [TOY_BAND]), wanted))
    # The toy of another length is other noise; the files' first samples are compared with that.
    made = channels(training_site.SECONDS)
    cut = {name: made[name][: SECONDS * rate] for name, rate in RATES.items()}
    held = toy_data(SECONDS, replaced=cut)
    same = rank(SearchStretch(held.strain, held.witnesses, STRAIN, STATE, span, [TOY_BAND]), wanted)
    for name in (LINE, MOTION):
        assert np.array_equal(whole[name], alone[name])
        assert np.array_equal(read[name], coherences(same)[name])


def test_many_channels_are_read_a_few_at_a_time() -> None:
    many = [Candidate(f"X{i}", 16384) for i in range(100)]
    sizes = [len(batch) for batch in data.batches(many, 64)]
    assert sum(sizes) == 100
    assert max(sizes) * 64 * 16384 <= data.BATCH
    assert [len(b) for b in data.batches([Candidate("X", 10**9)], 64)] == [1]


def test_a_gap_costs_a_channel_the_transforms_over_it_and_no_other() -> None:
    wanted = [LINE_ALONE, Candidate(MOTION, RATES[MOTION])]
    found = {o.candidate.channel: o for o in rank(toy(gaps={LINE: [START + 77]}), wanted).ranked}
    assert (found[LINE].transforms, found[MOTION].transforms) == (124, 126)
    made = channels(SECONDS)
    strain, line = made[STRAIN], made[LINE]
    pairs = []
    for piece in (0, 64):
        for start in range(piece, piece + 63):
            if start not in (76, 77):
                cuts = (
                    strain[start * 512 : start * 512 + 1024],
                    line[start * 256 : start * 256 + 512],
                )
                windows = [(c - c.mean()) * signal.get_window("hann", len(c)) for c in cuts]
                pairs.append([np.fft.rfft(w)[50:71] for w in windows])
    y, x = np.array(pairs).transpose(1, 0, 2)
    cross = np.abs((x.conj() * y).sum(axis=0)) ** 2
    expected = cross / (np.abs(x) ** 2).sum(axis=0) / (np.abs(y) ** 2).sum(axis=0)
    np.testing.assert_allclose(found[LINE].coherence, expected, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_cost_a_channel_their_transforms(value: float) -> None:
    line = channels(SECONDS)[LINE].copy()
    line[77 * RATES[LINE]] = value
    both = [LINE_ALONE, Candidate(MOTION, RATES[MOTION])]
    found = {one.candidate.channel: one for one in rank(toy(replaced={LINE: line}), both).ranked}
    assert (found[LINE].transforms, found[MOTION].transforms) == (124, 126)
    assert found[LINE].peak > 0.98


def test_complex_samples_are_no_use() -> None:
    both = [LINE_ALONE, Candidate(MOTION, RATES[MOTION])]
    turned = channels(SECONDS)[LINE] * (1 + 1j)
    found = {o.candidate.channel: o.fault for o in rank(toy(replaced={LINE: turned}), both).ranked}
    assert found == {MOTION: None, LINE: "too_little"}


def test_time_without_sound_ready_strain_is_left_out_and_counted() -> None:
    made = channels(SECONDS)
    strain, state = made[STRAIN].copy(), made[STATE].copy()
    strain[10 * 512 + 5] = np.nan
    state[20 * 16 : 23 * 16 + 1] = 1
    held = toy(gaps={STRAIN: [START + 40]}, replaced={STRAIN: strain, STATE: state})
    assert rank(held, [LINE_ALONE]).transforms == 126 - 2 - 5 - 2
    assert dict(held.skipped) == {"not_finite": 1, "not_ready": 4, "missing": 1}


def test_longer_transforms_resolve_more() -> None:
    y = noise(1, 512)
    made = {"S": y, "X": y + noise(2, 512)}
    held = stretch(made, length=8)
    np.testing.assert_array_equal(np.diff(held.frequencies), 0.125)
    assert rank(held, candidates(made)).transforms == 31


def test_a_product_sees_sidebands_that_neither_factor_does() -> None:
    motion = Candidate(MOTION, RATES[MOTION])
    product = Candidate(MOTION, RATES[MOTION], LINE)
    found = {one.candidate: one for one in rank(toy(), [LINE_ALONE, motion, product]).ranked}
    sidebands = np.abs(toy().frequencies - 30) >= 1
    near = sidebands & (np.abs(toy().frequencies - 30) <= 1.5)
    assert found[product].coherence[near].min() > 0.9
    assert found[motion].mean < 3 / 126
    assert found[LINE_ALONE].coherence[sidebands].max() < 0.1
    assert found[LINE_ALONE].peak > 0.98
    assert product.name == f"{MOTION} x {LINE}"


def test_a_product_is_that_of_the_factors_less_their_means() -> None:
    seconds, slow, fast = 64, noise(1, 128, 64) + 40, noise(2, 512, 64) + 7
    strain = noise(3, 512, seconds) + 0.5 * noise(2, 512, 64) * signal.resample(slow - 40, 512 * 64)
    made = {"S": strain, "SLOW": slow, "FAST": fast}
    one = rank(stretch(made, seconds), [Candidate("SLOW", 128, "FAST")]).ranked[0]
    sums = np.zeros((3, 81), dtype=complex)
    window = signal.get_window("hann", 1024)
    for start in range(63):
        x = slow[start * 128 : start * 128 + 256]
        c = fast[start * 512 : start * 512 + 1024]
        y = strain[start * 512 : start * 512 + 1024]
        product = signal.resample(x - x.mean(), 1024) * (c - c.mean())
        px, py = (np.fft.rfft((a - a.mean()) * window)[40:121] for a in (product, y))
        sums += [np.abs(px) ** 2, np.abs(py) ** 2, px.conj() * py]
    expected = np.abs(sums[2]) ** 2 / (sums[0] * sums[1]).real
    np.testing.assert_allclose(one.coherence, expected, rtol=1e-9)
    assert one.mean > 0.1


def test_the_next_witness_is_the_one_that_explains_most_of_all_power() -> None:
    generator = np.random.default_rng(8)
    shape = (200, 4)
    noises = [
        generator.standard_normal(shape) + 1j * generator.standard_normal(shape) for _ in "abcd"
    ]
    strong, weak, rest, floor = noises
    inside = np.array([1, 1, 0, 0])
    # B explains nearly all that A leaves of two bins, C half of the other two, which are as loud.
    strain = inside * (strong + 0.03 * weak + 0.001 * floor) + (1 - inside) * (rest + floor)
    values = np.stack([strain, strong, weak, rest], axis=-1)
    taken = joint.sweep(np.einsum("tfi,tfj->fij", values.conj(), values), 3)
    assert [index for index, _, _ in taken] == [0, 2, 1]


def test_multiple_coherence_is_that_of_least_squares() -> None:
    generator = np.random.default_rng(4)
    shape = (30, 5, 7)  # transforms, bins, strain and witnesses
    values = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    values[:, :, 0] += 2 * values[:, :, 3] - 1j * values[:, :, 5]
    values[:, :, 4] += values[:, :, 3]
    matrix = np.einsum("tfi,tfj->fij", values.conj(), values)
    taken = joint.sweep(matrix, 6)
    assert sorted(index for index, _, _ in taken) == list(range(6))
    for count in range(1, 7):
        columns = [index + 1 for index, _, _ in taken[:count]]
        for number in range(5):
            y, x = values[:, number, 0], values[:, number][:, columns]
            left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
            expected = 1 - np.vdot(left, left).real / np.vdot(y, y).real
            assert taken[count - 1][2][number] == pytest.approx(expected, abs=1e-12)
    gains = np.diff([0.0, *(multiple.mean() for _, _, multiple in taken)])
    assert gains[0] == max(gains)
    left_before = 1 - taken[0][2]
    np.testing.assert_allclose(taken[1][2], 1 - left_before * (1 - taken[1][1]), atol=1e-12)


def test_a_channel_that_repeats_another_adds_nothing() -> None:
    generator = np.random.default_rng(5)
    values = generator.standard_normal((30, 4, 3)) + 0j
    values[:, :, 0] += values[:, :, 1]
    values[:, :, 2] = 5 * values[:, :, 1]
    taken = joint.sweep(np.einsum("tfi,tfj->fij", values.conj(), values), 2)
    np.testing.assert_array_equal(taken[1][1], 0)
    np.testing.assert_allclose(taken[1][2], taken[0][2], atol=1e-12)


def test_the_set_holds_each_source_once_and_no_decoy_and_leaves_the_floor() -> None:
    strain = low_passed(1, 512) + 0.5 * low_passed(2, 512) + noise(3, 512)
    made = {"S": strain, "A": low_passed(1, 256), "B": low_passed(2, 512)}
    made |= {"A2": low_passed(1, 256) + 0.1 * noise(4, 256)}
    made |= {f"D{i}": noise(10 + i, 256) for i in range(20)}
    held = stretch(made)
    found = joint.choose(held, rank(held, candidates(made)), 10)
    assert [step.candidate.name for step in found.steps] == ["A", "B"]
    assert (found.among, found.transforms) == (23, 126)
    density = [signal.welch(x, 512, nperseg=1024)[1][40:121] for x in (noise(3, 512), strain)]
    assert found.steps[-1].residual == pytest.approx(
        np.sqrt(density[0] / density[1]).mean(), abs=0.02
    )
    assert found.steps[0].residual > found.steps[1].residual


def test_a_channel_that_is_seldom_there_does_not_cost_the_others() -> None:
    span = Span.of_seconds(START, SECONDS)
    gaps = {LINE: [START + 5], MOTION: range(START, START + 60)}
    held = toy_data(SECONDS, gaps=gaps)
    wanted = SearchStretch(held.strain, held.witnesses, STRAIN, STATE, span, [TOY_BAND])
    found = rank(wanted, [LINE_ALONE, Candidate(MOTION, RATES[MOTION])])
    chosen = joint.choose(wanted, found, 2)
    assert (chosen.among, chosen.transforms) == (1, 124)


@pytest.mark.parametrize("band", [(50.0, 256.0), (300.0, 400.0), (0.0, 10.0)])
def test_a_band_that_the_strain_does_not_hold_is_refused(band: tuple[float, float]) -> None:
    held = toy_data(SECONDS)
    with pytest.raises(InputError, match="between 0 and 256 Hz"):
        SearchStretch(held.strain, held.witnesses, STRAIN, None, Span.of_seconds(START, 8), [band])


def test_a_strain_that_is_not_there_is_refused() -> None:
    held = toy_data(SECONDS)
    with pytest.raises(InputError, match=f"no channel H1:GDS-CALIB; did you mean {STRAIN}"):
        SearchStretch(held.strain, held.witnesses, "H1:GDS-CALIB", None, Span(0, NS), [TOY_BAND])


def test_too_little_strain_is_refused_with_what_was_skipped() -> None:
    held = toy(replaced={STATE: np.zeros(16 * SECONDS, dtype="u4")})
    with pytest.raises(InputError, match=rf"only 0 .*{LEAST} are the least, not_ready 128 s"):
        rank(held, [LINE_ALONE])


def test_no_time_in_common_is_refused_and_too_little_of_one_is_said() -> None:
    missing = range(START, START + SECONDS)
    with pytest.raises(InputError, match="no candidate has 8 transforms of 2 s in common"):
        rank(toy(gaps={LINE: missing}), [LINE_ALONE])
    both = [LINE_ALONE, Candidate(MOTION, RATES[MOTION])]
    found = rank(toy(gaps={MOTION: missing[8:]}), both)
    assert [(one.candidate.channel, one.fault) for one in found.ranked] == [
        (LINE, None),
        (MOTION, "too_little"),
    ]
    np.testing.assert_array_equal(found.ranked[1].coherence, 0)
