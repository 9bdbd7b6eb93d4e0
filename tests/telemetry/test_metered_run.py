"""Metrics of real runs over real frame files, with faults that happen."""

from __future__ import annotations

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core import reasons
from deepclean.core.block import Gap, Series
from deepclean.core.engine.frames import Assembler
from deepclean.core.frame import InputFrame
from deepclean.core.output.products import State, render
from deepclean.core.reasons import CLEANED
from deepclean.core.time import Span
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.frame_channels import channels_of
from tests.helpers import small_site as site
from tests.helpers.metrics_run import Run, scraped
from tests.helpers.small_site import RATES, START

REDUCED = [reason for reason in reasons.ALL if reason != CLEANED]


def cut_strain(config: Config, second: int) -> None:
    """Write a strain frame that ends in the middle."""
    site.write_site(config, second, 1, no_strain={second})
    gwf.publish(site.strain_path(config, second), site.strain_frame(second)[:5000])


def poisoned_witness(config: Config, second: int) -> None:
    """Write a witness with a sample that is not a number."""
    site.write_site(config, second, 1, no_witnesses={second})
    span = Span.of_seconds(second, 1)
    channels = {
        name: OutputChannel(Series(span, rate, np.full(rate, np.nan if rate == 16 else 0.0)))
        for name, rate in RATES.items()
    }
    gwf.publish(site.witness_path(config, second), gwf.serialise(span, channels))


def other_rate(config: Config, second: int) -> None:
    """Write strain at another rate than is configured."""
    site.write_site(config, second, 1, no_strain={second})
    span = Span.of_seconds(second, 1)
    strain = OutputChannel(Series(span, 4096, np.zeros(4096)), "strain")
    gwf.publish(site.strain_path(config, second), gwf.serialise(span, {site.STRAIN: strain}))


def test_real_run_over_faults_brings_nothing_unforeseen(config: Config) -> None:
    run = Run(config)
    before = set(scraped(run.metrics))
    run.over(
        30,
        {
            6: lambda config, second: site.write_site(config, second, 1, no_strain={second}),
            10: cut_strain,
            14: lambda config, second: site.write_site(config, second, 1, no_witnesses={second}),
            18: poisoned_witness,
            22: other_rate,
        },
    )
    series = scraped(run.metrics)
    assert set(series) == before
    ledger = run.cleaning.ledger
    assert ledger.balanced
    assert ledger.frames_in == 27
    gaps = {
        reason: series[f'deepclean_gap_seconds_total{{reason="{reason}"}}']
        for reason in ledger.gaps
    }
    assert gaps == {"strain_missing": 1, "strain_unreadable": 1, "strain_rate": 1}
    written = {
        reason: series[f'deepclean_output_frames_total{{reason="{reason}",result="reduced"}}']
        for reason in REDUCED
    }
    assert {reason for reason, count in written.items() if count} == {
        reasons.MISSING,
        reasons.NONFINITE_WITNESS,
        reasons.NO_HISTORY,
        reasons.NO_LOOKAHEAD,
    }
    cleaned = series['deepclean_output_frames_total{reason="none",result="cleaned"}']
    assert cleaned == ledger.written[CLEANED] > 10
    assert cleaned + sum(written.values()) == 27
    assert series["deepclean_last_input_gps_seconds"] == START + 30
    assert series["deepclean_last_output_gps_seconds"] == START + 30
    assert series["deepclean_output_latency_seconds_count"] == 27
    latency = series["deepclean_output_latency_seconds_sum"]
    assert latency == pytest.approx(sum(run.cleaning.latencies))


def test_cleaned_frame_is_noted(config: Config) -> None:
    run = Run(config)
    assembler = Assembler(run.engine)
    channels, seen = channels_of(config), []
    for number in range(12):
        span = Span.of_seconds(START + number, 1)
        pieces: dict[str, list[Series | Gap]] = {}
        for name, rate in RATES.items():
            if (number, name) != (6, "H1:FAST"):
                samples = site.samples(name, START + number, rate)
                pieces[name] = [Series(span, rate, samples)]
            else:
                pieces[name] = [Gap(span, "invalid")]
        strain = Series(span, site.STRAIN_RATE, site.samples(site.STRAIN, START + number, 2048))
        state = Series(span, 16, np.full(16, 3, dtype=np.uint32))
        pieces |= {site.STRAIN: [strain], site.STATE: [state]}
        for frame in assembler.push(InputFrame(span, channels.blocks(span, pieces))):
            run.figures.cleaned(frame, render(frame, site.STRAIN, config.output.products))
            seen.append((State(run.figures.state), run.figures.gains["60Hz"]))
    good = ~(State.IN_SPEC | State.SETTLED)  # without gates
    assert seen[4] == (good, 1.0)
    bits, gain = seen[6]
    assert gain == 0.0
    assert bits == good & ~(State.WITNESSES_GOOD | State.CLEANED)
    assert seen[9] == (good, 1.0)
    assert run.figures.witness_faults == {("H1:FAST", "invalid"): 1}
