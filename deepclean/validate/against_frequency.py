"""Figures against frequency, and of the distribution in a band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deepclean.validate.axes import AFTER, BEFORE, OTHER, UNGATED, legend, shade, steps
from deepclean.validate.json_numbers import array


def draw_spectra(
    axes: Any, spectra: Mapping[str, Any], limits: tuple[float, float | None], *, log: bool
) -> None:
    """Draw median and percentiles before and after, PRODUCTION dotted."""
    frequency = array(spectra["frequency"])
    shown = (frequency >= limits[0]) & (frequency <= (limits[1] or frequency[-1]))
    for product, colour in (("RAW", BEFORE), ("PRODUCTION", UNGATED), ("OUT_DQ", AFTER)):
        low, middle, high = (array(spectra[product][p])[shown] for p in ("p5", "p50", "p95"))
        thin = product == "PRODUCTION"
        axes.plot(
            frequency[shown],
            middle,
            color=colour,
            label=product,
            linewidth=1.0 if thin else 1.5,
            linestyle=":" if thin else "-",
        )
        if not thin:
            axes.fill_between(frequency[shown], low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_yscale("log")
    if log:
        axes.set_xscale("log")
    axes.set_xlim(frequency[shown][0], frequency[shown][-1])
    axes.set_xlabel("Frequency [Hz]")
    axes.set_ylabel(r"ASD [$1/\sqrt{\mathrm{Hz}}$]")
    legend(axes)


def draw_coherence(plot: Any, run: Mapping[str, Any], coupling: Mapping[str, Any]) -> None:
    """Draw coherence with each witness, and below it what is left beside its linear limit."""
    held = coupling["coherence"]
    frequency = array(held["frequency"])
    upper, lower = plot.add_subplot(2, 1, 1), plot.add_subplot(2, 1, 2)
    # The loudest in band are told apart; the others stay grey.
    loud = sorted(
        held["witnesses"],
        key=lambda name: -np.nan_to_num(array(held["witnesses"][name]["RAW"])).max(initial=0.0),
    )
    for place, name in reversed(list(enumerate(loud))):
        colour = f"C{place}" if place < 6 else "0.8"
        of_witness = held["witnesses"][name]
        upper.plot(frequency, array(of_witness["RAW"]), color=colour, linewidth=0.8, alpha=0.8)
        label = name.partition(":")[2] if place < 6 else None
        upper.plot(
            frequency, array(of_witness["PRODUCTION"]), color=colour, linewidth=2.0, label=label
        )
    upper.set_ylabel("Coherence")
    upper.set_ylim(0, 1.02)
    legend(upper, fontsize=7, ncols=2)
    spectra = run["spectra"]
    at = np.searchsorted(array(spectra["frequency"]), frequency)
    ratio = array(spectra["PRODUCTION"]["p50"])[at] / array(spectra["RAW"]["p50"])[at]
    lower.plot(frequency, ratio, color=UNGATED, linewidth=1.8, label="PRODUCTION / raw")
    lower.plot(
        frequency,
        array(held["linear_limit"]),
        color="0.3",
        linestyle="--",
        label=r"linear limit, $\sqrt{1 - \mathrm{coherence}}$ of all witnesses",
    )
    lower.set_ylim(bottom=0)
    lower.set_ylabel("ASD ratio")
    lower.set_xlabel("Frequency [Hz]")
    legend(lower, fontsize=8)
    for axes in (upper, lower):
        axes.set_xlim(frequency[0], frequency[-1])
        shade(axes, coupling["bands"])


def draw_compared(plot: Any, runs: Any, name: str) -> None:
    """Draw two runs' ratios, against frequency and against time."""
    upper, lower = plot.add_subplot(2, 1, 1), plot.add_subplot(2, 1, 2)
    for run, colour in zip(runs[:2], (AFTER, OTHER), strict=True):
        coupling, spectra = run["couplings"][name], run["spectra"]
        frequency = array(spectra["frequency"])
        near = coupling["coherence"]["frequency"]
        shown = (frequency >= near[0]) & (frequency <= near[-1])
        ratio = array(spectra["OUT_DQ"]["p50"]) / array(spectra["RAW"]["p50"])
        upper.plot(frequency[shown], ratio[shown], color=colour, label=run["name"])
        rows = array(run["series"]["couplings"][name]["OUT_DQ_in_band"])
        edges, label = steps(run["series"])
        lower.plot(edges[1:], rows, color=colour, label=run["name"], linewidth=1.2)
        shade(upper, coupling["bands"] if run is runs[0] else [])
    upper.set_xlabel("Frequency [Hz]")
    for axes in (upper, lower):
        axes.set_ylabel("ASD ratio, OUT_DQ / raw")
        axes.axhline(1.0, color="0.3", linewidth=0.8, linestyle="--")
        legend(axes)
    lower.set_xlabel(label)


def draw_residual(axes: Any, residual: Mapping[str, Any]) -> None:
    """Draw how whitened transforms are distributed, before and after, beside a Gaussian."""
    edges = array(residual["edges"])
    width = edges[1] - edges[0]
    for product, colour in (("RAW", BEFORE), ("PRODUCTION", UNGATED)):
        counts = np.array(residual[product]["histogram"], dtype=np.float64)
        kurtosis, rayleigh = (residual[product][k] for k in ("excess_kurtosis", "rayleigh_mean"))
        axes.stairs(
            counts / counts.sum() / width,
            edges,
            color=colour,
            linewidth=1.5,
            label=f"{product}: excess kurtosis {_number(kurtosis)}, Rayleigh {_number(rayleigh)}",
        )
    middle = (edges[1:] + edges[:-1]) / 2
    gauss = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    axes.plot(middle, gauss, color="0.3", linestyle="--", linewidth=1)
    axes.set_yscale("log")
    axes.set_ylim(1e-6, 1)
    axes.set_xlabel("Standard deviations")
    axes.set_ylabel("Density")
    legend(axes, fontsize=8, loc="lower center")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
