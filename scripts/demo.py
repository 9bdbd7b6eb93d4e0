"""Stream a simulated site live, run the daemon on it, compare with the truth; see scripts/demo."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from deepclean.config import Config

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "demo-output"
CONFIG = ROOT / "config" / "demo.yaml"
START = 1_420_000_000
PAST = 90
"""Seconds that lie in the input directories before the daemon starts, as they do at a site."""
SEED = 7
"""Another noise than the shipped model was trained on; the couplings are the site's."""

COMMAND = [sys.executable, "-c", "from deepclean.cli import main; main()"]

console = Console(highlight=False)


def main() -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=80, help="of data, streamed in real time")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of data per second")
    options = parser.parse_args()

    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    simulate(START - PAST, START)
    with daemon() as process:
        console.print("The daemon is up. The site streams 1-s frames; every frame is cleaned.")
        stream(options.seconds, options.speed)
        wait_for_frames(options.seconds - 1)
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=10)
    console.print(f"The daemon was told to stop and ended with status {status}.\n")
    report(options.seconds)


@contextmanager
def daemon() -> Iterator[subprocess.Popen[bytes]]:
    """Run `deepclean run` until the block ends; its log goes to a file."""
    log = OUTPUT / "daemon.log"
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, "run", "-c", str(CONFIG)], stderr=file, cwd=ROOT)
    try:
        limit = time.monotonic() + 60
        while "look-ahead" not in log.read_text():
            if process.poll() is not None or time.monotonic() > limit:
                sys.exit(f"the daemon did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def stream(seconds: int, speed: float) -> None:
    """Run `deepclean simulate --live`, showing how many cleaned frames there are."""
    command = [*simulation(START, START + seconds), "--live", "--speed", str(speed)]
    site = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        for count in track(range(1, seconds), description="cleaned frames", console=console):
            while len(cleaned_files()) < count and site.poll() is None:
                time.sleep(0.05)
        if site.wait() != 0:
            sys.exit("the simulated site failed")
    finally:
        site.kill()
        site.wait()


def simulate(start: int, end: int) -> None:
    """Write the site's data of `[start, end)` at once."""
    command = simulation(start, end)
    if subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode:
        sys.exit("the simulated site failed")


def simulation(start: int, end: int) -> list[str]:
    """Return the command that makes the site's data of `[start, end)`."""
    command = [*COMMAND, "simulate", "-c", str(CONFIG), "--motions", "3", "--seed", str(SEED)]
    command += ["--truth", str(OUTPUT / "truth")]
    return [*command, "--start", str(start), "--end", str(end)]


def wait_for_frames(count: int) -> None:
    """Wait until the daemon has written so many frames, the last but one included."""
    limit = time.monotonic() + 10
    while len(cleaned_files()) < count and time.monotonic() < limit:
        time.sleep(0.05)


def cleaned_files() -> list[Path]:
    """Return the cleaned frames of the stream, in order of time."""
    return files_of_the_stream("cleaned")


def files_of_the_stream(kind: str) -> list[Path]:
    """Return the frame files of a kind from `START` on, in order of time."""
    files = sorted((OUTPUT / kind).glob("*.gwf"))
    return [path for path in files if int(path.stem.split("-")[2]) >= START]


def report(seconds: int) -> None:
    """Print the table and draw the picture."""
    from deepclean.config import load
    from deepclean.core.channels import product_names
    from deepclean.core.spectra import band_ratio
    from deepclean.core.time import Span

    config = load(CONFIG)
    name = config.strain.channel
    product = product_names(name, ["OUT_DQ"])["OUT_DQ"]
    # The last second had no look-ahead.
    span = Span.of_seconds(START, seconds - 1)
    raw = samples(OUTPUT / "strain", name, span)
    cleaned = samples(OUTPUT / "cleaned", product, span)
    floor = samples(OUTPUT / "truth", f"{config.interferometer}:TRUTH-BACKGROUND", span)
    (coupling,) = config.enabled_couplings.values()
    rate, bands = config.strain.rate, coupling.bands
    band = " and ".join(f"{low:g}-{high:g} Hz" for low, high in bands)
    late = latencies(config)
    table = Table(
        title=f"{span.duration // 10**9} s of a simulated {config.interferometer}, {band}"
    )
    table.add_column("")
    table.add_column("", justify="right")
    rows = {
        "raw strain / true floor": f"{band_ratio(raw, floor, rate, bands):.3f}",
        "cleaned strain / true floor (1 is perfect)": (
            f"{band_ratio(cleaned, floor, rate, bands):.3f}"
        ),
        "ASD ratio, cleaned / raw": f"{band_ratio(cleaned, raw, rate, bands):.3f}",
        "frames in": str(len(files_of_the_stream("strain"))),
        "frames out": str(len(cleaned_files())),
        "latency, raw frame to cleaned frame, median": f"{median(late):.3f} s",
        "latency, p99": f"{quantiles(late, n=100)[98]:.3f} s",
    }
    for label, value in rows.items():
        table.add_row(label, value)
    console.print(table)
    console.print("Of the latency one second is the wait for the look-ahead: the next frame.")
    picture = OUTPUT / "spectra.png"
    draw(picture, config, {"raw": raw, "cleaned": cleaned, "true floor": floor})
    console.print(f"Spectra before and after: {picture.relative_to(ROOT)}")


def samples(directory: Path, channel: str, span: Any) -> Any:
    """Return a channel's samples over a span from a directory of files."""
    from deepclean.core.block import Gap
    from deepclean.io.history import History

    read = History([directory]).read([channel], span)[channel]
    if isinstance(read, Gap):
        sys.exit(f"{directory}: {channel} over {span}: {read.reason}")
    return read.samples


def latencies(config: Config) -> list[float]:
    """Return the seconds from each raw frame's appearance to its cleaned frame's."""
    late = []
    for path in cleaned_files()[:-1]:
        raw = (
            OUTPUT
            / "strain"
            / path.name.replace(config.output.description, str(config.input.strain.description))
        )
        late.append(path.stat().st_mtime - raw.stat().st_mtime)
    return late


def draw(picture: Path, config: Config, strains: dict[str, Any]) -> None:
    """Draw the amplitude spectral densities."""
    import warnings

    # gwpy 4.1 asks astropy 8 for a name that is going away, at import.
    warnings.filterwarnings("ignore", category=PendingDeprecationWarning)
    from gwpy.plot import Plot
    from gwpy.timeseries import TimeSeries

    styles = {
        "raw": {"color": "#b2182b", "linewidth": 1.0},
        "cleaned": {"color": "#2166ac", "linewidth": 1.6},
        "true floor": {"color": "black", "linewidth": 0.9, "linestyle": "--"},
    }
    plot = Plot(figsize=(12, 5))
    wide, near = plot.add_subplot(1, 2, 1), plot.add_subplot(1, 2, 2)
    for label, strain in strains.items():
        series = TimeSeries(strain, sample_rate=config.strain.rate, t0=START, unit="strain")
        density = series.asd(2, 1, method="median")
        for axes in (wide, near):
            axes.plot(
                density.frequencies.value[1:], density.value[1:], label=label, **styles[label]
            )
    for axes in (wide, near):
        axes.set_yscale("log")
        axes.set_xlabel("Frequency [Hz]")
    wide.set_xscale("log")
    wide.set_xlim(15, 2000)
    wide.set_ylim(2e-24, 3e-21)
    near.set_xlim(50, 70)
    near.set_ylim(2e-24, 3e-22)
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
