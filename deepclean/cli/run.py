"""`deepclean run`: the live daemon."""

from __future__ import annotations

from deepclean.cli import options
from deepclean.config import load
from deepclean.system.gc import uncollected


def run(config: options.ConfigOption, override: options.SetOption = None) -> None:
    """Clean frames as they arrive, until SIGTERM or SIGINT. SIGHUP is `deepclean reload`."""
    settings = options.prepare(config, override)
    with uncollected():
        from deepclean.run import daemon

    options.limit_threads(settings)
    daemon.run(settings, read=lambda: load(config, override or ()))
