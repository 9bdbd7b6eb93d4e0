"""The linear baseline: a multi-channel finite Wiener filter, solved in closed form.

Standardised witnesses `x_c` and strain `y`; the prediction is

    p(t) = sum_c sum_j w_cj x_c(t + l_j),        l_j = j - M,  j = 0 ... 2M,

and `w` minimises the weighted in-band residual power,

    sum_f V(f) |Y(f) - P(f)|^2,                  V(f) = B(f)^2 / S_res(f),

with `B` the response of the coupling's bandpass and `S_res` the residual's own power spectrum.
Setting the derivative to zero gives the Wiener-Hopf equations, block-Toeplitz in the lags,

    sum_d sum_i R_cd(l_i - l_j) w_di = r_c(l_j),
    R_cd(m) = sum_f V Re[conj(X_c) X_d e^(2 pi i f m)],  r_c(l) = sum_f V Re[conj(Y) X_c e^(...)],

with Welch averages for the spectra. `B` vanishes outside the bands, so `R` is nearly singular. A
small multiple of its mean diagonal is therefore added to it (Tikhonov). `S_res` starts as the
strain's spectrum and is computed again from each solution. The fixed point maximises the likelihood
of a Gaussian residual of unknown spectrum.

Wiener 1949, "Extrapolation, Interpolation, and Smoothing of Stationary Time Series"; for
interferometers Allen, Hua and Ottewill 1999 (gr-qc/9909083), section III.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, linalg, signal

from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Bandpass
from deepclean.core.spectra import FFT_SECONDS, Complex
from deepclean.errors import InputError
from deepclean.models.networks import Wiener
from deepclean.train.prepare import TrainingStretch

REGULARISATION = 1e-6
"""Term added to the diagonal of the normal equations, in units of its mean."""

PASS = 0.1
"""Smallest response of the bandpass at a frequency that is used."""

ROUNDS = 3
"""Number of solutions, each weighted by the residual of the one before."""


@dataclass(frozen=True, slots=True, eq=False)
class WienerSpectra:
    """Averaged spectra at the frequencies that the bandpass passes.

    Args:
        frequencies: in cycles per sample, shape `(bins,)`.
        response: of the bandpass, `(bins,)`.
        witnesses: `conj(X_c) X_d`, shape `(bins, channels, channels)`.
        strain: `conj(Y) X_c`, shape `(bins, channels)`; `Y` is before the bandpass.
        power: `|Y|^2`, shape `(bins,)`.
    """

    frequencies: Float64
    response: Float64
    witnesses: Complex
    strain: Complex
    power: Float64


def fit_wiener(
    stretches: Sequence[TrainingStretch], bandpass: Bandpass, rate: int, taps: int
) -> Wiener:
    """Return the Wiener filter of some data as a network.

    Args:
        stretches: stretches of standardised witnesses and bandpassed, standardised strain.
        bandpass: the filter that confined the strain.
        rate: samples per second.
        taps: number of taps per witness, odd.

    Raises:
        InputError: no stretch holds a segment of 2 s.
        ModelError: `taps` is not a positive odd integer.
    """
    import torch

    spectra = estimate(stretches, bandpass, rate)
    network = Wiener(spectra.strain.shape[1], taps=taps)
    weights = solve(spectra, taps)
    with torch.no_grad():
        # A convolution layer correlates: its tap j multiplies the sample at t + j - M, as here.
        network.fir.weight.copy_(torch.from_numpy(weights[None]))
    return network


def estimate(stretches: Sequence[TrainingStretch], bandpass: Bandpass, rate: int) -> WienerSpectra:
    """Return Welch averages (Hann windows that overlap by half) over all stretches.

    The segments are far longer than the filters, so that their lags are hardly tapered.

    Raises:
        InputError: no stretch holds a segment.
    """
    length = FFT_SECONDS * rate
    every = fft.rfftfreq(length)
    response = bandpass.response(every * rate)
    inside = response >= PASS
    window = signal.get_window("hann", length).astype(np.float32)
    channels, bins = len(stretches[0].witnesses), int(inside.sum())
    witnesses = np.zeros((bins, channels, channels), dtype=np.complex128)
    strain = np.zeros((bins, channels), dtype=np.complex128)
    power, count = np.zeros(bins), 0
    for stretch in stretches:
        for start in range(0, len(stretch.target) - length + 1, length // 2):
            cut = slice(start, start + length)
            x = fft.rfft(stretch.witnesses[:, cut] * window)[:, inside].T.astype(np.complex128)
            y = fft.rfft(stretch.target[cut] * window)[inside] / response[inside]
            witnesses += x.conj()[:, :, None] * x[:, None, :]
            strain += y.conj()[:, None] * x
            power += np.abs(y) ** 2
            count += 1
    if count == 0:
        raise InputError(f"no training stretch is longer than {FFT_SECONDS} s")
    return WienerSpectra(
        every[inside], response[inside], witnesses / count, strain / count, power / count
    )


def solve(spectra: WienerSpectra, taps: int) -> Float64:
    """Return the filter, shape `(channels, taps)`. Its middle tap has zero delay."""
    half = taps // 2
    lags = np.arange(-half, half + 1)
    wide = np.arange(-2 * half, 2 * half + 1)
    turning = np.exp(2j * np.pi * np.outer(spectra.frequencies, lags))
    turning_wide = np.exp(2j * np.pi * np.outer(spectra.frequencies, wide))
    channels = spectra.strain.shape[1]
    toeplitz = np.arange(taps)[None, :] - np.arange(taps)[:, None] + 2 * half
    residual = spectra.power
    weights = np.zeros((channels, taps))
    for _ in range(ROUNDS):
        value = spectra.response**2 / residual
        flat = (value[:, None, None] * spectra.witnesses).reshape(len(value), -1)
        auto = (flat.T @ turning_wide).real.reshape(channels, channels, -1)
        cross = ((value[:, None] * spectra.strain).T @ turning).real
        matrix = auto[:, :, toeplitz].transpose(0, 2, 1, 3).reshape(channels * taps, -1)
        matrix += REGULARISATION * np.mean(np.diag(matrix)) * np.eye(len(matrix))
        weights = linalg.solve(matrix, cross.reshape(-1), assume_a="pos").reshape(channels, taps)
        residual = _residual(spectra, weights, turning)
    return weights


def _residual(spectra: WienerSpectra, weights: Float64, turning: Complex) -> Float64:
    """Return `|Y - P|^2` by frequency, at least the rounding error of `|Y|^2`."""
    gain = turning @ weights.T
    both = np.einsum("fc,fcd,fd->f", gain.conj(), spectra.witnesses, gain).real
    mixed = 2 * np.einsum("fc,fc->f", gain, spectra.strain).real
    left = spectra.power - mixed + both
    return np.asarray(np.maximum(left, 1e-12 * spectra.power), dtype=np.float64)
