"""The configurations that come with the software."""

from __future__ import annotations

from pathlib import Path

import deepclean


def shipped(name: str) -> Path | None:
    """Return the shipped configuration of that name (`H1`, `demo`); None where there is none.

    A checkout has them beside the package, an installed package inside it.
    """
    package = Path(deepclean.__file__).parent
    places = (package / "shipped" / "config", package.parent / "config")
    files = (place / f"{name}.yaml" for place in places)
    return next((file for file in files if file.is_file()), None)
