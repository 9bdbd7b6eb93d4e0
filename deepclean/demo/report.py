"""What a demonstration came to: the cleaned strain beside the raw one and the true floor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from deepclean.config import Config
from deepclean.core.block import Float64, Gap
from deepclean.core.channels import product_names
from deepclean.core.spectra import band_ratio
from deepclean.core.time import Span
from deepclean.demo.stream import CLEANED, START, STRAIN, TRUTH, DemoRun
from deepclean.errors import InputError
from deepclean.io.history import History

_STYLES = {
    "raw": ("#b2182b", 1.0, "-"),
    "cleaned": ("#2166ac", 1.6, "-"),
    "true floor": ("black", 0.9, "--"),
}
"""The colour, the width and the dashes of each curve."""


def strains(run: DemoRun, config: Config, seconds: int) -> dict[str, Float64]:
    """Return the raw strain, the cleaned one and the true floor of the stream.

    The last second, which had no look-ahead, is left out.

    Raises:
        InputError: some of it is not there.
    """
    name = config.strain.channel
    span = Span.of_seconds(START, seconds - 1)
    found = {}
    for label, kind, channel in (
        ("raw", STRAIN, name),
        ("cleaned", CLEANED, product_names(name, ["OUT_DQ"])["OUT_DQ"]),
        ("true floor", TRUTH, f"{config.interferometer}:TRUTH-BACKGROUND"),
    ):
        read = History([run.place / kind]).read([channel], span)[channel]
        if isinstance(read, Gap):
            raise InputError(f"{kind}: {channel} over {span}: {read.reason}")
        found[label] = read.samples
    return found


def rows(run: DemoRun, config: Config, found: Mapping[str, Float64]) -> list[tuple[str, str]]:
    """Return the lines of the table: what is said, and its value."""
    (coupling,) = config.enabled_couplings.values()

    def ratio(upper: str, lower: str) -> str:
        rate = config.strain.rate
        return f"{band_ratio(found[upper], found[lower], rate, coupling.bands):.3f}"

    late = _latencies(run, config)
    return [
        ("raw strain / true floor", ratio("raw", "true floor")),
        ("cleaned strain / true floor (1 is perfect)", ratio("cleaned", "true floor")),
        ("ASD ratio, cleaned / raw", ratio("cleaned", "raw")),
        ("frames in", str(len(run.frames(STRAIN)))),
        ("frames out", str(len(run.frames()))),
        ("latency, raw frame to cleaned frame, median", f"{median(late):.3f} s"),
        # The smallest that at least 99 % do not exceed.
        ("latency, p99", f"{sorted(late)[math.ceil(0.99 * len(late)) - 1]:.3f} s"),
    ]


def bands(config: Config) -> Sequence[tuple[float, float]]:
    """Return the bands of the demonstration's coupling, in Hz."""
    (coupling,) = config.enabled_couplings.values()
    return coupling.bands


def _latencies(run: DemoRun, config: Config) -> list[float]:
    """Return the seconds from each raw frame's appearance to its cleaned frame's."""
    ours, theirs = config.output.description, str(config.input.strain.description)
    raw = run.place / STRAIN
    pairs = ((path, raw / path.name.replace(ours, theirs)) for path in run.frames()[:-1])
    return [cleaned.stat().st_mtime - raw.stat().st_mtime for cleaned, raw in pairs]


def draw(picture: Path, config: Config, found: Mapping[str, Float64]) -> None:
    """Draw the amplitude spectral densities."""
    # gwpy 4.1 asks astropy 8 for a name that is going away, at import.
    warnings.filterwarnings("ignore", category=PendingDeprecationWarning)
    from gwpy.plot import Plot
    from gwpy.timeseries import TimeSeries

    plot = Plot(figsize=(12, 5))
    wide, near = plot.add_subplot(1, 2, 1), plot.add_subplot(1, 2, 2)
    for label, strain in found.items():
        series = TimeSeries(strain, sample_rate=config.strain.rate, t0=START, unit="strain")
        density, (color, width, dashes) = series.asd(2, 1, method="median")[1:], _STYLES[label]
        for axes in (wide, near):
            axes.plot(density, label=label, color=color, lw=width, ls=dashes)
            axes.set(yscale="log", xlabel="Frequency [Hz]")
    wide.set(xscale="log", xlim=(15, 2000), ylim=(2e-24, 3e-21))
    near.set(xlim=(50, 70), ylim=(2e-24, 3e-22))
    for low, high in bands(config):
        near.axvspan(low, high, color="0.92", zorder=0)
    wide.set_ylabel(r"ASD [strain/$\sqrt{\mathrm{Hz}}$]")
    near.legend(loc="upper left")
    plot.subplots_adjust(left=0.09, right=0.98, bottom=0.13, top=0.9, wspace=0.16)
    plot.suptitle("Strain of a simulated site, before and after")
    plot.savefig(picture, dpi=120)
