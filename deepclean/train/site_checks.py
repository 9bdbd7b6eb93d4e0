"""Checks of a site's data before a training: its rates, and whether there is enough of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import ceil

from deepclean.config import Config
from deepclean.core.filters.bandpass import Band
from deepclean.core.filters.resample import ResampleSettings
from deepclean.core.output.segments import total_seconds
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.train.closed_form.data import LEAST
from deepclean.train.data import SiteData

_EXCESS = 0.05
"""Excess over the floor, in amplitude, at which a fit is of no use."""

_log = logging.getLogger(__name__)


def at_rate(config: Config, site: SiteData) -> Config:
    """Return the configuration for the strain's rate in the data, which need not be the site's.

    A model does not depend on it: it runs at the engine's rate.

    Raises:
        InputError: the data's rate is below the engine's.
    """
    rate = site.rates[site.strain]
    if rate == config.strain.rate:
        return config
    if rate < config.engine.rate:
        raise InputError(
            f"{site.strain} is at {rate} Hz, below the {config.engine.rate} Hz at which models run "
            f"(engine.rate); use data of a higher rate, or train with --set engine.rate={rate}",
            channels=[site.strain],
        )
    _log.info(
        "%s is at %d Hz in the data, at %d Hz in the configuration: the data's is taken",
        *(site.strain, rate, config.strain.rate),
    )
    return config.model_copy(update={"strain": config.strain.model_copy(update={"rate": rate})})


def check_rates(site: SiteData, resample: ResampleSettings) -> None:
    """Raise InputError where a witness is slower than what the engine takes."""
    slowest = resample.slowest_rate
    slow = [name for name in site.witnesses if site.rates[name] < slowest]
    if slow:
        least = min(site.rates[name] for name in slow)
        raise InputError(
            f"{', '.join(f'{name} ({site.rates[name]} Hz)' for name in slow)}: slower than the "
            f"{slowest} Hz of engine.resample.slowest_rate; leave it out, or set "
            f"engine.resample.slowest_rate={least} and engine.resample.max_delay={1 / least:g} or "
            "more, by which the latency grows",
            channels=slow,
        )


def require_enough(
    name: str, site: SiteData, usable: Sequence[Span], asked: Span | None, bands: Sequence[Band]
) -> None:
    """Log how much of the data is used, and which witnesses are not.

    Args:
        name: of the coupling.
        site: its data.
        usable: the stretches that are fit.
        asked: the span that was asked for; None for all.
        bands: `(low, high)` in Hz.

    Raises:
        InputError: it is less than any model can be fitted to.
    """
    for witness, share in site.unusable.items():
        _log.warning(
            "%s: %s is absent, frozen or clipped in %.0f %% of the data: trained without it",
            *(name, witness, 100 * share),
        )
    used, whole = total_seconds(usable), 0 if asked is None else asked.duration // NS
    said = f"{used} s of {f'the {whole} s that were asked for' if asked else 'data'} are fit"
    said += " for training"
    needed = least_seconds(len(site.witnesses) - len(site.unusable), bands)
    if used < needed:
        raise InputError(
            f"{name}: {said}; at least {needed} s are needed for {len(site.witnesses)} witnesses "
            "in these bands",
            channels=[site.strain],
        )
    _log.log(logging.WARNING if used < whole else logging.INFO, "%s: %s", name, said)


def least_seconds(witnesses: int, bands: Sequence[Band]) -> int:
    """Return the seconds of data below which a model learns the floor rather than the noise.

    A least-squares fit of `p` numbers to `T` seconds in `B` Hz takes a share `p / (2 B T)` of the
    floor's power, so as much too much of it is left in other data, `p / (4 B T)` of the amplitude.
    With a gain and a phase for each witness, this is where that is 5 %.

    >>> least_seconds(21, [(50.0, 70.0)]), least_seconds(21, [(59.0, 61.0)])
    (32, 105)

    Args:
        witnesses: how many there are.
        bands: `(low, high)` in Hz.
    """
    width = sum(high - low for low, high in bands)
    return max(LEAST, ceil(2 * witnesses / (4 * width * _EXCESS)))
