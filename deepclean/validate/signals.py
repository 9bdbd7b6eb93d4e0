"""Signals injected into the strain before it is cleaned, and recovered by a matched filter.

Each signal is injected into its own copy of the strain, so the rest of the report is unaffected.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deepclean.core.block import Float64, Gap, Series
from deepclean.core.frame import InputFrame
from deepclean.core.spectra import FFT_SECONDS, asd
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import InputError
from deepclean.simulate.injection import Injection, injected, waveform
from deepclean.simulate.noise import Stream
from deepclean.validate.json_numbers import rounded
from deepclean.validate.seconds import PRODUCTS, Second
from deepclean.validate.shards import OpenRun
from deepclean.validate.whole import one_block

_BESIDE = 16
"""Seconds on each side of a signal from which the spectrum of the noise is measured."""

_LONGEST = 256
"""Longest signal in seconds. The strain around it is held in memory."""

_NEAR = 0.02
"""Seconds around the true time within which a signal is searched."""


def stretch(injection: Injection, rate: int) -> Span:
    """Return the whole seconds over which a signal is recovered.

    Raises:
        InputError: the signal is too long.
    """
    first, samples = waveform(injection, rate)
    start, end = first // rate, -(-(first + len(samples)) // rate)
    if end - start > _LONGEST:
        raise InputError(
            f"the signal at GPS {format_gps(injection.coalescence)} lasts {end - start} s; "
            f"the longest that is possible are {_LONGEST} s"
        )
    return Span((start - _BESIDE) * NS, (end + _BESIDE) * NS)


def require_strain(opened: OpenRun, injection: Injection) -> None:
    """Raise InputError, before anything is cleaned, unless there is strain all around a signal."""
    span = stretch(injection, opened.config.strain.rate)
    for start in range(span.start, span.end, NS):
        if not opened.source.has_strain(Span(start, start + NS)):
            before = -((span.start - injection.coalescence) // NS)
            after = -((injection.coalescence - span.end) // NS)
            raise InputError(
                f"the signal at GPS {format_gps(injection.coalescence)} needs {before} s of strain "
                f"before its merger and {after} s after: there is none at GPS {start // NS}"
            )


def recover(opened: OpenRun, injection: Injection) -> dict[str, Any]:
    """Clean the strain with a signal in it; return the recovered signal before and after.

    Raises:
        InputError: some of the strain around the signal is missing.
    """
    rate = opened.config.strain.rate
    span = stretch(injection, rate)
    signal = injected((injection,), rate)
    held: dict[str, list[Float64]] = {product: [] for product in PRODUCTS}
    gains: dict[str, float] = {}
    first, wave = waveform(injection, rate)
    touched = Span(first // rate * NS, -(-(first + len(wave)) // rate) * NS)
    for frame in opened.cleaned(span, lambda frame: _louder(frame, signal)):
        block = one_block(frame)
        if isinstance(block.source.strain, Gap) or block.products is None:
            raise InputError(f"no strain over {block.span}, beside the signal")
        for product, samples in Second.of(block).products.items():
            held[product].append(samples)
        if touched.covers(block.span):
            for name, estimate in block.estimates.items():
                gains[name] = min(gains.get(name, 1.0), float(estimate.gain.min()))
    template = np.concatenate(
        [signal(second) for second in range(span.start // NS, span.end // NS)]
    )
    found = {
        product: matched(np.concatenate(parts), template, rate, injection.lowest)
        for product, parts in held.items()
    }
    before, after = found["RAW"]["snr"], found["OUT_DQ"]["snr"]
    return {
        "gps": format_gps(injection.coalescence),
        "mass1": injection.mass1,
        "mass2": injection.mass2,
        "distance": injection.distance,
        "snr_ratio": rounded(after / before if before and after else np.nan),
        "lowest_gain": {name: rounded(gain) for name, gain in gains.items()},
        **found,
    }


def matched(
    strain: Float64, template: Float64, rate: int, lowest: float
) -> dict[str, float | None]:
    """Return what a matched filter recovers of a signal within 20 ms of its true time.

    Allen et al. 2012, Phys. Rev. D 85, 122006, section III, with the strain's own spectrum.

    Args:
        strain: shape `(n,)`, with the signal.
        template: the signal alone, at the same samples.
        rate: samples per second.
        lowest: lowest frequency of the filter in Hz.

    Returns:
        `snr`, the recovered signal-to-noise ratio; `expected`, that of this signal in this noise;
        `amplitude` relative to the injected one; `phase` in degrees and `delay` in ms, both 0 for a
        perfect recovery.
    """
    count = len(strain)
    density_at, density = asd(strain, rate)
    frequencies = np.fft.rfftfreq(count, 1 / rate)
    used = (frequencies >= max(lowest, 10.0)) & (frequencies <= 0.45 * rate)
    window = np.ones(count)
    taper = min(FFT_SECONDS * rate // 4, count // 4)
    window[:taper] = np.sin(np.linspace(0, np.pi / 2, taper)) ** 2
    window[-taper:] = window[:taper][::-1]
    data, wave = np.fft.rfft(strain * window) / rate, np.fft.rfft(template) / rate
    power = np.interp(frequencies, density_at, density**2)
    weight = np.divide(1.0, power, out=np.zeros_like(power), where=used & (power > 0))
    step = rate / count
    sigma = float(np.sqrt(4 * step * np.sum(np.abs(wave) ** 2 * weight)))
    if not sigma > 0:
        return dict.fromkeys(("snr", "expected", "amplitude", "phase", "delay"))
    product = np.zeros(count, dtype=np.complex128)
    product[: len(wave)] = data * wave.conj() * weight
    series = 4 * step * count * np.fft.ifft(product) / sigma
    near = int(_NEAR * rate)
    lags = np.arange(-near, near + 1)
    found = series[lags]
    place = int(np.argmax(np.abs(found)))
    return {
        "snr": rounded(float(np.abs(found[place]))),
        "expected": rounded(sigma),
        "amplitude": rounded(float(np.abs(found[place])) / sigma),
        "phase": rounded(float(np.degrees(np.angle(found[place])))),
        "delay": rounded(1e3 * int(lags[place]) / rate),
    }


def _louder(frame: InputFrame, signal: Stream) -> InputFrame:
    """Return a second of input with the signal in its strain."""
    added = signal(frame.span.start // NS)
    blocks = []
    for block in frame.blocks:
        strain = block.strain
        if isinstance(strain, Series):
            begin = frame.span.indices(strain.rate)[0]
            first, last = (index - begin for index in block.span.indices(strain.rate))
            strain = Series(block.span, strain.rate, strain.samples + added[first:last])
        blocks.append(replace(block, strain=strain))
    return replace(frame, blocks=blocks)
