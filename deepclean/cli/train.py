"""`deepclean train`: fit a coupling's network."""

from deepclean.cli.options import ConfigOption


def train(config: ConfigOption) -> None:
    """x."""
