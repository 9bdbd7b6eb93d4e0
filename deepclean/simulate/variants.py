"""Variants of a site: with real strain, with stronger couplings, with further channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deepclean.simulate.background import background_channel
from deepclean.simulate.site import SimulatedWitness, Site


def on_background(site: Site, path: Path, channel: str | None = None) -> Site:
    """Return the site with real strain from a file under its couplings, at the file's rate.

    The site is then defined over the file's span only.

    Args:
        site: any site.
        path: HDF5 (GWOSC, or a channel archive) or GWF.
        channel: name of the strain in the file; None for its only strain channel.

    Raises:
        InputError: the file cannot be read, or its strain channel is ambiguous.
        ConfigError: the file's rate is too low for the site's couplings.
    """
    name, rate = background_channel(path, channel)
    return replace(site, background=path, background_channel=name, rate=rate)


def stronger(site: Site, factor: float) -> Site:
    """Return the site with the noise of every coupling multiplied by `factor`."""
    couplings = tuple(
        replace(
            coupling,
            linear=factor * coupling.linear,
            bilinear=tuple((motion, factor * strength) for motion, strength in coupling.bilinear),
        )
        for coupling in site.couplings
    )
    return replace(site, couplings=couplings)


def with_dummies(site: Site, count: int) -> Site:
    """Return the site with `count` further channels that witness nothing: noise at 16 and 256 Hz.

    Real frame files hold thousands of channels, of which a few are used.
    """
    dummies = tuple(
        SimulatedWitness(f"{site.ifo}:SIM-DUMMY_{number:04d}", 16 if number % 4 else 256, (), 1.0)
        for number in range(count)
    )
    return replace(site, witnesses=site.witnesses + dummies)
