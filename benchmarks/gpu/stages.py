"""Resampling and bandpass on a device: what they take there, so that it is known whether it pays.

The engine computes both on the CPU, in float64. Here stands the same arithmetic in torch. The
witnesses come from the CPU and what is resampled stays on the device, where the network is; the
filtered estimates come back, because the adaptation is on the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import scipy.fft
import torch

from benchmarks.common import Figures, spread
from benchmarks.gpu.measure import configuration, difference
from benchmarks.site import COUPLING
from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import FirBandpass
from deepclean.core.filters.resample import Resampler
from deepclean.core.time import NS
from deepclean.models.budget import coupling_bandpass

RATES = (256, 16384)
"""Hz of the witnesses: slower and faster than the model."""


def stages(device: str | None, repeat: int, counts: Sequence[int]) -> Figures:
    """Return what both stages take for one second, in ms, and how far their samples are off.

    Args:
        device: where; None: the engine's own code.
        repeat: how often each is measured.
        counts: numbers of witnesses that are resampled, and of estimates that are filtered.
    """
    found, off = Figures(), []
    for count in counts:
        for rate in RATES:
            took, apart = resampling(count, rate, device, repeat)
            found[f"resample {count} witnesses at {rate} Hz, median (ms)"] = took
            off.append(apart)
        took, apart = filtering(count, device, repeat)
        found[f"bandpass of {count} estimates, median (ms)"] = took
        off.append(apart)
    return found | {"resampling and bandpass: difference, worst (rms = 1)": max(off)}


def resampling(count: int, rate: int, device: str | None, repeat: int) -> tuple[float, float]:
    """Return the median ms of a second of witnesses, and how far the samples are off."""
    engine = configuration("1").engine
    resampler = Resampler(
        rate,
        engine.rate,
        zeros=engine.resample.zeros,
        max_delay=Fraction(engine.resample.max_delay, NS),
        attenuation=engine.resample.attenuation,
    )
    start, stop = resampler.needs(0, engine.rate)
    inputs = np.random.default_rng(1).standard_normal((count, stop - start))
    expected = resampler.apply(inputs, 0, engine.rate)
    if device is None:
        return timed(lambda: resampler.apply(inputs, 0, engine.rate), repeat), 0.0
    place = torch.device(device)
    layout = resampler._layout(0, engine.rate)
    matrices = [torch.from_numpy(piece.matrix).to(place) for piece in layout.pieces]
    padded = torch.zeros(count, layout.inputs, dtype=torch.float64, device=place)
    outputs = torch.empty(
        count, layout.cycles, layout.cycle_outputs, dtype=torch.float64, device=place
    )

    def apply() -> torch.Tensor:
        padded[:, : inputs.shape[1]] = torch.from_numpy(inputs).to(place)
        for piece, matrix in zip(layout.pieces, matrices, strict=True):
            # Cycle c reads the inputs from c * cycle_inputs + offset on, as overlapping views.
            windows = padded[:, piece.offset :].unfold(1, matrix.shape[0], layout.cycle_inputs)
            part = slice(piece.output, piece.output + matrix.shape[1])
            outputs[:, :, part] = windows[:, : layout.cycles] @ matrix
        wait(place)
        return outputs.reshape(count, -1)[:, : engine.rate]

    return timed(apply, repeat), difference(apply().cpu().numpy(), expected)["worst"]


def filtering(count: int, device: str | None, repeat: int) -> tuple[float, float]:
    """Return the median ms of a second of estimates, and how far the samples are off."""
    config = configuration("21")
    bandpass = coupling_bandpass(config, COUPLING)
    assert isinstance(bandpass, FirBandpass)
    reach = 2 * bandpass.settle_in
    windows = np.random.default_rng(2).standard_normal((count, config.engine.rate + reach))

    def on_cpu() -> Float64:
        return np.stack([bandpass.apply(window) for window in windows])

    expected = on_cpu()
    if device is None:
        return timed(on_cpu, repeat), 0.0
    place, length = torch.device(device), windows.shape[1]
    size = scipy.fft.next_fast_len(length, real=True)
    response = torch.fft.rfft(torch.from_numpy(bandpass.taps).to(place), size)

    def apply() -> torch.Tensor:
        spectra = torch.fft.rfft(torch.from_numpy(windows).to(place), size) * response
        filtered: torch.Tensor = torch.fft.irfft(spectra, size)[:, reach:length].cpu()
        return filtered

    return timed(apply, repeat), difference(apply().numpy(), expected)["worst"]


def timed(work: Callable[[], object], repeat: int) -> float:
    """Return the median ms that work takes, after some that fill the caches."""
    took = []
    for _ in range(repeat + 3):
        began = time.perf_counter()
        work()
        took.append(1e3 * (time.perf_counter() - began))
    return spread(took[3:])["median"]


def wait(place: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)
