"""A refit: a closed form in production is solved anew, from statistics that are kept.

Its features, lags and scalers stay. Data that earlier refits have read are not read again: what
they say is beside the versions (cells.py). The newest data are held out: there the engine cleans
with the new weights and with those in production, each by itself, without gains that would follow
the drift.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from math import ceil, inf, isfinite
from pathlib import Path

from deepclean.config import Config
from deepclean.config import settings as core_settings
from deepclean.config.types import FrozenMap, thaw
from deepclean.core.output.segments import total_seconds, union
from deepclean.core.time import NS, Span
from deepclean.models import files as models
from deepclean.models import loading, tensors
from deepclean.models.budget import budget, coupling_bandpass
from deepclean.models.closed_form import ClosedForm
from deepclean.models.content import WEIGHTS, read_version
from deepclean.models.manifest import Description, sha256
from deepclean.models.model import Model
from deepclean.train.closed_form.chosen import fit_settings
from deepclean.train.closed_form.layout import (
    AFTER_SECONDS,
    BEFORE_SECONDS,
    SEGMENT_SECONDS,
    make_layout,
)
from deepclean.train.closed_form.outcome import NAME
from deepclean.train.closed_form.refit import Cell, Refit, measure_cell, solve_cells
from deepclean.train.closed_form.structure import Structure, StructureError, structure_of
from deepclean.train.data import SiteData
from deepclean.train.judging.heldout import HeldOut
from deepclean.train.judging.objection import objection
from deepclean.train.prepare import Preparer
from deepclean.train.retrain import verdict
from deepclean.train.retrain.cells import read_cells, write_cells
from deepclean.train.retrain.job import Histories, Job
from deepclean.train.retrain.lock import scratch
from deepclean.train.retrain.log import RetrainRecord, in_seconds
from deepclean.train.retrain.publish import moved, publish
from deepclean.train.retrain.split import divide, newest
from deepclean.train.site_checks import at_rate, check_rates
from deepclean.train.solve import SiteSamples, built

CELL = 64 * NS
"""Nanoseconds of a cell of the statistics."""

_BEFORE, _AFTER = BEFORE_SECONDS * NS, (AFTER_SECONDS + SEGMENT_SECONDS - 1) * NS
"""What a cell's segments reach beyond it, without the margins of the engine's filters."""

_log = logging.getLogger(__name__)


def refittable(job: Job, production: Model | None) -> Structure | str:
    """Return the structure of the model in production, or in words why it cannot be refitted."""
    config, name = job.config, job.coupling
    coupling, rate = config.couplings[name], config.engine.rate
    if not config.retrain.refit.enabled:
        return "refits are off (retrain.refit.enabled)"
    if production is None:
        return "there is no production version"
    if not isinstance(production.network, ClosedForm):
        return f"version {production.version} is no closed form"
    layout = make_layout(
        rate,
        coupling.bands,
        coupling.bandpass.transition,
        coupling_bandpass(config, name).response,
        core_settings.predict_settings(coupling, rate).edge,
    )
    try:
        return structure_of(production.architecture, production.network, production.scalers, layout)
    except StructureError as error:
        return f"version {production.version} cannot be refitted: {error}"


def refit(
    job: Job, record: RetrainRecord, production: Model, structure: Structure
) -> RetrainRecord:
    """Solve the model in production anew, and make the result the canary if it is better.

    Args:
        job: what is to be done.
        record: of the retraining; it is filled in and returned.
        production: the model.
        structure: of the model.

    Raises:
        ConfigError: the model does not suit the coupling's prediction.
        InputError: the data lack channels, or changed while they were read.
        OutputError: the file system refused.
    """
    refitting = _Refitting.of(job, production, structure)
    record.looked_through = in_seconds([refitting.within])[0]
    held_out, ready = refitting.held_out()
    record.held_out = in_seconds(held_out)
    made = refitting.solved(held_out[0].start, record) if held_out else None
    found, least = made.seconds if made else 0, job.config.retrain.refit.min_ready
    if made is None or found < least:
        return record.close("no data", refitting.too_little(found, bool(held_out)))
    with scratch(job.directory) as place:
        candidate = refitting.candidate(made, record, place)
        device = loading.resolve_device(job.config.retrain.device)
        record.figures = verdict.paired(
            *(refitting.config, job.coupling, models.load(candidate, device), production),
            HeldOut(refitting.whole_site(), held_out, keep=False, around=ready),
        )
        _, manifest, content = read_version(candidate)
    record.parent, record.weights = production.version, manifest.files[WEIGHTS]
    record.read += total_seconds(ready)
    figures = record.figures
    # Without a gate there is one ratio. Where the output is not finite, that is the objection.
    ratio = figures.get("out_dq_ratio", figures.get("asd_ratio", inf))
    before = figures["production_ratio"]
    record.asd_ratio = {"candidate": ratio if isfinite(ratio) else None, "production": before}
    why, better_by = objection(figures), job.config.retrain.better_by
    if not why and ratio > (1 - better_by) * before:
        why = f"ASD ratio {ratio:.4f} is not {better_by:.1%} below production's {before:.4f}"
    if why:
        return record.close("not better", why)
    overtaken = moved(job, record, production.version)
    if overtaken:
        return record.close("overtaken", overtaken)
    validation = {name: value for name, value in figures.items() if isfinite(value)}
    validation |= {"refit_seconds": float(found), "parameters": float(len(made.equations.right))}
    return publish(job, record, content, manifest.model_copy(update={"validation": validation}))


@dataclass(frozen=True, slots=True, eq=False)
class _Refitting:
    """What a refit works with.

    Args:
        job: what is to be done.
        config: of the site, without gains that adapt, at the data's rate of the strain.
        production: the model.
        structure: of the model.
        digest: hash of all that the statistics depend on, but the data.
        cells: the statistics that are there, by start.
        within: the span that may be read.
        data: its sources.
        site: strain and the needed witnesses.
        history: nanoseconds that the engine reads before a cleaned span.
        lookahead: nanoseconds that it reads after.
    """

    job: Job
    config: Config
    production: Model
    structure: Structure
    digest: str
    cells: dict[int, Cell]
    within: Span
    data: Histories
    site: SiteData
    history: int
    lookahead: int

    @classmethod
    def of(cls, job: Job, production: Model, structure: Structure) -> _Refitting:
        """Return what a refit works with, after all checks that need no samples."""
        settings, config = job.config.retrain.refit, _fixed(job.config, job.coupling)
        plan = budget(verdict.alone(config, job.coupling, None, "cpu")).plan
        judged = settings.held_out * NS + ceil(plan.history / NS) * NS
        judged += ceil(plan.lookahead / NS) * NS
        digest = _digest(config, job.coupling, production)
        cells = read_cells(job.directory, digest, config.models.directory)
        oldest = job.end - judged - settings.span * NS
        cells = {start: cell for start, cell in cells.items() if start >= oldest - 2 * judged}
        missing = next((start for start in _grid(oldest, job.end) if start not in cells), job.end)
        # One cell more is room for all that a cell's segments and filters reach back.
        within = Span(min(missing - CELL, job.end - 2 * judged), job.end)
        data = job.open_data(within)
        site = job.site(data, [production.channels[number] for number in structure.channels])
        config = at_rate(config, site)
        check_rates(site, core_settings.engine_settings(config).resample)
        return cls(
            *(job, config, production, structure, digest, cells, within, data, site),
            *(plan.history, plan.lookahead),
        )

    def held_out(self) -> tuple[tuple[Span, ...], list[Span]]:
        """Return the newest spans that a model can be judged on, and the complete ones there."""
        settings = self.job.config.retrain.refit
        needed = settings.held_out + ceil(self.history / NS) + ceil(self.lookahead / NS)
        held_out: tuple[Span, ...] = ()
        ready: list[Span] = []
        for wanted in (needed, 2 * needed):
            ready = newest(self.site.complete_in, self.within, wanted, CELL)
            _, held_out = divide(ready, settings.held_out, self.history, self.lookahead)
            if held_out:
                break
        return held_out, ready

    def solved(self, stop: int, record: RetrainRecord) -> Refit | None:
        """Return the coefficients that the cells before an instant give, and keep the new cells.

        None where these hold no data.
        """
        engine = core_settings.engine_settings(self.config)
        bandpass = coupling_bandpass(self.config, self.job.coupling)
        preparer = Preparer(self.site, engine, bandpass)
        before, after = _BEFORE + preparer.margin, _AFTER + preparer.margin
        span = self.job.config.retrain.refit.span * NS
        starts = [s for s in _grid(stop - span, stop) if s + CELL + after <= stop]
        fresh = 0
        for start in starts:
            if start not in self.cells:
                spans = self.site.complete_in(Span(start - before, start + CELL + after))
                samples = SiteSamples.of(preparer, engine.model_rate, self.site.witnesses, spans)
                self.cells[start] = measure_cell(self.structure, samples)
                record.read += total_seconds(spans)
                fresh += 1
        if fresh:
            write_cells(self.job.directory, self.digest, self.cells)
        _log.info("%s: %d cells of data, %d of them new", self.job.coupling, len(starts), fresh)
        used = [start for start in starts if self.cells[start].seconds]
        record.training = in_seconds(union([Span(start, start + CELL) for start in used]))
        cells = [self.cells[start] for start in used]
        return solve_cells(self.structure, cells, _ridge(self.config, self.production))

    def candidate(self, made: Refit, record: RetrainRecord, place: Path) -> Path:
        """Write the refitted model into a store; return its directory."""
        production, root = self.production, self.config.models.directory
        network = built(production.architecture, made.tensors, len(production.channels))
        network.equations = made.equations
        _, manifest, _ = read_version(production.path, root)
        facts = {name: getattr(manifest, name) for name in Description.model_fields}
        facts |= {
            "training": tuple((low * NS, high * NS) for low, high in record.training),
            "validation": {},
            "parent_version": production.version,
            "parent_weights": production.weights_hash,
        }
        return models.write_model(place, network, production.scalers, Description(**facts))

    def whole_site(self) -> SiteData:
        """Return the data that the engine reads; witnesses that no feature needs are zeros."""
        channels = self.production.channels
        without = [name for name in channels if name not in self.site.witnesses]
        return self.job.site(self.data, channels, without)

    def too_little(self, found: int, judged: bool) -> str:
        """Return, in words, which data are missing."""
        settings = self.job.config.retrain.refit
        if not judged:
            said = (
                f"no {settings.held_out} s of analysis-ready data to judge by in GPS "
                f"{self.within.start // NS} to {self.within.end // NS}, with what the engine reads "
                f"for them, {ceil(self.history / NS)} s before and "
                f"{ceil(self.lookahead / NS)} s after"
            )
        else:
            said = (
                f"{found} s of analysis-ready data among the newest {settings.span} s before the "
                f"held-out ones; {settings.min_ready} s are needed"
            )
        failed = [f"{name} for {seconds} s" for name, seconds in self.site.failed.items()]
        return f"{said}; witnesses that fail: {', '.join(failed)}" if failed else said


def _grid(start: int, stop: int) -> range:
    """Return the starts of the cells that begin in a span."""
    return range(-(-start // CELL) * CELL, stop, CELL)


def _fixed(config: Config, name: str) -> Config:
    """Return the configuration without gains that adapt in a coupling."""
    fixed = config.couplings[name].model_copy(update={"adapt": "off"})
    couplings = FrozenMap(dict(config.couplings) | {name: fixed})
    return config.model_copy(update={"couplings": couplings})


def _digest(config: Config, name: str, production: Model) -> str:
    """Return a hash of all that a cell depends on, but the data."""
    state = production.network.state_dict()
    kept = {key: tensor.cpu() for key, tensor in state.items() if key != "weights"}
    coupling = config.couplings[name]
    facts = {
        "architecture": dict(production.architecture),
        "state": sha256(tensors.serialise(kept)),
        "scalers": sha256(production.scalers.serialise(production.channels)),
        "engine": config.engine.model_dump(mode="json"),
        "strain": config.strain.model_dump(mode="json"),
        "bands": coupling.bands,
        "bandpass": coupling.bandpass.model_dump(mode="json"),
        "cell": CELL,
    }
    return sha256(json.dumps(facts, sort_keys=True).encode())


def _ridge(config: Config, production: Model) -> float | None:
    """Return the ridge that the configuration names, if it does."""
    training = config.training
    if training.architecture != NAME:
        return None
    options = {str(key): thaw(value) for key, value in training.architecture_options.items()}
    return fit_settings(options, production.channels).ridge
