"""The parts of pytorch-ignite that are used, imported without warnings."""

import logging
import warnings

with warnings.catch_warnings():
    # ignite imports torch.distributed.optim, which still calls the deprecated torch.jit.script.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ignite.engine import Engine, Events
    from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping

__all__ = ["QUIET", "Checkpoint", "DiskSaver", "EarlyStopping", "Engine", "Events"]

QUIET = logging.getLogger(__name__)
"""A logger without output. ignite logs every exception as an error, but raises it too."""
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())
