"""`deepclean retrain`: what systemd/deepclean-train@.service runs, and the same by hand."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import models_options as stored
from deepclean.cli.options import (
    ConfigOption,
    SetOption,
    StrainPaths,
    WitnessPaths,
    fault,
    histories,
    limit_threads,
    prepare,
    whole_second,
)
from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, DeepCleanError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepclean.io.source import ChannelHistory
    from deepclean.train.retrain import Job, RetrainRecord

_log = logging.getLogger(__name__)


def retrain(
    config: ConfigOption,
    coupling: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this one; default: all that are enabled and have their models in the "
            "store. May be repeated.",
            show_default=False,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            metavar="GPS", help="Take data before this; default: now.", show_default=False
        ),
    ] = None,
    strain: StrainPaths = None,
    witnesses: WitnessPaths = None,
    fetch: Annotated[
        bool | None,
        typer.Option("--fetch/--no-fetch", help="Get the data through gwpy's data access."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            envvar="DEEPCLEAN_RETRAIN_DEVICE",
            help="cpu, cuda, cuda:1, auto; default: retrain.device.",
            show_default=False,
        ),
    ] = None,
    override: SetOption = None,
) -> None:
    """Train on the newest analysis-ready data, and make the result the canary if it is better.

    It starts from production, and is judged on newer data that it has not seen, by the engine and
    the gates of a live run. What came of it is kept in retrain.jsonl beside the versions. Exit
    status 0: published, or rightly not, as the output says; 1: something broke that may pass; 2: a
    person is needed.
    """
    options = {"fetch": fetch, "device": device}
    given = [
        f"retrain.{key}={str(value).lower()}" for key, value in options.items() if value is not None
    ]
    settings = prepare(config, [*(override or []), *given])
    names = _names(settings, coupling)
    from deepclean.system.clock import gps_now

    before = gps_now() // NS * NS if end is None else whole_second("--end", end)
    limit_threads(settings)
    on_disk = cache(lambda: histories(settings, *_paths(settings, strain, witnesses)))
    status = 0
    for name in names:
        status = max(status, _one(_job(settings, name, before, on_disk)))
    raise typer.Exit(status)


def _names(config: Config, asked: list[str] | None) -> list[str]:
    """Return the couplings to be retrained.

    Raises:
        ConfigError: an unknown one, one whose model the configuration names, or none.
    """
    for name in asked or ():
        stored.directory(config, name)  # or it is unknown
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
    """Return where the frames are: as the options say, else the configuration."""
    if strain:
        return strain, witnesses or []
    return list(config.retrain.strain), witnesses or list(config.retrain.witnesses)


def _job(
    config: Config,
    name: str,
    end: int,
    on_disk: Callable[[], tuple[ChannelHistory, ChannelHistory]],
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
    )


def _one(job: Job) -> int:
    """Retrain a coupling and say what came of it; a fault does not keep the others waiting."""
    from deepclean.train.retrain import retrain as run

    try:
        record = run(job)
    except DeepCleanError as error:
        status = fault(error, f"{job.coupling}: ")
        # What a data service does not give now it may give later.
        return 1 if job.config.retrain.fetch and isinstance(error, InputError) else status
    except Exception:  # noqa: BLE001  (whatever it is, the other couplings get their turn)
        _log.exception("%s: the retraining failed", job.coupling)
        return 1
    print(f"{job.coupling}: {_said(record)}")
    return 0


def _said(record: RetrainRecord) -> str:
    if record.verdict == "published":
        return f"version {record.version} is the canary: {record.why}"
    return f"{record.verdict}: {record.why}"
