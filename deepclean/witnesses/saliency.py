"""The use that a model makes of its witnesses: gradient saliency, and the loss without a witness.

Coherence misses couplings that are not linear, such as the sidebands that a slow motion makes on a
line. A network that was trained on this noise uses them. Two numbers are computed for each witness:

- saliency: the change of the estimate's rms in the bands, to first order, if the witness is
  replaced by other noise of the same spectrum. This is the gradient of that rms with respect to the
  witness, weighted at each frequency with the witness's spectrum, as a share of the sum over all
  witnesses. (The plain gradient also counts frequencies at which a witness has no power, and there
  a network's response is arbitrary.) Saliency shows what the network uses, not whether it helps.
- without: the ASD ratio if the witness is replaced by its mean. This is the worth of the witness
  for this network, in the number that the site sees. If two witnesses repeat each other, each may
  seem to be worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft, signal

from deepclean.core.block import Float64
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.bandpass import Band, Bandpass
from deepclean.core.geometry import Geometry, PredictSettings, geometry
from deepclean.core.predict import Predictor
from deepclean.core.spectra import FFT_SECONDS, Bins, band_ratio
from deepclean.core.time import NS, index_at
from deepclean.errors import InputError
from deepclean.factory import predictor
from deepclean.models.model import Model
from deepclean.train.data import SiteData
from deepclean.train.judging.heldout import longest_parts
from deepclean.train.prepare import Float32, Preparer, TrainingStretch

SECONDS = 256
"""Longest total duration of the data, in seconds."""

_BATCH = 16
"""Kernels in one call of the network."""


@dataclass(frozen=True, slots=True)
class WitnessWorth:
    """The use of one witness by a model.

    Args:
        saliency: its share of all witnesses' saliency.
        without: ASD ratio in the bands if the witness is replaced by its mean.
    """

    saliency: float
    without: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """The use of all witnesses by a model.

    Args:
        version: of the model.
        seconds: duration of the data.
        asd_ratio: in the bands, with all witnesses, cleaned over raw.
        worths: the use of each witness, by channel.
    """

    version: int
    seconds: int
    asd_ratio: float
    worths: Mapping[str, WitnessWorth]


def attribute(
    model: Model,
    site: SiteData,
    settings: EngineSettings,
    bandpass: Bandpass,
    bands: Sequence[Band],
) -> Attribution:
    """Attribute a model's estimate to its witnesses, over the longest parts of at most `SECONDS`.

    Args:
        model: the model, on the CPU.
        site: the strain and the model's witnesses, in the model's order.
        settings: the engine's resampling, at the model's rate.
        bandpass: the filter that confines the estimate.
        bands: `(low, high)` in Hz, in which the effect is measured.

    Raises:
        InputError: there are too few data.
    """
    preparer = Preparer(site, settings, bandpass)
    parts = longest_parts(site.usable(), SECONDS * NS)
    stretches, _ = preparer.prepare(parts, model.scalers)
    layout = _Reading.of(model, settings, bandpass, bands)
    stretches = [one for one in stretches if layout.seconds(one) >= 2 * FFT_SECONDS]
    if not stretches:
        raise InputError(
            f"no analysis-ready stretch leaves {2 * FFT_SECONDS} s for the model after its edges"
        )
    weights = [layout.seconds(one) for one in stretches]

    def ratio(replaced: int | None) -> float:
        ratios = [layout.ratio(one, replaced) for one in stretches]
        return float(np.average(ratios, weights=weights))

    weight = saliency(model, stretches, bands)
    shares = weight / (weight.sum() or 1.0)
    worths = {
        name: WitnessWorth(float(share), ratio(index))
        for index, (name, share) in enumerate(zip(model.channels, shares, strict=True))
    }
    return Attribution(model.version, sum(weights), ratio(None), worths)


def saliency(model: Model, stretches: Sequence[TrainingStretch], bands: Sequence[Band]) -> Float64:
    """Return, by witness, the change of the estimate's in-band rms if the witness is replaced.

        s_c^2 = mean over kernels of (1 / K) sum_f |G_c(f)|^2 S_c(f)

    with `G` the transform of a kernel's gradient, `S` the witness's two-sided power spectral
    density per sample and `K` the kernel: for white noise the norm of the gradient times the
    standard deviation.

    Args:
        model: the model with its network.
        stretches: stretches of standardised witnesses.
        bands: `(low, high)` in Hz.
    """
    window = signal.get_window("hann", model.kernel)
    shape = (len(model.channels), model.kernel)
    held, slopes, count = np.zeros(shape), np.zeros(shape), 0
    for kernels in _kernels(model, stretches):
        centred = kernels - kernels.mean(axis=2, keepdims=True, dtype=np.float64)
        held += (np.abs(fft.fft(centred * window)) ** 2).sum(axis=0) / (window**2).sum()
        slope = gradient(model, kernels, bands).astype(np.float64)
        slopes += (np.abs(fft.fft(slope)) ** 2).sum(axis=0)
        count += len(kernels)
    return np.asarray(np.sqrt((held * slopes).sum(axis=1) / model.kernel) / max(count, 1))


def gradient(model: Model, kernels: Float32, bands: Sequence[Band]) -> Float32:
    """Return the gradient of the estimate's in-band rms with respect to the witnesses.

    Args:
        model: the model with its network.
        kernels: standardised witnesses, shape `(batch, channels, kernel)`.
        bands: `(low, high)` in Hz.

    Returns:
        An array of the shape of `kernels`; its unit is arbitrary.
    """
    kept = model.kernel - 2 * model.edge
    bins = Bins(bands, 0.0, model.sample_rate / 2, NS * kept // model.sample_rate)
    inputs = torch.from_numpy(kernels).requires_grad_(True)
    output = model.network(inputs)[:, model.edge : model.kernel - model.edge]
    spectrum = torch.fft.rfft(output * torch.hann_window(kept))
    power = spectrum[:, torch.from_numpy(bins.inside)].abs().square().sum(dim=1)
    # The square root has an infinite slope at 0. An estimate of exactly 0 shall have none.
    rms = power.clamp_min(torch.finfo(power.dtype).tiny).sqrt()
    (slope,) = torch.autograd.grad(rms.sum(), inputs)
    return np.asarray(slope.numpy(), dtype=np.float32)


def _kernels(model: Model, stretches: Sequence[TrainingStretch]) -> Iterator[Float32]:
    """Yield batches of kernels whose kept samples follow one another."""
    step = model.kernel - 2 * model.edge
    for stretch in stretches:
        samples = stretch.witnesses.shape[1]
        starts = range(0, samples - model.kernel + 1, step)
        for first in range(0, len(starts), _BATCH):
            some = starts[first : first + _BATCH]
            yield np.stack([stretch.witnesses[:, s : s + model.kernel] for s in some])


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """The layout of the model over a stretch, and the bands in which its estimate is measured."""

    predictor: Predictor
    shape: Geometry
    hop: int
    rate: int
    bandpass: Bandpass
    bands: Sequence[Band]

    @classmethod
    def of(
        cls, model: Model, settings: EngineSettings, bandpass: Bandpass, bands: Sequence[Band]
    ) -> _Reading:
        wanted = PredictSettings("auto", model.kernel, model.edge, stride=None)
        hop = settings.hop_model
        shape = geometry(wanted, hop, model.reach, model.period)
        return cls(predictor(model), shape, hop, model.sample_rate, bandpass, bands)

    def _hops(self, stretch: TrainingStretch) -> tuple[int, int]:
        """Return the first sample of the first hop in a stretch, and the number of hops."""
        origin = index_at(stretch.span.start, self.rate)
        first = self.shape.align(origin + self.shape.before) - origin
        return first, (len(stretch.target) - first - self.shape.after) // self.hop

    def seconds(self, stretch: TrainingStretch) -> int:
        """Return the whole seconds of estimate that a stretch gives."""
        _, hops = self._hops(stretch)
        return (hops * self.hop - 2 * self.bandpass.settle_in) // self.rate

    def ratio(self, stretch: TrainingStretch, replaced: int | None) -> float:
        """Return the ASD ratio in the bands, with one witness, or none, replaced by its mean."""
        witnesses = stretch.witnesses
        if replaced is not None:
            witnesses = witnesses.copy()
            witnesses[replaced] = witnesses[replaced].mean()
        first, hops = self._hops(stretch)
        before, after = self.shape.before, self.hop + self.shape.after
        starts = range(first, first + hops * self.hop, self.hop)
        predicted = np.concatenate(
            [
                self.predictor.predict(witnesses[:, s - before : s + after], self.shape)
                for s in starts
            ]
        )
        estimate = self.bandpass.apply(predicted)
        low = first + self.bandpass.settle_in
        raw = stretch.target[low : low + len(estimate)].astype(np.float64)
        raw = raw * self.predictor.strain_std + self.predictor.strain_mean
        return band_ratio(raw - estimate, raw, self.rate, self.bands)
