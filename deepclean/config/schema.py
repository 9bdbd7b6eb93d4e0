"""The configuration: one frozen tree. Files state durations in seconds; they are held in ns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_serializer

from deepclean.config.couplings import CouplingConfig
from deepclean.config.engine import EngineConfig, GateConfig
from deepclean.config.frames import InputConfig, OutputConfig, StrainConfig
from deepclean.config.models import ModelsConfig
from deepclean.config.training import RetrainConfig, TrainConfig
from deepclean.config.tuning import TuneConfig
from deepclean.config.types import (
    Address,
    Count,
    Device,
    Flag,
    FrozenMap,
    Interferometer,
    Port,
    Section,
)


class RuntimeConfig(Section):
    """What the cleaning runs on."""

    device: Device = "cpu"
    """Where networks run: cpu, cuda, one GPU (cuda:1), or auto, a GPU where there is one."""

    threads: Count = 1
    """Threads of the numerical libraries. More than one costs time on a busy machine."""


class LogConfig(Section):
    """What is logged, and in which form."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe messages that appear."""

    format: Literal["text", "json"] = "text"
    """Lines for people or for machines."""


class MetricsConfig(Section):
    """What a running daemon tells Prometheus, monitors and people over HTTP."""

    enabled: Flag = True
    """Whether the daemon serves anything."""

    address: Address = "127.0.0.1"
    """The address of this machine on which it listens; 0.0.0.0 or :: for all addresses."""

    port: Port = 9109
    """The port on which it listens; each daemon of a machine needs its own."""

    page: Flag = True
    """Whether it serves a page for people at /, with spectra, timeline and events, beside the
    metrics and its health."""


class ConfigTree(Section):
    """Everything that a run depends on, each value checked by itself."""

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

    tune: TuneConfig = TuneConfig()
    """What `deepclean tune` searches."""

    runtime: RuntimeConfig = RuntimeConfig()
    """What the cleaning runs on."""

    log: LogConfig = LogConfig()
    """What is logged, and in which form."""

    metrics: MetricsConfig = MetricsConfig()
    """What a running daemon tells Prometheus, monitors and people over HTTP."""

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
    def estimated_couplings(self) -> tuple[str, ...]:
        """The enabled couplings whose estimates are written into the frames, sorted by name."""
        named = self.output.estimates
        return tuple(name for name in self.enabled_couplings if name in named or "all" in named)

    @property
    def wait(self) -> Literal[0, 1, "auto"]:
        """Whether frames wait for their look-ahead: as the slowest of the enabled couplings."""
        waits = {coupling.wait for coupling in self.enabled_couplings.values()}
        return 1 if 1 in waits else "auto" if "auto" in waits else 0
