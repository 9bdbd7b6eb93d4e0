"""The report as a folder: `report.json`, `index.html` and its figures; it needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepclean.errors import OutputError
from deepclean.validate.figures import draw
from deepclean.validate.page import html
from deepclean.validate.run import ValidationResult


def write(validated: ValidationResult, into: Path) -> Path:
    """Write the folder; return the page. Files that are there are replaced.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        figures = draw(validated.report, validated.spectrograms, into)
        _publish(into / "report.json", serialise(validated.report))
        page = into / "index.html"
        _publish(page, html(validated.report, figures).encode())
    except OSError as error:
        raise OutputError(f"no report: {error}", path=into, errno=error.errno) from error
    return page


def serialise(report: Mapping[str, Any]) -> bytes:
    """Return the JSON; equal reports give equal bytes."""
    return (json.dumps(report, indent=1, allow_nan=False) + "\n").encode()


def _publish(path: Path, content: bytes) -> None:
    """Write a file that appears complete."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
