"""What is used of pytorch-ignite, imported without its noise."""

import logging
import warnings

with warnings.catch_warnings():
    # ignite imports torch.distributed.optim, which still calls the deprecated torch.jit.script.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ignite.engine import Engine, Events
    from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping

__all__ = ["QUIET", "Checkpoint", "DiskSaver", "EarlyStopping", "Engine", "Events"]

QUIET = logging.getLogger(__name__)
"""A logger that says nothing: ignite announces every exception as an error of its own, but it is
raised, and that is enough."""
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())
