"""The level and the words of a daemon's health."""

from __future__ import annotations

from collections import Counter

import pytest

from deepclean.core import reasons
from deepclean.core.accounting import Ledger
from deepclean.core.gate.measures import GateFinding
from deepclean.core.time import NS
from deepclean.telemetry.counters import Counters
from deepclean.telemetry.health import Health, check_json, judge

OUT = 1_400_000_100 * NS


def ledger() -> Ledger:
    return Ledger(frames_in=9, written=Counter(cleaned=8), inside=1, last_in=OUT + NS, last_out=OUT)


def judged(
    counters: Counters, latencies: tuple[float, ...] = (1.0,), *, losing: bool = False
) -> Health:
    return judge(ledger(), counters, latencies, lookahead=NS, losing=losing)


def counters() -> Counters:
    return Counters(gains={"60Hz": 1.0})


def test_all_is_well() -> None:
    health = judged(counters())
    assert health == Health(0, (), "frames are written, 1 coupling at work")
    assert health.text.startswith("OK: frames are written")


def test_nothing_written_yet_is_said() -> None:
    health = judge(Ledger(), Counters(), (), lookahead=NS, losing=False)
    assert health.text == "WARNING: no frame has been written yet"


@pytest.mark.parametrize(("seconds", "level"), [(59.0, 0), (61.0, 1), (301.0, 2)])
def test_lost_input_is_a_warning_then_critical(seconds: float, level: int) -> None:
    found = counters()
    found.waiting["strain"] = seconds
    health = judged(found)
    assert health.level == level
    assert (f"no strain for {seconds:.0f} s" in health.text) is (level > 0)


def test_a_closed_gate_is_said_with_its_obstacle() -> None:
    found = counters()
    found._gates["60Hz"] = OUT
    found.closed_since["60Hz"] = OUT - 80 * NS
    found.obstacles["60Hz"] = GateFinding("net", 1.012, 1.001)
    assert judged(found).why == ("the gate of 60Hz is closed for 80 s: net 1.012 (limit 1.001)",)
    found.closed_since["60Hz"] = OUT - 10 * NS
    assert judged(found).level == 0


def test_witnesses_in_trouble_now_are_named() -> None:
    found = counters()
    for number in range(5):
        found.witness_last[f"H1:W{number}", reasons.MISSING] = OUT
    found.witness_last["H1:OLD", reasons.FROZEN] = OUT - NS
    found.witness_last["H1:ZERO", reasons.ZERO] = OUT
    health = judged(found)
    assert health.why[0] == "H1:W0: missing"
    assert health.why[-1] == "2 more witnesses"
    assert "OLD" not in health.text
    assert "ZERO" not in health.text


def test_lost_frames_come_first() -> None:
    found = counters()
    found.waiting["strain"] = 70.0
    health = judged(found, losing=True)
    assert health.level == 2
    assert health.why[0].startswith("frames cannot be written")
    assert len(health.why) == 2


def test_slow_frames_and_failing_networks_are_said() -> None:
    found = counters()
    found.reasons = {"60Hz": (reasons.MODEL_ERROR,)}
    health = judged(found, (7.0, 6.5, 7.5))
    assert health.why == ("the network of 60Hz fails", "frames come out 7.0 s after their strain")


def test_monitors_file_is_what_check_json_reads() -> None:
    """Its schema: a list of intervals, each with a level and words, of which one holds now."""
    made = check_json(Health(2, ("it burns",)), 1_800_000_000.7)
    assert made["created_unix"] == 1_800_000_000
    for interval in made["status_intervals"]:
        assert interval["num_status"] in (0, 1, 2, 3)
        assert isinstance(interval["txt_status"], str)
    assert made["status_intervals"][0]["txt_status"] == "CRITICAL: it burns"
    assert made["status_intervals"][1]["txt_status"].startswith("UNKNOWN: ")
