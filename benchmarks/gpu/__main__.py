"""Measure a device beside the CPU: samples, latency, memory, faults, training.

    python -m benchmarks.gpu --json gpu.json

It takes at most five minutes. All is done in memory with the engine, so little needs to be there:
torch (2.11 and newer), numpy, scipy, h5py, safetensors, and what a machine that has these may lack:
gwframe, igwn-segments, pydantic with pydantic-core, annotated-types and typing-inspection,
ruamel.yaml and pytorch-ignite. What is measured is printed at once to the standard error, so that a
run that is cut short leaves something.

Without a GPU, or with `--device cpu`, the CPU is the device too; faults of the device are then
torch's exceptions, raised by hand. The status is 1 where a check of the device fails:

- by the demonstration's model, the device's noise estimate is the CPU's to `WORST` and `RMS`;
- with all memory of the device taken, every frame comes out with the CPU's estimate, for the CPU
  steps in; with the memory given back, the device is used again;
- with the device lost, every frame comes out, as it came, and the error is known for what it is;
- a version that is loaded while the stream runs is in force from the next frame on;
- resampling and bandpass, should they be done there, give the CPU's samples to `FLOAT64`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import common

common.limit_threads()

import torch

from benchmarks.common import Figures, table
from benchmarks.gpu import faults, measure
from benchmarks.gpu.stages import stages
from benchmarks.processes import resident
from deepclean.models.tensors import GOLDEN_TOLERANCE

WORST = GOLDEN_TOLERANCE
"""Largest difference between the devices' estimates in units of the rms, as for golden outputs."""

RMS = WORST / 10
"""Root mean square of the difference: sums of float32 in another order differ by less."""

FLOAT64 = 1e-9
"""Largest difference of what is computed in float64, in units of the rms."""

THE_CPU = "cpu:0"
"""The CPU as a device under test: by this name it has a spare, as a GPU has."""


def main() -> int:
    """Measure what is there; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("--device", help="cuda, cuda:1, cpu; default: a GPU if there is one")
    parser.add_argument("--quick", action="store_true", help="few frames, no 266 witnesses")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = common.run("gpu", options, measured, markdown)
    return 0 if all(figures["checks"].values()) else 1


def measured(options: argparse.Namespace) -> Figures:
    """Return the figures of the CPU and of the device, and whether each check is passed."""
    wanted = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    device = THE_CPU if wanted == "cpu" else wanted
    name = "the CPU" if wanted == "cpu" else torch.cuda.get_device_name(device)
    with common.scratch() as place:
        cpu = measure_device(place / "cpu", "cpu", quick=options.quick)
        found = measure_device(place / "device", device, quick=options.quick)
        found |= of_device_alone(place / "faults", device, quick=options.quick)
    return {"name": name, "cpu": cpu, "device": found, "checks": checks(found)}


def measure_device(place: Path, device: str, *, quick: bool) -> Figures:
    """Return the figures that the CPU and the device both have."""
    count, cases = (4, ["1", "21"]) if quick else (100, list(measure.CASES))
    found, where = Figures(), None if device == "cpu" else device
    for part in (
        lambda: measure.frames(place, device, count, cases),
        lambda: measure.networks(device, count, [int(case) for case in cases]),
        lambda: stages(where, count, [1, 21] if quick else [1, 15, 21, 266]),
        lambda: measure.reload(place / "reload", device),
        lambda: measure.training(place / "toy", device, 16 if quick else 256),
        lambda: {"resident (MB)": resident()},
    ):
        began, more = time.perf_counter(), part()
        said = ", ".join(f"{name} {value:.4g}" for name, value in more.items())
        print(f"{device}, {time.perf_counter() - began:.0f} s: {said}", file=sys.stderr, flush=True)
        found |= more
    return found


def of_device_alone(place: Path, device: str, *, quick: bool) -> Figures:
    """Return the device's samples beside the CPU's, its memory, and what its faults do."""
    found = measure.against_cpu(device, 4 if quick else 64)
    if not faults.on_cpu(device):
        found["GPU memory allocated, at most (MB)"] = torch.cuda.max_memory_allocated(device) / 1e6
        found["GPU memory reserved, at most (MB)"] = torch.cuda.max_memory_reserved(device) / 1e6
    return found | faults.out_of_memory(place, device) | faults.lost_apart(device)


def checks(found: Figures) -> dict[str, bool]:
    """Return what must hold of the device's figures, and whether it does."""
    return {
        f"worst difference at most {WORST:g}": found["difference from the CPU's, worst (rms = 1)"]
        <= WORST,
        f"rms difference at most {RMS:g}": found["difference from the CPU's, rms (rms = 1)"] <= RMS,
        "version 2 after the reload": found["version after it"] == 2,
        "out of memory: the CPU stepped in, then the device again": (
            found["out of memory: CPU stepped in"] == found["out of memory: device again"] == 1
        ),
        "out of memory: every frame, with the CPU's estimate": (
            found["out of memory: frames out"] == 16
            and found["out of memory: difference from the CPU's, worst (rms = 1)"] <= WORST
        ),
        "lost device: every frame, as it came from then on": (
            found["lost device: frames out"] == 16
            and found["lost device: frames cleaned before"] > 0
            and found["lost device: frames as they came, after"] == 7
        ),
        "lost device: known as lost": found["lost device: networks whose error says so"] == 1,
        f"resampling and bandpass to {FLOAT64:g}": (
            found["resampling and bandpass: difference, worst (rms = 1)"] <= FLOAT64
        ),
    }


def markdown(run: Figures) -> str:
    """Return a run as a table of the CPU and the device."""
    figures = run["figures"]
    cpu, device = figures["cpu"], figures["device"]
    rows = [
        (name, f"{cpu[name]:.4g}" if name in cpu else "-", f"{value:.4g}")
        for name, value in device.items()
    ]
    told = [f"{'passed' if good else 'FAILED'}: {what}" for what, good in figures["checks"].items()]
    head = f"{common.load_of(run)}; the device: {figures['name']}"
    return "\n".join([head, "", table(("", "CPU", "device"), rows), *told])


if __name__ == "__main__":
    sys.exit(main())
