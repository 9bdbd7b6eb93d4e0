"""Couplings that are measured together: none changes a bit of what another one's gate does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from deepclean.core.block import Version
from deepclean.core.buffer import StreamBuffer
from deepclean.core.gain import InvalidSpans
from deepclean.core.gate.measures import Quality
from deepclean.core.gate.monitor import GateMonitor
from deepclean.core.gate.runs import Runs
from deepclean.core.gate.state import CouplingMonitor, EstimateStream
from deepclean.core.spectra import in_bands
from deepclean.core.strain import StrainSpectra, StrainState
from deepclean.core.time import NS
from tests.helpers.gated_stream import GATES, RATE

SECONDS = 20

# Some with no guard bands on one side, one of two bands, one of a single bin.
BANDS = {
    "low": ((10.0, 13.0),),
    "wide": ((40.0, 90.0),),
    "two": ((100.0, 104.0), (120.0, 122.5)),
    "narrow": ((150.3, 150.4),),
    "high": ((220.0, 230.0),),
}


def streams_of(*, seed: int = 0) -> tuple[NDArray[np.float64], dict[str, EstimateStream]]:
    """Return strain, and estimates that are right, wrong, too loud, no numbers, and not there."""
    rng = np.random.default_rng(seed)
    noise = np.fft.rfft(rng.standard_normal((len(BANDS), SECONDS * RATE)))
    frequencies = np.fft.rfftfreq(SECONDS * RATE, 1 / RATE)
    for one, bands in zip(noise, BANDS.values(), strict=True):
        one[~in_bands(frequencies, bands, 1.0)] = 0.0
    estimates = np.fft.irfft(noise)
    strain = 0.3 * rng.standard_normal(SECONDS * RATE) + estimates.sum(axis=0)
    estimates[1, 9 * RATE : 12 * RATE] *= -1
    estimates[2, 12 * RATE : 13 * RATE] *= 1e200
    estimates[3, 9 * RATE :] *= 30
    streams = {}
    for name, estimate in zip(BANDS, estimates, strict=True):
        buffer = StreamBuffer(1)
        buffer.append(0, estimate[None])
        streams[name] = EstimateStream(buffer, InvalidSpans())
    streams["two"].invalid.add(7 * NS, 8 * NS + NS // 3, "missing")
    streams["high"].invalid.add(0, 10 * NS, "missing")
    return strain, streams


def watch(names: Sequence[str], *, guard: float) -> dict[str, list[object]]:
    """Return all that the gates of these couplings do, second by second."""
    settings = replace(GATES, guard=guard)
    spectra = StrainSpectra(RATE, 0.45 * RATE)
    monitor = GateMonitor(settings, {name: BANDS[name] for name in names}, spectra, RATE)
    strain, streams = streams_of()
    seen = StrainState()
    seen.samples.append(0, strain[None])
    seen.unfit.add(5 * NS, 5 * NS + NS // 2)
    state = monitor.start(0)
    versions = {Version(name, 1): streams[name] for name in names}
    done: dict[str, list[object]] = {name: [] for name in names}
    for version in versions:
        monitor.add(state, version)
    for second in range(1, SECONDS + 1):
        with np.errstate(over="ignore", invalid="ignore"):
            monitor.advance(state, seen, versions, second * NS)
            monitor.look(state, seen, versions)
        for version, watched in state.couplings.items():
            done[version.coupling].append(said(watched))
    return done


def said(watched: CouplingMonitor) -> object:
    """Return what a gate holds, to the bit: `repr` gives every number in full."""
    looks = [
        part and (tuple(part.sums), part.excess, part.worst, part.noise.tobytes())
        for part in watched.fast_history
    ]
    level = watched.strain
    strain = level and (level.usual.tobytes(), level.floor.tobytes(), level.rms)
    return repr((watched.gate, watched.quality, watched.obstacle, looks, strain))


@pytest.mark.parametrize("guard", [6.0, 0.0])
def test_no_coupling_changes_a_bit_of_another(guard: float) -> None:
    together = watch(list(BANDS), guard=guard)
    for name, alone in together.items():
        assert watch([name], guard=guard)[name] == alone
    others = ["high", "low", "narrow"]
    assert watch(others, guard=guard) == {name: together[name] for name in others}
    # Something has been measured of all of them, and not all of it is well.
    last = {name: str(found[-1]) for name, found in together.items()}
    assert all(Quality.__name__ in found for found in last.values())
    assert {"GateState.ON" in last[name] for name in ("low", "wide")} == {True}
    assert "GateState.OFF" in last["narrow"]


def test_runs_are_what_each_is_alone() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        counts = rng.integers(1, 40, rng.integers(1, 9)).tolist()
        runs, values = Runs(counts), rng.lognormal(size=sum(counts))
        cut = list(runs.cut(values))
        for i, one in enumerate(cut):
            alone = Runs([len(one)])
            assert alone.sums(one)[0] == runs.sums(values)[i] == pytest.approx(one.sum())
            assert alone.means(one)[0] == runs.means(values)[i]
            assert runs.highest(values)[i] == one.max()
            assert runs.medians(values)[i] == np.median(one)
        beside = [Runs([len(one)]).beside(one) for one in cut]
        assert np.array_equal(np.concatenate(beside), runs.beside(values))
