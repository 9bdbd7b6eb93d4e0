"""Couplings of every kind, and their noise over a whole record.

It is computed by the engine in one push, and by scipy's filters and torch over the whole array. The
latter shares no code with the engine but the network itself.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import gcd

import numpy as np
import torch
from scipy import signal

from deepclean.core.block import CleanedBlock, Float64, Series
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.time import NS
from tests.helpers.builders import SMALL, Record, Small, clean, make_engine, make_record, wiener
from tests.helpers.settings import predict_settings

LENGTH = 100
"""Seconds of the record that is cut up."""

WINDOWS = predict_settings("windows", kernel=512, edge=112)

COUPLINGS = {
    "pass": Small(),
    "wiener": Small(network=wiener(3)),
    "windows": Small(predict=WINDOWS),
    "average": Small(predict=predict_settings("average", kernel=512, edge=96, stride=32)),
    "bands": Small(network=wiener(3), bands=((20.0, 28.0), (55.0, 65.0), (110.0, 130.0))),
}


@lru_cache
def record() -> Record:
    """Return the record that is cut up."""
    return make_record(LENGTH)


SETTINGS = {"waits": SMALL, "hasty": replace(SMALL, forecast=ForecastSettings(memory=4 * NS))}
"""Of an engine whose hops wait for their look-ahead, and of one whose hops do not."""


@lru_cache
def at_once(
    coupling: str, settings: str = "waits", hop: int = NS, seconds: int = LENGTH
) -> CleanedBlock:
    """Return the record's first seconds, cleaned in one push."""
    data = record().between(0, seconds * NS)
    engine = make_engine(replace(SETTINGS[settings], hop=hop), COUPLINGS[coupling])
    (cleaned,) = clean(engine, [data.block(data.span)])
    return cleaned


def resampled(samples: Float64, source: int, target: int) -> Float64:
    """Change the rate of a whole array from a common instant, by scipy.

    A Kaiser-windowed sinc of 80 dB and 16 samples of the slower rate a side, 1/4 s at most, each
    phase of unit sum, as the engine states it.
    """
    if source == target:
        return samples
    up, down = target // gcd(source, target), source // gcd(source, target)
    half = min(16, min(source, target) // 4) * max(up, down)
    window = ("kaiser", signal.kaiser_beta(80.0))
    taps = signal.firwin(2 * half + 1, 1 / max(up, down), window=window, scale=False)
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    # A filter's delay that is a whole number of outputs can be cut off.
    lead = -half % down
    outputs = signal.upfirdn(np.concatenate([np.zeros(lead), taps]), samples, up, down)
    return np.asarray(outputs[(half + lead) // down :][: len(samples) * up // down])


def confined(samples: Float64, coupling: Coupling, spec: Small, rate: int) -> Float64:
    """Bandpass a whole array, by scipy."""
    half, chosen = coupling.bandpass.settle_in, spec.bandpass
    total = np.zeros(len(samples))
    for low, high in spec.bands:
        if chosen.filter == "butterworth":
            sos = signal.butter(chosen.order, (low, high), "bandpass", fs=rate, output="sos")
            total += signal.sosfiltfilt(sos, samples)
            continue
        attenuation = 7.95 + 2.285 * 2 * half * 2 * np.pi * chosen.transition / rate
        taps = signal.firwin(
            2 * half + 1,
            [low - chosen.transition / 2, high + chosen.transition / 2],
            window=("kaiser", signal.kaiser_beta(attenuation)),
            pass_zero=False,
            scale=False,
            fs=rate,
        )
        total += signal.fftconvolve(samples, taps, mode="same")
    return total


def independent(data: Record, coupling: Coupling, spec: Small, shared: EngineSettings) -> Float64:
    """Return the noise to subtract over a whole record, at the strain's rate."""
    rate, predictor = shared.model_rate, coupling.predictor
    rows = []
    for name in coupling.witnesses:
        witness = data.witnesses[name]
        assert isinstance(witness, Series)
        rows.append(resampled(witness.samples, witness.rate, rate))
    centred = np.stack(rows) - predictor.witness_mean[:, None]
    inputs = (centred / predictor.witness_std[:, None]).astype(np.float32)
    with torch.inference_mode():
        outputs = predictor.network(torch.from_numpy(inputs[None]))[0].numpy()
    prediction = outputs.astype(np.float64) * predictor.strain_std + predictor.strain_mean
    band = confined(prediction, coupling, spec, rate)
    return resampled(band, rate, shared.strain_rate)
