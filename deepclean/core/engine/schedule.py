"""The latency budget: where each stage stands when a hop is computed, and what that costs.

Hop `k` covers `[k, k + 1) * hop` from GPS 0. To finish it, each stage must have gone further by
what the later stages need: the interpolation to the strain's rate, the bandpass's settle-in, the
gain's ramp, the network's edge, the witness resampling. These offsets are constants, so are their
sum (the look-ahead `L`) and the history `H` that they reach back to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from deepclean.core.forecast import ForecastSettings
from deepclean.core.gate.table import GateSettings
from deepclean.core.predict import Geometry
from deepclean.core.resample import Resampler, ResampleSettings
from deepclean.core.splice import back
from deepclean.core.time import NS
from deepclean.core.witness_checks import WitnessSettings

CROSSFADE = 2 * NS
"""Nanoseconds over which one version of a model takes over from another."""


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

    @property
    def hop_model(self) -> int:
        """Samples per hop at the model rate."""
        return self.hop * self.model_rate // NS

    @property
    def hop_strain(self) -> int:
        """Samples per hop at the strain's rate."""
        return self.hop * self.strain_rate // NS

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
    """One coupling's offsets, in samples at the model rate from the hop that is computed.

    Args:
        interpolation: half-length of the interpolation.
        settle_in: the bandpass's padding.
        ramp: the gain's ramp; 0 where nothing waits: it follows then.
        predicted: how far the prediction runs ahead (aligned to the network's geometry).
        geometry: how the network is laid over the stream.
        watched: how far ahead a gate must see the estimate: the ramp, where there is one.
    """

    interpolation: int
    settle_in: int
    ramp: int
    predicted: int
    geometry: Geometry
    watched: int = 0

    @classmethod
    def of(cls, settings: EngineSettings, settle_in: int, geometry: Geometry) -> CouplingSchedule:
        """Return the plan of a coupling with that bandpass padding and network geometry."""
        rate = settings.model_rate
        interpolation = ceil(settings.interpolator().half_length * rate)
        ramp = 0 if settings.forecast else ceil(Fraction(settings.ramp * rate, NS))
        return cls(
            interpolation=interpolation,
            settle_in=settle_in,
            ramp=ramp,
            predicted=geometry.align(interpolation + settle_in + ramp),
            geometry=geometry,
            watched=ramp if settings.gate else 0,
        )

    @property
    def bandpassed(self) -> int:
        """How far the bandpassed prediction runs ahead."""
        return self.interpolation + self.watched

    @property
    def alignment(self) -> int:
        """Samples lost to aligning hops of prediction with the network's kernels."""
        return self.predicted - self.interpolation - self.settle_in - self.ramp

    @property
    def filtered(self) -> int:
        """How far, either side, a predicted sample spreads into the estimate."""
        return self.interpolation + self.settle_in

    @property
    def resampled(self) -> int:
        """How far the resampled witnesses must run ahead."""
        return self.predicted + self.geometry.after

    def reach_back(self, hop: int) -> int:
        """Return how far before a hop the witnesses at the model rate can influence it.

        A hop reads what earlier hops computed, and those were computed hop by hop. A gap spoils
        every sample of the kernels that it touches, also of those that began earlier.
        """
        first = -self.interpolation
        first = _hop_start(first, self.bandpassed, hop) - self.settle_in
        first = _hop_start(first, self.predicted, hop) - self.geometry.before
        return max(-first, self.filtered + self.geometry.trail)

    def predicted_at_once(self, settings: EngineSettings) -> tuple[int, int]:
        """Return what is predicted for a hop without look-ahead: samples from its start.

        From before the seam, where it is compared with the hop before, to as far after its end as
        the interpolation reads.
        """
        hop, modulus = settings.hop_model, self.geometry.modulus
        first = self.geometry.align(1 - modulus - back(settings.model_rate) - self.settle_in)
        count = hop + self.interpolation + 1 + self.settle_in - first
        return first, first + -(-count // modulus) * modulus

    def window(self, settings: EngineSettings) -> tuple[int, int]:
        """Return which witnesses at the model rate that rests on, from the hop's start."""
        first, stop = self.predicted_at_once(settings)
        return first - self.geometry.before, stop + self.geometry.after

    def spoilt_by_gap(self, settings: EngineSettings, start: int, end: int) -> tuple[int, int]:
        """Return where a witness's gap `[start, end)` (ns) spoils the estimate (ns)."""
        rate, reach = settings.model_rate, settings.resample.lookahead
        first = floor((Fraction(start, NS) - reach) * rate)
        stop = ceil((Fraction(end, NS) + reach) * rate)
        return self.spoilt_by_prediction(settings, *self.geometry.spoilt(first, stop))

    def spoilt_by_prediction(
        self, settings: EngineSettings, first: int, stop: int
    ) -> tuple[int, int]:
        """Return where bad predicted samples `[first, stop)` spoil the estimate (ns)."""
        reach, rate = self.filtered, settings.model_rate
        return (first - reach) * NS // rate, -(-(stop + reach) * NS // rate)


def _hop_start(index: int, offset: int, hop: int) -> int:
    """Return where the hop begins that contains `index`, hops beginning at `offset`."""
    return (index - offset) // hop * hop + offset


@dataclass(frozen=True, slots=True)
class Schedule:
    """All couplings' plans, and the engine's two constants.

    Args:
        settings: shared.
        couplings: by name.
    """

    settings: EngineSettings
    couplings: Mapping[str, CouplingSchedule]

    @property
    def resampled(self) -> int:
        """How far the resampled witnesses run ahead, in samples at the model rate."""
        return max(plan.resampled for plan in self.couplings.values())

    @property
    def lookahead(self) -> int:
        """`L` in nanoseconds: a hop needs input to its end plus this."""
        return 0 if self.settings.forecast else self.forecast

    @property
    def forecast(self) -> int:
        """Nanoseconds after its end on which a hop rests; without look-ahead they are forecast."""
        return self._ns(self.resampled)

    @property
    def window(self) -> tuple[int, int]:
        """Witnesses at the model rate that a hop without look-ahead rests on, from its start."""
        lows, highs = zip(*(p.window(self.settings) for p in self.couplings.values()), strict=True)
        return min(lows), max(highs)

    @property
    def history(self) -> int:
        """`H` in nanoseconds: a hop needs input from its start minus this."""
        hop, ramp = self.settings.hop_model, self.settings.ramp
        filters = self._ns(max(plan.reach_back(hop) for plan in self.couplings.values()))
        gate = self.settings.gate.reach if self.settings.gate else 0
        if forecast := self.settings.forecast:
            # A hop begins where the one before ended, and that rested on the past of its end.
            past = max(self._ns(-self.window[0]), forecast.memory + self._ns(0))
            filters = max(filters, past) + self.settings.hop
            gate += ramp if gate else 0  # it acts later
        return ramp + filters + (self.settings.witness.frozen or 0) + gate

    def _ns(self, samples: int) -> int:
        """Return model-rate samples plus the longest witness filter, in nanoseconds, rounded up."""
        seconds = Fraction(samples, self.settings.model_rate) + self.settings.resample.lookahead
        return ceil(seconds * NS)
