"""What comes with the software beside its code: configurations, a model, units, rules, guides.

In a checkout the entries of this folder are links to the folders at the top; a wheel and an sdist
have the files themselves.
"""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parent
"""Holds `config`, `models`, `systemd`, `monitoring`, `scripts` and `docs`."""


def configuration(name: str) -> Path | None:
    """Return the file of a shipped configuration (`H1`, `demo`); None where there is none."""
    return (
        SHIPPED.joinpath("config", f"{name}.yaml").resolve() if name in configurations() else None
    )


def configurations() -> list[str]:
    """Return the names of the shipped configurations, sorted."""
    return sorted(file.stem for file in (SHIPPED / "config").glob("*.yaml"))
