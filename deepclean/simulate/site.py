"""The description of a simulated site: its strain, the disturbances, and their witnesses.

It is a description only; `Simulator` computes the samples. All randomness depends on `seed` and on
names, so two sites that share a name and a seed share that noise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from deepclean.core.channels import frame_part
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, hint
from deepclean.simulate.envelope import WIDEST
from deepclean.simulate.injection import Injection

MILLISECOND = NS // 1000


@dataclass(frozen=True, slots=True)
class Motion:
    """A slow motion: Gaussian noise of unit variance around a frequency.

    Args:
        name: unique among the site's motions and carriers.
        frequency: centre of its spectrum, in Hz.
        width: standard deviation of its power spectral density, in Hz.
    """

    name: str
    frequency: float
    width: float


@dataclass(frozen=True, slots=True)
class Line:
    """A carrier: a line of unit mean square, whose amplitude and phase wander about their means.

    The phase is that of a clock of exactly `frequency` since GPS 0, plus the wandering.

    Args:
        name: unique among the site's motions and carriers.
        frequency: whole Hz.
        amplitude: relative standard deviation of the amplitude.
        phase: standard deviation of the phase, in radians.
        wander: width of the spectra of both in Hz.
    """

    name: str
    frequency: int
    amplitude: float = 0.1
    phase: float = 0.5
    wander: float = 0.1

    @property
    def extent(self) -> float:
        """Distance in Hz from its frequency to the end of its spectrum."""
        return 4 * self.wander * max(1.0, self.phase)


@dataclass(frozen=True, slots=True)
class Hum:
    """A carrier: band-limited Gaussian noise of unit variance.

    Args:
        name: unique among the site's motions and carriers.
        frequency: centre, whole Hz.
        width: standard deviation of its power spectral density, in Hz.
    """

    name: str
    frequency: int
    width: float

    @property
    def extent(self) -> float:
        """Distance in Hz from its frequency to the end of its spectrum."""
        return 4 * self.width


@dataclass(frozen=True, slots=True)
class SimulatedCoupling:
    """How one carrier reaches the strain: itself, and multiplied by motions.

        noise(t) = floor * u(t - delay),   u = c_phase * (linear + sum_m bilinear_m * motion_m)

    where `c_phase` is the carrier rotated by `phase`. A strength is the root mean square of its
    term, in units of the floor's root mean square in a band of 1 Hz. The floor is the amplitude
    spectral density of the site's noise curve at the middle of the band. Real strain as background
    does not change it, so that what is learnt on simulated strain holds on real strain.

    Args:
        name: of the subtraction problem (`60Hz`).
        band: its edges in Hz.
        carrier: name of a `Line` or `Hum`.
        linear: strength of the carrier itself.
        bilinear: names of motions and the strengths of the carrier times each motion.
        delay: nanoseconds from witness to strain.
        phase: radians.
    """

    name: str
    band: tuple[float, float]
    carrier: str
    linear: float
    bilinear: tuple[tuple[str, float], ...] = ()
    delay: int = 2 * MILLISECOND
    phase: float = 0.0


@dataclass(frozen=True, slots=True)
class Term:
    """A motion or a carrier in the signal of a witness.

    Args:
        source: name of the motion or carrier.
        gain: counts per unit root mean square.
        phase: radians by which a carrier is rotated on its way to the witness.
    """

    source: str
    gain: float
    phase: float = 0.0


@dataclass(frozen=True, slots=True)
class SimulatedWitness:
    """An auxiliary channel: its signal and its own noise, stored in single precision.

    Args:
        channel: full name.
        rate: samples per second.
        terms: the terms of its signal.
        noise: amplitude spectral density of its sensor noise (white), in counts per sqrt(Hz).
    """

    channel: str
    rate: int
    terms: tuple[Term, ...]
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An interferometer with a known truth.

    Args:
        ifo: its prefix, such as `H1`.
        strain: full name of the strain channel.
        rate: of the strain, in Hz.
        state: full name of the state vector.
        curve: a published noise curve (see `curve_asd`), the unit of the couplings, and the
            background of the strain if there is no file.
        background: a file of real strain for the background; None for the curve's noise.
        background_channel: name of the strain in that file.
        motions: slow motions.
        carriers: lines and hums.
        couplings: into the strain.
        witnesses: the auxiliary channels.
        injections: signals in the strain.
        unlocks: spans in which the state vector is 0, not locked.
        seed: of everything random.

    Raises:
        ConfigError: names that are not defined or defined twice, or a rate too low for a signal.
    """

    ifo: str
    strain: str
    rate: int
    state: str
    curve: str
    background: Path | None = None
    background_channel: str = ""
    motions: tuple[Motion, ...] = ()
    carriers: tuple[Line | Hum, ...] = ()
    couplings: tuple[SimulatedCoupling, ...] = ()
    witnesses: tuple[SimulatedWitness, ...] = ()
    injections: tuple[Injection, ...] = ()
    unlocks: tuple[Span, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        faults = [*self._repeated(), *self._undefined(), *self._too_fast(), *self._too_wide()]
        if faults:
            raise ConfigError(f"simulated site {self.ifo}: {fault}" for fault in faults)

    @property
    def channels(self) -> dict[str, int]:
        """Names and rates of the channels in the frames: strain, state vector and witnesses."""
        rates = {self.strain: self.rate, self.state: STATE_RATE}
        return rates | {witness.channel: witness.rate for witness in self.witnesses}

    @property
    def truth(self) -> dict[str, int]:
        """Names and rates of the components of the strain, in the order of their sum."""
        noises = [noise_channel(self, coupling) for coupling in self.couplings]
        names = [f"{self.ifo}:TRUTH-BACKGROUND", *noises]
        if self.injections:
            names.append(f"{self.ifo}:TRUTH-INJECTION")
        return dict.fromkeys(names, self.rate)

    def _repeated(self) -> Iterable[str]:
        sources = [source.name for source in (*self.motions, *self.carriers)]
        channels = [self.strain, self.state, *(witness.channel for witness in self.witnesses)]
        truths = [noise_channel(self, coupling) for coupling in self.couplings]
        for names in (sources, channels, truths):
            for name in (name for name, count in Counter(names).items() if count > 1):
                yield f"{name} is defined twice"

    def _undefined(self) -> Iterable[str]:
        motions = [motion.name for motion in self.motions]
        carriers = [carrier.name for carrier in self.carriers]
        for coupling in self.couplings:
            yield from _absent(coupling.name, [coupling.carrier], carriers)
            yield from _absent(coupling.name, [name for name, _ in coupling.bilinear], motions)
        for witness in self.witnesses:
            used = [term.source for term in witness.terms]
            yield from _absent(witness.channel, used, motions + carriers)

    def _too_fast(self) -> Iterable[str]:
        highest = {motion.name: motion.frequency + 4 * motion.width for motion in self.motions}
        highest |= {carrier.name: carrier.frequency + carrier.extent for carrier in self.carriers}
        uses = [(self.strain, self.rate, coupling.carrier) for coupling in self.couplings]
        for witness in self.witnesses:
            uses += [(witness.channel, witness.rate, term.source) for term in witness.terms]
        for channel, rate, source in uses:
            if 2 * highest.get(source, 0) > rate:
                yield f"{channel} at {rate} Hz cannot hold {source}, up to {highest[source]:g} Hz"

    def _too_wide(self) -> Iterable[str]:
        slow = max((motion.frequency + 4 * motion.width for motion in self.motions), default=0)
        for carrier in self.carriers:
            if carrier.extent + slow > WIDEST:
                yield f"{carrier.name} with its sidebands is wider than {WIDEST:g} Hz a side"


STATE_RATE = 16
"""Samples per second of a state vector."""


def noise_channel(site: Site, coupling: SimulatedCoupling) -> str:
    """Return the name of a coupling's noise in the truth."""
    return f"{site.ifo}:TRUTH-{frame_part(coupling.name)}_NOISE"


def _absent(user: str, names: Iterable[str], defined: Collection[str]) -> Iterable[str]:
    for name in names:
        if name not in defined:
            yield f"{user} uses {name}, which is not defined{hint(name, defined)}"
