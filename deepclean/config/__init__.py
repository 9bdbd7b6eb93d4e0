"""The configuration: one frozen, typed tree, read from YAML and checked as a whole.

The sections are in `frames`, `engine`, `couplings`, `models` and `training`, their value types in
`types`; `schema` has the whole tree, and `checks` how its keys must agree. `files` and `overrides`
read the values, `loader` puts them together. `settings` makes the core's settings.
"""

from deepclean.config.couplings import BandpassConfig, CouplingConfig, PredictConfig
from deepclean.config.loader import load
from deepclean.config.render import json_schema, to_yaml
from deepclean.config.schema import Config
from deepclean.config.training import TrainConfig

__all__ = [
    "BandpassConfig",
    "Config",
    "CouplingConfig",
    "PredictConfig",
    "TrainConfig",
    "json_schema",
    "load",
    "to_yaml",
]
