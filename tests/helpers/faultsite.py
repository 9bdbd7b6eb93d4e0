"""What must hold of the small site's output, whatever was done to its input."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.output.products import State
from deepclean.core.predict import Network
from deepclean.factory import predictor
from deepclean.io import gwf
from deepclean.io.t050017 import FrameName
from deepclean.models.loading import load_models
from tests.helpers import small_site as site
from tests.helpers.metrics_run import Run, Second
from tests.helpers.site_runs import OUT_DQ, clean
from tests.helpers.small_site import START

BITS = "H1:DEEPCLEAN-STATE_VECTOR"
GAIN = "H1:DEEPCLEAN-60HZ_GAIN"
SECONDS = 64
"""How much of the undisturbed output there is, from START on."""

ROUNDING = 1e-6 * 1e-22
"""The network's output is of the order of 1e-22."""


SHORT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")
LOST = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nAnd more.")
"""Errors of the device, as torch reports them."""


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A second of output, a row a sixteenth."""

    samples: np.ndarray
    bits: np.ndarray

    def all(self, bits: State) -> bool:
        """Return whether these bits are set throughout."""
        return bool(((self.bits & bits) == bits).all())

    def any(self, bits: State) -> bool:
        """Return whether these bits are ever set."""
        return bool(((self.bits & bits) == bits).any())


def outputs(directory: Path) -> dict[int, Output]:
    """Return what the frames of a directory hold, by the second's number from START on."""
    held = {}
    for path in directory.glob("*.gwf"):
        name = FrameName.parse(path.name)
        assert name is not None
        strain, bits = gwf.read(path, [OUT_DQ, BITS], checksum=True).values()
        assert isinstance(strain, Series)
        assert isinstance(bits, Series)
        held[name.start - START] = Output(strain.samples.reshape(16, -1), bits.samples)
    return held


def raw(number: int) -> np.ndarray:
    """Return the strain of a second, a row a sixteenth."""
    samples = site.samples(site.STRAIN, START + number, site.STRAIN_RATE) * 1e-21
    return samples.reshape(16, -1)


@cache
def undisturbed() -> Mapping[int, Output]:
    """Return what comes of the small site where nothing is amiss, by a replay."""
    with tempfile.TemporaryDirectory() as place:
        config = site.make_site(Path(place))
        site.write_site(config, START - 4, SECONDS + 6)
        clean(config, START, START + SECONDS, config.output.directory)
        return outputs(config.output.directory)


def assert_sound(
    run: Run, seconds: Collection[int], expected: Mapping[int, Output] | None = None
) -> dict[int, Output]:
    """Assert what holds of any run; return its output.

    Every one of `seconds` came out and no other; the ledger balances and has them all; no sample
    is other than finite; what is said to be cleaned is what it always is, and what is said not to
    be is the raw strain, bit for bit.
    """
    ledger, held = run.cleaning.ledger, outputs(run.config.output.directory)
    assert sorted(held) == sorted(seconds)
    assert ledger.balanced
    assert (ledger.inside, ledger.lost.total()) == (0, 0)
    assert ledger.frames_in == ledger.written.total()
    for number, output in held.items():
        assert np.isfinite(output.samples).all()
        assert output.all(State.OUTPUT_VALID | State.STRAIN_GOOD | State.MODEL_LOADED)
        cleaned = (output.bits & State.CLEANED) != 0
        passed = ~cleaned & ((output.bits & State.STEADY) != 0)
        assert (output.samples[passed] == raw(number)[passed]).all()
        if cleaned.any():
            truth = (expected or undisturbed())[number]
            np.testing.assert_allclose(
                output.samples[cleaned], truth.samples[cleaned], rtol=0, atol=ROUNDING
            )
            assert (output.samples[cleaned] != raw(number)[cleaned]).any()
    return held


def sound_run(
    config: Config,
    seconds: int,
    faults: Mapping[int, Second] | None = None,
    network: Network | None = None,
    missing: Collection[int] = (),
) -> tuple[Run, dict[int, Output]]:
    """Run over some seconds with faults; assert what holds of it; return it and its output.

    Args:
        config: of the small site.
        seconds: how many frames come.
        faults: what happens, by the second's number.
        network: in place of the model's own.
        missing: seconds that give no output.
    """
    run = Run(config, network)
    run.over(seconds, faults)
    return run, assert_sound(run, set(range(seconds)) - set(missing))


def cleaned(held: Mapping[int, Output]) -> list[int]:
    """Return which seconds are cleaned throughout."""
    return sorted(number for number, output in held.items() if output.all(State.CLEANED))


def touched(held: Mapping[int, Output]) -> list[int]:
    """Return which seconds are not cleaned throughout, the first and last of all left out.

    Those lack history and look-ahead.
    """
    inner = sorted(held)[1:-1]
    return [number for number in inner if not held[number].all(State.CLEANED)]


def no_strain(config: Config, second: int) -> None:
    site.write_site(config, second, 1, no_strain={second})


def no_witnesses(config: Config, second: int) -> None:
    site.write_site(config, second, 1, no_witnesses={second})


def near(seconds: list[int]) -> set[int]:
    """Return these seconds and their neighbours, which filters and ramps reach into."""
    return {number + step for number in seconds for step in (-1, 0, 1)}


def real(config: Config) -> Network:
    """Return the network that the configuration's coupling has."""
    (model,) = load_models(config).values()
    return predictor(model).network


def at_calls(
    network: Network, calls: range, fault: Callable[[torch.Tensor], torch.Tensor]
) -> Network:
    """Return a network that does something else at some of its calls."""
    count = iter(range(1_000_000))

    def faulty(witnesses: torch.Tensor) -> torch.Tensor:
        return (fault if next(count) in calls else network)(witnesses)

    return faulty


def failing(error: Exception) -> Callable[[torch.Tensor], torch.Tensor]:
    def fail(witnesses: torch.Tensor) -> torch.Tensor:
        raise error

    return fail
