"""Compact-binary signals in the strain."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError
from deepclean.simulate import Injection, Simulator
from deepclean.simulate.injection import injected, waveform
from tests.helpers.sites import demo_site

GPS = 1370000000
MERGER = GPS * NS + 400_000_000
RATE = 4096


def peak(injection: Injection, rate: int = RATE) -> float:
    """Return when the signal is loudest, in seconds after GPS."""
    first, samples = waveform(injection, rate)
    return float(first - GPS * rate + np.argmax(np.abs(samples))) / rate


@pytest.mark.parametrize("rate", [4096, 16384, 20000])
def test_the_signal_is_loudest_at_coalescence(rate: int) -> None:
    assert peak(Injection(MERGER), rate) == pytest.approx(0.4, abs=0.003)


def test_the_size_is_that_of_a_merger_at_that_distance() -> None:
    # A quasi-circular binary face-on is about h = (4/d) (G M_chirp / c^2)^(5/3) (pi f / c)^(2/3)
    # loud. GW150914-like at 410 Mpc and 150 Hz: 1.1e-21; at its peak somewhat more.
    _, samples = waveform(Injection(MERGER), RATE)
    assert 1e-21 < np.abs(samples).max() < 3e-21
    _, further = waveform(Injection(MERGER, distance=820.0), RATE)
    assert further == pytest.approx(samples / 2, rel=1e-6, abs=1e-27)


def test_the_signal_starts_and_ends_in_silence() -> None:
    _, samples = waveform(Injection(MERGER), RATE)
    loudest = np.abs(samples).max()
    assert np.abs(samples[:8]).max() < 1e-6 * loudest
    assert np.abs(samples[-8:]).max() < 1e-6 * loudest


def test_coalescence_is_placed_between_samples() -> None:
    # A quarter of a sample later: a phase of exactly that in every frequency bin.
    sample = NS // RATE  # 244140.625 ns; the odd fraction is in the tolerance
    first, samples = waveform(Injection(MERGER), RATE)
    later_first, later = waveform(Injection(MERGER + sample // 4), RATE)
    assert 0 <= later_first - first <= 1
    aligned = np.pad(later, (later_first - first, 0))[: samples.size]
    hertz = np.fft.rfftfreq(samples.size, 1 / RATE)
    loud = (hertz > 30) & (hertz < 300)
    ratio = np.fft.rfft(aligned)[loud] / np.fft.rfft(samples)[loud]
    expected = np.exp(-2j * np.pi * hertz[loud] * (sample // 4) / NS)
    assert np.abs(ratio - expected).max() < 1e-3


def test_the_signal_is_cut_into_seconds_without_loss() -> None:
    injections = (Injection(MERGER), Injection(MERGER + 2 * NS, mass1=20.0, mass2=20.0))
    stream = injected(injections, RATE)
    made = np.concatenate([stream(second) for second in range(GPS - 5, GPS + 5)])
    expected = np.zeros_like(made)
    for injection in injections:
        first, samples = waveform(injection, RATE)
        start = first - (GPS - 5) * RATE
        expected[start : start + samples.size] += samples
    assert made.tobytes() == expected.tobytes()


def test_the_strain_is_louder_by_the_injection() -> None:
    quiet = demo_site()
    loud = replace(quiet, injections=(Injection(MERGER),))
    span = Span.of_seconds(GPS - 1, 3)
    names = [quiet.strain, "H1:TRUTH-INJECTION"]
    made = Simulator(loud).read(names, span)
    without = Simulator(quiet).read([quiet.strain], span)[quiet.strain].samples
    signal = made["H1:TRUTH-INJECTION"].samples
    assert np.abs(signal).max() > 1e-21
    # Bit-for-bit but for the rounding of the sum itself.
    assert (
        np.abs(made[quiet.strain].samples - without - signal).max() < 1e-15 * np.abs(signal).max()
    )
    assert "H1:TRUTH-INJECTION" not in Simulator(quiet).rates


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mass1": 0.0}, "mass1 must be positive"),
        ({"mass2": -1.0}, "mass2 must be positive"),
        ({"distance": float("nan")}, "distance must be positive"),
        ({"lowest": float("inf")}, "lowest must be positive"),
        ({"spin1z": 1.5}, "spin1z must be in"),
        ({"spin2z": float("nan")}, "spin2z must be in"),
    ],
)
def test_no_such_binary(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Injection(MERGER, **changes)


def test_no_such_approximant() -> None:
    with pytest.raises(ConfigError, match="no approximant IMRPhenomZ"):
        waveform(Injection(MERGER, approximant="IMRPhenomZ"), RATE)
