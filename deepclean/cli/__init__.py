"""The command line: parse, call, print. Each fault that a person can mend is one message."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deepclean import __version__
from deepclean.cli.begin import check, config, demo, init, install_service, simulate
from deepclean.cli.history import cluster, replay, validate
from deepclean.cli.models import show as models
from deepclean.cli.operate import control, reload, run, status, stream
from deepclean.cli.options import print_fault
from deepclean.cli.products import inspect, plot, segments, summary
from deepclean.cli.terminal.helptext import unfold_help
from deepclean.cli.terminal.resume import ResumableCommand
from deepclean.cli.training import retrain, train, tune, witnesses
from deepclean.errors import DeepCleanError, ExitStatus, InvalidError, UnavailableError, passes

app = typer.Typer(
    name="deepclean",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"deepclean {__version__}")
        raise typer.Exit


@app.callback()
def options_of_all(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Remove witnessed noise from gravitational-wave strain, live and from history."""


app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("check")(check.check)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("control")(control.control)
app.command("reload")(reload.reload)
app.command("inspect")(inspect.inspect)
app.command("plot", cls=ResumableCommand)(plot.plot)
app.command("segments")(segments.segments)
app.command("summary", cls=ResumableCommand)(summary.summary)
app.command("replay", cls=ResumableCommand)(replay.replay)
app.command("shards")(cluster.shards)
app.command("validate", cls=ResumableCommand)(validate.validate)
app.command("train", cls=ResumableCommand)(train.train)
app.command("tune", cls=ResumableCommand)(tune.tune)
app.command("tune-worker", hidden=True)(tune.tune_worker)
app.command("witnesses", cls=ResumableCommand)(witnesses.witnesses)
app.command("retrain", cls=ResumableCommand)(retrain.retrain)
app.command("simulate", cls=ResumableCommand)(simulate.simulate)
app.command("stream")(stream.stream)
app.command("config")(config.show)
app.command(
    "install-service",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(install_service.install_service)
app.add_typer(models.app, name="models")
unfold_help(app)


def main() -> None:
    """Run the command line. A reported fault is printed without a traceback.

    errors.ExitStatus has the exit statuses. A fault's family decides between AGAIN (a store that is
    not mounted, an output that is full or locked, no descriptors, a device that a new process gets
    afresh) and PERSON.
    """
    status = ExitStatus.DONE
    try:
        app(prog_name="deepclean")
    except DeepCleanError as error:
        status = print_fault(error)
    except OSError as error:  # of a call that nobody was prepared for; its number tells which kind
        named = f"{error.filename}: " if error.filename else ""
        kind = UnavailableError if passes(error.errno) else InvalidError
        status = print_fault(kind(f"{named}{error.strerror or error}"))
    except KeyboardInterrupt:
        status = ExitStatus.INTERRUPTED
    # Here the fault and all that its traceback holds are gone. A library that finds an open file of
    # its own when the process ends would print pages about that.
    sys.exit(status)
