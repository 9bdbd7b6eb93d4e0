"""What a configuration chooses of a closed form, and what is left to be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deepclean.errors import ConfigError, hint
from deepclean.train.closed_form import classes
from deepclean.train.closed_form.fit import FitSettings
from deepclean.train.closed_form.selection import Choice

_CHANNELS = ("linear", "carriers", "slow")
"""Options that name witnesses."""


def fit_settings(architecture: Mapping[str, Any], witnesses: Sequence[str]) -> FitSettings:
    """Return how a closed-form model is fitted, by `training.architecture_options`.

    Options: `linear`, `carriers` and `slow`, each a list of witnesses; `classes`, a list of
    optional kinds of features; `ridge`, a number. What is not named is found.

    Raises:
        ConfigError: an option, witness or kind is unknown.
    """
    options = {key: value for key, value in architecture.items() if key != "name"}
    valid = (*_CHANNELS, "classes", "ridge")
    chosen: dict[str, Any] = {}
    for key, value in options.items():
        place = f"training.architecture_options.{key}"
        if key not in valid:
            raise ConfigError(f"{place}: no such option{hint(key, valid)}")
        if key == "ridge":
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigError(f"{place}: {value!r} is not a positive number")
            continue
        names = witnesses if key in _CHANNELS else tuple(classes.OPTIONAL)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{place}: {value!r} is not a list")
        for name in value:
            if name not in names:
                raise ConfigError(f"{place}: no {name}{hint(str(name), names)}")
        chosen[key] = [names.index(n) for n in value] if key in _CHANNELS else tuple(value)
    ridge = options.get("ridge")
    return FitSettings(Choice(**chosen), None if ridge is None else float(ridge))
