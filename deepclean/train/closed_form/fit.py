"""Fit a closed-form model to data: the one entry.

The features are chosen on a sample of the data, spread evenly over all of it and held in memory as
streams. Where there is more data than that, all of it is then read once, portion by portion, into
the sufficient statistics of the chosen features, and the coefficients are those of the whole; what
the sample's coefficients leave of the portions that they have not seen is the held-out figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Band
from deepclean.errors import InputError
from deepclean.models.reduced.equations import Equations
from deepclean.train.closed_form.bank import Bank, band_power
from deepclean.train.closed_form.data import (
    CONTEXT,
    LEAST,
    Data,
    Scales,
    portions,
    read_sample,
    read_streams,
    sample,
    segments_in,
)
from deepclean.train.closed_form.fitting import Fit, Fitter, predicted
from deepclean.train.closed_form.judge import (
    HeldOutScore,
    asd_ratio,
    compare,
    hold_out,
    joined,
    judge,
)
from deepclean.train.closed_form.layout import BandLayout, make_layout
from deepclean.train.closed_form.outcome import (
    ClosedFormFit,
    Figures,
    bases_of,
    describe,
    needed,
    tensors_of,
)
from deepclean.train.closed_form.robust import RESIDUAL, robust_weights
from deepclean.train.closed_form.selection import Choice, Search
from deepclean.train.closed_form.solve import Solution, load_of, normal_equations, solve
from deepclean.train.closed_form.statistics import Statistics, measure
from deepclean.train.closed_form.streams import Base

SAMPLE = 2048
"""Segments, one a second, that the features are chosen on at most."""

_MEMORY = 500_000_000
"""Bytes of streams that the sample may take: more witnesses, fewer segments."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a closed-form model is fitted.

    Args:
        choice: what is named rather than found.
        ridge: one for all, in units of a unit-diagonal Gram matrix; None for the evidence's.
        sample: segments that the features are chosen on at most.
        edge: model-rate samples that the model may look ahead; None for no limit but the lags' own.
    """

    choice: Choice = field(default_factory=Choice)
    ridge: float | None = None
    sample: int = SAMPLE
    edge: int | None = None


def fit_closed_form(
    data: Data,
    bands: Sequence[Band],
    transition: float,
    response: Callable[[Float64], Float64],
    settings: FitSettings | None = None,
    *,
    to_give: Callable[[int], int] = int,
) -> ClosedFormFit:
    """Choose a coupling's features and fit them.

    Args:
        data: witnesses and strain at the model rate.
        bands: `(low, high)` in Hz.
        transition: Hz beside the bands in which the bandpass falls.
        response: amplitude response of the coupling's bandpass at frequencies in Hz.
        settings: how.
        to_give: from seconds of data in one stretch to those that a person must give for them; for
            the message on too little data.

    Raises:
        InputError: there is too little data.
    """
    settings = settings or FitSettings()
    layout = make_layout(data.rate, bands, transition, response, settings.edge)
    parts = portions(data.spans)
    held = sum(map(segments_in, parts))
    if held < LEAST:
        raise InputError(
            f"{held} s of data that filters and lags leave: at least {LEAST} s are needed. Give at "
            f"least {to_give(LEAST + CONTEXT)} s without a gap from --start to --end"
        )
    bytes_each = 8 * (data.channels + 1) * layout.internal_rate
    chosen = sample(parts, max(LEAST, min(settings.sample, _MEMORY // bytes_each)))
    streams, scales = read_sample(data, chosen, layout)
    fitter = Fitter(Bank(layout, streams), settings.ridge)
    search = Search(fitter, settings.choice)
    fit = search.run()
    whole = _Whole(fitter, fit, search.linear)
    if len(chosen) < len(parts):
        seen = set(chosen)
        for portion in parts:
            bank = Bank(layout, [read_streams(data, portion, layout, scales)])
            whole.add(bank, unseen=portion not in seen)
    return _outcome(whole, search, scales)


class _Whole:
    """The statistics of all data, and what the sample's fit leaves of what it has not seen."""

    def __init__(self, fitter: Fitter, fit: Fit, linear: Fit) -> None:
        self.fitter, self.fit = fitter, fit
        self._fits = {"nothing": fitter.nothing(), "linear": linear, "closed_form": fit}
        self._usual = fitter.usual(fit.groups)
        power = band_power(fit.left, fitter.value / fit.solution.residual)
        self._residual = float(np.median(power))
        self._statistics: Statistics | None = None
        self._held: dict[str, list[HeldOutScore]] = {name: [] for name in self._fits}
        self.segments = 0

    def add(self, bank: Bank, *, unseen: bool) -> None:
        """Add a portion."""
        for number in bases_of(self.fit.features):
            bank.set_base(number, self.fitter.bank.bases[number])
        part, value = Fitter(bank), self.fitter.value
        left = {
            name: part.strain - predicted(part.design(fit.groups), fit.solution.coefficients)
            for name, fit in self._fits.items()
        }
        spectrum = self.fit.solution.residual
        power = band_power(left["closed_form"], value / spectrum)
        weights = robust_weights(power, RESIDUAL, self._residual)
        weights = weights * part.leverage(self.fit.groups, self._usual)
        measured = measure(part.design(self.fit.groups), part.strain, weights)
        self._statistics = measured if self._statistics is None else self._statistics + measured
        self.segments += bank.segments
        if unseen:
            for name, fit in self._fits.items():
                self._held[name].append(judge(left[name], fit.solution.residual, value, weights))

    @property
    def statistics(self) -> Statistics:
        """The statistics of all that was added; the sample's where nothing was."""
        return self.fit.statistics if self._statistics is None else self._statistics

    def solution(self) -> Solution:
        """Return the solution for all that was added; the sample's where nothing was."""
        fit = self.fit
        if self._statistics is None:
            return fit.solution
        return solve(
            self._statistics,
            self.fitter.value,
            fit.group_of,
            start=fit.solution.residual,
            ridges=fit.solution.ridges * fit.statistics.weight / self._statistics.weight,
        )

    def held_out(self) -> dict[str, HeldOutScore]:
        """Return the performance of nothing, linear and closed form on data not seen."""
        if self._statistics is not None:
            return {name: joined(parts) for name, parts in self._held.items()}
        weights = self.fit.weights
        return {
            name: hold_out(self.fitter, fit, weights=weights) for name, fit in self._fits.items()
        }

    def sizes(self) -> dict[str, tuple[int, float]]:
        """Return parameters and freedom of each fit."""
        return {
            name: (fit.parameters, float(fit.solution.freedom.sum()))
            for name, fit in self._fits.items()
        }


def _outcome(whole: _Whole, search: Search, scales: Scales) -> ClosedFormFit:
    fitter, fit = whole.fitter, whole.fit
    layout, bases = fitter.bank.layout, fitter.bank.bases
    solution, statistics = whole.solution(), whole.statistics
    matrix, right, scale = normal_equations(statistics, fitter.value / solution.residual)
    architecture, places, used = describe(layout, fit, bases)
    equations = Equations(
        matrix=matrix,
        right=right,
        scale=scale,
        load=load_of(solution.ridges[fit.group_of]),
        places=places,
        needs=needed(fit, bases, len(scales.mean)),
        power=float(statistics.power @ (fitter.value / solution.residual)),
        floor=statistics.weight * float(fitter.value.sum()),
    )
    return ClosedFormFit(
        architecture=architecture if fit.groups else None,
        tensors=tensors_of(
            layout, places, solution.coefficients, [bases[number] for number in used]
        ),
        scales=scales,
        equations=equations,
        figures=_figures(whole, layout),
        trials=search.trials,
        features=fit.features,
        frequencies=layout.frequencies,
        inside=layout.inside,
        strain=statistics.power / statistics.weight,
        residual=solution.residual,
        contributions=_contributions(fitter, fit, solution.coefficients),
        segments=whole.segments or fitter.bank.segments,
        linear=_linear(layout, search.linear, bases),
    )


def _linear(
    layout: BandLayout, fit: Fit, bases: Mapping[int, Base]
) -> tuple[dict[str, Any], dict[str, Float64]] | None:
    """Return the model of the witnesses by themselves, if any of them says something."""
    if not fit.groups:
        return None
    architecture, places, _ = describe(layout, fit, bases)
    return architecture, tensors_of(layout, places, fit.solution.coefficients)


def _figures(whole: _Whole, layout: BandLayout) -> dict[str, Figures]:
    """Return the held-out figures of all but nothing."""
    held, sizes = whole.held_out(), whole.sizes()
    figures = {}
    for name in ("linear", "closed_form"):
        ratio, error = asd_ratio(held[name], held["nothing"], layout.inside)
        parameters, freedom = sizes[name]
        figures[name] = Figures(
            ratio=ratio,
            ratio_error=error,
            gain=compare(held[name], held["nothing"]),
            over_linear=compare(held[name], held["linear"]),
            parameters=parameters,
            freedom=freedom,
        )
    return figures


def _contributions(fitter: Fitter, fit: Fit, coefficients: Float64) -> Float64:
    """Return the power spectrum of each feature's part of the estimate, `(features, bins)`."""
    parts = fitter.parts(fit, coefficients)
    spectra = [np.mean(np.abs(parts[feature]) ** 2, axis=1) for feature in fit.features]
    return np.array(spectra).reshape(len(spectra), len(fitter.value))
