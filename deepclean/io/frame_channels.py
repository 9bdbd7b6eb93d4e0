"""The channels that a configuration wants of its input, and those that its cleaned frames hold."""

from __future__ import annotations

from deepclean.config import Config
from deepclean.core.channels import (
    STATE_RATE,
    adaptation,
    canary_version,
    gain,
    model_version,
    noise,
    product_names,
    state_vector,
    subtracted,
)
from deepclean.core.output.estimates import estimate_rate
from deepclean.errors import ConfigError, listed
from deepclean.io.source import Channels


def channels_of(config: Config) -> Channels:
    """Return what a configuration wants of the input."""
    return Channels(
        strain=config.strain.channel,
        rate=config.strain.rate,
        state=config.strain.state_vector,
        witnesses=config.witness_channels,
    )


def estimate_rates(config: Config) -> dict[str, int]:
    """Return the couplings whose estimates are written, each with its rate in Hz."""
    rate, couplings = config.strain.rate, config.couplings
    return {name: estimate_rate(rate, couplings[name].bands) for name in config.estimated_couplings}


def estimate_channels(config: Config) -> list[str]:
    """Return the names of the channels with the estimates, and of the factors on them."""
    couplings, interferometer = config.estimated_couplings, config.interferometer
    return [channel for name in couplings for channel in noise(interferometer, name)]


def strain_channels(config: Config) -> list[str]:
    """Return the names of the channels whose unit is strain."""
    output, strain = config.output, config.strain.channel
    names = list(product_names(strain, output.products).values())
    names += [noise(config.interferometer, name)[0] for name in config.estimated_couplings]
    return [*names, subtracted(strain)] if output.subtracted else names


def cleaned_channels(config: Config) -> dict[str, tuple[int, str]]:
    """Return the channels that a cleaned frame holds beside the source's own state vector.

    Returns:
        By full name the rate in Hz and the data type as numpy names it, as core.output.products
        makes them.
    """
    output, site, strain = config.output, config.interferometer, config.strain
    whole = strain.rate, "float64"
    held = dict.fromkeys(product_names(strain.channel, output.products).values(), whole)
    if output.subtracted:
        held[subtracted(strain.channel)] = whole
    held[state_vector(site)] = STATE_RATE, "uint32"
    rates = estimate_rates(config)
    for name, coupling in config.enabled_couplings.items():
        held[model_version(site, name)] = STATE_RATE, "int32"
        held[gain(site, name)] = STATE_RATE, "float32"
        if coupling.adapt != "off":
            held |= dict.fromkeys(adaptation(site, name), (STATE_RATE, "float64"))
        if "CANARY" in output.products:
            held[canary_version(site, name)] = STATE_RATE, "int32"
        if name in rates:
            held |= dict.fromkeys(noise(site, name), (rates[name], "float32"))
    return held


def published_channels(config: Config) -> dict[str, tuple[int, str]]:
    """Return the channels of a cleaned frame that are published, as cleaned_channels.

    Raises:
        ConfigError: `output.arrakis.channels` names none that there is.
    """
    made, named = cleaned_channels(config), config.output.arrakis.channels
    wanted = {name: one for name, one in made.items() if not named or name in named}
    if not wanted:
        raise ConfigError(
            "output.arrakis.channels: the cleaned frames hold no channel "
            f"{listed(named, made)}; name channels that there are, or none for all"
        )
    return wanted
