"""A dead witness of 21: what is left is what the best filter without it leaves."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from deepclean.core import reasons
from deepclean.core.block import Block, CleanedBlock, Float64, Gap, Series
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.filters.bandpass import make_bandpass
from deepclean.core.time import Span
from deepclean.factory import predictor
from deepclean.models import files as models
from deepclean.models.manifest import Channel, Description
from deepclean.train.closed_form.data import Arrays
from deepclean.train.closed_form.fit import fit_closed_form
from deepclean.train.solve import network_of, scalers_of
from tests.helpers.builders import clean, same_bits
from tests.helpers.coupled_data import BAND, RATE, TRANSITION, Coupled, sidebands
from tests.helpers.settings import (
    bandpass_settings,
    engine_settings,
    gate_settings,
    predict_settings,
)

LINE, DEAD = 0, 7
START = 1_400_000_000
BANDPASS = make_bandpass(bandpass_settings(transition=TRANSITION), [BAND], RATE)
PREDICT = predict_settings(kernel=2 * RATE, edge=RATE // 4)
SETTINGS = engine_settings(strain_rate=RATE, model_rate=RATE, gate=gate_settings())


def trained(data: Coupled, place: Path, left_out: Collection[int] = ()) -> Coupling:
    """Fit a coupling, write its model, and return it as it is loaded."""
    kept = [number for number in range(len(data.witnesses)) if number not in left_out]
    arrays = Arrays(RATE, data.witnesses[kept], data.strain, start=START)
    fit = fit_closed_form(arrays, [BAND], TRANSITION, BANDPASS.response)
    names = tuple(f"W{number:02}" for number in kept)
    path = models.write_model(
        place,
        network_of(fit, len(kept)),
        scalers_of(fit),
        Description(
            interferometer="H1",
            coupling="29Hz",
            version=1,
            architecture=fit.architecture or {},
            strain=Channel(name="H1:STRAIN"),
            channels=tuple(Channel(name=name, rate=RATE) for name in names),
            sample_rate=RATE,
            bands=(BAND,),
            kernel=PREDICT.kernel,
            edge=PREDICT.edge,
        ),
    )
    return Coupling("29Hz", names, predictor(models.load(path)), PREDICT, BANDPASS, (BAND,))


def cleaned(
    coupling: Coupling, data: Coupled, dead: Collection[int] = (), block: int = 1
) -> list[CleanedBlock]:
    """Clean data in blocks of so many seconds, with dead witnesses."""
    blocks = []
    for second in range(0, len(data.strain) // RATE, block):
        span = Span.of_seconds(START + second, block)
        part = slice(second * RATE, (second + block) * RATE)
        witnesses: dict[str, Series | Gap] = {
            f"W{number:02}": Gap(span, reasons.MISSING)
            if number in dead
            else Series(span, RATE, row[part])
            for number, row in enumerate(data.witnesses)
        }
        blocks.append(Block(span, Series(span, RATE, data.strain[part]), witnesses))
    return clean(Engine(SETTINGS, [coupling]), blocks)


def estimate(blocks: list[CleanedBlock]) -> Float64:
    """Return what is subtracted."""
    return np.concatenate([block.estimates["29Hz"].subtracted() for block in blocks])


def gain(blocks: list[CleanedBlock]) -> Float64:
    return np.concatenate([block.estimates["29Hz"].gain for block in blocks])


def excess(data: Coupled, subtracted: Float64) -> float:
    """Return the mean over the band of what is left of the noise, in units of the floor's ASD."""
    inside = slice(20 * RATE, -3 * RATE)
    frequencies, left = signal.welch((data.noise - subtracted)[inside], RATE, nperseg=2 * RATE)
    band = (frequencies >= BAND[0]) & (frequencies <= BAND[1])
    return float(np.mean(np.sqrt(1 + left[band])))


@pytest.fixture(scope="module")
def training() -> Coupled:
    return sidebands(512, seed=1)


@pytest.fixture(scope="module")
def later() -> Coupled:
    return sidebands(200, seed=2)


@pytest.fixture(scope="module")
def whole(training: Coupled, tmp_path_factory: pytest.TempPathFactory) -> Coupling:
    return trained(training, tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
def test_a_dead_witness_costs_what_it_carried(
    training: Coupled, later: Coupled, whole: Coupling, tmp_path: Path
) -> None:
    best = excess(later, estimate(cleaned(trained(training, tmp_path, [DEAD]), later)))
    found = cleaned(whole, later, [DEAD])
    assert excess(later, estimate(cleaned(whole, later))) < 1.01
    assert best > 1.05
    assert excess(later, estimate(found)) == pytest.approx(best, rel=0.002)
    assert (gain(found)[20 * RATE : -3 * RATE] == 1).all()
    assert same_bits(estimate(cleaned(whole, later, [DEAD], block=40)), estimate(found))


@pytest.mark.slow
def test_two_dead_witnesses_likewise(
    training: Coupled, later: Coupled, whole: Coupling, tmp_path: Path
) -> None:
    best = excess(later, estimate(cleaned(trained(training, tmp_path, [3, 12]), later)))
    found = cleaned(whole, later, [3, 12])
    assert excess(later, estimate(found)) == pytest.approx(best, rel=0.002)
    assert (gain(found)[20 * RATE : -3 * RATE] == 1).all()


def test_without_the_line_it_closes(later: Coupled, whole: Coupling) -> None:
    found = cleaned(whole, later, [LINE])
    assert not estimate(found).any()
    assert not any(block.estimates["29Hz"].without for block in found)
    assert {reason for block in found for reason in block.estimates["29Hz"].reasons} >= {
        reasons.MISSING
    }
