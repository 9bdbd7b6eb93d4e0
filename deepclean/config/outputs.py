"""What goes out: the cleaned frames, and the archive of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from deepclean.config.types import Count, Description, Duration, Flag, Section, seconds


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
    """Of the files."""

    retention: ArchiveRetentionConfig = ArchiveRetentionConfig()
    """How many files are kept."""


class OutputConfig(Section):
    """Where the cleaned frames go, and what is in them."""

    directory: Path = Field(examples=["/dev/shm/deepclean/H1"])
    """Where they appear. Relative to the file that says so."""

    description: Description = "IFO_DEEPCLEAN"
    """Their LIGO-T050017 description; where left out, the interferometer and _DEEPCLEAN."""

    products: tuple[Literal["OUT_DQ", "PRODUCTION", "CANARY"], ...] = Field(
        default=("OUT_DQ", "PRODUCTION"), min_length=1
    )
    """The strain channels written: OUT_DQ subtracts where the gate is open, PRODUCTION wherever a
    prediction exists, CANARY likewise with the versions that are tried."""

    compression: Literal["none", "gzip"] = "none"
    """Of the frame files, and of the archive's."""

    fsync: Flag = False
    """Whether a file reaches the disk before it gets its name; useless in memory."""

    retention: RetentionConfig = RetentionConfig()
    """How many files are kept."""

    archive: ArchiveConfig = ArchiveConfig()
    """Long files of them."""
