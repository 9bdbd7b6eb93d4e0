"""The pages docs/reference-*.md, made from the code: `scripts/draw_reference` writes them."""

from __future__ import annotations

from collections.abc import Callable

from scripts.reference import commands, configuration, frames, monitoring

PAGES: dict[str, Callable[[], str]] = {
    "reference-configuration.md": configuration.page,
    "reference-commands.md": commands.page,
    "reference-frames.md": frames.page,
    "reference-monitoring.md": monitoring.page,
}
"""The pages by their file's name in docs/."""
