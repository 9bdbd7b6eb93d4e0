"""The ready sites, and what can be changed about one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from deepclean.errors import ConfigError
from deepclean.simulate.background import background_channel
from deepclean.simulate.compose import compose
from deepclean.simulate.hints import hint
from deepclean.simulate.published import PUBLISHED
from deepclean.simulate.site import Site, Witness

PRESETS = ("demo", "H1", "L1", "K1", "V1")

_SHOWN: Mapping[str, tuple[str, ...]] = {
    "H1": ("60Hz",),
    "L1": ("60Hz",),
    "K1": ("60Hz_mains_only",),
    "V1": tuple(PUBLISHED["V1"]),
}
"""Couplings that a preset shows unless asked for others."""

_DEMO_WITNESSES = (
    "PEM-CS_MAINSMON_EBAY_1_DQ",
    "ASC-CHARD_P_IN1_DQ",
    "ASC-CHARD_Y_IN1_DQ",
    "ASC-DHARD_P_IN1_DQ",
    "ASC-PRC2_P_IN1_DQ",
    "ASC-SRC1_Y_IN1_DQ",
)


def preset(
    name: str,
    *,
    couplings: Collection[str] | None = None,
    rates: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Site:
    """Return one of the ready sites.

    Args:
        name: `demo` (H1 with six witnesses of its 60 Hz problem), `H1` (21), `L1` (18), `K1`
            (9 microphones, the line alone) or `V1` (fifteen couplings, whose 266 witnesses are
            173 channels).
        couplings: the published problems to show, those above where it is None.
        rates: in Hz by full channel name, where they shall differ from the usual ones.
        seed: of the noise. What couples how does not depend on it.

    Raises:
        ConfigError: no such site or problem.
    """
    if name not in PRESETS:
        raise ConfigError(f"no simulated site {name}{hint(name, PRESETS)}")
    ifo = "H1" if name == "demo" else name
    known = dict(PUBLISHED[ifo])
    if name == "demo":
        known["60Hz"] = (known["60Hz"][0], _DEMO_WITNESSES)
    chosen = _SHOWN[ifo] if couplings is None else couplings
    for coupling in chosen:
        if coupling not in known:
            raise ConfigError(
                f"simulated site {name}: no coupling {coupling}{hint(coupling, known)}"
            )
    problems = {coupling: known[coupling] for coupling in chosen}
    return compose(ifo, problems, rates=rates, seed=seed)


def on_background(site: Site, path: Path, channel: str | None = None) -> Site:
    """Return the site with real strain from a file under its couplings, at the file's rate.

    The site is then defined over the file's span only.

    Args:
        site: any.
        path: HDF5 (GWOSC, or a channel archive) or GWF.
        channel: in the file; its only strain channel where it is None.

    Raises:
        InputError: the file cannot be read, or which channel is meant is not clear.
        ConfigError: the file's rate is too low for the site's couplings.
    """
    name, rate = background_channel(path, channel)
    return replace(site, background=path, background_channel=name, rate=rate)


def with_dummies(site: Site, count: int) -> Site:
    """Return the site with `count` more channels that witness nothing: noise at 16 and 256 Hz.

    Real frame files hold thousands of channels of which a few are wanted.
    """
    dummies = tuple(
        Witness(f"{site.ifo}:SIM-DUMMY_{number:04d}", 16 if number % 4 else 256, (), 1.0)
        for number in range(count)
    )
    return replace(site, witnesses=site.witnesses + dummies)
