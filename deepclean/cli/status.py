"""`deepclean status`: the state of a configuration's daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from math import degrees
from typing import Any

from deepclean.cli import options
from deepclean.config import load
from deepclean.core.reasons import CLEANED
from deepclean.core.time import format_gps
from deepclean.system import lock
from deepclean.telemetry import status_file


def status(
    config: options.ConfigOption,
    as_json: options.JsonOption = False,
    override: options.SetOption = None,
) -> None:
    """Print the state of the daemon, from its status file.

    There are six lines, one for each coupling, and one for each control of an operator.
    """
    settings = load(config, override or ())
    output = settings.output
    path = status_file.path_in(output.directory, output.description)
    kept = status_file.read(path, time.time())
    ledger = kept.ledger
    if as_json:
        facts = {"process": kept.process, "age": kept.age, "ledger": status_file.facts(ledger)}
        facts |= {"models": dict(kept.models), "couplings": kept.couplings}
        facts |= {"controls": list(kept.controls), "waiting": dict(kept.waiting)}
        print(json.dumps(facts))
        return
    running = lock.holder(lock.path_in(output.directory, output.description)) is not None
    state = "running" if running else "not running"
    strain = kept.waiting.get("strain", 0.0)
    if running and strain >= 5:
        state += f", no strain for {strain:.0f} s in {settings.input.strain.directory}"
    print(f"{settings.interferometer}: {state}, process {kept.process}, {kept.age:.0f} s ago")
    ignored = f"{ledger.ignored.total()} files ignored{_listed(ledger.ignored)}"
    print(f"in:   {ledger.frames_in} frames, the last to GPS {_gps(ledger.last_in)}; {ignored}")
    cleaned = ledger.written[CLEANED]
    reduced = {reason: n for reason, n in ledger.written.items() if reason != CLEANED and n}
    print(f"out:  {cleaned} cleaned{_listed(reduced)}, the last to GPS {_gps(ledger.last_out)}")
    print(f"lost: {ledger.lost.total()}{_listed(ledger.lost)}, {ledger.inside} inside")
    balance = "balanced" if ledger.balanced else "NOT BALANCED"
    models = "; ".join(f"{name} version {said}" for name, said in kept.models.items())
    print(f"models: {models or '-'}")
    for name, figures in kept.couplings.items():
        print(f"{name}: {_figures(figures)}")
    for said in kept.controls:
        print(f"control: {said}")
    print(f"gaps: {ledger.gaps.total()} s{_listed(ledger.gaps)}; the ledger is {balance}")


def _figures(figures: Mapping[str, Any]) -> str:
    """Return the figures of a coupling in words.

    >>> known = {"gain": 1.0, "gate": "open", "asd_ratio": 0.627}
    >>> _figures(known | {"amplitude": 1.02, "phase": -0.05})
    'gain 1.00, gate open, ASD ratio 0.627, adapted by 1.020 and -2.9 degrees'
    """
    ratio, amplitude, phase = (figures[key] for key in ("asd_ratio", "amplitude", "phase"))
    said = [f"gain {figures['gain']:.2f}"]
    if figures["gate"] is not None:
        said.append(f"gate {figures['gate']}")
    said.append(f"ASD ratio {'-' if ratio is None else f'{ratio:.3f}'}")
    if amplitude is not None and phase is not None:
        said.append(f"adapted by {amplitude:.3f} and {degrees(phase):+.1f} degrees")
    return ", ".join(said)


def _gps(instant: int | None) -> str:
    return "-" if instant is None else format_gps(instant)


def _listed(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()))
    return f" ({listed})" if listed else ""
