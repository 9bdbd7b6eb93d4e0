"""The engine: one block out for one in, release, refusal, and a random walk through all of it."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from deepclean.core.block import Block, CleanedBlock, Gap, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
    SIXTEENTH,
    SMALL,
    Small,
    clean,
    estimate,
    make_engine,
    make_record,
    push_all,
    same_bits,
    strain_of,
)
from tests.helpers.faulty_input import LINEAR, RATE, assert_sound, at, gap, linear, record
from tests.helpers.settings import predict_settings


@settings(max_examples=20)
@given(st.integers(1, 9 * 16), st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_release_gives_all_and_spoils_nothing_after_it(moment: int, cuts: list[int]) -> None:
    data = record()
    plain = push_all(linear("FAST"), data.blocks(cuts))
    engine, cleaned, done = linear("FAST"), [], False
    blocks = data.blocks(cuts)
    released: list[CleanedBlock] = []
    for block in blocks:
        cleaned += engine.push(block)
        if not done and block.span.end >= data.span.start + moment * SIXTEENTH:
            done = True
            pending = engine.pending
            released = engine.release()
            assert len(released) == pending
            assert engine.pending == 0
            assert engine.release() == []
            frontier = block.span.end
            cleaned += released
    assert [b.source for b in cleaned] == blocks[: len(cleaned)]
    assert_sound(cleaned)
    for found, expected in zip(cleaned, plain, strict=False):
        one, other = found.estimates["all"], expected.estimates["all"]
        if engine.needs(found.span).end <= frontier or found not in released:
            assert same_bits(one.noise, other.noise)
            assert same_bits(one.gain, other.gain)
    if released:
        # Towards the end of the input the gain falls to 0.
        gain = released[-1].estimates["all"].gain
        assert gain[-1] == 0
        assert (
            estimate(released, "all").gain <= estimate(plain + released, "all").gain.max()
        ).all()


def test_release_is_like_a_gap_after_the_input() -> None:
    data = record()
    blocks = data.blocks()
    engine = linear("FAST")
    head = push_all(engine, blocks[:5]) + engine.release()
    expected = clean(linear("FAST"), gap(data, "FAST", at(80, 159)))[:5]
    assert same_bits(strain_of(head), strain_of(expected))
    assert same_bits(estimate(head, "all").gain, estimate(expected, "all").gain)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: b[3], "starts before the end of the input so far"),
        (lambda b: Block(b[5].span, Series(b[5].span, 1024, np.zeros(1024))), "strain at 1024 Hz"),
    ],
    ids=["again", "rate"],
)
def test_refused_block_changes_nothing(spoil: Callable[[list[Block]], Block], message: str) -> None:
    blocks = record().blocks()
    engine = linear("FAST")
    cleaned = push_all(engine, blocks[:5])
    pending = engine.pending
    with pytest.raises(ValueError, match=message):
        engine.push(spoil(blocks))
    assert engine.pending == pending
    cleaned += clean(engine, blocks[5:])
    expected = clean(linear("FAST"), blocks)
    assert same_bits(strain_of(cleaned), strain_of(expected))


def test_a_refused_first_block_is_no_beginning() -> None:
    engine = linear("FAST")
    span = at(0, 16)
    with pytest.raises(ValueError, match="expected 512 Hz"):
        engine.push(Block(span, Series(span, 1024, np.zeros(1024))))
    blocks = make_record(10, strain_rate=RATE, start=record().span.start // NS - 100).blocks()
    assert clean(engine, blocks)[0].source is blocks[0]


def test_an_engine_has_couplings_of_different_names() -> None:
    coupling = Small().coupling()
    for couplings in ([], [coupling, coupling]):
        with pytest.raises(ValueError, match="at least one coupling, each with its own name"):
            Engine(SMALL, couplings)


def test_a_mode_that_does_not_suit_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="mode 'pass' needs an equivariant network"):
        make_engine(SMALL, Small(predict=predict_settings("pass", 512, edge=64)))


def test_it_states_its_witnesses() -> None:
    engine = make_engine(SMALL, Small("a", ("SLOW", "FAST")), Small("b", ("ODD", "FAST")))
    assert engine.witnesses == ("FAST", "ODD", "SLOW")


@given(st.integers(-40, 40), st.integers(1, 64), st.sampled_from([1, 4, 16, 32]))
def test_needs_are_those_of_the_hops_a_span_touches(start: int, length: int, hop: int) -> None:
    engine = linear("FAST", replace(LINEAR, hop=hop * SIXTEENTH))
    span = at(start, start + length)
    needed = engine.needs(span)
    touched = Span(
        span.start // (hop * SIXTEENTH) * hop * SIXTEENTH,
        -(-span.end // (hop * SIXTEENTH)) * hop * SIXTEENTH,
    )
    assert touched.covers(span)
    assert needed == Span(touched.start - engine.history, touched.end + engine.lookahead)


def test_versions_are_those_of_the_predictors() -> None:
    engine = make_engine(SMALL, Small("a", version=3), Small("b", version=8))
    for block in clean(engine, make_record(4).blocks()):
        assert {n: e.version for n, e in block.estimates.items()} == {"a": 3, "b": 8}


@pytest.mark.parametrize("cuts", [(1,), (16,), (64,)])
def test_what_has_passed_is_not_kept(cuts: Sequence[int]) -> None:
    """Memory is bounded: input is let go once no block can need it."""
    engine = make_engine()
    kept = []
    frontier = 0
    for index in range(10):
        data = make_record(8, start=1_400_000_000 + 8 * index)
        for block in data.blocks(cuts):
            witness = block.witnesses["ODD"]
            assert isinstance(witness, Series)
            # A copy: a cut is a view, and all views of an array keep it alive.
            own = Series(block.span, witness.rate, witness.samples.copy())
            strain = block.strain
            assert isinstance(strain, Series)
            strain = Series(block.span, strain.rate, strain.samples.copy())
            engine.push(Block(block.span, strain, {**block.witnesses, "ODD": own}))
            for series in (own, strain):
                kept.append((block.span.end, weakref.ref(series.samples)))
            frontier = block.span.end
    del own, strain, series, witness, block
    reach = engine.history + engine.lookahead + engine.settings.hop + max(cuts) * SIXTEENTH
    alive = [end for end, reference in kept if reference() is not None]
    assert alive
    assert min(alive) > frontier - reach


WALK = make_record(60, {"SLOW": 16, "FAST": 1040}, strain_rate=1024)

STATES = ("series", "gap", "absent", "nan")


class Walk(RuleBasedStateMachine):
    """Any order of blocks, faults, holes, releases and refused blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = self.fresh()
        self.time = WALK.span.start
        self.pushed: list[Block] = []
        self.cleaned: list[CleanedBlock] = []
        self.released: set[int] = set()

    @staticmethod
    def fresh() -> Engine:
        bandpass = replace(Small().bandpass, transition=20.0)
        return make_engine(SMALL, Small(witnesses=("SLOW", "FAST"), bandpass=bandpass))

    @initialize(start=st.integers(0, 40))
    def begin(self, start: int) -> None:
        self.time += start * SIXTEENTH

    def block(self, length: int, faults: dict[str, str], strain: bool) -> Block | None:
        end = self.time + length * SIXTEENTH
        if end > WALK.span.end:
            return None
        block = WALK.block(Span(self.time, end))
        witnesses: dict[str, Series | Gap] = {}
        for name, channel in block.witnesses.items():
            state = faults.get(name, "series")
            assert isinstance(channel, Series)
            samples = channel.samples.copy()
            samples[len(samples) // 2 :] = np.nan
            if state == "series":
                witnesses[name] = channel
            elif state == "nan":
                witnesses[name] = Series(block.span, channel.rate, samples)
            elif state == "gap":
                witnesses[name] = Gap(block.span, "missing")
        return Block(block.span, block.strain if strain else Gap(block.span, "gone"), witnesses)

    @rule(
        length=st.one_of(st.integers(1, 16), st.sampled_from([16, 32, 64])),
        faults=st.dictionaries(st.sampled_from(["SLOW", "FAST"]), st.sampled_from(STATES)),
        strain=st.sampled_from([True, True, True, False]),
    )
    def push(self, length: int, faults: dict[str, str], strain: bool) -> None:
        block = self.block(length, faults, strain)
        if block is not None:
            self.cleaned += self.engine.push(block)
            self.pushed.append(block)
            self.time = block.span.end

    @rule(length=st.integers(16, 80))
    def push_good(self, length: int) -> None:
        self.push(length, {}, strain=True)

    @rule(length=st.one_of(st.integers(1, 32), st.just(100)))
    def skip(self, length: int) -> None:
        self.time += length * SIXTEENTH

    @rule()
    def release(self) -> None:
        count = len(self.cleaned)
        self.cleaned += self.engine.release()
        late = self.cleaned[count:]
        self.released |= {id(b.source) for b in late}
        assert self.engine.pending == 0

    @rule(back=st.integers(1, 20))
    def push_the_past(self, back: int) -> None:
        if self.pushed:
            end = self.pushed[-1].span.end
            span = Span(max(end - back * SIXTEENTH, WALK.span.start), end)
            with pytest.raises(ValueError, match="before the end of the input"):
                self.engine.push(WALK.block(span))

    @invariant()
    def one_out_for_one_in(self) -> None:
        assert [id(b.source) for b in self.cleaned] == [
            id(b) for b in self.pushed[: len(self.cleaned)]
        ]
        assert len(self.pushed) == len(self.cleaned) + self.engine.pending

    def teardown(self) -> None:
        """Compare each block with a run of its own over what it rests on and nothing else."""
        self.release()
        assert_sound(self.cleaned)
        for block in self.cleaned[:: max(1, len(self.cleaned) // 4)]:
            if id(block.source) in self.released or block.cleaned is None:
                continue
            needed = self.engine.needs(block.span)
            around = [b for b in self.pushed if b.span.overlap(needed)]
            (alone,) = (b for b in clean(self.fresh(), around) if b.source is block.source)
            assert alone.cleaned is not None
            assert same_bits(alone.cleaned, block.cleaned)
            one, other = alone.estimates["60Hz"], block.estimates["60Hz"]
            assert same_bits(one.gain, other.gain)
            # Where the gain is 0, the noise may rest on what was before the input.
            counts = one.gain > 0
            assert same_bits(one.noise[counts], other.noise[counts])


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=25, stateful_step_count=25)
