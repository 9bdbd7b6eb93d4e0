"""The manifest of a model directory: everything about a model but its tensors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    StringConstraints,
    ValidationError,
)

from deepclean.core.reach import Reach
from deepclean.errors import ModelError

MANIFEST = "manifest.json"

SCHEMA_VERSION: Literal[2] = 2
"""Version 1, which is read as well, has no `origin`, no `parent_weights`, and a rate of every
channel."""

Name = Annotated[str, StringConstraints(pattern=r"^\w[\w.+-]*$")]
"""A directory name: letters, digits and `_ . + -`, not beginning with a dot."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Channel(_Frozen):
    """A channel and its native rate in Hz; None where an imported model does not tell it."""

    name: str
    rate: int | None = Field(default=None, gt=0)


class Origin(_Frozen):
    """The version from which a version was copied.

    Args:
        format: `deepclean`, or `deepcleanv2` for an imported training directory.
        coupling: the original's coupling.
        version: the original's number; None in deepcleanv2, which has none.
        sha256: hash of the original's manifest, or of deepcleanv2's files.
    """

    format: Literal["deepclean", "deepcleanv2"]
    coupling: str
    version: int | None
    sha256: Sha256


class Description(_Frozen):
    """The part of a manifest that the maker of a model knows.

    Args:
        interferometer: `H1`, `L1`, `V1`, `K1`.
        coupling: the subtraction problem, as the configuration names it.
        version: counted from 1 within a coupling.
        architecture: `networks.build`'s argument.
        strain: the channel to be cleaned.
        channels: the witnesses, in the order of the network's input.
        sample_rate: the network's rate in Hz.
        bands: the bands that it was trained to clean, `(low, high)` in Hz.
        bandpass: the filter that confined the training target, as in the configuration.
        kernel: window length in samples.
        edge: samples dropped at each end of a window.
        training: spans that it was trained on, `(start, end)` in GPS nanoseconds.
        validation: figures by name (`asd_ratio`, `epoch`, ...).
        parent_version: the version that it was fine-tuned from, by its number in this store.
        parent_weights: sha256 of that version's weights file, the same in every store.
        seed: the seed of the random numbers.
    """

    interferometer: Name
    coupling: Name
    version: int = Field(ge=1)
    architecture: dict[str, Any]
    strain: Channel
    channels: tuple[Channel, ...] = Field(min_length=1)
    sample_rate: int = Field(gt=0)
    bands: tuple[tuple[float, float], ...] = Field(min_length=1)
    bandpass: dict[str, Any] = {}
    kernel: int = Field(gt=0)
    edge: int = Field(ge=0)
    training: tuple[tuple[int, int], ...] = ()
    validation: dict[str, float] = {}
    parent_version: int | None = None
    parent_weights: Sha256 | None = None
    seed: int = 0


class Manifest(Description):
    """`manifest.json`: a description, and what was added when the version was written.

    Args:
        schema_version: version of this layout.
        receptive_field: samples a side; a pair, before and after, where the two differ.
        period: measured shift period in samples; None where the network has none.
        files: sha256 by name of every other file of the directory.
        software_version: version of the package that wrote it.
        origin: the copied version; None where it was trained into this store.
    """

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    receptive_field: NonNegativeInt | tuple[NonNegativeInt, NonNegativeInt]
    period: int | None = Field(default=None, gt=0)
    files: dict[str, Sha256]
    software_version: str
    origin: Origin | None = None

    @property
    def reach(self) -> Reach:
        """Samples before and after an output sample that it may rest on."""
        field = self.receptive_field
        return Reach.both(field) if isinstance(field, int) else Reach(*field)

    def serialise(self) -> bytes:
        """Return the bytes of `manifest.json`; equal manifests give equal bytes."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Self:
        """Return the manifest in `content`, which was read from `path`.

        Raises:
            ModelError: it is not a manifest (the message names the first faults), or its schema
                version is newer than this software.
        """
        newer = _schema_version(content)
        if newer is not None and newer > SCHEMA_VERSION:
            raise ModelError(
                f"schema_version {newer} is newer than what this software reads "
                f"({SCHEMA_VERSION}): upgrade deepclean",
                path=path,
            )
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            faults = [
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
            ]
            listed = "; ".join(faults[:3]).lstrip(": ")
            raise ModelError(f"not a valid manifest: {listed}", path=path) from error


def _schema_version(content: bytes) -> int | None:
    """Return the schema version, or None where the content has none."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return None
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    return version if isinstance(version, int) else None


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()
