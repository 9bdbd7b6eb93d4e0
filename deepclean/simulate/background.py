"""The strain that the couplings are added to: a detector's published noise, or real strain.

Both are functions of the GPS second. In both cases the strength of a coupling is relative to the
published curve's amplitude spectral density (ASD).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from deepclean.core.block import Float64, Gap, Samples
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError, hint
from deepclean.io import gwf, hdf5
from deepclean.simulate.noise import Stream, filtered, remembered, white

WALL = 10.0
"""Frequency in Hz below which a curve is constant. Published curves diverge or end there."""


class CurveBackground:
    """Stationary Gaussian noise with one of the published noise curves of lalsimulation.

    White noise through a zero-phase FIR of two seconds (`2 * rate` taps: the curve's ASD sampled
    every half hertz, Hann-windowed in time), so that a second depends on its two neighbours only.

    Args:
        curve: name of the function without `SimNoisePSD`, such as `aLIGO175MpcT1800545`.
        rate: samples per second.
        seed: of the site.
        name: of the strain channel.

    Raises:
        ConfigError: no such curve.
    """

    def __init__(self, curve: str, rate: int, seed: int, name: str) -> None:
        asd = curve_asd(curve, rate)
        taps = np.fft.fftshift(scipy.fft.irfft(asd * np.sqrt(rate / 2), 2 * rate))
        window = np.sin(np.pi * np.arange(2 * rate) / (2 * rate)) ** 2
        source = remembered(white(seed, f"{name} background", rate), 4)
        self.stream: Stream = remembered(filtered(source, taps * window), 2)

    def require(self, span: Span) -> None:
        """Accept any span: the curve does not change."""


class FileBackground:
    """Real strain from one file (HDF5 or GWF). The site is then defined over its span only.

    Args:
        path: the file.
        channel: the channel in it.

    Raises:
        InputError: the file cannot be used, or does not hold whole seconds of finite strain.
    """

    def __init__(self, path: Path, channel: str) -> None:
        series = _reader(path).read(path, [channel])[channel]
        if isinstance(series, Gap) or not np.isfinite(series.samples).all():
            raise InputError(
                "is no background: not all of its samples are valid", path=path, channels=[channel]
            )
        if series.span.start % NS or series.span.end % NS:
            raise InputError("is no background: it does not hold whole GPS seconds", path=path)
        self.span, self.rate = series.span, series.rate
        self._path = path
        self._samples: Float64 = series.samples.astype(np.float64)
        self.stream: Stream = self._second

    def require(self, span: Span) -> None:
        """Raise InputError unless the file holds the whole span."""
        if not self.span.covers(span):
            raise InputError(
                f"the site has its background over {self.span}, not over {span}", path=self._path
            )

    def _second(self, second: int) -> Samples:
        self.require(Span.of_seconds(second, 1))
        first = (second - self.span.start // NS) * self.rate
        return self._samples[first : first + self.rate]


def background_channel(path: Path, channel: str | None = None) -> tuple[str, int]:
    """Return name and rate of the strain in a file.

    Args:
        path: the file.
        channel: name of the strain; None for the only channel whose name ends in `STRAIN`.

    Raises:
        InputError: the file cannot be read, or not exactly one channel fits.
    """
    held = _reader(path).channels(path, None if channel is None else [channel])
    meant = {name: rate for name, rate in held.items() if channel or name.endswith("STRAIN")}
    if len(meant) != 1:
        like = ", ".join(sorted(meant)) or "none"
        said = f"no channel {channel}" if channel else f"name its strain channel (like one: {like})"
        raise InputError(said, path=path, channels=[channel] if channel else meant)
    return next(iter(meant.items()))


def curve_asd(curve: str, rate: int) -> Float64:
    """Return a published curve's ASD in 1/sqrt(Hz) at every half hertz up to half the rate.

    Below `WALL` it has its value at `WALL`. Source: LIGO-T1800545, LIGO-T1800044 and others, as
    lalsimulation tabulates them.

    Raises:
        ConfigError: no such curve.
    """
    import lal
    import lalsimulation

    function = getattr(lalsimulation, f"SimNoisePSD{curve}", None)
    if function is None:
        known = [name[11:] for name in dir(lalsimulation) if name.startswith("SimNoisePSD")]
        raise ConfigError(f"lalsimulation has no noise curve {curve}{hint(curve, known)}")
    epoch = lal.LIGOTimeGPS(0)
    series = lal.CreateREAL8FrequencySeries("", epoch, 0.0, 0.5, lal.SecondUnit, rate + 1)
    function(series, WALL)
    asd: Float64 = np.sqrt(series.data.data)
    asd[: int(2 * WALL)] = asd[int(2 * WALL)]
    asd[-1] = asd[-2]  # the library leaves the last bin 0
    return asd


def curve_floor(curve: str, band: tuple[float, float]) -> float:
    """Return a published curve's ASD in the middle of a band in Hz, in 1/sqrt(Hz).

    Raises:
        ConfigError: no such curve.
    """
    middle = max(round(sum(band)), int(2 * WALL))  # in half hertz
    return float(curve_asd(curve, middle + 2)[middle])


def _reader(path: Path) -> Any:
    return gwf if path.suffix == ".gwf" else hdf5
