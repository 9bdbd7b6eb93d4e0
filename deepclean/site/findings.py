"""What a check of a site finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Grade(Enum):
    """How a finding is to be taken."""

    FINE = "ok"
    WARNING = "warning"
    FAULT = "FAULT"


@dataclass(frozen=True, slots=True)
class SiteFinding:
    """One line of the table.

    Args:
        subject: what was looked at, as a key of the configuration where there is one.
        found: what is there.
        grade: whether `deepclean run` can work with it.
        remedy: what to do; empty where it is fine.
    """

    subject: str
    found: str
    grade: Grade = Grade.FINE
    remedy: str = ""
