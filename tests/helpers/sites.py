"""The simulated sites of the shipped configurations."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from deepclean.config import Config, load
from deepclean.simulate import Site, site_of

CONFIGURATIONS = Path(__file__).resolve().parents[2] / "config"
SHIPPED = ("demo", "H1", "L1", "K1", "V1")


def shipped(name: str, couplings: Collection[str] | None = None) -> Config:
    """Load a shipped configuration; where couplings are named, with these and no others."""
    config = load(CONFIGURATIONS / f"{name}.yaml", environ={})
    if couplings is None:
        return config
    chosen = {coupling: config.couplings[coupling] for coupling in couplings}
    return config.model_copy(update={"couplings": chosen})


def configured_site(
    name: str,
    *,
    couplings: Collection[str] | None = None,
    motions: int | None = None,
    seed: int = 0,
) -> Site:
    """Return the site of a shipped configuration, or of some of its couplings."""
    return site_of(shipped(name, couplings), motions=motions, seed=seed)


def demo_site() -> Site:
    """Return the demo's site: Hanford with six witnesses and three slow motions."""
    return configured_site("demo", motions=3)
