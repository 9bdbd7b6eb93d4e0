"""The configuration: one frozen tree. Files state durations in seconds; they are held in ns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_serializer, model_validator
from pydantic_core import PydanticCustomError

from deepclean.config import checks, names
from deepclean.config.couplings import CouplingConfig
from deepclean.config.engine import EngineConfig, GateConfig
from deepclean.config.frames import InputConfig, OutputConfig, StrainConfig
from deepclean.config.models import ModelsConfig
from deepclean.config.training import RetrainConfig, TrainConfig
from deepclean.config.types import Address, Count, Flag, FrozenMap, Interferometer, Port, Section

__all__ = ["Config", "LogConfig", "MetricsConfig", "ModelsConfig", "RuntimeConfig"]


class RuntimeConfig(Section):
    """What the cleaning runs on."""

    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where networks run; auto: a GPU where there is one."""

    threads: Count = 1
    """Threads of the numerical libraries. More than one costs time on a busy machine."""


class LogConfig(Section):
    """What is logged, and in which form."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe messages that appear."""

    format: Literal["text", "json"] = "text"
    """Lines for people or for machines."""


class MetricsConfig(Section):
    """What a running daemon tells Prometheus."""

    enabled: Flag = True
    """Whether the daemon serves metrics."""

    address: Address = "127.0.0.1"
    """The address of this machine on which it listens; 0.0.0.0 or :: for all addresses."""

    port: Port = 9109
    """The port on which it listens; each daemon of a machine needs its own."""


class Config(Section):
    """Everything that a run depends on, checked as a whole.

    Raises:
        pydantic.ValidationError: when built from unsuitable values. `deepclean.config.load` turns
            it into one ConfigError with all faults.
    """

    interferometer: Interferometer = Field(examples=["H1"])
    """Two characters: H1, L1, V1, K1."""

    strain: StrainConfig = StrainConfig()
    """The channel that is cleaned."""

    input: InputConfig = Field(default={}, validate_default=True)
    """Where the strain and the witnesses come from."""

    output: OutputConfig = Field(default={}, validate_default=True)
    """Where the cleaned frames go, and what is in them."""

    engine: EngineConfig = EngineConfig()
    """How the cleaning computes."""

    gate: GateConfig = GateConfig()
    """When an estimate is kept out of the official product."""

    models: ModelsConfig = ModelsConfig()
    """The model store."""

    couplings: Annotated[Mapping[str, CouplingConfig], AfterValidator(FrozenMap)] = Field(
        default={}, validate_default=True
    )
    """The subtraction problems, by name."""

    training: TrainConfig = TrainConfig()
    """How `deepclean train` fits a network."""

    retrain: RetrainConfig = RetrainConfig()
    """How `deepclean retrain` makes the next candidate."""

    runtime: RuntimeConfig = RuntimeConfig()
    """What the cleaning runs on."""

    log: LogConfig = LogConfig()
    """What is logged, and in which form."""

    metrics: MetricsConfig = MetricsConfig()
    """What a running daemon tells Prometheus."""

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

    @field_serializer("couplings", mode="wrap")
    def _plain(self, couplings: Mapping[str, CouplingConfig], handler: Any) -> Any:
        return handler(dict(couplings))

    @property
    def enabled_couplings(self) -> dict[str, CouplingConfig]:
        """The couplings that are cleaned, sorted by name: the order of a file changes nothing."""
        return {
            name: self.couplings[name]
            for name in sorted(self.couplings)
            if self.couplings[name].enabled
        }

    @property
    def witness_channels(self) -> tuple[str, ...]:
        """Full names of all witnesses of the enabled couplings, sorted, each once."""
        couplings = self.enabled_couplings.values()
        return tuple(sorted({name for coupling in couplings for name in coupling.witnesses}))

    @property
    def wait(self) -> Literal[0, 1, "auto"]:
        """Whether frames wait for their look-ahead: as the slowest of the enabled couplings."""
        waits = {coupling.wait for coupling in self.enabled_couplings.values()}
        return 1 if 1 in waits else "auto" if "auto" in waits else 0

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
