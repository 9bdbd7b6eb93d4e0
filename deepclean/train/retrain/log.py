"""The outcome of a retraining: one line of JSON beside the versions, also of a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from deepclean.core.time import NS, Span
from deepclean.models.store import log as model_log

LOG = "retrain.jsonl"

Mode = Literal["search", "refit", "none"]
"""What was done: a full training, a closed form solved anew, or neither."""

Outcome = Literal[
    "published", "not better", "canary in place", "no data", "not due", "overtaken", "failed"
]
"""`not due`: there is nothing to refit, and it is not yet time for a full training. `overtaken`: a
pointer was moved during the training, so production is another version or another canary is in
place. Only `failed` is a fault."""

GpsSpans = list[tuple[int, int]]


@dataclass(slots=True)
class RetrainRecord:
    """The record of one retraining, filled in step by step. Times are whole GPS seconds.

    Args:
        verdict: the outcome.
        why: the reason, in words.
        mode: what was done.
        repeated: whether the retraining before came to the same.
        looked_through: the span that was searched for data.
        training: the stretches that the candidate was trained on; its own validation is their end.
        held_out: the stretches that it was judged on.
        production: the version that it was compared with; None if there was none.
        parent: the version that it started from; None if it was trained from scratch.
        weights: sha256 of the candidate's weights.
        version: version of the candidate, if it was added to the store.
        asd_ratio: in the band, OUT_DQ over raw, of `candidate` and `production`.
        criteria: each with its value, its limit and whether it is met.
        figures: of the candidate over the same data, paired by segment with nothing and with
            production, as a manifest has them.
        read: seconds of data that a refit read.
    """

    verdict: Outcome = "failed"
    why: str = ""
    mode: Mode = "none"
    repeated: bool = False
    looked_through: tuple[int, int] | None = None
    training: GpsSpans = field(default_factory=list)
    held_out: GpsSpans = field(default_factory=list)
    production: int | None = None
    parent: int | None = None
    weights: str | None = None
    version: int | None = None
    asd_ratio: dict[str, float | None] = field(default_factory=dict)
    criteria: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    read: int = 0

    def close(self, verdict: Outcome, why: str) -> RetrainRecord:
        """Set the outcome and its reason; return the record."""
        self.verdict, self.why = verdict, why
        return self

    def append(self, directory: Path) -> None:
        """Append the record to the log in a coupling's directory, with time and author.

        Raises:
            OutputError: the file system refused.
        """
        facts = {key: value for key, value in asdict(self).items() if key != "repeated"}
        model_log.append_signed(directory / LOG, facts)


def in_seconds(spans: Sequence[Span]) -> GpsSpans:
    """Return spans as whole GPS seconds."""
    return [(span.start // NS, span.end // NS) for span in spans]
