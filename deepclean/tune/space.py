"""What a search varies, and the configuration that a point of the search stands for.

A point is a mapping from parameters' names to values. It becomes options `--set KEY=VALUE`, so that
the best point can be tried by hand and written into the configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deepclean.config import Config, CouplingConfig
from deepclean.config.types import thaw
from deepclean.errors import ConfigError, hint

Point = Mapping[str, Any]

USE = "use "
"""Begins the name of the parameter that says whether a group of witnesses is used."""

MODEL = "model"
"""Name of the parameter that says which kind of model is trained."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "autoencoder": {
        "training.architecture_options.hidden": [[8, 16, 32, 64], [16, 32, 64], [32, 64]],
        "training.learning_rate": {"low": 1e-3, "high": 3e-2, "log": True},
        "training.loss": ["asd_ratio", "log_asd_ratio"],
    }
}
"""What is searched for a kind of model where the configuration names no keys for it."""

_OPTIONS = "training.architecture_options"


class Suggest(Protocol):
    """What gives the values of a point; an Optuna trial does."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of some choices: text, numbers or truth values."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number in a range."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return a whole number in a range."""


@dataclass(frozen=True, slots=True)
class KeySearch:
    """A key of the configuration that is searched.

    Args:
        key: from the root of the configuration.
        choices: the values; empty for a range.
        low: lowest value of a range.
        high: highest value of a range.
        log: whether the range is searched by its logarithm.
        whole: whether the range has whole numbers only.
    """

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    def suggest(self, trial: Suggest, name: str) -> Any:
        """Return a value of the point: text of JSON for one of the choices."""
        if self.choices:
            return trial.suggest_categorical(name, [json.dumps(each) for each in self.choices])
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def option(self, value: Any) -> str:
        """Return the option that gives the key a value of a point."""
        return f"{self.key}={value if self.choices else json.dumps(value)}"


class SearchSpace:
    """The search of a coupling.

    Args:
        config: its section `tune` says what is searched.
        coupling: a name in it.

    Attributes:
        groups: witnesses by group, those that the coupling has now first.
        judged: bands in Hz in which trials are judged: the widest that the search may choose.

    Raises:
        ConfigError: the section names something that is not there, or cannot be searched.
    """

    def __init__(self, config: Config, coupling: str) -> None:
        self._config, self._name = config, coupling
        self._coupling = config.couplings[coupling]
        self._edges = config.tune.edges
        self.groups = _groups(config, self._coupling.witnesses)
        self.judged = _widest(self._coupling.bands, self._edges)
        self._common = _keys(config, coupling, config.tune.search, "tune.search")
        self._models = self._kinds()

    @property
    def witnesses(self) -> tuple[str, ...]:
        """All channels that a trial may use."""
        return tuple(name for group in self.groups.values() for name in group)

    def suggest(self, trial: Suggest) -> None:
        """Let a trial choose a point."""
        if len(self.groups) > 1:
            for group in self.groups:
                trial.suggest_categorical(USE + group, [True, False])
        if self._edges:
            for name in self._moves():
                trial.suggest_float(name, -self._edges, self._edges, step=self._edges / 2)
        for key, search in self._common.items():
            search.suggest(trial, key)
        kinds = list(self._models)
        kind = kinds[0]
        if len(kinds) > 1:
            kind = trial.suggest_categorical(MODEL, kinds)
        for key, search in self._models[kind].items():
            search.suggest(trial, f"{kind}: {key}")

    def overrides(self, point: Point) -> list[str]:
        """Return the configuration of a point as `KEY=VALUE`.

        Raises:
            ConfigError: it uses no witness.
        """
        place = f"couplings.{self._name}"
        options: list[str] = []
        if len(self.groups) > 1:
            used = [w for group, names in self.groups.items() if point[USE + group] for w in names]
            if not used:
                raise ConfigError("no witness is used")
            options.append(f"{place}.witnesses={json.dumps(used)}")
        if self._edges:
            moves = [point[name] for name in self._moves()]
            pairs = zip(self._coupling.bands, moves[::2], moves[1::2], strict=True)
            bands = [[low - down, high + up] for (low, high), down, up in pairs]
            options.append(f"{place}.bands={json.dumps(bands)}")
        options += [search.option(point[key]) for key, search in self._common.items()]
        kind = point.get(MODEL, next(iter(self._models)))
        options.append(f"training.architecture={kind}")
        for key, search in self._models[kind].items():
            options.append(search.option(point[f"{kind}: {key}"]))
        return options

    def _moves(self) -> list[str]:
        """Return the parameters that widen the bands: below and above each."""
        places = [f" of {low:g}-{high:g} Hz" for low, high in self._coupling.bands]
        return [f"wider {side}{place}" for place in places for side in ("below", "above")]

    def _kinds(self) -> dict[str, dict[str, KeySearch]]:
        """Return the keys that are searched for each kind of model."""
        training = self._config.training
        named = {name: thaw(keys) for name, keys in self._config.tune.models.items()}
        named = named or {training.architecture: {}}
        if training.architecture_options and set(named) != {training.architecture}:
            raise ConfigError(
                f"{_OPTIONS}: belong to {training.architecture} alone; search them in "
                f"tune.models.{training.architecture} instead"
            )
        return {
            kind: _keys(
                *(self._config, self._name, keys or DEFAULTS.get(kind, {}), f"tune.models.{kind}")
            )
            for kind, keys in named.items()
        }


def _groups(config: Config, own: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return all witnesses by group; a group of one has the channel's name."""
    known = dict.fromkeys((*own, *config.tune.witnesses))
    group_of: dict[str, str] = {}
    for group, names in config.tune.groups.items():
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"tune.groups.{group}: {name} is no witness of the coupling and not in "
                    f"tune.witnesses{hint(name, known)}"
                )
            if name in group_of:
                raise ConfigError(f"tune.groups: {name} is in {group_of[name]} and in {group}")
            group_of[name] = group
    groups: dict[str, list[str]] = {}
    for name in known:
        groups.setdefault(group_of.get(name, name), []).append(name)
    return {group: tuple(names) for group, names in groups.items()}


def _widest(bands: Sequence[tuple[float, float]], edges: float) -> tuple[tuple[float, float], ...]:
    """Return the bands with each edge moved outward, joined where they then overlap."""
    joined: list[tuple[float, float]] = []
    for low, high in sorted((low - edges, high + edges) for low, high in bands):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def _keys(config: Config, coupling: str, given: Any, place: str) -> dict[str, KeySearch]:
    """Return the searches of some keys, by the keys as they are written."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{place}: must be keys of the configuration, each with its choices")
    return {key: _search(coupling, key, thaw(value), place) for key, value in given.items()}


def _search(coupling: str, key: str, value: Any, place: str) -> KeySearch:
    inside = key.partition(".")[0] in CouplingConfig.model_fields
    full = f"couplings.{coupling}.{key}" if inside else key
    where = f"{place}: {key}"
    if isinstance(value, list) and value:
        return KeySearch(full, tuple(value))
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: write a list of choices, or {{low: 1, high: 10}}")
    for name in value:
        if name not in ("low", "high", "log", "whole"):
            raise ConfigError(f"{where}: no {name} in a range; there are low, high, log, whole")
    for name, kind in _RANGE.items():
        if not kind(value.get(name, False)):
            raise ConfigError(f"{where}.{name}: {value.get(name)!r} cannot be used in a range")
    if not value["low"] < value["high"] or (value.get("log") and not value["low"] > 0):
        raise ConfigError(f"{where}: low must be below high, and positive where log is true")
    return KeySearch(full, **value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_RANGE: dict[str, Callable[[Any], bool]] = {
    "low": _is_number,
    "high": _is_number,
    "log": lambda value: isinstance(value, bool),
    "whole": lambda value: isinstance(value, bool),
}
