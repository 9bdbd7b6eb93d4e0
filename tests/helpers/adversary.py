"""What can go wrong at a site and with a model, and what then comes through the gate.

A `Scene` is the demo's site over some minutes with the shipped model: the strain, the noise in it
that the model removes, the witnesses, and a factor that the model's output is multiplied by. A
`Case` changes a scene. `Outcome` measures what the engine made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import signal

from deepclean.config import Config, load
from deepclean.core.block import Block, CleanedBlock, Float64, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.time import NS, Span
from deepclean.factory import make_engine
from deepclean.models.loading import load_models
from deepclean.simulate.configured import site_of
from deepclean.simulate.injection import Injection, waveform
from deepclean.simulate.simulator import Simulator
from deepclean.simulate.site import Site
from deepclean.simulate.variants import stronger
from tests.helpers.builders import raw_of, same_bits, strain_of
from tests.helpers.sites import CONFIGURATIONS

START = 1_420_000_000
RATE = 4096
BAND = (55.0, 65.0)
T0 = 30.37
"""Seconds into a scene at which things begin to go wrong; by then the gate has long been open."""

MAINS = "H1:PEM-CS_MAINSMON_EBAY_1_DQ"
PITCH = "H1:ASC-CHARD_P_IN1_DQ"
FACTOR = "H1:SIM-MODEL_FACTOR"


@cache
def configuration() -> Config:
    """Return the demo's, at a strain rate that costs little; its model does not depend on it."""
    return load(CONFIGURATIONS / "demo.yaml", [f"strain.rate={RATE}"], environ={})


@dataclass(frozen=True)
class Scene:
    """A stretch of a site's data, whole seconds from `start` on.

    Args:
        strain: at `RATE`.
        noise: what the coupling adds to it.
        witnesses: by name.
        factor: on the model's output, at `RATE`.
        start: GPS seconds.
    """

    strain: Float64
    noise: Float64
    witnesses: dict[str, NDArray[Any]]
    factor: Float64
    start: int = START

    @property
    def seconds(self) -> int:
        """How long it lasts."""
        return len(self.strain) // RATE

    @property
    def time(self) -> Float64:
        """Seconds since the scene's start, of each sample of the strain."""
        return np.asarray(np.arange(len(self.strain)) / RATE, dtype=np.float64)

    def blocks(self) -> list[Block]:
        """Return it in blocks of a second, the factor as one more witness."""
        blocks = []
        channels = {**self.witnesses, FACTOR: self.factor}
        for second in range(self.seconds):
            span = Span.of_seconds(self.start + second, 1)
            series = {n: _second(x, span, second, self.seconds) for n, x in channels.items()}
            blocks.append(Block(span, _second(self.strain, span, second, self.seconds), series))
        return blocks

    def with_noise(self, noise: Float64) -> Scene:
        """Return it with other noise in the strain."""
        return replace(self, strain=self.strain - self.noise + noise, noise=noise)

    def plus(self, wave: NDArray[Any]) -> Scene:
        """Return it with a signal in the strain."""
        return replace(self, strain=np.asarray(self.strain + wave, dtype=np.float64))

    def times(self, law: Callable[[Float64], Any]) -> Scene:
        """Return it with a model whose output is multiplied by a function of time."""
        return replace(self, factor=np.asarray(self.factor * law(self.time), dtype=np.float64))

    def seen(self, name: str, change: Callable[[Float64, NDArray[Any]], Any]) -> Scene:
        """Return it with a witness changed: a function of time and samples."""
        samples = self.witnesses[name]
        time: Any = np.arange(len(samples)) * (self.seconds / len(samples))
        changed = np.asarray(change(time, samples), dtype=samples.dtype)
        return replace(self, witnesses={**self.witnesses, name: changed})


def _second(samples: NDArray[Any], span: Span, second: int, seconds: int) -> Series:
    rate = len(samples) // seconds
    return Series(span, rate, samples[second * rate : (second + 1) * rate])


def demo_site(seed: int = 7, strength: float = 1.0) -> Site:
    """Return the demo's site."""
    return stronger(site_of(configuration(), motions=3, seed=seed), strength)


def steady(seconds: int, value: float = 1.0) -> Float64:
    """Return a factor that is always the same, but for what keeps it from counting as frozen."""
    return np.asarray(value * (1 + 1e-9 * (-1.0) ** np.arange(seconds * RATE)), dtype=np.float64)


@cache
def scene(seconds: int, *, seed: int = 7, strength: float = 1.0, start: int = START) -> Scene:
    """Return the demo's site as it usually is; nobody may change its arrays."""
    config = configuration()
    simulator = Simulator(demo_site(seed, strength))
    names = [config.strain.channel, "H1:TRUTH-60HZ_NOISE", *config.witness_channels]
    read = simulator.read(names, Span.of_seconds(start, seconds))
    strain, noise, *witnesses = (read[name].samples for name in names)
    factor = steady(seconds)
    return Scene(strain, noise, dict(zip(names[2:], witnesses, strict=True)), factor, start)


@cache
def _loaded() -> Any:
    return load_models(configuration())


def engine(
    settings: Callable[[EngineSettings], EngineSettings] = lambda s: s, *, adapt: bool = True
) -> Engine:
    """Return the demo's engine; its network's output is multiplied by the last witness."""
    made = make_engine(configuration(), _loaded())
    (coupling,) = made.versions.production
    network = coupling.predictor.network

    def multiplied(inputs: torch.Tensor) -> torch.Tensor:
        return network(inputs[:, :-1]) * inputs[:, -1]

    predictor = replace(
        coupling.predictor,
        network=multiplied,
        witness_mean=np.append(coupling.predictor.witness_mean, 0.0),
        witness_std=np.append(coupling.predictor.witness_std, 1.0),
    )
    witnesses = (*coupling.witnesses, FACTOR)
    changed = replace(coupling, predictor=predictor, witnesses=witnesses)
    return Engine(settings(made.settings), [changed if adapt else replace(changed, adapt=None)])


@dataclass(frozen=True)
class Case:
    """One thing that goes wrong.

    Args:
        group: of what kind.
        name: what.
        change: a scene into what becomes of it.
        slow: it grows; else it is there at once, at `T0`.
        until: seconds into the scene at which it ends at once, where it does.
        seconds: that the scene must last.
        strength: of the site's coupling.
    """

    group: str
    name: str
    change: Callable[[Scene], Scene]
    slow: bool = False
    until: float | None = None
    seconds: int = 70
    strength: float = 1.0

    def outcome(
        self, seed: int = 7, settings: Callable[[EngineSettings], EngineSettings] = lambda s: s
    ) -> Outcome:
        """Return what the engine makes of it, with other settings where that is asked for."""
        usual = scene(self.seconds, seed=seed, strength=self.strength)
        changed = self.change(usual)
        made = engine(settings)
        cleaned = [one for block in changed.blocks() for one in made.push(block)]
        return Outcome(cleaned, usual, changed, slow=self.slow, until=self.until)


def densities(samples: Float64) -> Float64:
    """Return the in-band density over 2 s from every half second on, one row each."""
    step, length = RATE // 2, 2 * RATE
    parts = np.lib.stride_tricks.sliding_window_view(samples, length)[::step]
    low, high = (round(2 * edge) for edge in BAND)
    window = signal.get_window("hann", length)
    return np.abs(np.fft.rfft(parts * window)[:, low : high + 1]) ** 2


def spectra(power: Float64) -> Float64:
    """Return the densities over the 8 s from every half second on: the median of 2-s FFTs."""
    return np.median([power[2 * i : len(power) - 2 * (6 - i)] for i in range(7)], axis=0)


def ratios(upper: Float64, lower: Float64) -> Float64:
    """Return the mean over the band's bins of one amplitude spectral density over another."""
    return np.asarray(np.sqrt(upper / lower).mean(axis=1))


class Outcome:
    """What came through the gate.

    One stretch of 8 s cannot show an excess of a percent: where the estimate is as loud as what it
    is to remove, its chance phase to the floor moves the measured ratio by several. The truth is
    known here, so that what it would be on average is too: the powers of the floor and of what is
    left of the noise are added, without the product of the two. That is what is judged; what is
    `measured` stands beside it.

    Args:
        cleaned: consecutive blocks from the scene's start on.
        usual: the scene before anything went wrong.
        changed: what it became.
        slow: what goes wrong grows.
        until: when it ends at once, seconds into the scene.
    """

    def __init__(
        self,
        cleaned: Sequence[CleanedBlock],
        usual: Scene,
        changed: Scene,
        *,
        slow: bool = False,
        until: float | None = None,
    ) -> None:
        self.slow, self.until = slow, until
        parts = [block.estimates["60Hz"] for block in cleaned]
        raw, official = raw_of(cleaned), strain_of(cleaned)
        gain = np.concatenate([part.gain for part in parts])
        self.exact = same_bits(official[gain == 0], raw[gain == 0])
        self.gate = np.concatenate([part.gate for part in parts if part.gate is not None])
        subtracted = [
            np.concatenate([p.noise * p.gain for p in parts])
            for parts in (parts, [part.ungated() for part in parts])
        ]
        later = parts[int(T0) :]
        self.reasons = sorted({reason for part in later for reason in part.reasons})
        background = usual.strain - usual.noise
        signal = np.nan_to_num(changed.strain - changed.noise - background)
        count = len(raw)
        floor = densities(background[:count]).mean(axis=0) + densities(signal[:count])
        noise = changed.noise[:count]
        before = spectra(floor + densities(noise))
        self.ratio, self.free = (
            ratios(spectra(floor + densities(noise - one)), before) for one in subtracted
        )
        """The ASD ratio over the 8 s from every half second on; and without the gate."""
        self.measured = ratios(*(spectra(densities(np.nan_to_num(one))) for one in (official, raw)))

    @cached_property
    def harm(self) -> float | None:
        """When harm begins: at once, or amid the first 8 s that are worse without the gate."""
        if not self.slow:
            return T0
        first = round(2 * T0) - 8
        harmed = np.flatnonzero(self.free[first:] > 1)
        return (first + harmed[0]) / 2 + 4 if len(harmed) else None

    @property
    def late(self) -> NDArray[np.bool_]:
        """Which windows have nothing of the time in which the gate may react."""
        starts = np.arange(len(self.ratio)) / 2
        late = starts >= T0 - 12
        for harm, reaction in ((self.harm, 2.0 if self.slow else 1.0), (self.until, 1.0)):
            if harm is not None:
                late &= (starts + 8 <= harm) | (starts >= harm + reaction)
        return late

    @property
    def excess(self) -> float:
        """The worst 8 s of these, as a ratio less 1."""
        return float(self.ratio[self.late].max() - 1)

    @property
    def excess_measured(self) -> float:
        """What these are measured as, by chance too."""
        return float(self.measured[self.late].max() - 1)

    @property
    def excess_free(self) -> float:
        """What the worst 8 s would be without the gate."""
        return float(self.free[round(2 * T0) - 24 :].max() - 1)

    @property
    def closed(self) -> list[tuple[float, float]]:
        """Where the gate is closed after it has opened, in seconds."""
        first = int(np.argmax(self.gate > 0))
        shut = np.concatenate(([0], (self.gate[first:] == 0).astype(np.int8), [0]))
        edges = np.flatnonzero(np.diff(shut)) + first
        return [(low / RATE, high / RATE) for low, high in edges.reshape(-1, 2)]

    @property
    def lost(self) -> float:
        """Seconds that it is closed."""
        return sum(high - low for low, high in self.closed)

    @property
    def wrongly(self) -> float:
        """Seconds of these in which cleaning would have helped, by the 8 s around."""
        middles = 4 + np.arange(len(self.free)) / 2
        return sum(
            float(((low <= middles) & (middles < high) & (self.free < 1)).sum()) / 2
            for low, high in self.closed
        )


# Laws


def jump(value: float, until: float = np.inf) -> Callable[[Float64], Float64]:
    """Return 1, and a value from `T0` to `until`."""
    return lambda t: np.where((t >= T0) & (t < until), value, 1.0)


def ramp(value: float, seconds: float) -> Callable[[Float64], Float64]:
    """Return 1, and from `T0` on a line to a value, reached after `seconds`."""
    return lambda t: 1 + (value - 1) * np.clip((t - T0) / seconds, 0, 1)


def always(value: float) -> Callable[[Float64], Float64]:
    """Return a value."""
    return lambda t: np.full_like(t, value)


def modelled(law: Callable[[Float64], Float64]) -> Callable[[Scene], Scene]:
    """Return the change that multiplies the model's output by a function of time."""
    return lambda scene: scene.times(law)


def turned(scene: Scene, angle: Callable[[Float64], Float64]) -> Scene:
    """Return a scene whose noise is out of phase by an angle."""
    analytic = signal.hilbert(scene.noise) * np.exp(1j * angle(scene.time))
    return scene.with_noise(np.real(analytic))


def inside(t: Float64, length: float) -> NDArray[np.bool_]:
    """Return where something is that begins at `T0` and lasts for `length` seconds."""
    return (t >= T0) & (t < T0 + length)


def placed(injection: Injection, start: int, count: int, rate: int) -> Float64:
    """Return a merger's strain over `count` samples from a GPS second on."""
    first, wave = waveform(injection, rate)
    total = np.zeros(count)
    begin = first - start * rate
    part = wave[max(-begin, 0) : max(count - begin, 0)]
    place = max(begin, 0)
    total[place : place + len(part)] = part[: max(count - place, 0)]
    return total


def merger(distance: float, offset: float, mass1: float = 36.0, mass2: float = 29.0) -> Any:
    """Return the change that adds a merger `offset` seconds after `T0`."""

    def change(scene: Scene) -> Scene:
        instant = round((scene.start + T0 + offset) * NS)
        injection = Injection(instant, mass1, mass2, distance)
        return scene.plus(placed(injection, scene.start, len(scene.strain), RATE))

    return change


def sine_gaussian(frequency: float, amplitude: float, quality: float) -> Any:
    """Return the change that adds a sine-Gaussian at `T0`."""

    def change(scene: Scene) -> Scene:
        t = scene.time - T0 - 0.4
        width = quality / (np.sqrt(2) * np.pi * frequency)
        return scene.plus(
            amplitude * np.exp(-((t / width) ** 2)) * np.sin(2 * np.pi * frequency * t)
        )

    return change


def continuous(frequency: float, amplitude: float) -> Any:
    """Return the change that adds a continuous signal, there all along."""
    return lambda s: s.plus(amplitude * np.sin(2 * np.pi * frequency * s.time))


def everywhere(change: Callable[[Float64, NDArray[Any]], Any]) -> Callable[[Scene], Scene]:
    """Return the change of every witness."""

    def changed(scene: Scene) -> Scene:
        for name in scene.witnesses:
            scene = scene.seen(name, change)
        return scene

    return changed


def one(name: str, change: Callable[[Float64, NDArray[Any]], Any]) -> Callable[[Scene], Scene]:
    """Return the change of one witness."""
    return lambda scene: scene.seen(name, change)


def within(length: float, value: Callable[[NDArray[Any]], Any]) -> Any:
    """Return the change of a witness to a function of its samples for `length` seconds."""
    return lambda t, x: np.where(inside(t, length), value(x), x)


def switched(low: float, high: float) -> Callable[[Scene], Scene]:
    """Return the change that switches the line off, strain and witness, and on again."""

    def change(scene: Scene) -> Scene:
        on = ((scene.time < low) | (scene.time >= high)).astype(float)
        off = lambda t, x: np.where((t >= low) & (t < high), 0.003 * np.std(x) * _like(x), x)  # noqa: E731
        return scene.with_noise(scene.noise * on).seen(MAINS, off)

    return change


def _like(samples: NDArray[Any]) -> Float64:
    return np.random.default_rng(1).standard_normal(len(samples))


def noisy(factor: float, seconds: float) -> Callable[[Scene], Scene]:
    """Return the change by which the mains monitor gets noisy over some seconds."""

    def change(t: Float64, x: NDArray[Any]) -> Any:
        return x + factor * np.std(x) * np.clip((t - T0) / seconds, 0, 1) * _like(x)

    return one(MAINS, change)


def calibration(frequency: float, size: float, length: float) -> Any:
    """Return the change of a witness by a calibration signal."""
    return lambda t, x: x + inside(t, length) * size * np.std(x) * np.sin(2 * np.pi * frequency * t)


MODEL = [
    *(
        Case("model", f"output times {value:g}", modelled(jump(value)))
        for value in (-1, -0.3, -0.1, -0.05, 0, 2.05, 2.2, 3, 10, 100)
    ),
    Case("model", "sign flipped for 0.5 s", modelled(jump(-1, T0 + 0.5)), until=T0 + 0.5),
    Case("model", "sign flipped for 3 s", modelled(jump(-1, T0 + 3)), until=T0 + 3),
]


def _decays(seconds: int) -> list[Case]:
    changes = {
        "output from 1 to -1": modelled(ramp(-1, seconds)),
        "output from 1 to 4": modelled(ramp(4, seconds)),
        "phase from 0 to 180 degrees": lambda s: turned(
            s, lambda t: np.pi * np.clip((t - T0) / seconds, 0, 1)
        ),
        "mains monitor gets noisy": noisy(8, seconds),
    }
    return [
        Case("decay", f"{name} over {seconds} s", change, slow=True, seconds=int(T0) + seconds + 30)
        for name, change in changes.items()
    ]


DECAY = [case for seconds in (30, 120, 300) for case in _decays(seconds)]

COUPLING = [
    Case("coupling", "line off in the strain", lambda s: s.with_noise(s.noise * jump(0)(s.time))),
    Case("coupling", "changes sign", lambda s: s.with_noise(s.noise * jump(-1)(s.time))),
    Case("coupling", "changes sign in 1 s", lambda s: s.with_noise(s.noise * ramp(-1, 1)(s.time))),
    Case("coupling", "a third", lambda s: s.with_noise(s.noise * jump(1 / 3)(s.time))),
    Case("coupling", "0.45", lambda s: s.with_noise(s.noise * jump(0.45)(s.time))),
    Case("coupling", "three times", lambda s: s.with_noise(s.noise * jump(3)(s.time))),
    Case("coupling", "turned by 90 degrees", lambda s: turned(s, lambda t: (t > T0) * np.pi / 2)),
    Case("coupling", "line off for 20 s", switched(T0, T0 + 20), until=T0 + 20),
    Case("coupling", "line off for 60 s", switched(T0, T0 + 60), until=T0 + 60, seconds=120),
]


def _witness(
    name: str, length: float, value: Callable[[NDArray[Any]], Any], witness: str = MAINS
) -> Case:
    """Return the case of a witness that is a function of its samples for `length` seconds."""
    change = within(length, value)
    changed = one(witness, change) if witness else everywhere(change)
    return Case("witness", name, changed, until=T0 + length if np.isfinite(length) else None)


def _calibrated(
    name: str, frequency: float, size: float, length: float, witness: str = MAINS
) -> Case:
    """Return the case of a witness with a calibration signal for `length` seconds."""
    change = one(witness, calibration(frequency, size, length))
    return Case("witness", name, change, until=T0 + length)


ALL = ""
"""Instead of a witness's name: every witness."""

WITNESS = [
    _witness("saturated at 0.3 for 10 s", 10, lambda x: _clip(x, 0.3)),
    _witness("saturated at 1 for 10 s", 10, lambda x: _clip(x, 1.0)),
    _witness("all saturated at 0.3", 10, lambda x: _clip(x, 0.3), ALL),
    _witness("step of 10", np.inf, lambda x: x + 10 * np.std(x)),
    _witness("step of 1000 for 5 s", 5, lambda x: x + 1e3 * np.std(x)),
    _witness("pitch steps by 10", np.inf, lambda x: x + 10 * np.std(x), PITCH),
    _witness("zeros for 0.2 s", 0.2, lambda x: 0 * x),
    _witness("zeros for 5 s", 5, lambda x: 0 * x),
    _witness("all zeros for 5 s", 5, lambda x: 0 * x, ALL),
    _witness("pitch zeros", np.inf, lambda x: 0 * x, PITCH),
    _calibrated("pulse at 57.5 Hz, 0.2 s", 57.5, 20, 0.2),
    _calibrated("calibration at 57.5 Hz", 57.5, 1, 20),
    _calibrated("weak calibration at 57.5 Hz", 57.5, 0.05, 20),
    _calibrated("calibration at 36.7 Hz", 36.7, 3, 20),
    _calibrated("pitch calibrated at 3 Hz", 3.0, 5, 20, PITCH),
    _witness("burst of 1000, 0.5 s", 0.5, lambda x: 1e3 * x),
    _witness("all burst, 0.5 s", 0.5, lambda x: 1e3 * x, ALL),
    _witness("noise of 1, 0.5 s", 0.5, lambda x: x + _like(x) * x.std()),
    _witness("factor of 3", np.inf, lambda x: 3 * x),
    _witness("sign flipped", np.inf, lambda x: -x),
    _witness("NaN for 0.1 s", 0.1, lambda x: x * np.nan),
    _witness("NaN for 15 s", 15, lambda x: x * np.nan),
    _witness("infinite for 3 s", 3, lambda x: x + np.inf),
]

STRAIN = [
    Case("strain", "NaN for 0.1 s", lambda s: s.plus(np.where(inside(s.time, 0.1), np.nan, 0.0))),
    Case(
        "strain", "glitch of 1e-19", lambda s: s.plus(1e-19 * inside(s.time, 0.1) * _like(s.time))
    ),
    Case("strain", "offset of 1e-18", lambda s: s.plus(1e-18 * (s.time > T0))),
]

_SIGNALS = {
    **{
        f"36 + 29 solar masses at {distance:g} Mpc": merger(distance, offset)
        for distance, offset in ((410, 0.0), (40, 0.35), (4, 0.7), (0.4, 0.1))
    },
    "1.4 + 1.4 solar masses at 1 Mpc": merger(1, 0.5, 1.4, 1.4),
    **{
        f"sine-Gaussian, {hertz:g} Hz, Q {quality}, {size:g}": sine_gaussian(hertz, size, quality)
        for hertz, quality, size in product((57.3, 60.0, 100.0), (9, 100), (3e-22, 1e-18))
    },
    **{
        f"continuous, {hertz:g} Hz, {size:g}": continuous(hertz, size)
        for hertz, size in ((61.3, 1e-23), (61.3, 1e-22), (61.3, 1e-21), (100.3, 1e-21))
    },
}
SIGNALS = [Case("signal", name, change) for name, change in _SIGNALS.items()]

WEAK = [
    Case("weak", f"coupling of {part:g}", modelled(always(part)), seconds=600, strength=part)
    for part in (0.1, 0.03, 0.02, 0.0067)
]

QUIET = [Case("quiet", "nothing", lambda s: s, seconds=300)]

CASES = [*QUIET, *MODEL, *DECAY, *COUPLING, *WITNESS, *STRAIN, *SIGNALS, *WEAK]


def _clip(samples: NDArray[Any], level: float) -> NDArray[Any]:
    limit = level * np.std(samples)
    return np.asarray(np.clip(samples, -limit, limit))
