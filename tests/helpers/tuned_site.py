"""A site for searches: a coupling whose second witness is not among its own, and a dull one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import training_site as toy
from tests.helpers.training_site import LINE, MOTION, START

SECONDS = 192
SPAN = f"-c tuned.yaml --start {START} --end {START + SECONDS}"
PLANTED = (LINE, MOTION)
DULL = "H1:DULL"


def make_site(place: Path) -> None:
    """Write the toy's files with a dull channel, and a configuration that has the line alone.

    The noise is the line times the motion, so that either witness by itself is of little use.
    """
    dull = np.random.default_rng(7).standard_normal(64 * SECONDS).astype("f4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(toy.RATES, DULL, 64)
        config = toy.toy_config(place)
        toy.write(config, toy.channels(SECONDS) | {DULL: dull}, seconds=SECONDS)
    text = (place / "toy.yaml").read_text()
    text = text.replace("witnesses: [LINE, MOTION]", "witnesses: [LINE, DULL]")
    text = text.replace("training:\n", "training:\n  architecture: closed_form\n")
    (place / "tuned.yaml").write_text(f"{text}tune: {{witnesses: [MOTION]}}\n")
