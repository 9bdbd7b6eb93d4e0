"""What the commands import at their start, and how."""

from __future__ import annotations

import subprocess
import sys

import pytest


def say(script: str) -> str:
    """Return what a script prints in a process of its own."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


def imported_by(module: str) -> list[str]:
    """Return the modules that importing one brings."""
    return say(f"import sys, {module}; print(*sys.modules)").split()


@pytest.mark.parametrize("module", ["deepclean.run.daemon", "deepclean.worker"])
def test_cleaning_does_without_what_takes_long_to_import(module: str) -> None:
    """scipy.signal half a second, gwpy two."""
    loaded = imported_by(module)
    assert "torch" in loaded
    assert not {"scipy.signal", "scipy.stats", "gwpy", "lal", "matplotlib"} & set(loaded)


@pytest.mark.parametrize("module", ["deepclean.io.live", "deepclean.io.source"])
def test_a_source_imports_no_engine_and_no_torch(module: str) -> None:
    loaded = imported_by(module)
    assert module in loaded
    assert not [name for name in loaded if name.startswith(("torch", "deepclean.core.engine"))]


def test_what_is_imported_is_not_looked_through_again() -> None:
    frozen, enabled, found = say(
        "import gc, deepclean.worker;"
        "print(gc.get_freeze_count(), gc.isenabled(), len(gc.get_objects()))"
    ).split()
    assert int(frozen) > 50_000
    assert enabled == "True"
    assert int(found) < 1_000
