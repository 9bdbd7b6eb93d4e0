"""Input and output: the strain, the frame files of both sides, the archive."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

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
    Server,
    seconds,
)
from deepclean.errors import ConfigError


class StrainConfig(Section):
    """The channel that is cleaned."""

    channel: Channel = names.STRAIN
    """The calibrated strain; the interferometer's prefix may be left out."""

    rate: Count = 16384
    """The strain's samples per second. A frame with another rate is a bad one."""

    state_vector: Channel | None = names.STATE_VECTOR
    """The source's state vector, copied through and judged; null where there is none."""


class FramesConfig(Section):
    """A directory of frame files, and which of them."""

    directory: Path = Field(examples=["/dev/shm/kafka/H1"])
    """Where the files appear. Relative to the file that says so."""

    description: Description | None = None
    """Their LIGO-T050017 description (H1_llhoft of H-H1_llhoft-1370000000-1.gwf); null: any."""


class StrainFramesConfig(Section):
    """The strain's directory of frame files, and which of them."""

    directory: Path | None = Field(default=None, examples=["/dev/shm/kafka/H1"])
    """Where the files appear. It may be left out where the strain is streamed (arrakis): a replay
    or a training then says where they are. Relative to the file that says so."""

    description: Description | None = None
    """Their LIGO-T050017 description (H1_llhoft of H-H1_llhoft-1370000000-1.gwf); null: any."""


class ArrakisInputConfig(Section):
    """A stream of short blocks that an Arrakis server gives: in the place of live frame files."""

    server: Server | None = Field(default=None, examples=["grpc://127.0.0.1:31206"])
    """The address of the Arrakis server; null: all input comes in frame files."""

    channels: Literal["all", "strain", "witnesses"] = "all"
    """Which of the configured channels come from it: the strain (with its state vector) and the
    witnesses, or one of both. The others come in frame files."""

    stride: Duration = seconds(0.0625)
    """Seconds of a block as it is cleaned: 1/16, 1/8, 1/4, 1/2 or whole up to 64, and a multiple of
    the server's. Where the strain comes in frame files their length counts instead."""

    reach: Pause = seconds(600.0)
    """Seconds of the stream's own past that are asked for at most, beside the history: what a
    restart missed at a start, what an outage missed later. 0: none is, nor the history."""

    token: Literal["auto", "none"] = "auto"
    """auto: the client finds its token by its own means (ARRAKIS_TOKEN, SciTokens), or goes without
    one; none: it does not look for one."""


class InputConfig(Section):
    """Where the strain and the witnesses come from."""

    strain: StrainFramesConfig = StrainFramesConfig()
    """The strain's frame files. Where the strain is streamed (arrakis): those of its past, for
    replay and training."""

    witnesses: tuple[FramesConfig, ...] = ()
    """The witnesses' frame files; an empty list: they are in the strain's own files."""

    deadline: Pause = seconds(2.0)
    """Seconds after a strain frame's arrival until its missing witnesses count as a gap. Within a
    stream (arrakis) the server's max_latency decides that."""

    max_lag: Duration | None = seconds(60.0)
    """Seconds behind the newest strain beyond which frames pass through until the newest is
    reached; null: everything is cleaned, however late."""

    probe: Duration = seconds(0.05)
    """Seconds between questions for the next expected file, whatever the file watcher says."""

    checksum: Flag = True
    """Whether every frame file's checksum is verified: a flipped bit then costs a gap, not the
    memory that a garbled length asks for. About 4 ms per MB of file."""

    arrakis: ArrakisInputConfig = ArrakisInputConfig()
    """Strain, witnesses or both as a stream of short blocks."""

    @property
    def streams_strain(self) -> bool:
        """Whether the strain comes from a server, not in frame files."""
        return self.arrakis.server is not None and self.arrakis.channels != "witnesses"

    @property
    def strain_frames(self) -> FramesConfig:
        """The strain's frame files.

        Raises:
            ConfigError: the strain is streamed, and nothing says where files of its past lie.
        """
        if self.strain.directory is None:
            raise ConfigError(
                "input.strain.directory: not set, for the strain is streamed; name the directory "
                "of its frame files"
            )
        return FramesConfig(**self.strain.model_dump())


class RetentionConfig(Section):
    """How many output files are kept. Where both limits are null, all are."""

    count: Count | None = None
    """Keep this many of the newest files; null: no such limit."""

    age: Duration | None = seconds(600.0)
    """Delete files whose data is older than this many seconds; null: no such limit."""


class ArchiveRetentionConfig(Section):
    """How many files of each product an archive keeps. Where both limits are null, all are."""

    count: Count | None = None
    """Keep this many of the newest files; null: no such limit."""

    age: Duration | None = None
    """Delete files whose data is older than this many seconds; null: no such limit."""


class ArchiveConfig(Section):
    """The cleaned frames of some minutes merged into one file for each product."""

    directory: Path | None = None
    """Where these files appear; null: there are none. Relative to the file that says so."""

    length: Count = 256
    """Seconds of a file. It ends on a multiple of them, counted from GPS 0, or before a gap."""

    format: Literal["gwf", "hdf5"] = "gwf"
    """The format of the files."""

    retention: ArchiveRetentionConfig = ArchiveRetentionConfig()
    """How many files are kept."""


class SegmentsConfig(Section):
    """When the cleaned frames are good, by their state bits, as one segment file a day."""

    directory: Path | None = None
    """Where these files appear; null: there are none. Relative to the file that says so."""

    state: tuple[str, ...] = Field(default=("OUTPUT_VALID", "ANALYSIS_READY"), min_length=1)
    """The state bits that make a second good: the flag GOOD is active where all of them are set.
    Each bit has a flag of its own too."""

    every: Count = 60
    """Seconds of data after which the day's file is written anew."""

    format: Literal["xml", "hdf5"] = "xml"
    """LIGO_LW XML, or HDF5 as gwpy has it."""


class ArrakisOutputConfig(Section):
    """The cleaned strain as a stream of short blocks, published through Arrakis."""

    server: Server | None = Field(default=None, examples=["grpc://127.0.0.1:31206"])
    """The address of the Arrakis server; null: nothing is published."""

    publisher: str = "DEEPCLEAN"
    """The identifier that the server knows this publisher by."""

    stride: Duration = seconds(0.0625)
    """Seconds of a block: a multiple of 1/16 s, as the server says for this publisher."""

    channels: tuple[Channel, ...] = ()
    """The channels that are published, of those that the frames hold; the interferometer's prefix
    may be left out. An empty list: all."""

    queue: Count = 1024
    """Blocks that may wait to be published, 64 s of 1/16 s. Where there are more, the oldest are
    dropped. A daemon that catches up makes many at once."""

    timeout: Duration = seconds(1.0)
    """Seconds within which the broker must confirm a block. Then the log says that nothing is
    published. The block is waited for while the queue has room for the next ones."""

    drain: Pause = seconds(1.0)
    """Seconds that are given to the blocks that wait when the process stops."""

    token: Literal["auto", "none"] = "auto"
    """auto: the client finds its token by its own means (ARRAKIS_TOKEN, SciTokens), or goes without
    one; none: it does not look for one."""


class OutputConfig(Section):
    """Where the cleaned frames go, and what is in them."""

    directory: Path = Field(examples=["/dev/shm/deepclean/H1"])
    """Where they appear. Relative to the file that says so."""

    frames: Flag = True
    """Whether frame files are written; false: the cleaned strain is published only (arrakis). The
    directory then holds the state of the daemon."""

    description: Description = "IFO_DEEPCLEAN"
    """Their LIGO-T050017 description; where left out, the interferometer and _DEEPCLEAN."""

    products: tuple[Literal["OUT_DQ", "PRODUCTION", "CANARY"], ...] = Field(
        default=("OUT_DQ", "PRODUCTION"), min_length=1
    )
    """The strain channels written: OUT_DQ subtracts where the gate is open, PRODUCTION wherever a
    prediction exists, CANARY as PRODUCTION, but with the versions that are tried."""

    estimates: tuple[str, ...] = Field(default=(), examples=[["all"]])
    """The couplings whose estimates are written beside them, by name; all: every coupling's."""

    subtracted: Flag = False
    """Whether the sum of all that OUT_DQ lacks is written too, at the strain's rate. It gives the
    raw strain back."""

    compression: Literal["none", "gzip"] = "none"
    """The compression of the frame files and of the archive's files."""

    fsync: Flag = False
    """Whether a file reaches the disk before it gets its name; useless in memory."""

    retention: RetentionConfig = RetentionConfig()
    """How many files are kept."""

    archive: ArchiveConfig = ArchiveConfig()
    """The cleaned frames of some minutes, merged into long files."""

    segments: SegmentsConfig = SegmentsConfig()
    """When the cleaned frames are good, as segment files."""

    arrakis: ArrakisOutputConfig = ArrakisOutputConfig()
    """The cleaned strain, published through Arrakis."""
