"""Gains that an operator's freeze holds."""

from __future__ import annotations

from typing import NamedTuple

from deepclean.core.adapt.knot import Knot
from deepclean.core.block import Version

HeldKey = tuple[Version, bool, int]
"""A version, whether its features' gains are meant, and the GPS second at which a freeze begins."""


class HeldGains(NamedTuple):
    """The gains of a version during a freeze.

    Args:
        version: the version.
        features: whether they are those of the model's features.
        start: the GPS second at which the freeze begins.
        knot: the gains; its second is the one from which on they are held.
    """

    version: Version
    features: bool
    start: int
    knot: Knot

    @property
    def key(self) -> HeldKey:
        """The key under which they are kept."""
        return self.version, self.features, self.start
