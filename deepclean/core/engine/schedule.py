"""The latency budget: where each stage stands when a hop is computed, and the latency that follows.

Hop `k` covers `[k, k + 1) * hop` from GPS 0. Each stage computes whole hops too, but its hop `k`
stands ahead by the samples that the later stages need after theirs. From the last stage to the
first these offsets are, in samples at the model rate:

    bandpassed prediction    I, the half-length of the interpolation to the strain's rate;
                             I + r where there is a gate, which must see the estimate
    prediction               I + s + r, rounded up to P, where a hop of predictions may begin
    resampled witnesses      P + e
    witnesses                P + e + w

Here `s` is the bandpass's settle-in, `r` the gain's ramp, `e` the samples that the network needs
after its last output, and `w` the half-length of the slowest witness's resampling. The offsets are
constants. So are the look-ahead `L`, which is the last of them, and the history `H`, which is the
same walk towards the past. Both are rounded up, `L` to 1/64 s and `H` to 1 s, so that a version
that needs a little more than the one before it can be put in force without a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.filters.resample import Resampler, ResampleSettings
from deepclean.core.filters.splice import back
from deepclean.core.gate.settings import GateSettings
from deepclean.core.geometry import Geometry
from deepclean.core.time import NS
from deepclean.core.witness_checks import WitnessSettings

CROSSFADE = 2 * NS
"""Nanoseconds over which one version of a model takes over from another."""

# It divides 1/16 s, the shortest block, so no block waits for one more because of it.
_GRID = NS // 64
"""The look-ahead is a whole number of these nanoseconds, or less by a part of a sample."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What all couplings of an engine share: configured by `engine`; durations in nanoseconds.

    Args:
        strain_rate: configured by `strain.rate`, in Hz.
        model_rate: configured by `engine.rate`, in Hz.
        hop: as configured.
        ramp: as configured.
        resample: as configured.
        witness: configured by `engine.witnesses`.
        interpolation_zeros: configured by `engine.interpolation.zeros`.
        interpolation_attenuation: configured by `engine.interpolation.attenuation`.
        gate: None where there are no gates.
        forecast: from what witnesses are forecast; None: a hop waits for its look-ahead.
        crossfade: nanoseconds over which one version of a model takes over from another. The two
            leave different parts of a line, and the shorter this is, the further that spreads.

    Attributes:
        hop_model: samples per hop at the model rate.
        hop_strain: samples per hop at the strain's rate.

    Raises:
        ValueError: hop or ramp is not a whole number of samples.
    """

    strain_rate: int
    model_rate: int
    hop: int
    ramp: int
    resample: ResampleSettings
    witness: WitnessSettings
    interpolation_zeros: int
    interpolation_attenuation: float
    gate: GateSettings | None = None
    forecast: ForecastSettings | None = None
    crossfade: int = CROSSFADE
    hop_model: int = field(init=False)
    hop_strain: int = field(init=False)

    def __post_init__(self) -> None:
        for name, value, rate in (
            ("hop", self.hop, self.model_rate),
            ("hop", self.hop, self.strain_rate),
            ("ramp", self.ramp, self.strain_rate),
        ):
            if value * rate % NS:
                raise ValueError(f"{name} of {value} ns is not whole samples at {rate} Hz")
        if self.gate is not None and self.ramp % (NS // 16):
            raise ValueError(f"with gates, a ramp of {self.ramp} ns is not whole sixteenths of 1 s")
        object.__setattr__(self, "hop_model", self.hop * self.model_rate // NS)
        object.__setattr__(self, "hop_strain", self.hop * self.strain_rate // NS)

    def interpolator(self) -> Resampler:
        """Return the filter from the model rate to the strain's."""
        return Resampler(
            self.model_rate,
            self.strain_rate,
            zeros=self.interpolation_zeros,
            max_delay=Fraction(1),
            attenuation=self.interpolation_attenuation,
        )


@dataclass(frozen=True, slots=True)
class CouplingSchedule:
    """The offsets of one coupling's stages, in samples at the model rate from the computed hop.

    The 60 Hz coupling at 4096 Hz, with a pass that has 128 samples of edge and a period of 16:

    >>> laid = Geometry("pass", 128, 128, 16, 0, stride=4096, kernel=4352, edge=128)
    >>> predicted = laid.align(16 + 1271 + 1024)
    >>> coupling = CouplingSchedule(16, 1271, 1024, predicted, laid, monitored=1024)
    >>> coupling.predicted, coupling.alignment, coupling.bandpassed, coupling.resampled
    (2320, 9, 1040, 2448)

    Args:
        interpolation: half-length of the interpolation.
        settle_in: the bandpass's padding.
        ramp: the gain's ramp; 0 where nothing waits, because the gain cannot fall in advance then.
        predicted: the offset of the prediction, aligned to the network's geometry.
        geometry: the geometry of the network's kernels.
        monitored: the samples of estimate after a hop that its gate needs: the ramp where there is
            a gate, else 0.
        memory: the nanoseconds before a sample from which its gain is learnt; 0 where it is fixed.
    """

    interpolation: int
    settle_in: int
    ramp: int
    predicted: int
    geometry: Geometry
    monitored: int = 0
    memory: int = 0

    @classmethod
    def of(
        cls, settings: EngineSettings, settle_in: int, geometry: Geometry, memory: int = 0
    ) -> CouplingSchedule:
        """Return the schedule of a coupling.

        Args:
            settings: the engine's settings.
            settle_in: the bandpass's padding, samples at the model rate.
            geometry: the geometry of the network's kernels.
            memory: the nanoseconds before a sample from which its gain is learnt.
        """
        # The gain at a sample is known when all bad samples within a ramp after it are. A
        # prediction p spoils the estimate from p - I - s on (the filters' reach), so the gain from
        # p - I - s - r on. No prediction that is I + s + r or more after a hop can change it.
        rate = settings.model_rate
        interpolation = ceil(settings.interpolator().half_length * rate)
        ramp = 0 if settings.forecast else ceil(Fraction(settings.ramp * rate, NS))
        return cls(
            interpolation=interpolation,
            settle_in=settle_in,
            ramp=ramp,
            predicted=geometry.align(interpolation + settle_in + ramp),
            geometry=geometry,
            monitored=ramp if settings.gate else 0,
            memory=memory,
        )

    @property
    def bandpassed(self) -> int:
        """The offset of the bandpassed prediction."""
        return self.interpolation + self.monitored

    @property
    def alignment(self) -> int:
        """The samples that are lost to aligning hops of prediction with the network's kernels."""
        return self.predicted - self.interpolation - self.settle_in - self.ramp

    @property
    def filtered(self) -> int:
        """The samples of the estimate, either side, into which a predicted sample spreads."""
        return self.interpolation + self.settle_in

    @property
    def resampled(self) -> int:
        """The offset of the resampled witnesses."""
        return self.predicted + self.geometry.after

    def reach_back(self, hop: int) -> int:
        """Return the number of witness samples before a hop that can influence it.

        Args:
            hop: samples per hop at the model rate.
        """
        # The samples read: the interpolation reads I before the hop. That sample lies in an earlier
        # hop of bandpassed prediction, whose every sample rests on s before that hop's first
        # sample; that one lies in a hop of predictions, whose first kernel begins `before` it.
        first = -self.interpolation
        first = hop_start(first, self.bandpassed, hop) - self.settle_in
        first = hop_start(first, self.predicted, hop) - self.geometry.before
        # The gain: a gap spoils every output of the kernels that it touches, up to `trail` after
        # it, also of kernels that began before those that were read.
        return max(-first, self.filtered + self.geometry.trail)

    def predicted_at_once(self, settings: EngineSettings) -> tuple[int, int]:
        """Return the range of predictions of a hop without look-ahead, from the hop's start.

        It begins before the splice, where the hop is compared with the one before, and ends as far
        after the hop as the interpolation reads.
        """
        # Bandpassed samples are wanted from `back` before the hop to I + 1 after it: the 1 is the
        # next hop's first sample, to which that one is spliced. The bandpass adds s on either side.
        # The smallest permitted index from x - (modulus - 1) on is the greatest up to x.
        hop, modulus = settings.hop_model, self.geometry.modulus
        first = self.geometry.align(1 - modulus - back(settings.model_rate) - self.settle_in)
        count = hop + self.interpolation + 1 + self.settle_in - first
        return first, first + -(-count // modulus) * modulus

    def window(self, settings: EngineSettings) -> tuple[int, int]:
        """Return the range of resampled witnesses that these rest on, from the hop's start."""
        first, stop = self.predicted_at_once(settings)
        return first - self.geometry.before, stop + self.geometry.after

    def spoilt_by_gap(self, settings: EngineSettings, start: int, end: int) -> tuple[int, int]:
        """Return the span that a witness's gap spoils in the estimate, all in GPS nanoseconds."""
        # Stage by stage: the resampling, then the network by whole kernels, then the filters by
        # I + s.
        spoilt = self.geometry.spoilt(*resampled_in_gap(settings, start, end))
        return self.spoilt_by_prediction(settings, *spoilt)

    def spoilt_by_prediction(
        self, settings: EngineSettings, first: int, stop: int
    ) -> tuple[int, int]:
        """Return the span (GPS ns) of the estimate that bad predictions `[first, stop)` spoil."""
        reach, rate = self.filtered, settings.model_rate
        return (first - reach) * NS // rate, -(-(stop + reach) * NS // rate)


def resampled_in_gap(settings: EngineSettings, start: int, end: int) -> tuple[int, int]:
    """Return the samples at the model rate, `[first, stop)`, that rest on a gap (GPS ns)."""
    # The resampling spreads the gap by its half-length, the slowest witness's; rounded outwards.
    rate, reach = settings.model_rate, settings.resample.lookahead
    first = floor((Fraction(start, NS) - reach) * rate)
    return first, ceil((Fraction(end, NS) + reach) * rate)


def hop_start(index: int, offset: int, hop: int) -> int:
    """Return the first index of the hop that contains `index`, where one hop begins at `offset`.

    >>> hop_start(-1, offset=10, hop=100), hop_start(10, offset=10, hop=100)
    (-90, 10)
    """
    return (index - offset) // hop * hop + offset


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedules of all couplings, and the engine's two constants, look-ahead and history.

    The 60 Hz coupling of `CouplingSchedule`: (2320 + 128) / 4096 s, and 1/4 s for a slow witness,
    which are 54.25 / 64 s.

    >>> settings = EngineSettings(
    ...     strain_rate=16384,
    ...     model_rate=4096,
    ...     hop=NS,
    ...     ramp=NS // 4,
    ...     crossfade=CROSSFADE,
    ...     resample=ResampleSettings(16, Fraction(1, 4), attenuation=80.0, slowest_rate=16),
    ...     witness=WitnessSettings(frozen=None, limits={}),
    ...     gate=None,
    ...     interpolation_zeros=16,
    ...     interpolation_attenuation=80.0,
    ...     forecast=None,
    ... )
    >>> laid = Geometry("pass", 128, 128, 16, 0, stride=4096, kernel=4352, edge=128)
    >>> coupling = CouplingSchedule.of(settings, 1271, laid)
    >>> Schedule(settings, {"60Hz": coupling}).lookahead / NS
    0.859375

    The gap of a witness from 10 s to 11 s spoils the estimate by the same reach, without the ramp
    and the alignment:

    >>> start, end = coupling.spoilt_by_gap(settings, 10 * NS, 11 * NS)
    >>> (10 * NS - start) / NS, (end - 11 * NS) / NS
    (0.595458985, 0.595458985)

    Args:
        settings: the engine's settings.
        couplings: the schedule of each coupling, by its name.
    """

    settings: EngineSettings
    couplings: Mapping[str, CouplingSchedule]

    @property
    def resampled(self) -> int:
        """The offset of the resampled witnesses, in samples at the model rate."""
        needed = max(coupling.resampled for coupling in self.couplings.values())
        rate, filters = self.settings.model_rate, self.settings.resample.lookahead
        periods = ceil((Fraction(needed, rate) + filters) * NS / _GRID)
        return max(floor((Fraction(periods * _GRID, NS) - filters) * rate), needed)

    @property
    def lookahead(self) -> int:
        """The look-ahead `L` in nanoseconds: a hop needs input to its end plus this."""
        return 0 if self.settings.forecast else self.forecast

    @property
    def forecast(self) -> int:
        """The nanoseconds after its end on which a hop rests, waited for or forecast."""
        return self._ns(self.resampled)

    @property
    def window(self) -> tuple[int, int]:
        """The resampled witnesses that a hop without look-ahead rests on, from the hop's start."""
        lows, highs = zip(*(c.window(self.settings) for c in self.couplings.values()), strict=True)
        return min(lows), max(highs)

    @property
    def history(self) -> int:
        """The history `H` in nanoseconds: a hop needs input from its start minus this."""
        return ceil(Fraction(self.reach_back, NS)) * NS

    @property
    def reach_back(self) -> int:
        """The nanoseconds before a hop whose input can influence it."""
        # The reaches add up: the gain rises over a ramp after a bad estimate; the filters spread a
        # bad witness to there; a witness is frozen by the samples before; a gate remembers, and
        # what it sees has gains that are learnt from seconds before.
        hop, ramp = self.settings.hop_model, self.settings.ramp
        filters = self._ns(max(c.reach_back(hop) for c in self.couplings.values()))
        gate = self.settings.gate.reach if self.settings.gate else 0
        if forecast := self.settings.forecast:
            # A hop is spliced to the one before it, which rested on the window before its own start
            # and on forecasts that were fitted to the memory before its start, or before that of a
            # hop for which the same fit served; all one hop earlier.
            fitted = (forecast.hops_per_fit(self.settings.hop) - 1) * self.settings.hop
            past = max(self._ns(-self.window[0]), fitted + forecast.memory + self._ns(0))
            filters = max(filters, past) + self.settings.hop
            # The gate cannot see the estimate a ramp in advance, so it acts a ramp later.
            gate += ramp if gate else 0
        memory = max(coupling.memory for coupling in self.couplings.values())
        return ramp + filters + (self.settings.witness.frozen or 0) + gate + memory

    def _ns(self, samples: int) -> int:
        """Return samples at the model rate plus the longest witness filter, in nanoseconds."""
        seconds = Fraction(samples, self.settings.model_rate) + self.settings.resample.lookahead
        return ceil(seconds * NS)
