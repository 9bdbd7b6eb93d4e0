"""`deepclean run`: the live daemon."""

from __future__ import annotations

from deepclean.cli.options import ConfigOption, SetOption, limit_threads, prepare
from deepclean.system.gc import uncollected


def run(config: ConfigOption, override: SetOption = None) -> None:
    """Clean frames as they arrive, until SIGTERM or SIGINT."""
    settings = prepare(config, override)
    with uncollected():
        from deepclean.run import daemon

    limit_threads(settings)
    daemon.run(settings)
