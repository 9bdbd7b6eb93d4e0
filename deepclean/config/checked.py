"""The configuration, checked as a whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from deepclean.config import checks, names
from deepclean.config.schema import ConfigTree
from deepclean.config.types import FrozenMap


class Config(ConfigTree):
    """Everything that a run depends on, checked as a whole.

    Raises:
        pydantic.ValidationError: when built from unsuitable values. `deepclean.config.load` turns
            it into one ConfigError with all faults.
    """

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, raw: Any) -> Any:
        return names.spell_out(raw) if isinstance(raw, Mapping) else raw

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        faults = list(checks.faults(self))
        if faults:
            raise PydanticCustomError(
                "semantic", "{text}", {"text": "\n".join(map(str, faults)), "faults": faults}
            )
        return self

    def with_wait(self, wait: Literal[0, 1]) -> Self:
        """Return this configuration with every `wait: auto` decided."""
        couplings = {
            name: coupling.model_copy(update={"wait": wait})
            if coupling.wait == "auto"
            else coupling
            for name, coupling in self.couplings.items()
        }
        return self.model_copy(update={"couplings": FrozenMap(couplings)})

    @property
    def hash(self) -> str:
        """sha256 of the resolved configuration as JSON with sorted keys."""
        resolved = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(resolved.encode()).hexdigest()
