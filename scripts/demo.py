"""Stream a simulated site live, run the daemon on it, compare with the truth; see scripts/demo."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import common
from benchmarks.processes import Daemon

common.limit_threads()

if TYPE_CHECKING:
    from deepclean.config import Config

OUTPUT = common.ROOT / "demo-output"
CONFIG = common.CONFIGURATIONS / "demo.yaml"
START = 1_420_000_000
PAST = 90
"""Seconds that lie in the input directories before the daemon starts, as they do at a site."""
SEED = "7"
"""Another noise than the shipped model was trained on; the couplings are the site's."""

console = Console(highlight=False)


def main() -> None:
    """Run the demonstration."""
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=int, default=80, help="of data, streamed in real time")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of data per second")
    options = parser.parse_args()

    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    if simulation(START - PAST, START).wait() != 0:
        sys.exit("the simulated site failed")
    with Daemon(CONFIG, (), OUTPUT / "daemon.log") as daemon:
        daemon.until(lambda: daemon.says("look-ahead"), pause=0.1)
        console.print("The daemon is up. The site streams 1-s frames; every frame is cleaned.")
        stream(options.seconds, options.speed)
        limit = time.monotonic() + 10
        daemon.until(lambda: len(frames()) >= options.seconds - 1 or time.monotonic() > limit)
        status = daemon.stop()
    console.print(f"The daemon was told to stop and ended with status {status}.\n")
    report(options.seconds)


def stream(seconds: int, speed: float) -> None:
    """Run `deepclean simulate --live`, showing how many cleaned frames there are."""
    site = simulation(START, START + seconds, "--live", "--speed", str(speed))
    try:
        for count in track(range(1, seconds), description="cleaned frames", console=console):
            while len(frames()) < count and site.poll() is None:
                time.sleep(0.05)
        if site.wait() != 0:
            sys.exit("the simulated site failed")
    finally:
        site.kill()
        site.wait()


def simulation(start: int, end: int, *options: str) -> subprocess.Popen[bytes]:
    """Run the command that makes the site's data of `[start, end)`."""
    command = [sys.executable, "-m", "deepclean", "simulate", "--config", str(CONFIG)]
    command += ["--motions", "3", "--seed", SEED, "--truth", str(OUTPUT / "truth")]
    command += ["--start", str(start), "--end", str(end), *options]
    return subprocess.Popen(command, cwd=common.ROOT, stdout=subprocess.DEVNULL)


def frames(kind: str = "cleaned") -> list[Path]:
    """Return the frame files of the stream in a directory, in order of time."""
    files = sorted((OUTPUT / kind).glob("*.gwf"))
    return [path for path in files if int(path.stem.split("-")[2]) >= START]


def report(seconds: int) -> None:
    """Print the table and draw the picture."""
    from deepclean.config import load
    from deepclean.core.block import Gap
    from deepclean.core.channels import product_names
    from deepclean.core.spectra import band_ratio
    from deepclean.core.time import Span
    from deepclean.io.history import History

    config = load(CONFIG)
    name = config.strain.channel
    span = Span.of_seconds(START, seconds - 1)  # the last second had no look-ahead
    strains = {}
    for label, kind, channel in (
        ("raw", "strain", name),
        ("cleaned", "cleaned", product_names(name, ["OUT_DQ"])["OUT_DQ"]),
        ("true floor", "truth", f"{config.interferometer}:TRUTH-BACKGROUND"),
    ):
        read = History([OUTPUT / kind]).read([channel], span)[channel]
        if isinstance(read, Gap):
            sys.exit(f"{kind}: {channel} over {span}: {read.reason}")
        strains[label] = read.samples
    (coupling,) = config.enabled_couplings.values()
    band = " and ".join(f"{low:g}-{high:g} Hz" for low, high in coupling.bands)
    late = latencies(config)

    def ratio(upper: str, lower: str) -> str:
        rate = config.strain.rate
        return f"{band_ratio(strains[upper], strains[lower], rate, coupling.bands):.3f}"

    rows = (
        ("raw strain / true floor", ratio("raw", "true floor")),
        ("cleaned strain / true floor (1 is perfect)", ratio("cleaned", "true floor")),
        ("ASD ratio, cleaned / raw", ratio("cleaned", "raw")),
        ("frames in", str(len(frames("strain")))),
        ("frames out", str(len(frames()))),
        ("latency, raw frame to cleaned frame, median", f"{median(late):.3f} s"),
        ("latency, p99", f"{common.percentile(late, 99):.3f} s"),
    )
    table = Table("", "", title=f"{seconds - 1} s of a simulated {config.interferometer}, {band}")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print("Of the latency one second is the wait for the look-ahead: the next frame.")
    draw(OUTPUT / "spectra.png", config, strains)
    console.print("Spectra before and after: demo-output/spectra.png")


def latencies(config: Config) -> list[float]:
    """Return the seconds from each raw frame's appearance to its cleaned frame's."""
    ours, theirs = config.output.description, str(config.input.strain.description)
    pairs = ((path, OUTPUT / "strain" / path.name.replace(ours, theirs)) for path in frames()[:-1])
    return [cleaned.stat().st_mtime - raw.stat().st_mtime for cleaned, raw in pairs]


def draw(picture: Path, config: Config, strains: dict[str, Any]) -> None:
    """Draw the amplitude spectral densities."""
    import warnings

    # gwpy 4.1 asks astropy 8 for a name that is going away, at import.
    warnings.filterwarnings("ignore", category=PendingDeprecationWarning)
    from gwpy.plot import Plot
    from gwpy.timeseries import TimeSeries

    styles = {"raw": ("#b2182b", 1.0, "-"), "cleaned": ("#2166ac", 1.6, "-")}
    styles["true floor"] = ("black", 0.9, "--")
    plot = Plot(figsize=(12, 5))
    wide, near = plot.add_subplot(1, 2, 1), plot.add_subplot(1, 2, 2)
    for label, strain in strains.items():
        series = TimeSeries(strain, sample_rate=config.strain.rate, t0=START, unit="strain")
        density, (color, width, dashes) = series.asd(2, 1, method="median")[1:], styles[label]
        for axes in (wide, near):
            axes.plot(density, label=label, color=color, lw=width, ls=dashes)
            axes.set(yscale="log", xlabel="Frequency [Hz]")
    wide.set(xscale="log", xlim=(15, 2000), ylim=(2e-24, 3e-21))
    near.set(xlim=(50, 70), ylim=(2e-24, 3e-22))
    for coupling in config.enabled_couplings.values():
        for low, high in coupling.bands:
            near.axvspan(low, high, color="0.92", zorder=0)
    wide.set_ylabel(r"ASD [strain/$\sqrt{\mathrm{Hz}}$]")
    near.legend(loc="upper left")
    plot.subplots_adjust(left=0.09, right=0.98, bottom=0.13, top=0.9, wspace=0.16)
    plot.suptitle("Strain of a simulated site, before and after")
    plot.savefig(picture, dpi=120)


if __name__ == "__main__":
    main()
