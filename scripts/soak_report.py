"""What the soak found: how the daemon was now and then, and what of it should not be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmarks.common import table
from scripts.soak_stream import KEPT, DaemonClock

STEEPEST = 5.0
"""MB per day of data by which memory may seem to grow."""
LEAST = 6 * 3600
"""Seconds of data that it takes to tell a slope from settling."""


@dataclass(frozen=True)
class Sample:
    """How the daemon is at a moment at which it has nothing to do.

    Args:
        frames: seconds of data streamed so far.
        wall: seconds since the start of the stream.
        cpu: seconds of a core that the daemon has used.
        rss: resident memory, MB.
        descriptors: open files.
        threads: of the process.
        outputs: cleaned frames in the output directory.
        balanced: whether the ledger is.
    """

    frames: int
    wall: float
    cpu: float
    rss: float
    descriptors: int
    threads: int
    outputs: int
    balanced: bool


@dataclass
class Report:
    """What came of it.

    Args:
        frames: seconds of data streamed.
        samples: of the daemon, in order.
        happened: faults that were made, by kind.
        ledger: of the daemon at its end.
        checked: frames that were read back whole.
        lines: that the daemon logged.
        slope: growth of the resident memory after the first fifth, MB per day of data; None where
            there is too little to tell.
        faults: what should not be; empty where all is well.
    """

    frames: int
    samples: list[Sample] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    ledger: dict[str, Any] = field(default_factory=dict)
    checked: int = 0
    lines: int = 0
    slope: float | None = None
    faults: list[str] = field(default_factory=list)


def judge(report: Report, stream: DaemonClock) -> None:
    """Note what should not be."""
    faults = report.faults = report.faults + stream.faults
    report.checked = stream.checked
    lost = stream.wanted - stream.seen
    invented = stream.seen - stream.wanted - stream.possible
    for seconds, what in ((lost, "have no frame"), (invented, "have a frame without strain")):
        if seconds:
            faults.append(f"{len(seconds)} seconds {what}, the first GPS {min(seconds)}")
    ledger = report.ledger
    out = sum(ledger["written"].values())
    if ledger["frames_in"] != out or ledger["inside"] or ledger["lost"]:
        faults.append(f"the ledger does not balance: {ledger}")
    if out != len(stream.seen):
        faults.append(f"{out} frames in the ledger, {len(stream.seen)} in the directory")
    samples = report.samples
    if not all(sample.balanced for sample in samples):
        faults.append("the ledger did not balance at some sample")
    if max(sample.outputs for sample in samples) > KEPT:
        faults.append("more outputs than the retention allows")
    for name in ("descriptors", "threads"):
        found = {getattr(sample, name) for sample in samples}
        if len(found) > 1:
            faults.append(f"{name} are not constant: {sorted(found)}")
    report.slope = _slope(samples)
    if report.slope is not None and report.slope > STEEPEST:
        faults.append(f"memory grows by {report.slope:.1f} MB per day of data")


def _slope(samples: list[Sample]) -> float | None:
    """Return the growth of memory in MB per day of data, by the median slope of all pairs."""
    from scipy.stats import theilslopes

    settled = [sample for sample in samples if sample.frames > samples[-1].frames / 5]
    if len(settled) < 10 or settled[-1].frames < LEAST:
        return None
    days = [sample.frames / 86_400 for sample in settled]
    return float(theilslopes([sample.rss for sample in settled], days).slope)


def line(sample: Sample) -> str:
    """Return a sample as a line to print."""
    return (
        f"{sample.frames / 3600:6.2f} h of data, {sample.wall:6.0f} s: {sample.rss:6.1f} MB, "
        f"{sample.descriptors} descriptors, {sample.threads} threads, {sample.outputs} outputs, "
        f"ledger {'balanced' if sample.balanced else 'NOT BALANCED'}"
    )


def show(report: Report) -> None:
    """Print what came of it."""
    samples, ledger = report.samples, report.ledger
    memory = [sample.rss for sample in samples]
    first, last = samples[0], samples[-1]
    per_frame = 1000 * (last.cpu - first.cpu) / max(last.frames - first.frames, 1)
    slope = "-" if report.slope is None else f"{report.slope:+.2f} MB per day of data"
    rows = {
        "data": f"{report.frames} s in {samples[-1].wall:.0f} s",
        "compute of the daemon": f"{per_frame:.1f} ms per second of data",
        "faults made": f"{report.happened.total()} of {len(report.happened)} kinds",
        "frames in, out, lost": f"{ledger['frames_in']}, {sum(ledger['written'].values())}, "
        f"{sum(ledger['lost'].values())}",
        "out, by reason": ", ".join(f"{n} {word}" for word, n in ledger["written"].items()),
        "seconds without strain": ", ".join(f"{n} {word}" for word, n in ledger["gaps"].items()),
        "files passed over": ", ".join(f"{n} {word}" for word, n in ledger["ignored"].items()),
        "read back whole": str(report.checked),
        "memory, least and most": f"{min(memory):.1f}, {max(memory):.1f} MB",
        "memory, slope": slope,
        "descriptors": str(sorted({sample.descriptors for sample in samples})),
        "threads": str(sorted({sample.threads for sample in samples})),
        "lines logged": str(report.lines),
        "what should not be": str(len(report.faults)),
    }
    print(table(("", ""), rows.items()))
    for fault in report.faults[:20]:
        print(fault)
