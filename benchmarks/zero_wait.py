#!/usr/bin/env python3
"""Measure what not waiting costs, by kind of noise and by what is done about the future.

Every case is cleaned by the engine with its look-ahead and without (`wait: 0`), and, for
comparison, as it would be with other answers to the question what comes next:

    the network's output, beyond what is known of it, is taken to be zero;
    it is continued by linear prediction;
    the same, and at a seam the old forecast itself is faded out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common

common.limit_threads()

import numpy as np
from scipy import signal

from benchmarks.common import Figures
from benchmarks.site import START, demo_site
from deepclean.config.couplings import BandpassConfig, CouplingConfig
from deepclean.config.engine import EngineConfig
from deepclean.config.settings import (
    bandpass_settings,
    engine_settings,
    predict_settings,
    ungated_settings,
)
from deepclean.core.block import Block, Float64, Series
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.bandpass import make_bandpass
from deepclean.core.filters.forecast import ForecastSettings, fit, forecast
from deepclean.core.filters.splice import Splice, back
from deepclean.core.filters.transformed import Transformed
from deepclean.core.predict import Predictor
from deepclean.core.reach import Reach
from deepclean.core.spectra import band_ratio
from deepclean.core.time import Span
from deepclean.factory import make_coupling
from deepclean.models.loading import load_models

WARM = 40
"""Seconds before anything is compared."""

TRANSITION = 6.0
"""Hz beside a band in which the bandpass falls off."""

HEAD = "|residual / floor|over waiting|outside, mean|worst Hz|at the hops' rate".split("|")

Continue = Callable[[Float64, int], Float64]  # of a stream, up to now, the next samples


@dataclass(frozen=True)
class Case:
    """Something to clean."""

    about: str
    block: Block  # all of the data
    floor: Float64  # the strain without what is witnessed
    couplings: list[Coupling]  # one
    settings: EngineSettings  # of an engine that waits, without gates

    @property
    def strain(self) -> Float64:
        """The raw strain."""
        assert isinstance(self.block.strain, Series)
        return np.asarray(self.block.strain.samples, dtype=np.float64)


def main() -> None:
    """Run the cases and print what they measured."""
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=int, default=900, help="of data per case")
    options = parser.parse_args()
    common.run("zero_wait", options, measure, common.load_of)


def measure(options: argparse.Namespace) -> Figures:
    """Print and return the figures of all cases, by what is done about the future."""
    results: Figures = {}
    for prepare in (lines, partial(broad, 0.1), partial(broad, 0.5)):
        case = prepare(options.seconds)
        waited = cleaned(case, case.settings)
        forecasting = replace(case.settings, forecast=ForecastSettings())
        found = {"waits": waited, "witnesses forecast (wait: 0)": cleaned(case, forecasting)}
        prediction, unknown = predicted(case)
        for name, (ahead, sine) in OTHERS.items():
            found[name] = case.strain - by_hop(case, prediction, unknown, ahead, sine=sine)
        each = {name: figures(case, samples, waited) for name, samples in found.items()}
        rows = [(name, *(f"{one:.5f}" for one in ratios.values())) for name, ratios in each.items()]
        print(f"\n{case.about}\n\n{common.table(HEAD, rows)}", flush=True)
        results[case.about] = each
    return results


def lines(seconds: int) -> Case:
    """Return the demonstration's site: mains with sidebands, six witnesses, its model."""
    with common.scratch() as place:
        site = demo_site(place)
    config, span = site.config, Span.of_seconds(START, seconds)
    (name,) = config.enabled_couplings
    coupling = make_coupling(config, name, load_models(config)[name])
    truth = f"{config.interferometer}:TRUTH-BACKGROUND"
    floor = site.simulator.read([truth], span)[truth]
    settings = replace(engine_settings(config), gate=None)
    about = "mains with sidebands, the demonstration's model"
    return Case(about, site.block(span), floor.samples, [coupling], settings)


def broad(noise: float, seconds: int) -> Case:
    """Return noise 20 Hz wide, five times a white floor, which a witness sees.

    The witness has `noise` of its own over all frequencies, in units of what it sees.
    """
    rng, rate, band = np.random.default_rng(5), 4096, (110.0, 130.0)
    floor = np.random.default_rng(11).standard_normal(seconds * rate)
    frequencies = np.fft.rfftfreq(len(floor), 1 / rate)
    shape = 1 / np.sqrt(1 + ((frequencies - 120) / 10) ** 16)
    hum = 5 * np.fft.irfft(np.fft.rfft(rng.standard_normal(len(floor))) * shape, len(floor))
    witness = hum + noise * hum.std() * rng.standard_normal(len(floor))
    span = Span.of_seconds(START, seconds)
    block = Block(span, Series(span, rate, floor + hum), {"W": Series(span, rate, witness)})
    predictor = Predictor(lambda x: x[:, 0], np.zeros(1), np.ones(1), 0.0, 1.0, Reach.both(0), 1)
    bandpass = make_bandpass(bandpass_settings(BandpassConfig()), [band], rate)
    wanted = CouplingConfig(bands=(band,), witnesses=("W",))
    predict = replace(predict_settings(wanted, rate), edge=0)
    coupling = Coupling("hum", ("W",), predictor, predict, bandpass, [band])
    about = f"20 Hz wide, five times the floor, witness with {noise:.0%} of noise"
    return Case(about, block, floor, [coupling], ungated_settings(EngineConfig(), rate))


def cleaned(case: Case, settings: EngineSettings) -> Float64:
    """Return the cleaned strain; its first seconds lack history."""
    engine = Engine(settings, case.couplings)
    blocks = [*engine.push(case.block), *engine.release()]
    return np.concatenate([one.cleaned for one in blocks if one.cleaned is not None])


class _Open:
    """A bandpass that lets everything pass."""

    settle_in = 0

    def apply(self, window: Float64) -> Float64:
        return window

    def filtered(self, window: Transformed) -> Float64:
        return self.apply(window.samples)

    def response(self, frequencies: Float64) -> Float64:
        return np.ones_like(frequencies)


def predicted(case: Case) -> tuple[Float64, int]:
    """Return the network's output, and how many of its samples lie beyond what is known."""
    rate = case.settings.model_rate
    settings = replace(case.settings, strain_rate=rate)
    (coupling,) = case.couplings
    span = case.block.span
    nothing = Series(span, rate, np.zeros(span.samples(rate)))
    # Without strain there is nothing to learn gains from.
    engine = Engine(settings, [replace(coupling, bandpass=_Open(), adapt=None)])
    blocks = [*engine.push(replace(case.block, strain=nothing)), *engine.release()]
    slowest = min(w.rate for w in case.block.witnesses.values() if isinstance(w, Series))
    half = 0.0 if slowest == rate else min(0.25, settings.resample.zeros / slowest)
    edge = engine.schedule.couplings[coupling.name].geometry.after
    return blocks[0].estimates[coupling.name].noise, edge + round(half * rate)


def linear(past: Float64, count: int) -> Float64:
    """Continue by linear prediction."""
    return np.asarray(forecast([fit(past[-(1 << 15) :], 512)], past[None, -512:], count)[0])


OTHERS: dict[str, tuple[Continue, bool]] = {
    "network's output: zeros": (lambda past, count: np.zeros(count), True),
    "network's output continued": (linear, True),
    "network's output continued, old one faded out": (linear, False),
}
"""How each continues the network's output, and whether a seam is a sine or the old forecast."""


def by_hop(case: Case, known: Float64, unknown: int, ahead: Continue, *, sine: bool) -> Float64:
    """Return what is subtracted, at the strain's rate, second by second without waiting.

    At a second's end the last `unknown` samples of the network's output are not known: `ahead`
    continues what is. Hops are joined by `core.filters.splice` (`sine`), or the old forecast fades
    out.
    """
    settings, (coupling,) = case.settings, case.couplings
    rate, before, pad = settings.model_rate, back(settings.model_rate), coupling.bandpass.settle_in
    seam = Splice([sum(band) / 2 for band in case.couplings[0].bands], rate, rate // 8)
    length = len(seam.weight)
    given, old = np.zeros(len(known)), None
    for end in range(WARM // 2 * rate, len(known) + 1, rate):
        start = end - rate
        past = known[: end - unknown]
        future = ahead(past, unknown + length + pad)
        fresh = coupling.bandpass.apply(np.concatenate([past[start - before - pad :], future]))
        hop = fresh[before : before + rate].copy()
        if old is not None and sine:
            hop[:length] += seam.after(old[1 : before + 1] - fresh[1 : before + 1])
        elif old is not None:
            hop[:length] += seam.weight * (old[before : before + length] - hop[:length])
        given[start:end], old = hop, fresh[rate:]
    bring, count = settings.interpolator(), len(case.strain)
    low, high = bring.needs(0, count)
    padded = np.concatenate([np.zeros(-low), given, np.zeros(max(high - len(given), 0))])
    return np.asarray(bring.apply(padded[None, : high - low], 0, count)[0])


def figures(case: Case, samples: Float64, waited: Float64) -> dict[str, float]:
    """Return what is left in the band, and what is added outside."""
    rate = case.settings.strain_rate
    part = slice(WARM * rate, len(case.strain) - 2 * rate)
    raw, floor, clean, usual = (x[part] for x in (case.strain, case.floor, samples, waited))
    length = 8 * rate
    frequencies, power = signal.welch(raw, rate, nperseg=length)
    _, after = signal.welch(clean, rate, nperseg=length)
    outside = (frequencies > 10) & (frequencies < min(1500, 0.4 * rate))
    for low, high in case.couplings[0].bands:
        outside &= (frequencies < low - TRANSITION) | (frequencies > high + TRANSITION)
    ratio = after[outside] / power[outside]
    hertz = np.arange(len(ratio)) // 8
    broadly = np.bincount(hertz, ratio) / np.bincount(hertz)
    at_hops = np.isclose(frequencies[outside] % 1, 0)
    return {
        "over_floor": band_ratio(clean, floor, rate, case.couplings[0].bands),
        "over_waiting": band_ratio(clean, usual, rate, case.couplings[0].bands),
        "outside_mean": float(np.sqrt(ratio.mean())),
        "outside_worst_hertz": float(np.sqrt(broadly[np.argmax(np.abs(broadly - 1))])),
        "at_hop_rate": float(np.sqrt(ratio[at_hops].mean() / ratio[~at_hops].mean())),
    }


if __name__ == "__main__":
    main()
