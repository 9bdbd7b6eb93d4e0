"""What the commands do at their start with what they import."""

from __future__ import annotations

import subprocess
import sys


def test_what_is_imported_is_not_looked_through_again() -> None:
    script = (
        "import gc, deepclean.worker;"
        "print(gc.get_freeze_count(), gc.isenabled(), len(gc.get_objects()))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    frozen, enabled, found = done.stdout.split()
    assert int(frozen) > 50_000
    assert enabled == "True"
    assert int(found) < 1_000
