"""Sites composed from subtraction problems by fixed rules.

The published studies name bands and witnesses, not the physics between them. Here a band that
contains a harmonic of the mains has that line, with sidebands from slow angular motion. Any other
band has a hum. Witnesses of alignment see a mixture of the motions, the others see the carrier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import pi, sqrt
from typing import TypeAlias

from deepclean.errors import ConfigError, hint
from deepclean.simulate.noise import generator
from deepclean.simulate.site import (
    Hum,
    Line,
    Motion,
    SimulatedCoupling,
    SimulatedWitness,
    Site,
    Term,
)

Problem: TypeAlias = tuple[tuple[float, float], tuple[str, ...]]
"""A subtraction problem: its band in Hz and its witnesses."""

LINE_STRENGTH = 15.0
"""Rms of a mains line over the floor's rms in 1 Hz (see `SimulatedCoupling`)."""

SIDEBAND_STRENGTH = 7.0
"""Rms of all sidebands of a line together, in the same unit."""

HUM_PEAK = 4.0
"""ASD of a hum over the floor's, in the middle of its band."""

HUM_BILINEAR = 0.25
"""Part of a hum that is multiplied by the motions, relative to the part that is not."""

CARRIER_NOISE = 1e-3
"""Sensor noise of a witness of carriers, per sqrt(Hz), relative to the rms of its signal."""

MOTION_NOISE = 3e-3
"""Sensor noise of a witness of motions, in the same unit."""

MOTIONS = (
    Motion("hard_pitch", 0.45, 0.12),
    Motion("hard_yaw", 1.1, 0.2),
    Motion("soft_pitch", 1.9, 0.2),
    Motion("soft_yaw", 0.8, 0.15),
    Motion("recycling_pitch", 1.5, 0.2),
    Motion("recycling_yaw", 0.25, 0.08),
)


@dataclass(frozen=True, slots=True)
class Placement:
    """The properties of an interferometer besides its subtraction problems.

    Args:
        strain: name of the strain channel, without the prefix.
        rate: of the strain, samples per second.
        state: name of the state vector, without the prefix.
        curve: noise curve of lalsimulation.
        mains: frequency of the mains in Hz.
        motions: largest number of `MOTIONS`.
        usual: rate of witnesses that match no pattern of `_RATES`, samples per second.
    """

    strain: str
    rate: int
    state: str
    curve: str
    mains: int
    motions: int
    usual: int


_LIGO = Placement(
    strain="GDS-CALIB_STRAIN",
    rate=16384,
    state="GDS-CALIB_STATE_VECTOR",
    curve="aLIGO175MpcT1800545",
    mains=60,
    motions=6,
    usual=2048,
)

PLACES: Mapping[str, Placement] = {
    "H1": _LIGO,
    "L1": _LIGO,
    "K1": replace(_LIGO, curve="KAGRA25MpcT1800545"),
    "V1": Placement(
        strain="Hrec_hoft_raw_20000Hz",
        rate=20000,
        state="DQ_ANALYSIS_STATE_VECTOR",
        curve="AdVO4T1800545",
        mains=50,
        motions=2,
        usual=2000,
    ),
}

_RATES = (
    (r"_INMON$", 16),
    (r"_POWERSUPPLY_", 16),
    (r"_Tpro_processed_packets$", 50),
    (r"_500Hz$", 500),
    (r"^ASC-SRC", 16),
    (r"^ASC-[CD]HARD_", 512),
    (r"^ASC-", 256),
    (r"^(HPI|ISI)-", 512),
    (r"^(CAL|Sc)_", 10000),
    (r"^ENV_\w+_MAG_", 20000),
)
"""Witness rates in samples per second, by the first pattern that a name matches."""

_ALIGNMENT = re.compile(r"^ASC|^HPI|^ISI|WFS|DOF|_QD|_LC_|^SBE_|Tpro|POWERSUPPLY|_[Tt][XxYyZz]|Cty")
"""Pattern of the names of witnesses that see motions. The other witnesses see carriers."""


def compose(
    ifo: str,
    problems: Mapping[str, Problem],
    *,
    motions: int | None = None,
    rates: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Site:
    """Return a site with some subtraction problems.

    Args:
        ifo: `H1`, `L1`, `K1` or `V1`.
        problems: by name; the witnesses with or without the prefix.
        motions: number of slow motions; None for the interferometer's usual number, but no more
            than the witnesses of alignment can distinguish (three for five of them).
        rates: samples per second by full channel name, if they differ from the usual rates.
        seed: of the noise; the couplings do not depend on it.

    Raises:
        ConfigError: no such interferometer, or a rate too low for the signal of a witness.
    """
    if ifo not in PLACES:
        raise ConfigError(f"no interferometer {ifo} can be simulated{hint(ifo, PLACES)}")
    place, prefix = PLACES[ifo], f"{ifo}:"
    problems = {
        name: (band, tuple(witness.removeprefix(prefix) for witness in witnesses))
        for name, (band, witnesses) in problems.items()
    }
    if motions is None:
        aligned = {name for _, names in problems.values() for name in names if _sees_motions(name)}
        motions = min(place.motions, 3 * len(aligned) // 5)
    moving = MOTIONS[:motions]
    carriers = {name: _carrier(band, place.mains) for name, (band, _) in problems.items()}
    return Site(
        ifo=ifo,
        strain=prefix + place.strain,
        rate=place.rate,
        state=prefix + place.state,
        curve=place.curve,
        motions=moving,
        carriers=tuple(dict.fromkeys(carriers.values())),
        couplings=tuple(
            _coupling(name, problem, carriers[name], moving) for name, problem in problems.items()
        ),
        witnesses=tuple(
            _witness(prefix + name, (rates or {}).get(prefix + name, _rate(name, place)), terms)
            for name, terms in _seen(problems, carriers, moving).items()
        ),
        seed=seed,
    )


def _carrier(band: tuple[float, float], mains: int) -> Line | Hum:
    low, high = band
    harmonic = int(high // mains) * mains
    if harmonic >= low:
        return Line(f"mains_{harmonic}", harmonic)
    middle = round((low + high) / 2)
    return Hum(f"hum_{middle}", middle, (high - low) / 6)


def _coupling(
    name: str, problem: Problem, carrier: Line | Hum, motions: tuple[Motion, ...]
) -> SimulatedCoupling:
    """Return the coupling of a carrier to the strain.

    It includes the motions whose sidebands stay inside the band, if there are enough witnesses of
    alignment to distinguish all motions.
    """
    (low, high), witnesses = problem
    room = min(carrier.frequency - low, high - carrier.frequency)
    inside = [motion for motion in motions if motion.frequency + 2 * motion.width < room]
    if sum(map(_sees_motions, witnesses)) < len(motions):
        inside = []
    if isinstance(carrier, Line):
        linear, bilinear = LINE_STRENGTH, SIDEBAND_STRENGTH
    else:  # a Gaussian of unit area is 1 / (sqrt(2 pi) width) high
        linear = HUM_PEAK * sqrt(sqrt(2 * pi) * carrier.width)
        bilinear = HUM_BILINEAR * linear
    each = bilinear / sqrt(max(len(inside), 1))
    return SimulatedCoupling(
        name=name,
        band=(low, high),
        carrier=carrier.name,
        linear=linear,
        bilinear=tuple((motion.name, each) for motion in inside),
        phase=_draw(f"path {carrier.name}", 1)[0] * pi,
    )


def _seen(
    problems: Mapping[str, Problem], carriers: Mapping[str, Line | Hum], motions: tuple[Motion, ...]
) -> dict[str, tuple[Term, ...]]:
    """Return the terms that each witness sees, of all the problems that name it."""
    sources: dict[str, dict[str, None]] = {}
    for problem, (_, witnesses) in problems.items():
        for witness in witnesses:
            sources.setdefault(witness, {})[carriers[problem].name] = None
    aligned = [witness for witness in sources if _sees_motions(witness)]
    terms = {
        witness: tuple(_carrier_term(witness, name) for name in names)
        for witness, names in sources.items()
    }
    return terms | {name: _mix(name, place, motions) for place, name in enumerate(aligned)}


def _carrier_term(witness: str, carrier: str) -> Term:
    size, phase = _draw(f"{witness} {carrier}", 2)
    return Term(carrier, 10 ** (1 + size), phase * pi)


def _mix(witness: str, place: int, motions: tuple[Motion, ...]) -> tuple[Term, ...]:
    """Return the terms of an alignment signal: one motion mainly, and some of the others."""
    size, *leaks = _draw(witness, 1 + len(motions))
    return tuple(
        Term(motion.name, 10**size * (1.0 if number == place % len(motions) else 0.4 * leak))
        for number, (motion, leak) in enumerate(zip(motions, leaks, strict=True))
    )


def _witness(channel: str, rate: int, terms: tuple[Term, ...]) -> SimulatedWitness:
    size = sqrt(sum(term.gain**2 for term in terms))
    relative = MOTION_NOISE if _sees_motions(channel.partition(":")[2]) else CARRIER_NOISE
    return SimulatedWitness(channel, rate, terms, relative * size)


def _rate(witness: str, place: Placement) -> int:
    return next((rate for pattern, rate in _RATES if re.search(pattern, witness)), place.usual)


def _sees_motions(witness: str) -> bool:
    return _ALIGNMENT.search(witness) is not None


def _draw(name: str, count: int) -> list[float]:
    """Return numbers in [-1, 1) that depend on a name alone: a site's hardware, for any seed."""
    return [float(number) for number in generator(0, name, 0).uniform(-1, 1, count)]
