"""`deepclean inspect`: the state, versions and gains that cleaned frames hold."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from math import degrees
from pathlib import Path
from typing import Annotated, Any

import typer

from deepclean.cli import options
from deepclean.cli.terminal import completion
from deepclean.core import reasons
from deepclean.core.channels import STATE_RATE, frame_part
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io.frhistory import history
from deepclean.system.utc import utc

_FEW = 4
"""Files that are named one by one in the command that draws them."""


def inspect(
    frames: Annotated[list[Path], typer.Argument(help="Cleaned frame files.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a second.")
    ] = False,
) -> None:
    """Print one line a second: state bits, and version and gain of every coupling.

    A gain below 1 has its reasons in brackets. Bits that are not set are named. Green is fully
    cleaned, yellow partly cleaned, red not valid.
    """
    screen = options.console()
    made: dict[str, str] = {}
    for path in frames:
        record = history(path)
        why = {n: text for n, text in record.items() if n.startswith(reasons.RECORD)}
        record = {name: text for name, text in record.items() if name not in why}
        if record != made and not as_json:
            made = record
            for name, text in record.items():
                _put(screen, f"{name}: {text}", "dim")
        for second in _seconds(path):
            _explain(second, why)
            if as_json:
                print(json.dumps(second | {"file": path.name, "made": record}))
            else:
                _show(screen, second)
    if not as_json:
        print(f"pictures: {_plot(frames)}")


def _plot(frames: Sequence[Path]) -> str:
    """Return the command that draws the frames."""
    from deepclean.io import gwf

    words = [str(path) for path in frames]
    if len(frames) > _FEW and len({path.parent for path in frames}) == 1:
        words = [str(frames[0].parent)]
    # The raw strain must come from somewhere, if the frames do not say what was subtracted.
    known = any(name.endswith("_SUBTRACTED") for name in gwf.channels(frames[0]))
    needed = [] if known or completion.VARIABLE in os.environ else ["-c", "CONFIG"]
    return shlex.join(["deepclean", "plot", *words, *needed])


def _seconds(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the facts of each second of a file."""
    import numpy as np

    from deepclean.core.output.products import State
    from deepclean.io import gwf

    held = gwf.channels(path)
    state = next((name for name in held if name.endswith(":DEEPCLEAN-STATE_VECTOR")), None)
    if state is None:
        raise InputError("not a cleaned frame: no DEEPCLEAN-STATE_VECTOR", path=path)
    marks = ("_MODEL_VERSION", "_GAIN", "_ADAPT_AMPLITUDE", "_ADAPT_PHASE")
    wanted = [name for name in held if ":DEEPCLEAN-" in name and name.endswith(marks)]
    for gps, samples in _by_second(path, [state, *wanted]):
        bits = int(np.bitwise_and.reduce(samples[state]))
        couplings: dict[str, dict[str, Any]] = {}
        for name in wanted:
            coupling = name.split(":DEEPCLEAN-")[1]
            mark = next(mark for mark in marks if coupling.endswith(mark))
            facts = couplings.setdefault(coupling.removesuffix(mark), {})
            if mark == marks[0]:
                facts["versions"] = sorted({int(version) for version in samples[name]})
            elif mark == marks[1]:
                facts["gain"] = float(samples[name].min())
            else:
                facts[mark.removeprefix("_").lower()] = float(samples[name][-1])
        bits_set = [bit.name for bit in State if bits & bit]
        there = len(samples[state]) / STATE_RATE
        yield {"gps": gps, "there": there, "bits": bits_set, "couplings": couplings}


def _by_second(path: Path, wanted: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the GPS seconds of a file, and by channel what there is of each.

    A second of a stream that had gaps is there in stretches: a frame for each.
    """
    import numpy as np

    from deepclean.core.block import Series
    from deepclean.io import gwf

    reading = gwf.read_pieces(path, wanted)
    for fault in reading.faults:
        raise fault
    seconds: dict[int, dict[str, list[Any]]] = {}
    for name, pieces in reading.pieces.items():
        for piece in pieces:
            if not isinstance(piece, Series):
                raise InputError(f"{name} is not valid over {piece.span}", path=path)
            for gps in range(piece.span.start // NS, -(-piece.span.end // NS)):
                part = piece.span.overlap(Span.of_seconds(gps, 1))
                if part is not None:
                    held = seconds.setdefault(gps, {}).setdefault(name, [])
                    held.append(piece.cut(part).samples)
    for gps, channels in sorted(seconds.items()):
        yield gps, {name: np.concatenate(held) for name, held in channels.items()}


def _explain(second: dict[str, Any], why: Mapping[str, str]) -> None:
    """Add to the couplings that are not fully applied what a frame's history says of them."""
    for name, text in why.items():
        facts = second["couplings"].get(frame_part(name.removeprefix(reasons.RECORD)), {})
        if facts.get("gain", 1.0) < 1:
            facts["reasons"] = text.split(", ")


def _adapted(facts: dict[str, Any]) -> str:
    """Return by what the estimate was adapted, in words; empty where it was not.

    >>> _adapted({"adapt_amplitude": 1.1, "adapt_phase": 0.1})
    ' x 1.100 at +5.7 deg'
    """
    if "adapt_amplitude" not in facts:
        return ""
    angle = round(degrees(facts["adapt_phase"]), 1) + 0.0  # which makes 0 of -0
    return f" x {facts['adapt_amplitude']:.3f} at {angle:+.1f} deg"


def _because(facts: dict[str, Any]) -> str:
    """Return why a gain is below 1, in brackets; empty where the frame does not say.

    >>> _because({"reasons": ["witness_frozen", "gate_unsettled"]})
    ' (witness_frozen, gate_unsettled)'
    """
    return f" ({', '.join(facts['reasons'])})" if "reasons" in facts else ""


def _show(screen: Any, second: dict[str, Any]) -> None:
    from deepclean.core.output.products import State

    missing = [str(bit.name) for bit in State if bit.name not in second["bits"]]
    listed = "  ".join(
        f"{name} v{'/'.join(map(str, facts['versions']))} gain {facts['gain']:.2f}"
        f"{_because(facts)}{_adapted(facts)}"
        for name, facts in second["couplings"].items()
    )
    style = "green" if "CLEANED" in second["bits"] else "yellow"
    if "OUTPUT_VALID" in missing:
        style = "red"
    lacking = f"  not {', '.join(missing)}" if missing else ""
    lacking += f"  {second['there']:g} s of it are there" if second["there"] < 1 else ""
    _put(screen, f"{second['gps']} {utc(second['gps'])}  {listed}{lacking}", style)


def _put(screen: Any, line: str, style: str) -> None:
    """Print a line, folded to the width of the terminal."""
    screen.print(options.folded(line), style=style, soft_wrap=True, markup=False)
