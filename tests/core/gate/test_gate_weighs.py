"""The gate weighs: it never makes the official product worse than leaving a good model alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.models.gate import judge, main, spread, usual_settings
from benchmarks.models.sites import site_named
from deepclean.core.block import Series
from deepclean.core.engine.engine import Engine
from tests.helpers.builders import NOISE, clean
from tests.helpers.gated_stream import GATED, GATES, RATE, engine, gate_of, record, scaled

SECONDS = 150


@pytest.mark.parametrize(
    ("name", "level"),
    [
        # The bands beside it are some percent louder, by what a network spreads over them.
        ("delay of 40 ms", 0.3),
        # Bursts and lulls of the coupling itself are no jumps and no harm.
        ("quadratic", 0.0),
        ("product", 0.0),
        ("two mains phases", 0.0),
    ],
)
def test_a_healthy_model_is_left_alone(name: str, level: float) -> None:
    site = site_named(name)
    data = site.record(0, 2, SECONDS, 1024, clean=True)
    found = judge(site, data, data.noise + level * spread(site, SECONDS), usual_settings())
    print(f"{name}: {found}")
    assert found.raw > 1.5
    assert found.closings == 0
    assert found.out_dq <= found.production + 0.002


def test_products_change_by_ramps() -> None:
    """No gain changes faster than by its ramp, and none that is not urgent than by `fade`."""
    data = scaled(scaled(record(60), 15.3, 18, -1.0), 33.4, 33.5, 60.0)
    cleaned = clean(engine(), data.blocks())
    gate = gate_of(cleaned)
    assert ((gate == 0)[RATE * 10 :]).any()
    # The slope of sin^2(pi t / (2 T)) is at most pi / (2 T).
    ramp, fade = (np.pi / 2 * 1e9 / (time * RATE) for time in (GATED.ramp, GATES.fade))
    steps = np.diff(gate)
    assert steps.max() <= fade * 1.001
    assert steps.min() >= -ramp * 1.001
    # What is subtracted from PRODUCTION changes by the ramp alone.
    valid = np.concatenate([block.estimates["all"].ungated().gain for block in cleaned])
    assert np.abs(np.diff(valid)).max() <= ramp * 1.001
    for block in cleaned:
        estimate, products = block.estimates["all"], block.products
        assert products is not None
        taken = products.production - products.out_dq
        left = (estimate.gain - estimate.ungated().gain) * estimate.noise
        np.testing.assert_allclose(taken, left, atol=1e-12 * np.abs(products.production).max())


def test_the_benchmark_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--seconds", "48", "--training", "128", "--site", "collinear"])
    lines = [line.strip("| \n").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:3] == ["site", "model", "raw"]
    assert [line[1] for line in lines[2:]] == [
        "closed form",
        "linear",
        "closed form + 0.3",
        "closed form + 0.8",
    ]
    assert all(float(line[4]) < float(line[2]) for line in lines[2:])


@pytest.mark.parametrize(
    ("loudest", "factor", "right", "closes"),
    [
        (0.0, 30.0, True, True),  # nobody knows how loud it may be
        (10.0, 30.0, True, False),  # as loud as when the model was judged, some times over
        (10.0, 200.0, False, True),  # that it was never
    ],
)
def test_a_burst_that_the_model_knows_is_no_jump(
    loudest: float, factor: float, right: bool, closes: bool
) -> None:
    """Noise that is a product of others comes in bursts; a gate remembers half a minute."""
    data = record()
    burst = scaled(data, 25.0, 25.5, factor)
    if right:
        witness, quiet = burst.witnesses["FAST"], data.witnesses["FAST"]
        assert isinstance(witness, Series)
        assert isinstance(quiet, Series)
        assert isinstance(burst.strain, Series)
        more = NOISE * (witness.samples - quiet.samples)
        burst = replace(burst, strain=Series(data.span, RATE, burst.strain.samples + more))
    made = engine()
    made = Engine(
        made.settings,
        [
            replace(one, predictor=replace(one.predictor, loudest=loudest * NOISE))
            for one in made.versions.production
        ],
    )
    gate = gate_of(clean(made, burst.blocks()))
    assert (gate[24 * RATE : 26 * RATE] < 1).any() == closes
