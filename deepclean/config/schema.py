"""The configuration: one frozen tree. Durations are seconds here, nanoseconds through `*_ns`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_serializer, model_validator
from pydantic_core import PydanticCustomError

from deepclean.config import checks, names
from deepclean.config.couplings import Coupling
from deepclean.config.retraining import Retrain
from deepclean.config.training import Training
from deepclean.config.values import (
    Address,
    Channel,
    Count,
    Description,
    Duration,
    Flag,
    FrozenMap,
    Interferometer,
    Pause,
    Port,
    Positive,
    Section,
)
from deepclean.core.time import seconds_to_ns


class Strain(Section):
    """The channel that is cleaned."""

    channel: Channel = names.STRAIN
    """The calibrated strain; the interferometer's prefix may be left out."""

    rate: Count = 16384
    """Its samples per second. Another rate in a frame makes that frame a bad one."""

    state_vector: Channel | None = names.STATE_VECTOR
    """The source's state vector, copied through and judged; null where there is none."""


class Frames(Section):
    """A directory of frame files, and which of them."""

    directory: Path = Field(examples=["/dev/shm/kafka/H1"])
    """Where the files appear. Relative to the file that says so."""

    description: Description | None = None
    """Their LIGO-T050017 description (H1_llhoft of H-H1_llhoft-1370000000-1.gwf); null: any."""


class Input(Section):
    """Where the strain and the witnesses come from."""

    strain: Frames = Field(default={}, validate_default=True)
    """The strain's frame files."""

    witnesses: tuple[Frames, ...] = ()
    """The witnesses' frame files; an empty list: they are in the strain's own files."""

    deadline: Pause = 2.0
    """Seconds after a strain frame's arrival until its missing witnesses count as a gap."""

    max_lag: Duration | None = 60.0
    """Seconds behind the newest strain beyond which frames pass through until the newest is
    reached; null: everything is cleaned, however late."""

    probe: Duration = 0.05
    """Seconds between looks for the next expected file, whatever the file watcher says."""

    checksum: Flag = True
    """Whether every frame file's checksum is verified: a flipped bit then costs a gap, not the
    memory that a garbled length asks for. About 4 ms per MB of file."""

    @property
    def deadline_ns(self) -> int:
        """How long missing witnesses are waited for, in nanoseconds."""
        return seconds_to_ns(self.deadline)

    @property
    def max_lag_ns(self) -> int | None:
        """How far behind cleaning goes on, in nanoseconds; None: however far."""
        return None if self.max_lag is None else seconds_to_ns(self.max_lag)

    @property
    def probe_ns(self) -> int:
        """From one look for the next expected file to the next, in nanoseconds."""
        return seconds_to_ns(self.probe)


class Retention(Section):
    """How many output files are kept. Where both limits are null, all are."""

    count: Count | None = None
    """Keep this many of the newest files; null: no such limit."""

    age: Duration | None = 600.0
    """Delete files whose data is older than this many seconds; null: no such limit."""

    @property
    def age_ns(self) -> int | None:
        """Limit of age in nanoseconds, where there is one."""
        return None if self.age is None else seconds_to_ns(self.age)


class ArchiveRetention(Section):
    """How many files of each product an archive keeps. Where both limits are null, all are."""

    count: Count | None = None
    """Keep this many of the newest files; null: no such limit."""

    age: Duration | None = None
    """Delete files whose data is older than this many seconds; null: no such limit."""

    @property
    def age_ns(self) -> int | None:
        """Limit of age in nanoseconds, where there is one."""
        return None if self.age is None else seconds_to_ns(self.age)


class Archive(Section):
    """The cleaned frames of some minutes merged into one file for each product."""

    directory: Path | None = None
    """Where these files appear; null: there are none. Relative to the file that says so."""

    length: Count = 256
    """Seconds of a file. It ends on a multiple of them, counted from GPS 0, or before a gap."""

    format: Literal["gwf", "hdf5"] = "gwf"
    """Of the files."""

    retention: ArchiveRetention = ArchiveRetention()
    """How many files are kept."""

    @property
    def length_ns(self) -> int:
        """Of a file, in nanoseconds."""
        return seconds_to_ns(self.length)


class Output(Section):
    """Where the cleaned frames go, and what is in them."""

    directory: Path = Field(examples=["/dev/shm/deepclean/H1"])
    """Where they appear. Relative to the file that says so."""

    description: Description = "IFO_DEEPCLEAN"
    """Their LIGO-T050017 description; where left out, the interferometer and _DEEPCLEAN."""

    products: tuple[Literal["OUT_DQ", "PRODUCTION"], ...] = Field(
        default=("OUT_DQ", "PRODUCTION"), min_length=1
    )
    """The strain channels written: OUT_DQ subtracts where the gate is open, PRODUCTION wherever a
    prediction exists."""

    compression: Literal["none", "gzip"] = "none"
    """Of the frame files, and of the archive's."""

    fsync: Flag = False
    """Whether a file reaches the disk before it gets its name; useless in memory."""

    retention: Retention = Retention()
    """How many files are kept."""

    archive: Archive = Archive()
    """Long files of them."""


class Resample(Section):
    """The filter that brings a witness to the engine's rate."""

    zeros: Count = 16
    """Half its length, in samples at the slower of both rates."""

    max_delay: Duration = 0.25
    """Seconds that half the filter may span at most: it shortens the filters of slow witnesses."""

    attenuation: Positive = 80.0
    """Of the images and aliases, in dB."""

    slowest_rate: Count = 16
    """Hz of the slowest witness that is taken; it fixes the look-ahead."""

    @property
    def max_delay_ns(self) -> int:
        """Longest half-length in nanoseconds."""
        return seconds_to_ns(self.max_delay)


class Interpolation(Section):
    """The filter that brings the predicted noise to the strain's rate."""

    zeros: Count = 16
    """Half its length, in samples at the slower of both rates."""

    attenuation: Positive = 80.0
    """Of the images, in dB."""


class Witnesses(Section):
    """Which samples of the witnesses are unusable: they count as missing."""

    frozen: Duration | None = 2.0
    """Seconds after which a value that stays the same, and is not zero, is frozen; null: never."""

    limits: Annotated[Mapping[Channel, Positive], AfterValidator(FrozenMap)] = Field(
        default={}, validate_default=True
    )
    """By channel, the magnitude from which its samples are clipped, in the channel's unit: the end
    of its converter's range."""

    @field_serializer("limits", mode="wrap")
    def _plain(self, limits: Mapping[str, float], handler: Any) -> Any:
        return handler(dict(limits))

    @property
    def frozen_ns(self) -> int | None:
        """How long a value may stay the same, in nanoseconds, where there is a limit."""
        return None if self.frozen is None else seconds_to_ns(self.frozen)


class Engine(Section):
    """How the cleaning computes: its rate, its steps in time, its filters."""

    rate: Count = 4096
    """Samples per second at which networks run."""

    hop: Duration = 1.0
    """Seconds computed at a time, anchored to GPS 0: 1/16, 1/8, 1/4, 1/2 or whole up to 64."""

    ramp: Pause = 0.25
    """Seconds of raised cosine on each side of a gap."""

    witnesses: Witnesses = Witnesses()
    """Which samples of the witnesses are unusable."""

    resample: Resample = Resample()
    """From a witness's rate to the engine's."""

    interpolation: Interpolation = Interpolation()
    """From the engine's rate to the strain's."""

    @property
    def hop_ns(self) -> int:
        """Computed at a time, in nanoseconds."""
        return seconds_to_ns(self.hop)

    @property
    def ramp_ns(self) -> int:
        """Length of a ramp in nanoseconds."""
        return seconds_to_ns(self.ramp)


class Gate(Section):
    """When a coupling's estimate is kept out of the official product (OUT_DQ)."""

    enabled: Flag = True
    """Whether there are gates; without, OUT_DQ is as PRODUCTION."""

    window: Duration = 8.0
    """Seconds over which spectra are averaged, a whole number, at least 4."""

    open_below: Positive = 1.001
    """Mean ratio of cleaned over raw ASD in the band, below which the estimate is good."""

    close_above: Positive = 1.003
    """One above which it is bad, in the band or far from it."""

    guard: Pause = 6.0
    """Hz beside a band that are judged by themselves: the bandpass's transition."""

    guard_above: Positive = 1.03
    """Mean ratio there that is bad."""

    worst_above: Positive = 3.0
    """Ratio of any single bin of the band that is bad."""

    jump: Positive = 6.0
    """Factor over its usual level at which an estimate is not believed."""

    sigma: Positive = 5.0
    """Standard deviations of chance beyond which a second that is worse than raw is bad."""

    dwell: Duration = 8.0
    """Seconds that a gate stays closed after something bad, at least."""

    memory: Duration = 32.0
    """Seconds that a gate stays open without anything good, at most. With `dwell` and three windows
    it is the history that a restart reads."""

    @property
    def window_ns(self) -> int:
        """Over which spectra are averaged, in nanoseconds."""
        return seconds_to_ns(self.window)

    @property
    def dwell_ns(self) -> int:
        """How long a gate stays closed, in nanoseconds."""
        return seconds_to_ns(self.dwell)

    @property
    def memory_ns(self) -> int:
        """How long it stays open without anything good, in nanoseconds."""
        return seconds_to_ns(self.memory)


class Models(Section):
    """The model store."""

    directory: Path = Path("models")
    """Holds <interferometer>/<coupling>/<version>. Relative to the file that says so."""


class Runtime(Section):
    """What the cleaning runs on."""

    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where networks run; auto: a GPU where there is one."""

    threads: Count = 1
    """Of the numerical libraries. More than one costs time on a busy machine."""


class Log(Section):
    """What is logged, and how."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe messages that appear."""

    format: Literal["text", "json"] = "text"
    """Lines for people or for machines."""


class Metrics(Section):
    """What a running daemon tells Prometheus."""

    enabled: Flag = True
    """Whether it does."""

    address: Address = "127.0.0.1"
    """Where it listens: an address of this machine; 0.0.0.0 or :: for all of them."""

    port: Port = 9109
    """Where it listens; each daemon of a machine needs its own."""


class Config(Section):
    """Everything that a run depends on, checked as a whole.

    Raises:
        pydantic.ValidationError: when built from unsuitable values. `deepclean.config.load` turns
            it into one ConfigError with all faults.
    """

    interferometer: Interferometer = Field(examples=["H1"])
    """Two characters: H1, L1, V1, K1."""

    strain: Strain = Strain()
    """The channel that is cleaned."""

    input: Input = Field(default={}, validate_default=True)
    """Where the strain and the witnesses come from."""

    output: Output = Field(default={}, validate_default=True)
    """Where the cleaned frames go, and what is in them."""

    engine: Engine = Engine()
    """How the cleaning computes."""

    gate: Gate = Gate()
    """When an estimate is kept out of the official product."""

    models: Models = Models()
    """The model store."""

    couplings: Annotated[Mapping[str, Coupling], AfterValidator(FrozenMap)] = Field(
        default={}, validate_default=True
    )
    """The subtraction problems, by name."""

    training: Training = Training()
    """How `deepclean train` fits a network."""

    retrain: Retrain = Retrain()
    """How `deepclean retrain` makes the next candidate."""

    runtime: Runtime = Runtime()
    """What the cleaning runs on."""

    log: Log = Log()
    """What is logged, and how."""

    metrics: Metrics = Metrics()
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
    def _plain(self, couplings: Mapping[str, Coupling], handler: Any) -> Any:
        return handler(dict(couplings))

    @property
    def enabled_couplings(self) -> dict[str, Coupling]:
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
    def hash(self) -> str:
        """sha256 of the resolved configuration as JSON with sorted keys."""
        resolved = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(resolved.encode()).hexdigest()
