"""What comes in: the strain, and the frame files of strain and witnesses."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from deepclean.config import names
from deepclean.config.types import (
    Channel,
    Count,
    Description,
    Duration,
    Flag,
    Pause,
    Section,
    seconds,
)


class StrainConfig(Section):
    """The channel that is cleaned."""

    channel: Channel = names.STRAIN
    """The calibrated strain; the interferometer's prefix may be left out."""

    rate: Count = 16384
    """Its samples per second. Another rate in a frame makes that frame a bad one."""

    state_vector: Channel | None = names.STATE_VECTOR
    """The source's state vector, copied through and judged; null where there is none."""


class FramesConfig(Section):
    """A directory of frame files, and which of them."""

    directory: Path = Field(examples=["/dev/shm/kafka/H1"])
    """Where the files appear. Relative to the file that says so."""

    description: Description | None = None
    """Their LIGO-T050017 description (H1_llhoft of H-H1_llhoft-1370000000-1.gwf); null: any."""


class InputConfig(Section):
    """Where the strain and the witnesses come from."""

    strain: FramesConfig = Field(default={}, validate_default=True)
    """The strain's frame files."""

    witnesses: tuple[FramesConfig, ...] = ()
    """The witnesses' frame files; an empty list: they are in the strain's own files."""

    deadline: Pause = seconds(2.0)
    """Seconds after a strain frame's arrival until its missing witnesses count as a gap."""

    max_lag: Duration | None = seconds(60.0)
    """Seconds behind the newest strain beyond which frames pass through until the newest is
    reached; null: everything is cleaned, however late."""

    probe: Duration = seconds(0.05)
    """Seconds between looks for the next expected file, whatever the file watcher says."""

    checksum: Flag = True
    """Whether every frame file's checksum is verified: a flipped bit then costs a gap, not the
    memory that a garbled length asks for. About 4 ms per MB of file."""
