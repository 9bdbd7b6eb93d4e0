"""The schema of the document that telemetry.status makes, served at `/schema`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    """A part of the document: keys that are not known are refused, each is described below it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class LedgerStatus(_Part):
    """Counts of frames since the start; `frames_in` is the sum of written, lost and inside."""

    frames_in: int
    """Strain frames taken in."""
    written: dict[str, int]
    """Frames written: `cleaned`, or by the reason for which they are not fully cleaned."""
    lost: dict[str, int]
    """Frames that could not be written, by the operating system's error."""
    gaps: dict[str, int]
    """Seconds without strain, by reason."""
    ignored: dict[str, int]
    """Input files that were passed over, by reason."""
    inside: int
    """Frames taken in and not yet written: the backlog."""
    last_in: int | None
    """End of the last strain frame taken in, GPS nanoseconds."""
    last_out: int | None
    """End of the last frame written, GPS nanoseconds."""


class LatencyStatus(_Part):
    """Seconds from a strain frame's appearance to its cleaned frame, of the last 300 frames."""

    last: float
    """The latency of the last frame."""
    median: float
    """The median over all of these frames."""
    worst: float
    """The highest."""
    frames: int
    """How many frames these are."""


class HealthStatus(_Part):
    """How the daemon is."""

    num_status: Literal[0, 1, 2, 3]
    """0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
    txt_status: str
    """The same in words, with the reasons."""
    why: list[str]
    """The reasons, the worst first; empty where all is well."""


class FindingStatus(_Part):
    """The measure that keeps a closed gate from opening."""

    measure: str
    """Its name (docs/gate.md)."""
    value: float | None
    """As measured last."""
    limit: float
    """Beyond which the gate stays closed."""


class CanaryStatus(_Part):
    """How far the trial of a canary is."""

    version: int
    """The canary's version."""
    in_spec: float
    """Seconds in spec so far."""
    wanted: float
    """Seconds in spec after which it is promoted."""
    asd_ratio: float | None
    """Its mean ASD ratio."""
    production_asd_ratio: float | None
    """That of the version in production over the same time."""


class CouplingStatus(_Part):
    """A coupling in the last cleaned frame."""

    gain: float
    """Its lowest gain."""
    reasons: list[str]
    """Why the gain was below 1."""
    gate: str | None
    """How the gate is, in words; null without gates."""
    closed: float | None
    """Seconds for which the gate has been closed, 0 while it is open; null without gates."""
    obstacle: FindingStatus | None
    """What keeps a closed gate from opening; null where nothing does or nothing is measured."""
    closings: int
    """Closings since the start."""
    asd_ratio: float | None
    """Cleaned over raw ASD in the band, as the gate measured it last."""
    net: float | None
    """The net effect at all frequencies, as such a ratio."""
    amplitude: float | None
    """Amplitude of the gain by which the estimate is adapted."""
    phase: float | None
    """Phase of that gain, radians."""
    without: list[str]
    """Witnesses without which the coupling went on."""
    version: int | None
    """The version in production."""
    hash: str | None
    """The sha256 of that version's manifest."""
    canary: CanaryStatus | None
    """The canary's trial; null where there is none."""


class CouplingSettings(_Part):
    """What the configuration says of a coupling."""

    about: str
    """What the noise is."""
    bands: list[tuple[float, float]]
    """`[low, high]` in Hz."""
    witnesses: int
    """How many witnesses it has."""


class WitnessStatus(_Part):
    """A witness that was in trouble within the last hour of data."""

    channel: str
    """Its full name."""
    reason: str
    """What was wrong (docs/metrics.md)."""
    frames: int
    """In how many frames since the start."""
    last: float
    """End of the last of those frames, GPS seconds."""
    now: bool
    """Whether that was the last frame written."""


class ReloadStatus(_Part):
    """What became of a configuration that was read again."""

    number: int
    """How many were read since the start; 0 before the first."""
    taken: list[str]
    """The keys whose new values are taken."""
    restart: list[str]
    """The keys whose new values need a restart."""
    fault: str
    """Why the configuration was refused; empty where it was not."""


class Status(_Part):
    """The state of a running daemon."""

    schema_version: Literal[1]
    """The version of this schema; new keys do not change it."""
    interferometer: str
    """The interferometer of the configuration, as `H1`."""
    software: str
    """The version of deepclean."""
    configuration: str
    """The configuration's hash."""
    process: int
    """The daemon's process number."""
    started: float
    """When the daemon was built, Unix seconds."""
    written: float
    """When this was written, Unix seconds."""
    lookahead: float
    """Seconds of input that are needed after a frame."""
    page: bool
    """Whether there is a page."""
    ledger: LedgerStatus
    """Counts of frames."""
    waiting: dict[str, float]
    """Seconds for which `strain` and `witnesses` have been waited for beyond their time."""
    history: dict[str, float]
    """While the history is read at a start: the seconds that are `read`, and of the `whole`."""
    latency: LatencyStatus | None
    """Latencies; null before the first frame."""
    state: dict[str, bool] | None
    """Bits of the state vector that were set throughout the last frame; null before the first."""
    health: HealthStatus
    """How the daemon is."""
    models: dict[str, str]
    """The versions at work in words, by coupling."""
    configured: dict[str, CouplingSettings]
    """The enabled couplings."""
    couplings: dict[str, CouplingStatus]
    """The couplings in the last cleaned frame; empty before the first."""
    controls: list[str]
    """What operators set, in words; empty where they set nothing."""
    reloaded: ReloadStatus
    """What became of the configuration that was read again last."""
    witnesses: list[WitnessStatus]
    """Witnesses in trouble, the latest first, at most 40."""
    age: float | None = None
    """Seconds since the work loop wrote this; in the answer of `/status` only."""


def schema() -> dict[str, Any]:
    """Return the JSON schema of the document."""
    return Status.model_json_schema()
