"""The folder of a span's pictures: PNG files, and one page that holds them and their figures."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from pathlib import Path

import numpy as np

from deepclean import __version__
from deepclean.errors import output_errors
from deepclean.plots.figures import draw_all
from deepclean.plots.measure import SpanFigures
from deepclean.system.atomic import publish
from deepclean.system.templates import templates
from deepclean.validate.figures import drawing

_STYLE = Path(__file__).parents[1] / "summary"
"""Folder of the pages' style."""


def write(found: SpanFigures, strain: str, when: str, into: Path) -> Path:
    """Draw a span's pictures into a directory; return the path of the page.

    Args:
        found: the numbers.
        strain: full name of the raw strain.
        when: the span, in words.
        into: the directory, which is made.

    Raises:
        OutputError: a file cannot be written.
    """
    with output_errors(into, "cannot be made"):
        into.mkdir(parents=True, exist_ok=True)
    shown = []
    for name, caption, figure in draw_all(found):
        content = BytesIO()
        with drawing():
            # Without the version of the library equal figures give equal bytes.
            figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
        publish(into / f"{name}.png", content.getvalue())
        shown.append({"caption": caption, "data": b64encode(content.getvalue()).decode()})
    page = templates(Path(__file__).parent, _STYLE).get_template("page.html")
    made = page.render(
        strain=strain,
        start=found.start,
        when=when,
        rows=rows(found),
        figures=shown,
        software=__version__,
    )
    publish(into / "index.html", made.encode())
    return into / "index.html"


def rows(found: SpanFigures) -> list[tuple[str, str]]:
    """Return the table of figures: name and value of each."""
    made = [("stretches with spectra", f"{len(found.starts)} of {len(found.times)}")]
    if found.cleaned is not None:
        made.append(("time with gain 1 throughout", f"{100 * found.cleaned:.1f}%"))
    for name, each in found.bands.items():
        bands = ", ".join(f"{low:g}-{high:g} Hz" for low, high in each)
        for product in found.products:
            held = found.in_band(name, product)
            said = "none" if held is None else f"{held:.4f}"
            made.append((f"{name} ({bands}): ASD ratio, {product} / raw", said))
    for name, gains in found.gains.items():
        if np.isfinite(gains).any():
            lowest, mean = np.nanmin(gains[:, 0]), np.nanmean(gains[:, 1])
            made.append((f"{name}: gain", f"mean {mean:.3f}, lowest {lowest:.3f}"))
    return made
