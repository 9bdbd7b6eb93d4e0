"""Where models are, and what becomes of them in a running daemon."""

from __future__ import annotations

from pathlib import Path

from deepclean.config.types import Duration, Flag, NotNegative, Positive, Section
from deepclean.core.time import seconds_to_ns


class TrialConfig(Section):
    """When a canary becomes production, and production goes back.

    Only time counts in which the strain is ready for analysis, all witnesses are good and both
    versions have been measured.
    """

    validation_time: Duration = 100.0
    """Seconds that a canary has to be in spec, and not worse than production, to be promoted."""

    patience: Duration = 600.0
    """Seconds after which one that was not is rejected."""

    margin: NotNegative = 0.01
    """By how much its mean ASD ratio may be above production's, as a part of that."""

    rollback_after: Duration = 30.0
    """Seconds that new production may be out of spec where the former version is not."""

    probation: Duration = 3600.0
    """Seconds for which the former version is kept running, ready to take over again."""

    @property
    def validation_time_ns(self) -> int:
        """How long a canary has to be in spec, in nanoseconds."""
        return seconds_to_ns(self.validation_time)

    @property
    def patience_ns(self) -> int:
        """When one that was not is rejected, in nanoseconds."""
        return seconds_to_ns(self.patience)

    @property
    def rollback_after_ns(self) -> int:
        """How long new production may be out of spec, in nanoseconds."""
        return seconds_to_ns(self.rollback_after)

    @property
    def probation_ns(self) -> int:
        """How long the former version is kept running, in nanoseconds."""
        return seconds_to_ns(self.probation)


class ModelsConfig(Section):
    """The model store."""

    directory: Path = Path("models")
    """Holds <interferometer>/<coupling>/<version>. Relative to the file that says so."""

    follow: Flag = True
    """Whether a running daemon takes what `production` and `canary` name when they change, tries
    canaries, promotes them and rolls back. Without, it keeps what it began with."""

    probe: Positive = 1.0
    """Seconds between two looks at these pointers."""

    plausible: Positive = 10.0
    """Times the strain's own level in the band that a new version's estimate may have over the last
    seconds of data; a louder one is refused."""

    trial: TrialConfig = TrialConfig()
    """When a canary becomes production, and production goes back."""
