"""What a run says of its gates: when one closes, and when one stays closed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from deepclean.core.block import CleanedBlock, Series
from deepclean.core.time import NS
from deepclean.telemetry.counters import UNOPENED, Counters
from tests.helpers.builders import NOISE, Record, push_all, transparent
from tests.helpers.gated_stream import GATED, GATES, RATE, engine, record, scaled


def noted(cleaned: Sequence[CleanedBlock]) -> Counters:
    """Return the counters of a run that gave these blocks."""
    counters = Counters()
    for block in cleaned:
        for coupling, estimate in block.estimates.items():
            counters.note_gate(coupling, estimate, block.span)
    return counters


def test_a_closing_says_what_was_measured(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    counters = noted(push_all(engine(), scaled(record(40), 15.3, 18, -1.0).blocks()))
    opens, closes, again = (one.getMessage() for one in caplog.records)
    assert opens.endswith("the gate of all opens")
    assert "the gate of all closes: gate_out_of_spec, power " in closes
    assert closes.endswith(" (limit 1.01)")
    assert again.endswith("the gate of all opens")
    assert counters.gate("all") == "open"
    assert counters.closed_seconds("all") == 0
    assert dict(counters.closings) == {("all", "gate_out_of_spec"): 1}


def test_a_jump_says_by_how_much(caplog: pytest.LogCaptureFixture) -> None:
    """It is right, so that nothing else is found against it."""
    wide = transparent(GATED, "FAST", bands=((40.0, 140.0),))
    data = scaled(record(24), 20, 21, 10.0)
    witness = data.witnesses["FAST"]
    assert isinstance(witness, Series)
    floor = np.random.default_rng(1).standard_normal(len(witness.samples))
    strain = Series(data.span, RATE, NOISE * (witness.samples + 0.1 * floor))
    noted(push_all(wide, Record(data.span, strain, data.witnesses).blocks()))
    (closes,) = (one.getMessage() for one in caplog.records)
    assert "gate_jump, jump " in closes
    assert closes.endswith(f"(limit {GATES.jump:.4g})")


def test_a_gate_that_does_not_open_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    seconds = UNOPENED // NS + 30
    data = scaled(record(seconds), 0, seconds, -1.0)
    counters = noted(push_all(engine(), data.blocks()))
    (said,) = (one.getMessage() for one in caplog.records)
    assert f"the gate of all has been closed for {UNOPENED // NS} s: power" in said
    assert "(limit 1.01)" in said
    assert str(counters.gate("all")).startswith(f"closed for {seconds - 1} s: power ")
    assert counters.obstacles["all"].measure == "power"


def test_a_gate_that_measures_nothing_says_that(caplog: pytest.LogCaptureFixture) -> None:
    blocks = record(UNOPENED // NS + 5).blocks()
    counters = noted(push_all(engine(), [replace(block, witnesses={}) for block in blocks]))
    (said,) = (one.getMessage() for one in caplog.records)
    assert said.endswith("s: nothing was measured")
    assert str(counters.gate("all")).endswith("s: nothing was measured")


def test_without_a_gate_there_is_nothing_to_say(caplog: pytest.LogCaptureFixture) -> None:
    counters = noted(push_all(engine(replace(GATED, gate=None)), record(4).blocks()))
    assert counters.gate("all") is None
    assert not caplog.records
    assert np.isclose(counters.closed_seconds("all"), 0)
