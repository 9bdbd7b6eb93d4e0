#!/usr/bin/env python3
"""Compare two runs of a benchmark: figure, before, after, ratio.

The files are those that `--json` of any benchmark writes. The status says only whether they can be
compared: what a ratio means depends on what else the machine did, which is printed above the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import flat, load_of, table
from deepclean.errors import InputError


def main() -> int:
    """Print the comparison; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--only", default="", help="figures whose name holds this")
    parser.add_argument(
        "--beyond", type=float, default=1.0, help="figures that changed by this factor or more"
    )
    options = parser.parse_args()
    try:
        runs = read(options.before), read(options.after)
        print(compare(*runs, only=options.only, beyond=options.beyond))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def read(path: Path) -> dict[str, Any]:
    """Return a run.

    Raises:
        InputError: not the file of one.
    """
    try:
        run = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as JSON: {error}", path=path) from error
    if not isinstance(run, dict) or not {"bench", "machine", "figures"} <= run.keys():
        raise InputError("not what --json of a benchmark writes: make it again", path=path)
    return run


def compare(
    before: dict[str, Any], after: dict[str, Any], *, only: str = "", beyond: float = 1.0
) -> str:
    """Return the comparison as text, of figures whose name holds a word and that changed so much.

    Raises:
        InputError: runs of two benchmarks.
    """
    if before["bench"] != after["bench"]:
        raise InputError(
            f"these are runs of two benchmarks, {before['bench']} and {after['bench']}; compare "
            "two of one"
        )
    lines = [f"before: {load_of(before)}", f"after:  {load_of(after)}"]
    asked, told = before.get("settings", {}), after.get("settings", {})
    lines += [
        f"settings differ: {key}: {asked.get(key)} before, {told.get(key)} after"
        for key in sorted(asked.keys() | told.keys())
        if asked.get(key) != told.get(key)
    ]
    one, other = flat(before["figures"]), flat(after["figures"])
    rows = []
    for name in dict.fromkeys([*one, *other]):
        pair = one.get(name), other.get(name)
        if only in name and _changed(*pair, beyond):
            shown = ("-" if value is None else f"{value:.4g}" for value in pair)
            ratio = f"{pair[1] / pair[0]:.3f}" if pair[0] and pair[1] is not None else "-"
            rows.append((name, *shown, ratio))
    return "\n".join([*lines, "", table(("figure", "before", "after", "ratio"), rows)])


def _changed(before: float | None, after: float | None, factor: float) -> bool:
    if before is None or after is None or before == after == 0:
        return before is None or after is None or factor <= 1
    return before * after <= 0 or max(after / before, before / after) >= factor


if __name__ == "__main__":
    sys.exit(main())
