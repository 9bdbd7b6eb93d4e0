"""Faults of single channels (docs/faults.md): of no use, no numbers, at another rate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core import reasons
from deepclean.core.block import Samples, Series
from deepclean.core.output.products import State
from deepclean.core.time import Span
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from tests.helpers import small_site as site
from tests.helpers.faultsite import (
    cleaned,
    near,
    no_strain,
    no_witnesses,
    outputs,
    raw,
    sound_run,
    touched,
)
from tests.helpers.frame_files import store_frames
from tests.helpers.metrics_run import Run, whole
from tests.helpers.small_site import RATES, START

# 11: a witness that is of no use, each on its own


def absent(channel: str, config: Config, second: int) -> None:
    whole(config, second)
    content = site.witness_frame(second, absent={channel})
    gwf.publish(site.witness_path(config, second), content)


def not_finite(channel: str, config: Config, second: int) -> None:
    no_witnesses(config, second)
    span, held = Span.of_seconds(second, 1), {}
    for name, rate in RATES.items():
        samples = site.samples(name, second, rate).astype(np.float32)
        samples[rate // 2] = np.nan if name == channel else samples[rate // 2]
        held[name] = OutputChannel(Series(span, rate, samples))
    gwf.publish(site.witness_path(config, second), gwf.serialise(span, held))


def flagged(channel: str, config: Config, second: int) -> None:
    no_witnesses(config, second)
    pieces: dict[str, tuple[int, list[Samples]]] = {}
    for name, rate in RATES.items():
        samples = site.samples(name, second, rate).astype(np.float32)
        mask = name == channel
        pieces[name] = (rate, [np.ma.MaskedArray(samples, mask=mask) if mask else samples])
    made = store_frames(config.output.directory.with_name("made.gwf"), [second], pieces, kind="adc")
    made.rename(site.witness_path(config, second))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (absent, reasons.MISSING),
        (not_finite, reasons.NONFINITE_WITNESS),
        (flagged, reasons.INVALID),
    ],
)
def test_a_witness_of_no_use_is_named_and_let_go(
    config: Config, fault: Callable[[str, Config, int], None], reason: str
) -> None:
    hit = dict(zip((6, 12, 18), RATES, strict=True))
    faults = {number: partial(fault, channel) for number, channel in hit.items()}
    run, held = sound_run(config, 24, faults)
    assert set(hit) <= set(touched(held)) <= near(list(hit))
    for number in hit:
        assert not held[number].all(State.WITNESSES_GOOD)
    assert run.figures.witness_faults == {(channel, reason): 1 for channel in RATES}
    assert run.cleaning.ledger.written[reason] >= 3


# 14: strain that is no number


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_strain_that_is_no_number_stays_what_it_is_and_where(config: Config, value: float) -> None:
    def spoilt(config: Config, second: int) -> None:
        site.write_site(config, second, 1, no_strain={second})
        span = Span.of_seconds(second, 1)
        samples = raw(second - START).copy()
        samples[5, 7] = value
        strain = OutputChannel(Series(span, site.STRAIN_RATE, samples.ravel()), "strain")
        gwf.publish(site.strain_path(config, second), gwf.serialise(span, {site.STRAIN: strain}))

    run = Run(config)
    run.over(12, {6: spoilt})
    assert run.cleaning.ledger.balanced
    held = outputs(config.output.directory)
    assert sorted(held) == list(range(12))
    finite = np.isfinite(held[6].samples)
    assert np.argwhere(~finite).tolist() == [[5, 7]]
    for bit in (State.OUTPUT_VALID, State.STRAIN_GOOD):
        assert np.flatnonzero((held[6].bits & bit) == 0).tolist() == [5]
    assert touched(held) == []  # no filter runs over the strain: nothing else is concerned


# 18: another rate


def test_strain_at_another_rate_is_a_gap_and_it_settles_again(config: Config) -> None:
    def other_rate(config: Config, second: int) -> None:
        no_strain(config, second)
        span = Span.of_seconds(second, 1)
        strain = OutputChannel(Series(span, 4096, np.zeros(4096)), "strain")
        gwf.publish(site.strain_path(config, second), gwf.serialise(span, {site.STRAIN: strain}))

    run, held = sound_run(config, 20, dict.fromkeys(range(8, 12), other_rate), missing=range(8, 12))
    assert run.cleaning.ledger.gaps == {"strain_rate": 4}
    assert set(range(13, 19)) <= set(cleaned(held))


def test_a_witness_at_another_rate_costs_the_seams_only(config: Config) -> None:
    def faster(config: Config, second: int) -> None:
        no_witnesses(config, second)
        span, held = Span.of_seconds(second, 1), {}
        for name, rate in RATES.items():
            # The first of each pair is the sample that was: its own rate would have it too.
            samples = np.repeat(site.samples(name, second, rate), 2 if name == "H1:FAST" else 1)
            held[name] = OutputChannel(Series(span, len(samples), samples))
        gwf.publish(site.witness_path(config, second), gwf.serialise(span, held))

    run = Run(config)
    run.over(24, dict.fromkeys(range(8, 14), faster))
    held = outputs(config.output.directory)
    assert run.cleaning.ledger.balanced
    assert set(touched(held)) <= near([8, 14]) | {7, 13}
    assert run.cleaning.ledger.written[reasons.BAD_RATE] == len(touched(held)) >= 2
