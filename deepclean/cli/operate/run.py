"""`deepclean run`: the live daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from deepclean.cli import options
from deepclean.config import Config, load
from deepclean.system import malloc
from deepclean.system.gc import uncollected


def run(
    config: options.ConfigOption,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only load configuration and models, as a start does."),
    ] = False,
    override: options.SetOption = None,
) -> None:
    """Clean frames as they arrive, until SIGTERM or SIGINT. SIGHUP is `deepclean reload`."""
    settings = options.prepare(config, override)
    if check:
        options.limit_threads(settings)
        _check(settings)
        return
    with uncollected():
        from deepclean.run import daemon

    options.limit_threads(settings)
    malloc.retain()
    daemon.run(settings, read=lambda: load(config, override or ()))


def _check(config: Config) -> None:
    """Load what a start needs, and say what it would run. Nothing is written.

    Raises:
        ConfigError, ModelError, DeviceError: as a start, which may yet begin with a former version.
    """
    from deepclean.factory import make_engine
    from deepclean.models.loading import load_models

    loaded = load_models(config)
    make_engine(config.with_wait(1) if config.wait == "auto" else config, loaded)
    models = ", ".join(f"{name} version {model.version}" for name, model in loaded.items())
    print(f"{config.interferometer}: can start with {models}")
