"""The command line: parse, call, print. Every fault that a person can mend is one message."""

from __future__ import annotations

import sys

import typer

from deepclean.cli import cluster as scaleout
from deepclean.cli import (
    config,
    inspect,
    models,
    replay,
    retrain,
    run,
    simulate,
    status,
    train,
    validate,
    witnesses,
)
from deepclean.cli.options import fault
from deepclean.errors import DeepCleanError

app = typer.Typer(
    name="deepclean",
    help="Remove witnessed noise from gravitational-wave strain, live and from history.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("inspect")(inspect.inspect)
app.command("replay")(replay.replay)
app.command("shards")(scaleout.shards)
app.command("validate")(validate.validate)
app.command("train")(train.train)
app.command("witnesses")(witnesses.witnesses)
app.command("retrain")(retrain.retrain)
app.command("simulate")(simulate.simulate)
app.command("config")(config.show)
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command line; a reported fault is printed, without a traceback.

    Exit status 2 says that a person is needed: configuration, input or model must be mended.
    1 says that the same again may succeed: an output that is full, locked or not there, a device
    that a new process gets afresh. 3 is what `deepclean validate` says of what is not in spec.
    """
    try:
        app()
    except DeepCleanError as error:
        sys.exit(fault(error))
    except KeyboardInterrupt:
        sys.exit(130)
