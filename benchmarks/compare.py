#!/usr/bin/env python3
"""Compare runs of a benchmark: each figure in all of them, and the ratio of the last to the first.

The files are those that `--json` of any benchmark writes. The status says only whether they can be
compared: what a ratio means depends on what else the machine did, which is printed above the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Figures, flat, load_of, table
from deepclean.errors import InputError


def main() -> int:
    """Print the comparison; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--only", default="", help="figures whose name holds this")
    parser.add_argument(
        "--beyond", type=float, default=1.0, help="figures that changed by this factor or more"
    )
    options = parser.parse_args()
    try:
        print(compare([read(path) for path in options.runs], options.only, options.beyond))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def read(path: Path) -> Figures:
    """Return a run. Raises InputError where the file is not that of one."""
    try:
        run = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as JSON: {error}", path=path) from error
    if not isinstance(run, dict) or not {"bench", "machine", "figures"} <= run.keys():
        raise InputError("not what --json of a benchmark writes: make it again", path=path)
    return run


def compare(runs: Sequence[Figures], only: str = "", beyond: float = 1.0) -> str:
    """Return the comparison, of figures whose name holds a word and that changed so much, as text.

    Raises InputError where the runs are of several benchmarks.
    """
    benches = list(dict.fromkeys(run["bench"] for run in runs))
    if len(benches) > 1:
        raise InputError(f"these are runs of {' and '.join(benches)}; compare those of one")
    names = ["before", "after"] if len(runs) == 2 else [str(n + 1) for n in range(len(runs))]
    lines = [f"{name}: {load_of(run)}" for name, run in zip(names, runs, strict=True)]
    for key in sorted({key for run in runs for key in run["settings"]}):
        asked = [str(run["settings"].get(key)) for run in runs]
        lines += [f"settings differ: {key}: {', '.join(asked)}"] if len(set(asked)) > 1 else []
    figures, rows = [flat(run["figures"]) for run in runs], []
    for name in dict.fromkeys(name for each in figures for name in each):
        values = [each.get(name) for each in figures]
        first, last = values[0], values[-1]
        if only in name and _changed(first, last, beyond):
            shown = ("-" if value is None else f"{value:.4g}" for value in values)
            rows.append(
                (name, *shown, f"{last / first:.3f}" if first and last is not None else "-")
            )
    return "\n".join([*lines, "", table(("figure", *names, "ratio"), rows)])


def _changed(before: float | None, after: float | None, factor: float) -> bool:
    if before is None or after is None or before == after == 0:
        return before is None or after is None or factor <= 1
    return before * after <= 0 or max(after / before, before / after) >= factor


if __name__ == "__main__":
    sys.exit(main())
