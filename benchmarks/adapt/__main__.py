"""Print the tables of the adaptation on simulated sites, as Markdown.

python -m benchmarks.adapt [drifts] [broadband] [steps] [features] [floors] [glitches] [signals]
"""

from __future__ import annotations

import sys

from benchmarks.adapt.cases import TABLES


def main(names: list[str]) -> None:
    """Print the tables of these names, all without."""
    for name in names or TABLES:
        heads, rows = TABLES[name]
        _print(heads)
        _print(tuple("---" for _ in heads))
        for row in rows():
            _print(row)
        sys.stdout.write("\n")


def _print(row: tuple[str, ...]) -> None:
    sys.stdout.write(f"| {' | '.join(row)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
