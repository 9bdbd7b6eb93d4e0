"""Methods by site: how near to the true floor each comes, and at what cost.

    python -m benchmarks.models.bench --seconds 1024 --hardware 0 1 2

prints a table in Markdown. A method is fitted to data of one seed and judged on 512 s of another,
by the model that would be deployed: the network itself at the model rate, in single precision, then
the coupling's bandpass. The figure is the *excess*: the mean over the band's bins of
sqrt(1 + P_e / P_f), with P_e the spectrum of what is left of the noise and P_f that of the true
floor. It is the ratio of the cleaned strain's ASD to the floor's, without the sampling noise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.signal
import torch
from torch import nn

from benchmarks.models import networks
from benchmarks.models.sites import SITES, Recording, Site, site_named
from deepclean.config.couplings import BandpassConfig
from deepclean.config.settings import bandpass_settings
from deepclean.config.training import TrainConfig
from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Bandpass, make_bandpass
from deepclean.models.closed_form import ClosedForm
from deepclean.train.closed_form.data import Arrays
from deepclean.train.closed_form.fit import FitSettings, fit_closed_form
from deepclean.train.closed_form.outcome import ClosedFormFit
from deepclean.train.closed_form.selection import Choice

BANDPASS = bandpass_settings(BandpassConfig())
"""The bandpass of a coupling that configures none."""

TRAINING, TESTING = 1, 2
"""Seeds of the data."""

_TESTING_SECONDS = 512
"""Length of the data that methods are judged on."""

_HOP = 8
"""Seconds that are predicted at once."""

_FFT = 2
"""Seconds of a transform."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A fitted model, ready to be judged.

    Args:
        network: maps standardised witnesses to standardised noise; None for no model.
        mean: of the witnesses.
        std: of the witnesses.
        scale: of the strain.
        parameters: coefficients.
        reach: milliseconds that it looks back and ahead.
    """

    network: nn.Module | None
    mean: Float64
    std: Float64
    scale: float
    parameters: int
    reach: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Result:
    """What a method does at a site.

    Args:
        excess: see the module.
        parameters: coefficients.
        fit_seconds: processor time of the fit.
        cost: milliseconds of processor time per second of data, one thread.
        reach: milliseconds that it looks back and ahead.
    """

    excess: float
    parameters: int
    fit_seconds: float
    cost: float
    reach: tuple[float, float]


Method = Callable[[Recording, Site, Bandpass], Model]


def network_of(fit: ClosedFormFit, channels: int) -> ClosedForm | None:
    """Return the network of a fit, None where nothing was found."""
    if fit.architecture is None:
        return None
    options = {key: value for key, value in fit.architecture.items() if key != "name"}
    network = ClosedForm(channels, **options)
    state = {
        name: torch.tensor(values, dtype=torch.float32) for name, values in fit.tensors.items()
    }
    network.load_state_dict(state)
    return network.eval()


def fitted(
    recording: Recording, site: Site, bandpass: Bandpass, settings: FitSettings
) -> tuple[ClosedFormFit, ClosedForm | None]:
    """Return the closed form of a recording, and its network."""
    data = Arrays(recording.rate, recording.witnesses, recording.strain)
    fit = fit_closed_form(data, [site.band], BANDPASS.transition, bandpass.response, settings)
    return fit, network_of(fit, data.channels)


def model_of(fit: ClosedFormFit, network: nn.Module | None, rate: int, trained: int = 0) -> Model:
    """Return a model with the scales of a closed form's fit.

    Args:
        fit: the closed form's.
        network: any network with these scales.
        rate: samples per second.
        trained: parameters of the network beside the closed form's.
    """
    ends = (getattr(network, name, 0.0) for name in ("before", "after"))
    before, after = (1e3 * end / rate for end in ends)
    scales, weights = fit.scales, len(fit.tensors["weights"])
    return Model(
        network, scales.mean, scales.std, scales.strain, trained or weights, (before, after)
    )


def closed_form(settings: FitSettings) -> Method:
    """Return the closed form with some settings."""

    def fit(recording: Recording, site: Site, bandpass: Bandpass) -> Model:
        found, network = fitted(recording, site, bandpass, settings)
        return model_of(found, network, recording.rate)

    return fit


def trained(training: TrainConfig, settings: FitSettings, *, hybrid: bool) -> Method:
    """Return the training of a network, from nothing or on top of a closed form.

    Args:
        training: of the network.
        settings: of the closed form, which the network is compared with.
        hybrid: whether it is on top.
    """

    def fit(recording: Recording, site: Site, bandpass: Bandpass) -> Model:
        found, closed = fitted(recording, site, bandpass, settings)
        network, gain = networks.descend(
            recording, site, bandpass, found, closed, training, hybrid=hybrid
        )
        note = f"{site.name}: {gain.significance:.1f} standard errors over the closed form\n"
        sys.stderr.write(note)
        parameters = sum(p.numel() for p in network.parameters()) if network is not None else 0
        return model_of(found, network, recording.rate, parameters)

    return fit


def nothing(recording: Recording, site: Site, bandpass: Bandpass) -> Model:
    """Return no model."""
    none = np.zeros(len(recording.witnesses))
    return Model(None, none, none + 1, 1.0, 0)


SOLVED: dict[str, Method] = {
    "nothing": nothing,
    "linear": closed_form(FitSettings(Choice(carriers=(), classes=()))),
    "closed form": closed_form(FitSettings()),
}
"""The methods without a network, by name."""


def methods(training: TrainConfig) -> dict[str, Method]:
    """Return all methods by name.

    Args:
        training: of the networks.
    """
    bilinear = FitSettings(Choice(classes=()))
    return SOLVED | {
        "bilinear": closed_form(bilinear),
        "network": trained(training, FitSettings(), hybrid=False),
        "hybrid": trained(training, FitSettings(), hybrid=True),
        "hybrid on bilinear": trained(training, bilinear, hybrid=True),
    }


def judge(
    method: Method, site: Site, bandpass: Bandpass, training: Recording, testing: Recording
) -> Result:
    """Fit a method to a site and compare what it leaves of other data with the floor."""
    begin = time.process_time()
    model = method(training, site, bandpass)
    took = time.process_time() - begin
    estimate, cost = predict(model, testing)
    pad = bandpass.settle_in
    left = testing.noise[pad:-pad] - bandpass.apply(estimate)
    return Result(
        excess(left, testing.floor[pad:-pad], testing.rate, site.band),
        model.parameters,
        took,
        cost,
        model.reach,
    )


def predict(model: Model, recording: Recording) -> tuple[Float64, float]:
    """Return the noise that a model estimates, hop by hop, and its cost."""
    estimate = np.zeros(len(recording.strain))
    if model.network is None:
        return estimate, 0.0
    step, rate = 64, recording.rate
    # A network that states no reach is the published one, whose field is 96 samples.
    edge = -(-max(int(1e-3 * max(model.reach) * rate) + 1, 96) // step) * step
    standardised = (recording.witnesses - model.mean[:, None]) / model.std[:, None]
    inputs = torch.from_numpy(standardised.astype(np.float32))[None]
    spent, done = 0.0, 0
    for start in range(0, len(estimate), _HOP * rate):
        low, high = max(0, start - edge), min(len(estimate), start + _HOP * rate + edge)
        begin = time.process_time()
        with torch.inference_mode():
            output = model.network(inputs[..., low:high])[0].numpy()
        spent += time.process_time() - begin
        stop = min(start + _HOP * rate, len(estimate))
        estimate[start:stop] = output[start - low : stop - low]
        done += stop - start
    return estimate * model.scale, 1e3 * spent * rate / done


def excess(left: Float64, floor: Float64, rate: int, band: tuple[float, float]) -> float:
    """Return the mean over the band's bins of sqrt(1 + P_e / P_f), by mean Welch spectra."""
    frequencies, error = scipy.signal.welch(left, rate, nperseg=_FFT * rate)
    _, power = scipy.signal.welch(floor, rate, nperseg=_FFT * rate)
    inside = (frequencies >= band[0]) & (frequencies <= band[1])
    return float(np.mean(np.sqrt(1 + error[inside] / power[inside])))


@dataclass(slots=True)
class Row:
    """A site's line of the table."""

    site: Site
    results: dict[str, list[Result]] = field(default_factory=dict)

    def cells(self) -> list[str]:
        """Return the line's cells."""
        cells = [self.site.name]
        for results in self.results.values():
            mean = float(np.mean([result.excess for result in results]))
            worst = max(result.excess for result in results)
            cells.append(f"{mean:.4f}" if len(results) == 1 else f"{mean:.4f} ({worst:.4f})")
        last = list(self.results.values())[-1]
        parameters = [result.parameters for result in last]
        reach = max(result.reach for result in last)
        cells.append(f"{min(parameters)}-{max(parameters)}")
        cells.append(f"{max(result.fit_seconds for result in last):.1f}")
        cells.append(f"{max(result.cost for result in last):.2f}")
        cells.append(f"{reach[0]:.0f}, {reach[1]:.0f}")
        return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=1024, help="of training data")
    parser.add_argument("--rate", type=int, default=4096, help="of the model")
    parser.add_argument("--hardware", type=int, nargs="*", default=[0], help="seeds of couplings")
    parser.add_argument("--site", nargs="*", default=[site.name for site in SITES])
    known = list(methods(TrainConfig()))
    parser.add_argument("--method", nargs="*", default=list(SOLVED), choices=known)
    parser.add_argument("--epochs", type=int, default=TrainConfig().epochs, help="of a network")
    parser.add_argument("--learning-rate", type=float, help="of a network")
    parser.add_argument("--seed", type=int, default=0, help="of a network")
    options = parser.parse_args(arguments)
    chosen = {name: getattr(options, name) for name in ("epochs", "learning_rate", "seed")}
    by_name = methods(TrainConfig(**chosen))
    torch.set_num_threads(1)
    titles = ["site", *options.method, "numbers", "fit s", "ms per s", "ms back, ahead"]
    _line(titles)
    _line(["---"] * len(titles))
    for name in options.site:
        row = Row(site_named(name))
        bandpass = make_bandpass(BANDPASS, [row.site.band], options.rate)
        for hardware in options.hardware:
            training = row.site.record(hardware, TRAINING, options.seconds, options.rate)
            testing = row.site.record(hardware, TESTING, _TESTING_SECONDS, options.rate, clean=True)
            for method in options.method:
                result = judge(by_name[method], row.site, bandpass, training, testing)
                row.results.setdefault(method, []).append(result)
        _line(row.cells())


def _line(cells: Sequence[str]) -> None:
    sys.stdout.write("| " + " | ".join(cells) + " |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
