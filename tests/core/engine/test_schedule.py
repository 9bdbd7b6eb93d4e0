"""The latency budget against a brute-force walk through what each stage reads."""

from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deepclean.core.engine.schedule import CouplingSchedule, EngineSettings, Schedule
from deepclean.core.geometry import Geometry, PredictSettings, geometry
from deepclean.core.reach import Reach
from deepclean.core.time import NS
from tests.helpers.settings import engine_settings, predict_settings, resample_settings

FOREVER = 10**20


@st.composite
def geometries(draw: st.DrawFn, hop: int) -> Geometry:
    """Draw how a network is laid over hops of that many samples."""
    mode = draw(st.sampled_from(["pass", "windows", "average"]))
    edge = draw(st.integers(0, 150))
    if mode == "pass":
        periods = [p for p in (1, 2, 4, 8, 16) if hop % p == 0]
        return geometry(
            predict_settings(mode, 4096, edge),
            hop,
            Reach.both(edge),
            draw(st.sampled_from(periods)),
        )
    kept = draw(st.integers(1, 400))
    return geometry(predict_settings(mode, kept + 2 * edge, edge), hop, None, None)


@st.composite
def plans(draw: st.DrawFn) -> Schedule:
    """Draw a plan of one or two couplings, at rates where hops are whole samples."""
    model_rate = draw(st.sampled_from([512, 1024, 4096]))
    shared = engine_settings(
        strain_rate=draw(st.sampled_from([512, 1024, 4096, 16384, 20000])),
        model_rate=model_rate,
        hop=draw(st.sampled_from([NS // 16, NS // 8, NS, 2 * NS])),
        ramp=draw(st.sampled_from([0, NS // 32, NS // 16, NS // 4])),
        resample=resample_settings(max_delay=Fraction(draw(st.integers(1, 8)), 8)),
    )
    couplings = {
        name: CouplingSchedule.of(
            shared, draw(st.integers(1, 500)), draw(geometries(shared.hop_model))
        )
        for name in draw(st.sampled_from(["A", "AB"]))
    }
    return Schedule(shared, couplings)


def reads(plan: CouplingSchedule, settings: EngineSettings) -> tuple[int, int]:
    """Return which resampled witnesses a hop at 0 rests on, walking back through the stages.

    Each stage gives whole hops, those that begin at its offset from a multiple of the hop.
    """
    hop, shape = settings.hop_model, plan.geometry
    first, stop = settings.interpolator().needs(0, settings.hop_strain)
    for offset, before, after in (
        (plan.interpolation, plan.settle_in, plan.settle_in),
        (plan.predicted, shape.before, shape.after),
    ):
        first = (first - offset) // hop * hop + offset - before
        stop = -(-(stop - offset) // hop) * hop + offset + after
    return first, stop


@given(plans())
def test_lookahead_and_history_cover_what_is_read(plan: Schedule) -> None:
    settings = plan.settings
    reach = settings.resample.lookahead
    for coupling in plan.couplings.values():
        first, stop = reads(coupling, settings)
        assert plan.history >= (reach - Fraction(first, settings.model_rate)) * NS
        assert (
            plan.lookahead
            >= (reach + Fraction(stop, settings.model_rate) - Fraction(settings.hop, NS)) * NS
        )


@settings(max_examples=500)
@given(plans(), st.integers(-3, 3))
def test_no_gap_beyond_them_touches_the_gain(plan: Schedule, number: int) -> None:
    """The gain is 1 where nothing is invalid within a ramp."""
    assert_no_gap_touches(plan, number)


@pytest.mark.parametrize(
    ("shape", "settle_in"),
    [(predict_settings("windows", 222, 76), 246), (predict_settings("average", 472, 68, 16), 118)],
)
@pytest.mark.parametrize("ramp", [NS // 64, NS // 128])
def test_no_gap_touches_gain_at_short_hops(
    shape: PredictSettings, settle_in: int, ramp: int
) -> None:
    """A gap spoils whole kernels, which may begin before those that the samples come from."""
    shared = engine_settings(512, 512, NS // 16, ramp)
    laid = geometry(shape, shared.hop_model, None, None)
    for more in range(32):
        plan = Schedule(shared, {"A": CouplingSchedule.of(shared, settle_in + more, laid)})
        assert_no_gap_touches(plan, 0)


def assert_no_gap_touches(plan: Schedule, number: int) -> None:
    hop, ramp = plan.settings.hop, plan.settings.ramp
    start = (1_400_000_000 * NS // hop + number) * hop
    for coupling in plan.couplings.values():
        _, end = coupling.spoilt_by_gap(plan.settings, start - FOREVER, start - plan.history)
        assert end + ramp <= start
        begin, _ = coupling.spoilt_by_gap(
            plan.settings, start + hop + plan.lookahead, start + FOREVER
        )
        assert begin - ramp >= start + hop


@given(plans(), st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_a_gap_spoils_what_may_rest_on_it(plan: Schedule, start: int, length: int) -> None:
    """By distances, from the input to the estimate, each stage on its own."""
    rate = plan.settings.model_rate
    reach = plan.settings.resample.lookahead
    for coupling in plan.couplings.values():
        first, stop = coupling.spoilt_by_gap(plan.settings, start, start + length)
        filtered = Fraction(coupling.interpolation + coupling.settle_in, rate) * NS
        wide = reach * NS + filtered
        assert first <= start - wide
        assert stop >= start + length + wide
        # Not more than the network's reach and rounding beyond that.
        shape = coupling.geometry
        slack = Fraction(shape.kernel if shape.mode != "pass" else shape.edge, rate) * NS
        rounding = Fraction(2, rate) * NS + 2
        assert first >= start - wide - slack - rounding
        assert stop <= start + length + wide + slack + rounding


@given(plans())
def test_stages_stand_in_order(plan: Schedule) -> None:
    shared = plan.settings
    for coupling in plan.couplings.values():
        shape = coupling.geometry
        assert coupling.predicted % shape.modulus == shape.residue % shape.modulus
        assert 0 <= coupling.alignment < shape.modulus
        offsets = [0, coupling.interpolation, coupling.predicted, coupling.resampled]
        assert all(low <= high for low, high in pairwise(offsets))
        assert coupling.interpolation >= shared.interpolator().half_length * shared.model_rate
        assert coupling.ramp * NS >= shared.ramp * shared.model_rate
    assert plan.resampled >= max(c.resampled for c in plan.couplings.values())


@given(plans())
def test_the_engine_looks_as_far_as_its_widest_coupling(plan: Schedule) -> None:
    alone = [Schedule(plan.settings, {n: c}) for n, c in plan.couplings.items()]
    assert plan.lookahead == max(p.lookahead for p in alone)
    assert plan.history == max(p.history for p in alone)


@given(plans())
def test_look_ahead_and_history_are_rounded_up_to_a_64th_of_a_second_and_a_second(
    plan: Schedule,
) -> None:
    rate, filters = plan.settings.model_rate, plan.settings.resample.lookahead
    needed = max(Fraction(c.resampled, rate) for c in plan.couplings.values()) + filters
    # Less than 1/64 s more than what is needed, up to the next whole 1/64 s, but for a sample.
    above = 64 * (Fraction(plan.forecast, NS) - needed)
    assert -Fraction(64, NS) <= above < 1
    short = Fraction(ceil(64 * needed), 64) - Fraction(plan.forecast, NS)
    assert -Fraction(1, NS) < short < Fraction(1, rate)
    assert plan.history % NS == 0
    assert 0 <= plan.history - plan.reach_back < NS


def test_the_budget_adds_up() -> None:
    """The plan of the 60 Hz coupling at LIGO, by hand."""
    shared = engine_settings(strain_rate=16384)
    shape = geometry(predict_settings("auto", 4096, 128), shared.hop_model, Reach.both(96), 16)
    coupling = CouplingSchedule.of(shared, 1271, shape)
    assert (coupling.interpolation, coupling.ramp, shape.before, shape.after) == (
        16,
        1024,
        128,
        128,
    )
    assert coupling.predicted == 2320  # 16 + 1271 + 1024, aligned to 16
    assert coupling.alignment == 9
    plan = Schedule(shared, {"60Hz": coupling})
    # (2320 + 128) / 4096 s and 1/4 s for a slow witness are 54.25 / 64 s.
    assert plan.lookahead == 55 * NS // 64


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((16384, 4096, NS // 3, 0), "hop of 333333333 ns is not whole samples at 4096 Hz"),
        ((20000, 4096, NS // 512, 0), "hop of 1953125 ns is not whole samples at 20000 Hz"),
        ((16384, 4096, NS, 1), "ramp of 1 ns is not whole samples at 16384 Hz"),
    ],
)
def test_hop_and_ramp_are_whole_samples(fault: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine_settings(*fault)


@given(st.sampled_from([4096, 16384, 20000]), st.integers(1, 64))
def test_a_hop_is_the_same_time_at_both_rates(rate: int, sixteenths: int) -> None:
    hop = sixteenths * NS // 16
    assume(hop * rate % NS == 0)
    shared = engine_settings(strain_rate=rate, hop=hop, ramp=0)
    assert Fraction(shared.hop_model, 4096) == Fraction(shared.hop_strain, rate)
    assert shared.hop_model * NS == hop * 4096
