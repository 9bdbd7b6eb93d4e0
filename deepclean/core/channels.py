"""The names of the channels that a cleaned frame carries."""

from __future__ import annotations

import re
from collections.abc import Sequence

STATE_RATE = 16
"""Samples per second of the accounting channels."""


def frame_part(coupling: str) -> str:
    """Return how a coupling is spelt in frame channels and in environment variables.

    Capital letters, and one underscore for whatever is neither letter nor digit:
    `137-139Hz` -> `137_139HZ`.
    """
    return re.sub(r"[^A-Z0-9]+", "_", coupling.upper()).strip("_")


def product_names(strain: str, products: Sequence[str]) -> dict[str, str]:
    """Return the channel name of each strain product (`OUT_DQ`, `PRODUCTION`, `CANARY`).

    The names are those of the 2023 microservice, so that its readers keep working.
    """
    base = f"{strain}_DEEPCLEAN"
    spelt = {"OUT_DQ": "PRODUCTION_OUT_DQ"}
    return {product: f"{base}_{spelt.get(product, product)}" for product in products}


def state_vector(interferometer: str) -> str:
    """Return the name of our state vector (core.products has its bits)."""
    return f"{interferometer}:DEEPCLEAN-STATE_VECTOR"


def model_version(interferometer: str, coupling: str) -> str:
    """Return the name of the channel with a coupling's model version."""
    return f"{interferometer}:DEEPCLEAN-{frame_part(coupling)}_MODEL_VERSION"


def canary_version(interferometer: str, coupling: str) -> str:
    """Return the name of the channel with the version of a coupling's model that is tried."""
    return f"{interferometer}:DEEPCLEAN-{frame_part(coupling)}_CANARY_VERSION"


def gain(interferometer: str, coupling: str) -> str:
    """Return the name of the channel with a coupling's gain."""
    return f"{interferometer}:DEEPCLEAN-{frame_part(coupling)}_GAIN"
