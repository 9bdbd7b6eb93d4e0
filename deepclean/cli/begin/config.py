"""`deepclean config`: the resolved configuration and its latency budget."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.terminal import completion
from deepclean.config import Config, json_schema, load, to_yaml
from deepclean.core.time import NS, Span

if TYPE_CHECKING:
    from rich.table import Table

    from deepclean.core.block import Series
    from deepclean.models.budget import Budget

_RATES = (16, 64, 256, 512, 1024, 2048, 4096, 16384, 20000)
"""Witness rates in Hz that the budget shows."""


def show(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Configuration file.", readable=False, autocompletion=completion.configurations
        ),
    ] = None,
    option: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            envvar=completion.VARIABLE,
            help="The same, as for the other commands.",
            readable=False,
            autocompletion=completion.configurations,
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print only the JSON schema, for editors.")
    ] = False,
    budget: Annotated[
        bool, typer.Option("--budget/--no-budget", help="Print the latency budget.")
    ] = True,
    override: options.SetOption = None,
) -> None:
    """Print the resolved configuration and the latency of each stage."""
    if schema:
        print(json.dumps(json_schema(), indent=2))
        return
    file = file or option
    if file is None:
        raise typer.BadParameter("give a configuration file or --schema", param_hint="FILE")
    config = load(file, override or ())
    print(to_yaml(config), end="")
    if budget:
        _print_budget(config)


def _print_budget(config: Config) -> None:
    from deepclean.models.budget import budget as compute

    console = options.console()
    computed = compute(config)
    console.print()
    for table in (_couplings(computed), _resampling(config, computed), _channels(config)):
        options.print_table(table)
    for line in (*_totals(config, computed), *_streamed(config, computed)):
        options.say(line)


def _couplings(budget: Budget) -> Table:
    """Return a table of the look-ahead of each coupling by stage, in milliseconds."""
    from rich.table import Table

    forecast = budget.plan.settings.forecast is not None
    title = "Forecast by stage (ms)" if forecast else "Look-ahead by stage (ms)"
    table = Table(title=title, title_justify="left")
    stages = ("resample", "edge", "align", "ramp", "settle-in", "interpolate", "total")
    for column in ("coupling", "prediction", *stages):
        table.add_column(column, justify="left" if column == "coupling" else "right")
    rate = budget.plan.settings.model_rate
    resample = float(budget.plan.settings.resample.lookahead)
    for name, plan in budget.plan.couplings.items():
        samples = [plan.geometry.after, plan.alignment, plan.ramp]
        samples += [plan.settle_in, plan.interpolation]
        cost = [resample, *(count / rate for count in samples)]
        mode = plan.geometry.mode + (" (assumed)" if name in budget.assumed else "")
        table.add_row(name, mode, *(f"{1e3 * seconds:.1f}" for seconds in (*cost, sum(cost))))
    return table


def _resampling(config: Config, budget: Budget) -> Table:
    """Return a table of the resampling's latency by witness rate. The budget counts the slowest."""
    from rich.table import Table

    from deepclean.core.filters.resample import Resampler

    resample = budget.plan.settings.resample
    table = Table(title="Resampling by witness rate", title_justify="left")
    for column in ("rate (Hz)", "half-length (ms)", "flat to (Hz)"):
        table.add_column(column, justify="right")
    for rate in sorted({*_RATES, resample.slowest_rate}):
        if rate < resample.slowest_rate:
            continue
        half = Resampler(
            rate,
            config.engine.rate,
            zeros=resample.zeros,
            max_delay=resample.max_delay,
            attenuation=resample.attenuation,
        ).half_length
        slower = min(rate, config.engine.rate)
        if half:
            # Half of a Kaiser window's transition lies inside the band (Kaiser 1974).
            transition = (resample.attenuation - 7.95) / (2.285 * 2 * math.pi * 2 * float(half))
            flat = max(slower / 2 - transition / 2, 0.0)
        else:
            flat = slower / 2
        table.add_row(str(rate), f"{1e3 * half:.1f}", f"{flat:.1f}")
    return table


def _channels(config: Config) -> Table:
    """Return a table of the channels of a cleaned frame, with what a second of each takes."""
    from rich.table import Table

    table = Table(title="Channels of a cleaned frame", title_justify="left")
    for column in ("channel", "rate (Hz)", "type", "kB/s"):
        table.add_column(column, justify="right" if column in {"rate (Hz)", "kB/s"} else "left")
    total = 0
    for name, series in _rendered(config).items():
        total += series.samples.nbytes
        size = f"{series.samples.nbytes / 1e3:.1f}"
        table.add_row(name, str(series.rate), series.samples.dtype.name, size)
    table.add_row("together, without compression", "", "", f"{total / 1e3:.1f}")
    return table


def _rendered(config: Config) -> dict[str, Series]:
    """Return the channels of a frame of 1 s in which all samples are 0."""
    import numpy as np

    from deepclean.core.block import Block, CleanedBlock, Estimate, Series, StrainProducts
    from deepclean.core.frame import CleanedFrame, InputFrame
    from deepclean.core.output.products import render
    from deepclean.io.frame_channels import estimate_rates

    span, zeros = Span.of_seconds(0, 1), np.zeros(config.strain.rate)
    block = Block(span, Series(span, config.strain.rate, zeros))
    estimates = {
        name: Estimate(zeros, zeros, 0, knots=None if coupling.adapt == "off" else ())
        for name, coupling in config.enabled_couplings.items()
    }
    cleaned = CleanedBlock(block, StrainProducts(zeros, zeros, zeros), estimates)
    return render(
        CleanedFrame(InputFrame(span, [block]), [cleaned]),
        config.strain.channel,
        config.output.products,
        estimate_rates(config),
        subtracted=config.output.subtracted,
    )


def _totals(config: Config, budget: Budget) -> list[str]:
    plan = budget.plan
    ahead, back, hop = plan.lookahead / 1e9, plan.history / 1e9, plan.settings.hop / 1e9
    # A frame of one hop leaves when the input reaches its end plus the look-ahead.
    streams = config.input.streams_strain
    unit, length = ("block", config.input.arrakis.stride) if streams else ("frame", NS)
    count = math.ceil(plan.lookahead / length)
    lines = [
        f"look-ahead L = {ahead:.4f} s, history H = {back:.4f} s, hop {hop:g} s",
        f"with {length / NS:g}-s {unit}s a cleaned {unit} leaves {count} {unit}"
        f"{'s' if count > 1 else ''} after its own",
    ]
    if plan.settings.forecast is not None:
        lines[1] = (
            f"a cleaned {unit} leaves with its own: it does not wait (wait: 0), and the "
            f"{plan.forecast / 1e9:.4f} s after it are forecast"
        )
    absent = [name for name, fault in budget.assumed.items() if not fault]
    if absent:
        lines.append(
            f"no model in the store for {', '.join(absent)}: assumed translation-"
            "equivariant, receptive field inside the edge"
        )
    lines += [
        f"{name}: the model cannot be loaded ({fault}); assumed as one that is not there"
        for name, fault in budget.assumed.items()
        if fault
    ]
    return lines


def _streamed(config: Config, budget: Budget) -> list[str]:
    """Return what a streamed input adds; nothing where the input comes in files."""
    arrakis = config.input.arrakis
    if arrakis.server is None or arrakis.channels == "witnesses":
        return []
    block, plan = arrakis.stride, budget.plan
    # The last hop that a block lies in ends a hop less a block after it, and needs the look-ahead,
    # which is complete at the end of a block.
    after = max(plan.settings.hop - block, 0) - (-plan.lookahead // block) * block
    return [
        f"with blocks of {block / 1e9:g} s (input.arrakis) a cleaned block leaves at most "
        f"{after / 1e9:g} s after its own; a sample waits up to {block / 1e9:g} s for its block",
        "the transport adds its share, 0.13 to 0.17 s on one machine "
        "(deepclean_streamed_age_seconds); where a channel is missing, the server's max_latency",
    ]
