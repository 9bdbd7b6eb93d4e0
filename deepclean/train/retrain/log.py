"""What came of a retraining: one line of JSON beside the versions, whatever it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from deepclean.core.time import NS, Span
from deepclean.models import log as model_log

LOG = "retrain.jsonl"

Verdict = Literal["published", "not better", "canary in place", "no data", "overtaken", "failed"]
"""`overtaken`: a pointer was moved while it trained, so that what it was compared with, or the
canary's place, is another's. `failed` alone is a fault."""

Seconds = list[tuple[int, int]]


@dataclass(slots=True)
class RetrainRecord:
    """A retraining of one coupling, filled in as it goes on. Times are whole GPS seconds.

    Args:
        verdict: what came of it.
        why: in words.
        looked_through: where data was looked for.
        training: what the candidate saw, by the stretch; its own validation is the end of it.
        held_out: what it was judged by.
        production: the version that it was compared with; None: there was none.
        parent: the version that it started from; None: from nothing.
        weights: sha256 of the candidate's weights.
        version: of the candidate, where it was put into the store.
        asd_ratio: in the band, OUT_DQ over raw, of `candidate` and `production`.
        criteria: each with its value, its limit and whether it is met.
    """

    verdict: Verdict = "failed"
    why: str = ""
    looked_through: tuple[int, int] | None = None
    training: Seconds = field(default_factory=list)
    held_out: Seconds = field(default_factory=list)
    production: int | None = None
    parent: int | None = None
    weights: str | None = None
    version: int | None = None
    asd_ratio: dict[str, float | None] = field(default_factory=dict)
    criteria: list[dict[str, Any]] = field(default_factory=list)

    def close(self, verdict: Verdict, why: str) -> RetrainRecord:
        """Say what came of it."""
        self.verdict, self.why = verdict, why
        return self

    def append(self, directory: Path) -> None:
        """Add it to the log of a coupling's directory, signed.

        Raises:
            OutputError: the file system refused.
        """
        model_log.append_signed(directory / LOG, asdict(self))


def in_seconds(spans: Sequence[Span]) -> Seconds:
    """Return spans as whole GPS seconds."""
    return [(span.start // NS, span.end // NS) for span in spans]
