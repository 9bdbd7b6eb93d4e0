"""The names of the channels that a cleaned frame carries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

STATE_RATE = 16
"""Samples per second of the accounting channels."""


@lru_cache(maxsize=256)
def frame_part(coupling: str) -> str:
    """Return the spelling of a coupling in frame channels and in environment variables.

    It has capital letters, digits, and one underscore for each run of anything else.

    >>> frame_part("137-139Hz")
    '137_139HZ'
    """
    return re.sub(r"[^A-Z0-9]+", "_", coupling.upper()).strip("_")


def product_names(strain: str, products: Sequence[str]) -> dict[str, str]:
    """Return the channel name of each strain product (`OUT_DQ`, `PRODUCTION`, `CANARY`).

    The names are those of the 2023 microservice, so its readers keep working.

    >>> product_names("H1:GDS-CALIB_STRAIN", ["OUT_DQ", "PRODUCTION"])["OUT_DQ"]
    'H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION_OUT_DQ'
    """
    base = f"{strain}_DEEPCLEAN"
    spelt = {"OUT_DQ": "PRODUCTION_OUT_DQ"}
    return {product: f"{base}_{spelt.get(product, product)}" for product in products}


def state_vector(interferometer: str) -> str:
    """Return the name of the channel of the product's state vector (core.output.products)."""
    return f"{interferometer}:DEEPCLEAN-STATE_VECTOR"


def model_version(interferometer: str, coupling: str) -> str:
    """Return the name of the channel with a coupling's model version.

    >>> model_version("H1", "60Hz")
    'H1:DEEPCLEAN-60HZ_MODEL_VERSION'
    """
    return f"{interferometer}:DEEPCLEAN-{frame_part(coupling)}_MODEL_VERSION"


def canary_version(interferometer: str, coupling: str) -> str:
    """Return the name of the channel with the version of a coupling's canary."""
    return f"{interferometer}:DEEPCLEAN-{frame_part(coupling)}_CANARY_VERSION"


def adaptation(interferometer: str, coupling: str) -> tuple[str, str, str]:
    """Return the names of the channels with what the adaptation makes of a coupling's estimate.

    >>> adaptation("H1", "60Hz")[0]
    'H1:DEEPCLEAN-60HZ_ADAPT_AMPLITUDE'
    """
    base = f"{interferometer}:DEEPCLEAN-{frame_part(coupling)}_ADAPT"
    return f"{base}_AMPLITUDE", f"{base}_PHASE", f"{base}_SIGNIFICANCE"


def gain(interferometer: str, coupling: str) -> str:
    """Return the name of the channel with a coupling's gain."""
    return f"{interferometer}:DEEPCLEAN-{frame_part(coupling)}_GAIN"


def noise(interferometer: str, coupling: str) -> tuple[str, str]:
    """Return the names of the channels with a coupling's estimate and with the factor on it.

    >>> noise("H1", "60Hz")
    ('H1:DEEPCLEAN-60HZ_NOISE', 'H1:DEEPCLEAN-60HZ_NOISE_FACTOR')
    """
    base = f"{interferometer}:DEEPCLEAN-{frame_part(coupling)}_NOISE"
    return base, f"{base}_FACTOR"


def subtracted(strain: str) -> str:
    """Return the name of the channel with all noise that was subtracted from the strain.

    >>> subtracted("H1:GDS-CALIB_STRAIN")
    'H1:GDS-CALIB_STRAIN_DEEPCLEAN_SUBTRACTED'
    """
    return f"{strain}_DEEPCLEAN_SUBTRACTED"
