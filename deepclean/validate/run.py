"""A validation, from its span to the numbers of its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepclean import __version__
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.run.lookahead import LIMIT, lookahead_gain
from deepclean.simulate.injection import Injection
from deepclean.validate import shards
from deepclean.validate.criteria import judge
from deepclean.validate.json_numbers import rounded, seconds
from deepclean.validate.shard_result import Sampling, ShardResult
from deepclean.validate.shards import OpenRun, ValidationRun
from deepclean.validate.signals import recover, require_strain
from deepclean.validate.spectra import Spectrogram
from deepclean.validate.summary import Summary

SCHEMA = 1
"""Version of the JSON's layout."""

_LOOKAHEAD = 128 * NS
"""Nanoseconds of data on which the effect of waiting for the look-ahead is measured."""


@dataclass(frozen=True, slots=True)
class ValidationRequest:
    """A validation to be run.

    Args:
        span: whole seconds.
        counting: the parts of the span that count, in order.
        injections: signals that are injected and recovered.
        limits: the limits by criterion.
        segments: the source of the counting parts, for the report; None if all of the span counts.
    """

    span: Span
    counting: Sequence[Span]
    injections: Sequence[Injection]
    limits: Mapping[str, float | None]
    segments: str | None = None


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """The result of a validation.

    Args:
        report: the report, as the JSON has it.
        spectrograms: of the first run, by coupling.
    """

    report: dict[str, Any]
    spectrograms: Mapping[str, Spectrogram]


@dataclass(frozen=True, slots=True)
class _Job:
    """One shard or one injected signal of one run."""

    run: int
    what: Span | Injection
    counting: Sequence[Span]
    sampling: Sampling


def validate(
    runs: Sequence[ValidationRun],
    request: ValidationRequest,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ValidationResult:
    """Validate the first run, and compare it with the others.

    Args:
        runs: at least one run; all clean the same time.
        request: the validation.
        processes: number of processes. It does not change the result.
        progress: told how many jobs are done, of how many.

    Raises:
        InputError: nothing can be judged, or data are missing.
        ModelError: a model cannot be loaded, or failed.
    """
    sampling, counting = Sampling.of(request.span), request.counting
    whats: list[Span | Injection] = [*shards.shards(counting), *request.injections]
    jobs = [_Job(run, what, counting, sampling) for run in range(len(runs)) for what in whats]
    opened = [OpenRun(run) for run in runs]
    for injection in request.injections:
        require_strain(opened[0], injection)
    summaries = [Summary(each, sampling, counting) for each in opened]
    signals: list[list[dict[str, Any]]] = [[] for _ in runs]
    results = shards.in_processes(runs, _work, jobs, processes)
    for done, (job, result) in enumerate(zip(jobs, results, strict=True), start=1):
        if isinstance(result, ShardResult):
            summaries[job.run].add(result)
        else:
            signals[job.run].append(result)
        progress(done, len(jobs))
    figures = [
        {**summary.figures(), "injections": found}
        for summary, found in zip(summaries, signals, strict=True)
    ]
    config = runs[0].config
    figures[0]["waiting"] = _lookahead(opened[0], counting)
    report = {
        "schema": SCHEMA,
        "software": __version__,
        "interferometer": config.interferometer,
        "strain": config.strain.channel,
        "span": seconds(request.span),
        "segments": request.segments,
        "counting": [seconds(span) for span in counting],
        "verdict": judge(figures, request.limits),
        "runs": figures,
    }
    spectrograms = {name: summaries[0].spectrogram(name) for name in config.enabled_couplings}
    return ValidationResult(report, spectrograms)


def _lookahead(opened: OpenRun, counting: Sequence[Span]) -> dict[str, Any] | None:
    """Return the effect of waiting for the look-ahead, at the end of the longest counting part."""
    longest = max(counting, key=lambda span: span.duration)
    stretch = Span(max(longest.start, longest.end - _LOOKAHEAD), longest.end)
    try:
        found = lookahead_gain(opened.config, opened.models, opened.source, stretch)
    except InputError:
        return None
    return {
        "wait": opened.config.wait,
        "span": seconds(stretch),
        "limit": LIMIT,
        "couplings": {
            name: {
                "residual": rounded(each.residual),
                "outside": rounded(each.outside),
                "seconds": each.seconds,
                "auto": int(each.worth),
            }
            for name, each in found.items()
        },
    }


def _work(job: _Job) -> ShardResult | dict[str, Any]:
    opened = shards.opened(job.run)
    if isinstance(job.what, Injection):
        return recover(opened, job.what)
    return shards.measure(opened, job.what, job.counting, job.sampling)
