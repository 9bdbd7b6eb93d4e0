"""The table at the end of a training: what was tried, over the same held-out data."""

from __future__ import annotations

from dataclasses import dataclass

from deepclean.train.judging.evaluate import Evaluation

HEAD = ("", "in band", "+-", "out of band", "gate open", "weights", "ms/s")
"""Headings of its columns."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model in the table.

    Args:
        name: of the model.
        ratio: ASD ratio in the bands, cleaned over raw, without a gate.
        error: its standard error.
        outside: the ratio that is farthest from 1 out of the bands.
        open: share of the time for which its gate was open; None where none was judged.
        parameters: number of weights.
        cost: processor milliseconds of the network per second of data.
    """

    name: str
    ratio: float
    error: float
    outside: float
    open: float | None
    parameters: int
    cost: float

    @classmethod
    def of(cls, name: str, judged: Evaluation, parameters: int) -> Row:
        """Return the row of a model."""
        figures, gate = judged.figures, judged.figures.gate
        return cls(
            name,
            figures.asd_ratio,
            figures.asd_ratio_error,
            figures.worst_outside,
            None if gate is None else gate.open,
            parameters,
            judged.cost,
        )

    def cells(self) -> tuple[str, ...]:
        """Return the row as text."""
        return (
            self.name,
            f"{self.ratio:.4f}",
            f"{self.error:.4f}",
            f"{self.outside:.4f}",
            "-" if self.open is None else f"{self.open:.0%}",
            str(self.parameters),
            f"{self.cost:.2f}",
        )


NOTHING = Row("nothing", 1.0, 0.0, 1.0, None, 0, 0.0)
"""What no model at all leaves."""
