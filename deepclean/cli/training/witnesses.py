"""`deepclean witnesses`: which channels see the noise of a band."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.models import options as stored
from deepclean.cli.terminal import completion
from deepclean.cli.terminal.progress import progress
from deepclean.cli.terminal.resume import begins_anew, interruptible
from deepclean.cli.terminal.times import EndOption, StartOption, whole_span
from deepclean.config import Config
from deepclean.config.couplings import BandpassConfig
from deepclean.config.engine import EngineConfig
from deepclean.core.time import NS
from deepclean.errors import ConfigError, InputError, hint

if TYPE_CHECKING:
    from deepclean.core.filters.bandpass import Band
    from deepclean.io.history import History
    from deepclean.models.model import Model
    from deepclean.witnesses.saliency import Attribution
    from deepclean.witnesses.spectra import Candidate, SearchStretch


def witnesses(
    start: StartOption,
    end: EndOption,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar=completion.VARIABLE,
            help="Configuration file; not needed with --strain.",
            autocompletion=completion.configurations,
        ),
    ] = None,
    band: Annotated[
        list[str] | None,
        typer.Option(metavar="LOW-HIGH", help="Band to search, in Hz. May be repeated."),
    ] = None,
    coupling: Annotated[
        str | None,
        typer.Option(
            help="Coupling of the configuration, for its bands.",
            autocompletion=completion.couplings,
        ),
    ] = None,
    channels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Pattern of the candidates, as 'ASC-*_DQ'; default: every channel except the "
            "strain. May be repeated.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Pattern of channels that are no candidates. May be repeated."
        ),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            metavar="CHANNEL",
            help="Test each slower candidate also multiplied with this channel: the sidebands of "
            "a line are such a product.",
        ),
    ] = None,
    joint: Annotated[
        int | None,
        typer.Option(min=1, help="Also choose the best set of so many witnesses, one by one."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION|DIRECTORY",
            help="Also say how this model uses its witnesses: a version of --coupling "
            "(`production`, `canary`, a number), or a model directory.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of candidates that are shown.")] = 20,
    fft: Annotated[
        int, typer.Option(min=2, help="Length of a transform in seconds, an even number.")
    ] = 2,
    plot: Annotated[Path | None, typer.Option(help="File for a figure (png, svg, pdf).")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead, with all candidates.")
    ] = False,
    strain: options.StrainPaths = None,
    of_witnesses: options.WitnessPaths = None,
    strain_channel: Annotated[
        str | None,
        typer.Option(
            help="Name of the strain channel; default: the configured one, or the only *STRAIN."
        ),
    ] = None,
    override: options.SetOption = None,
) -> None:
    """Rank the channels that may witness a band's noise, by coherence and by a model.

    Columns: mean coherence with the strain over the band, its peak and the frequency of the peak,
    the probability that an unrelated channel has such a peak, and `alone`: the ASD ratio that
    linear subtraction of this channel alone allows. With --model: `saliency`, the channel's share
    of the gradient, and `without`, the ASD ratio if the channel is replaced by its mean.
    """
    settings = None if config is None else options.prepare(config, override)
    span = whole_span(start, end)
    if fft % 2:
        raise ConfigError(f"--fft {fft}: must be an even number of seconds: transforms overlap")
    strains, aux = options.histories(settings, strain, of_witnesses)
    loaded = None if model is None else _model(settings, coupling, model)
    bands = _bands(settings, coupling, band, loaded)
    from deepclean.witnesses.coherence import rank
    from deepclean.witnesses.joint import choose
    from deepclean.witnesses.report import WitnessReport, facts, joint_table, notes, table
    from deepclean.witnesses.spectra import SearchStretch

    name = strain_channel or (settings.strain.channel if settings else _only_strain(strains))
    state = settings.strain.state_vector if settings else None
    stretch = SearchStretch(strains, aux, name, state, span, bands, fft)
    candidates = _candidates(aux, {name, state}, channels or [], exclude or [], times)
    with interruptible(lambda: begins_anew(span)), progress("coherence", unit="s") as show:

        def follow(title: str) -> Callable[[int], None]:
            show.begin(title, span.duration / NS)
            return lambda instant: show.reach((instant - span.start) / NS)

        ranking = rank(stretch, candidates, follow("coherence"))
        skipped = dict(stretch.skipped)
        chosen = None if joint is None else choose(stretch, ranking, joint, follow("together"))
        attribution = None
        if loaded is not None:
            show.begin("model")
            attribution = _attribute(loaded, settings, coupling, stretch, (strains, aux), state)
    faults = list(dict.fromkeys(str(fault) for fault in (*strains.faults, *aux.faults)))
    found = WitnessReport(
        name, span, bands, stretch.frequencies, skipped, faults, ranking, chosen, attribution
    )
    if plot is not None:
        from deepclean.witnesses.figure import draw

        draw(found, plot, top)
    if as_json:
        print(json.dumps(facts(found), indent=2))
        return
    for made in [table(found, top)] + ([] if chosen is None else [joint_table(chosen)]):
        options.print_lines(made)
        print()
    for note in notes(found):
        options.say(note)


def _model(config: Config | None, coupling: str | None, text: str) -> Model:
    """Load the model that the option names."""
    from deepclean.models import files as models
    from deepclean.models import packaged
    from deepclean.models.loading import load_version

    if Path(text).is_dir():
        packaged.admit(config.models.architectures if config else ())
        return models.load(Path(text))
    if config is None or coupling is None:
        raise ConfigError(
            f"--model {text}: no such directory, and a version needs --config and --coupling"
        )
    directory = stored.directory(config, coupling)
    path = directory / str(stored.number(directory, text))
    return load_version(config, path)


def _bands(
    config: Config | None, coupling: str | None, given: list[str] | None, model: Model | None
) -> tuple[Band, ...]:
    """Return the given bands, or else the coupling's, or else the model's."""
    if coupling is not None:
        if config is None:
            raise ConfigError(f"--coupling {coupling} needs --config")
        stored.directory(config, coupling)  # raises if the coupling is unknown
    if given:
        return tuple(map(to_band, given))
    if config is not None and coupling is not None:
        return config.couplings[coupling].bands
    if model is not None:
        return model.bands
    raise ConfigError("no band: give --band LOW-HIGH or --coupling NAME")


def to_band(text: str) -> Band:
    """Return a band that an option states as LOW-HIGH, in Hz."""
    try:
        low, high = map(float, text.split("-"))
    except ValueError:
        raise ConfigError(f"--band {text}: expected LOW-HIGH in Hz, as 55-65") from None
    return low, high


def _only_strain(history: History) -> str:
    """Return the only channel whose name ends in STRAIN."""
    names = [name for name in history.channels() if name.endswith("STRAIN")]
    if len(names) != 1:
        raise InputError(
            f"channels called *STRAIN: {', '.join(names) or 'none'}; name it with --strain-channel"
        )
    return names[0]


def _candidates(
    history: History,
    no_candidates: Collection[str | None],
    wanted: Sequence[str],
    exclude: Sequence[str],
    times: str | None,
) -> list[Candidate]:
    """Return the channels that the patterns name, and their products with `times`."""
    from deepclean.witnesses.spectra import Candidate

    rates = history.channels()

    def matches(name: str, patterns: Sequence[str]) -> bool:
        spellings = (name, name.partition(":")[2])
        return any(fnmatchcase(each, pattern) for each in spellings for pattern in patterns)

    names = [
        name
        for name in rates
        if name not in no_candidates
        and (not wanted or matches(name, wanted))
        and not matches(name, exclude)
    ]
    if not names:
        asked = " ".join(wanted) or "*"
        but = f" but {' '.join(exclude)}" if exclude else ""
        raise InputError(f"none of {len(rates)} channels is a candidate: {asked}{but}")
    plain = [Candidate(name, rates[name]) for name in names]
    if times is None:
        return plain
    carrier = next((name for name in rates if times in (name, name.partition(":")[2])), None)
    if carrier is None:
        raise InputError(f"no channel {times}{hint(times, rates)}", channels=[times])
    slower = [one for one in plain if one.rate < rates[carrier]]
    return plain + [replace(one, carrier=carrier) for one in slower]


def _attribute(
    model: Model,
    config: Config | None,
    coupling: str | None,
    stretch: SearchStretch,
    sources: tuple[History, History],
    state: str | None,
) -> Attribution:
    """Attribute the model's estimate to its witnesses, with the configured engine if any."""
    from deepclean.config import settings as core_settings
    from deepclean.core.filters.bandpass import make_bandpass
    from deepclean.models.budget import coupling_bandpass
    from deepclean.train.data import SiteData, TrainingData
    from deepclean.witnesses import saliency

    rate = model.sample_rate
    if config is None:
        known = core_settings.ungated_settings(EngineConfig(), stretch.rate)
    else:
        known = core_settings.engine_settings(config)
    settings = replace(known, strain_rate=stretch.rate, model_rate=rate)
    if config is not None and coupling is not None and config.engine.rate == rate:
        bandpass = coupling_bandpass(config, coupling)
    else:
        usual = core_settings.bandpass_settings(BandpassConfig())
        bandpass = make_bandpass(usual, model.bands, rate)
    data = TrainingData(*sources, stretch.span)
    site = SiteData(data, stretch.channel, model.channels, state)
    return saliency.attribute(model, site, settings, bandpass, stretch.bands)
