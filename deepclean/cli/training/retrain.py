"""`deepclean retrain`: the command that systemd/deepclean-train@.service runs, also by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.models import options as stored
from deepclean.cli.terminal import completion, times
from deepclean.cli.terminal.progress import progress
from deepclean.cli.terminal.resume import interruptible, same_command
from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, DeepCleanError, ExitStatus, InputError
from deepclean.system.clock import gps_now

if TYPE_CHECKING:
    from deepclean.io.source import ChannelHistory
    from deepclean.train.retrain import Job, RetrainRecord

_log = logging.getLogger(__name__)


def retrain(
    config: options.ConfigOption,
    coupling: Annotated[
        list[str] | None,
        typer.Option(
            help="Coupling to retrain; default: all that are enabled and have their models in the "
            "store. May be repeated.",
            autocompletion=completion.couplings,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Use data before this time, GPS seconds or a date in UTC; default: now.",
        ),
    ] = None,
    strain: options.StrainPaths = None,
    witnesses: options.WitnessPaths = None,
    fetch: Annotated[
        bool | None,
        typer.Option("--fetch/--no-fetch", help="Read the data through gwpy's data access."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            envvar="DEEPCLEAN_RETRAIN_DEVICE",
            help="Device: cpu, cuda, cuda:1, auto; default: retrain.device.",
        ),
    ] = None,
    search: Annotated[
        bool,
        typer.Option(
            "--search",
            help="Train in full, even if no full training is due (retrain.search_every).",
        ),
    ] = False,
    changes: Annotated[
        bool,
        typer.Option(
            "--changes", help="Print an outcome only if it is another than that of the last time."
        ),
    ] = False,
    override: options.SetOption = None,
) -> None:
    """Make the next candidate from the newest data, and make it the canary if it is better.

    A closed form in production is refitted: its features stay, its weights are solved anew, from
    statistics that are kept, in seconds. A full training finds the features anew, or trains on from
    production; it is done at intervals and with --search. The result is judged on newer data that
    it has not seen, by the engine and the gates of a live run. The outcome is recorded in
    retrain.jsonl beside the versions. Exit status 0: published, or not published for the reason in
    the output; 1: a fault that may pass; 2: a person is needed.
    """
    chosen = {"fetch": fetch, "device": device}
    given = [
        f"retrain.{key}={str(value).lower()}" for key, value in chosen.items() if value is not None
    ]
    settings = options.prepare(config, [*(override or []), *given])
    names = _names(settings, coupling)
    before = gps_now() // NS * NS if end is None else times.whole_second("--end", end)
    options.limit_threads(settings)
    paths = _paths(settings, strain, witnesses)
    on_disk = cache(lambda: options.histories(settings, *paths))
    jobs = [_job(settings, name, before, on_disk, search) for name in names]
    with interruptible(_anew), progress("retrain", len(jobs), "couplings") as show:
        statuses: list[int] = []
        for job in jobs:
            show.reach(len(statuses))
            statuses.append(_retrain(job, changes))
    raise typer.Exit(max(statuses))


def _anew() -> str:
    return f"what is published stays; the same command does the rest:\n  {same_command()}"


def _names(config: Config, asked: list[str] | None) -> list[str]:
    """Return the couplings to be retrained.

    Raises:
        ConfigError: a coupling is unknown, the configuration names its model, or there is none.
    """
    for name in asked or ():
        stored.directory(config, name)  # raises if the coupling is unknown
        if config.couplings[name].model is not None:
            raise ConfigError(
                f"couplings.{name}.model: names a directory, which retraining cannot replace; "
                "publish it in the store and take the key away"
            )
    enabled = config.enabled_couplings.items()
    names = asked or [name for name, each in enabled if each.model is None]
    if not names:
        raise ConfigError("no coupling to retrain: all of them name their model's directory")
    return list(dict.fromkeys(names))


def _paths(
    config: Config, strain: list[Path] | None, witnesses: list[Path] | None
) -> tuple[list[Path], list[Path]]:
    """Return the paths of strain and witnesses that the options or the configuration name."""
    if strain:
        return strain, witnesses or []
    return list(config.retrain.strain), witnesses or list(config.retrain.witnesses)


def _job(
    config: Config,
    name: str,
    end: int,
    on_disk: Callable[[], tuple[ChannelHistory, ChannelHistory]],
    search: bool,
) -> Job:
    from deepclean.train.retrain import Job

    def fetched(span: Span) -> tuple[ChannelHistory, ChannelHistory]:
        from deepclean.io.datafind import fetch

        held = fetch(stored.channels(config, name), span, config.strain.state_vector)
        return held, held

    return Job(
        config,
        name,
        end - config.retrain.lag * NS,
        fetched if config.retrain.fetch else lambda span: on_disk(),
        stored.fits(config, name),
        search,
    )


def _retrain(job: Job, changes: bool) -> int:
    """Retrain a coupling and print the outcome, with `changes` a new one; return the exit status.

    A fault is printed and does not end the command: the other couplings are retrained all the same.
    """
    from deepclean.train.retrain import retrain as run

    try:
        record = run(job)
    except DeepCleanError as error:
        status = options.print_fault(error, f"{job.coupling}: ")
        # A data service may give later what it does not give now.
        return (
            ExitStatus.AGAIN
            if job.config.retrain.fetch and isinstance(error, InputError)
            else status
        )
    except Exception:  # noqa: BLE001  (no fault may keep the other couplings from their turn)
        _log.exception("%s: the retraining failed", job.coupling)
        return ExitStatus.AGAIN
    if not (changes and record.repeated):
        print(f"{job.coupling}: {_outcome(record)}")
    try:
        stored.send(job.config, job.coupling)
    except DeepCleanError as error:
        return options.print_fault(error, f"{job.coupling}: ")
    return ExitStatus.DONE


def _outcome(record: RetrainRecord) -> str:
    if record.verdict == "published":
        return f"version {record.version} is the canary: {record.why}"
    return f"{record.verdict}: {record.why}"
