import numpy as np
import pytest
import torch
from scipy import signal

from deepclean.core.filters.bandpass import FirBandpass
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.train.prepare import TrainingStretch
from deepclean.train.wiener import fit_wiener
from tests.helpers.settings import bandpass_settings

RATE, BANDS, SECONDS = 256, ((25.0, 35.0),), 200
BANDPASS = FirBandpass(bandpass_settings(transition=16, tolerance=0.01), BANDS, RATE)


def stretch(floor: float, seed: int = 0) -> tuple[TrainingStretch, np.ndarray, np.ndarray]:
    """Return data with a known linear coupling of two correlated witnesses, noise and floor."""
    rng = np.random.default_rng(seed)
    count = SECONDS * RATE
    first = rng.standard_normal(count)
    second = 0.6 * first + 0.8 * rng.standard_normal(count)
    noise = np.roll(first, 3) - 0.5 * np.roll(second, -2)
    rest = floor * rng.standard_normal(count)
    target = signal.fftconvolve(noise + rest, BANDPASS.taps, mode="same")
    witnesses = np.stack([first, second]).astype(np.float32)
    span = Span.of_seconds(1_400_000_000, SECONDS)
    return TrainingStretch(span, witnesses, target.astype(np.float32)), noise, rest


def in_band(samples: np.ndarray) -> float:
    """Return the power in the band."""
    frequencies, power = signal.welch(samples[RATE:-RATE], RATE, nperseg=2 * RATE)
    return float(power[(frequencies >= 25) & (frequencies <= 35)].mean())


def predicted(network: torch.nn.Module, data: TrainingStretch) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(data.witnesses)[None])[0].numpy())


def test_a_linear_coupling_is_found_down_to_the_floor() -> None:
    data, noise, rest = stretch(floor=0.1)
    network = fit_wiener([data], BANDPASS, RATE, taps=33)
    left = noise - predicted(network, data)
    assert in_band(noise) > 50 * in_band(rest)
    # 2 * 33 parameters, of which the band sees few, estimated from 200 s of 10 Hz.
    assert in_band(left) < 0.02 * in_band(rest)


def test_a_witness_of_nothing_gets_next_to_nothing() -> None:
    data, _, rest = stretch(floor=1.0)
    dumb = np.random.default_rng(9).standard_normal((1, SECONDS * RATE)).astype(np.float32)
    alone = TrainingStretch(
        data.span, dumb, signal.fftconvolve(rest, BANDPASS.taps, "same").astype("f4")
    )
    network = fit_wiener([alone], BANDPASS, RATE, taps=17)
    assert in_band(predicted(network, alone)) < 0.02 * in_band(rest)


def test_a_strong_line_is_weighed_by_what_it_leaves_not_by_what_it_is() -> None:
    data, _, rest = stretch(floor=1.0)
    time = np.arange(SECONDS * RATE) / RATE
    line = 300 * np.cos(2 * np.pi * 30 * time)
    witnesses = np.concatenate([data.witnesses, (line[None] / 300).astype(np.float32)])
    strain = data.target + signal.fftconvolve(line, BANDPASS.taps, "same")
    both = TrainingStretch(data.span, witnesses, strain.astype(np.float32))
    network = fit_wiener([both], BANDPASS, RATE, taps=33)
    # The prediction passes the bandpass too, whose gain at the line is 1 within its tolerance.
    left = strain - signal.fftconvolve(predicted(network, both), BANDPASS.taps, "same")
    assert in_band(left) < 1.05 * in_band(rest)


def test_several_stretches_are_one_estimate() -> None:
    data, _, _ = stretch(floor=0.1)
    half = SECONDS * RATE // 2
    parts = [
        TrainingStretch(data.span, data.witnesses[:, cut], data.target[cut])
        for cut in (slice(None, half), slice(half, None))
    ]
    whole = predicted(fit_wiener([data], BANDPASS, RATE, taps=9), data)
    split = predicted(fit_wiener(parts, BANDPASS, RATE, taps=9), data)
    assert in_band(whole - split) < 1e-4 * in_band(whole)


def test_too_little_data_is_refused() -> None:
    data, _, _ = stretch(floor=0.1)
    short = TrainingStretch(data.span, data.witnesses[:, :400], data.target[:400])
    with pytest.raises(InputError, match="no training stretch is longer than 2 s"):
        fit_wiener([short], BANDPASS, RATE, taps=9)
