"""How long no retraining has had data, from the logs that retrainings leave."""

from __future__ import annotations

import json
from pathlib import Path

from deepclean.models.log import RETRAININGS
from deepclean.rollout.retrainings import FruitlessRetrainings


def note(directory: Path, day: int, verdict: str) -> None:
    """Add a line to the log, as a retraining does."""
    fact = {"when": f"2026-11-{day:02d}T00:00:00.000Z", "who": "deepclean", "verdict": verdict}
    with (directory / RETRAININGS).open("a") as file:
        file.write(json.dumps(fact) + "\n")


def test_days_without_data_are_counted(tmp_path: Path) -> None:
    retrainings = FruitlessRetrainings()
    assert retrainings.seconds(tmp_path) == 0.0
    note(tmp_path, 1, "not better")
    found = []
    for day in range(2, 6):
        note(tmp_path, day, "no data" if day % 2 else "failed")
        found.append(retrainings.seconds(tmp_path) / 86400)
    assert found == [1, 2, 3, 4]
    note(tmp_path, 6, "published")
    assert retrainings.seconds(tmp_path) == 0.0


def test_one_that_never_had_data_counts_from_its_first(tmp_path: Path) -> None:
    for day in (1, 2, 3):
        note(tmp_path, day, "no data")
    assert FruitlessRetrainings().seconds(tmp_path) == 2 * 86400


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    note(tmp_path, 1, "no data")
    with (tmp_path / RETRAININGS).open("a") as file:
        file.write('{"when": "2026-\n[]\n')
    note(tmp_path, 3, "no data")
    assert FruitlessRetrainings().seconds(tmp_path) == 2 * 86400
