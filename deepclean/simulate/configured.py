"""The site that a configuration describes."""

from __future__ import annotations

from dataclasses import replace

from deepclean.config import Config
from deepclean.errors import ConfigError
from deepclean.simulate.compose import compose
from deepclean.simulate.site import Site


def site_of(config: Config, *, motions: int | None = None, seed: int = 0) -> Site:
    """Return the site whose subtraction problems are a configuration's enabled couplings.

    The strain has the configured name and rate. The state vector has the configured name or, if
    none is configured, the interferometer's usual name.

    Args:
        config: the configuration.
        motions: number of slow motions; None for the default of `compose`.
        seed: of the noise; the couplings do not depend on it.

    Raises:
        ConfigError: a coupling with several bands, an interferometer that cannot be simulated, or
            a rate too low for the signal of its channel.
    """
    couplings = config.enabled_couplings
    several = [name for name, coupling in couplings.items() if len(coupling.bands) > 1]
    if several:
        raise ConfigError(
            f"couplings.{name}.bands: a coupling with several bands cannot be simulated; leave one"
            for name in several
        )
    problems = {name: (each.bands[0], each.witnesses) for name, each in couplings.items()}
    site = compose(config.interferometer, problems, motions=motions, seed=seed)
    strain = config.strain
    return replace(
        site,
        strain=strain.channel,
        rate=strain.rate,
        state=site.state if strain.state_vector is None else strain.state_vector,
    )
