"""The configuration: one frozen, typed tree, read from YAML and checked as a whole.

`values` has the types; `inputs`, `outputs`, `computing`, `gates`, `couplings`, `models`, `training`
and `retraining` the branches, `schema` the tree, `checks` what its keys must be to one another;
`files` and `overrides` say where values come from, `loader` puts it together.
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
