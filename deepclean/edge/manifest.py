"""The manifest of a model directory: everything about a model that is not a number in a tensor."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from deepclean.errors import ModelError

SCHEMA_VERSION: Literal[1] = 1

Name = Annotated[str, StringConstraints(pattern=r"^\w[\w.+-]*$")]
"""A directory name: letters, digits and `_ . + -`, not beginning with a dot."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Channel(_Frozen):
    """A channel and its native rate in Hz."""

    name: str
    rate: int = Field(gt=0)


class Description(_Frozen):
    """What whoever makes a model knows about it.

    Args:
        interferometer: `H1`, `L1`, `V1`, `K1`.
        coupling: the subtraction problem, as the configuration names it.
        version: counted from 1 within a coupling.
        architecture: `networks.build`'s argument.
        strain: the channel to be cleaned.
        channels: the witnesses, in the order of the network's input.
        sample_rate: the network's rate in Hz.
        bands: what it was trained to clean, `(low, high)` in Hz.
        bandpass: the filter that confined the training target, as in the configuration.
        kernel: window length in samples.
        edge: samples dropped at each end of a window.
        training: spans it was trained on, `(start, end)` in GPS nanoseconds.
        validation: figures by name (`asd_ratio`, `epoch`, ...).
        parent_version: the version it was fine-tuned from.
        seed: of the random numbers.
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
    seed: int = 0


class Manifest(Description):
    """A description and what publishing added to it: `manifest.json`.

    Args:
        schema_version: of this layout.
        receptive_field: measured, samples a side.
        period: measured shift period in samples; None where the network has none.
        files: sha256 by name of every other file of the directory.
        software_version: of the package that wrote it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    receptive_field: int = Field(ge=0)
    period: int | None = Field(default=None, gt=0)
    files: dict[str, Sha256]
    software_version: str

    def serialise(self) -> bytes:
        """Return the bytes of `manifest.json`; equal manifests give equal bytes."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Self:
        """Return the manifest in `content`, which was read from `path`.

        Raises:
            ModelError: it is not a manifest of this schema version; names the first faults.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            faults = [
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
            ]
            listed = "; ".join(faults[:3]).lstrip(": ")
            raise ModelError(f"not a valid manifest: {listed}", path=path) from error


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()
