"""The model store, and the trial of new versions in a running daemon."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from deepclean.config.types import (
    Duration,
    Flag,
    NotNegative,
    PackagedArchitecture,
    Positive,
    Section,
    seconds,
)


def _address(text: str) -> str:
    """Return an address without a slash at its end. Raises ValueError where it is none."""
    if not re.fullmatch(r"[a-z][a-z0-9]+://[^\s@]+", text):
        raise ValueError("must be an address without keys in it, as s3://bucket/models")
    return text.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]


class TrialConfig(Section):
    """When a canary becomes production, and production goes back.

    Only time counts in which the strain is ready for analysis, all witnesses are good and both
    versions have been measured.
    """

    validation_time: Duration = seconds(100.0)
    """Seconds that a canary has to be in spec, and not worse than production, to be promoted."""

    patience: Duration = seconds(600.0)
    """Seconds after which a canary that was not promoted is rejected."""

    margin: NotNegative = 0.01
    """By how much a canary's mean ASD ratio may be above production's, as a part of that."""

    rollback_after: Duration = seconds(30.0)
    """Seconds that new production may be out of spec where the former version is not."""

    probation: Duration = seconds(3600.0)
    """Seconds for which the former version is kept running, ready to take over again."""


class ModelsConfig(Section):
    """The model store."""

    directory: Path = Path("models")
    """Holds <interferometer>/<coupling>/<version>. Relative to the file that says so."""

    remote: Address | None = None
    """The address of a store elsewhere, as s3://bucket/models. A daemon fetches its new versions
    and follows its pointers; `train` and `retrain` send what they made there."""

    refresh: Positive = 60.0
    """Seconds between two looks at the remote store."""

    architectures: tuple[PackagedArchitecture, ...] = ()
    """Networks of other packages that may run, as PACKAGE:NAME: their code is imported if a model
    or a training asks for them. A model that asks for any other is refused."""

    follow: Flag = True
    """Whether a running daemon takes the versions that `production` and `canary` name when they
    change, tries canaries, promotes them and rolls back. Without, it keeps its first versions."""

    probe: Positive = 1.0
    """Seconds between two readings of these pointers."""

    plausible: Positive = 10.0
    """Times the strain's own level in the band that a new version's estimate may have over the last
    seconds of data; a louder one is refused."""

    trial: TrialConfig = TrialConfig()
    """When a canary becomes production, and production goes back."""
