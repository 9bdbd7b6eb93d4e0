"""Clean, train and judge in memory, with gwpy's containers going in and coming out.

    from deepclean import api

    cleaned = api.clean(data, "H1.yaml")

The samples are those of the daemon and of `deepclean replay`, bit for bit: the same engine makes
them. What this module holds keeps its names, parameters and results within a major version of the
software; what is to go raises a DeprecationWarning for a minor version before.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np

from deepclean.config import Config
from deepclean.config import load as load_config
from deepclean.core.block import Gap
from deepclean.core.output.products import State, render
from deepclean.core.time import NS, Span
from deepclean.errors import DeepCleanError, InputError
from deepclean.io.datafind import RemoteData, from_gwpy
from deepclean.io.frame_channels import channels_of
from deepclean.io.source import HistorySource
from deepclean.system.instants import whole_second
from deepclean.train import TrainingData, TrainingResult, run_training
from deepclean.validate.criteria import limits
from deepclean.validate.run import ValidationRequest
from deepclean.validate.run import validate as judge
from deepclean.validate.shards import OpenRun, ValidationRun

if TYPE_CHECKING:
    from gwpy.segments import DataQualityDict
    from gwpy.timeseries import TimeSeries, TimeSeriesDict

Time = str | SupportsFloat
"""A whole GPS second, or a text that gives it."""

__all__ = [
    "Config",
    "DeepCleanError",
    "TrainingResult",
    "clean",
    "load_config",
    "state_segments",
    "train",
    "validate",
]


_BEYOND = 600
"""Seconds by which a start or an end may lie outside of the strain. What is returned has all of the
time, so one that is mistyped would fill the memory with it."""


def clean(
    data: TimeSeriesDict,
    config: Config | str | Path,
    start: Time | None = None,
    end: Time | None = None,
) -> TimeSeriesDict:
    """Clean strain and return the channels that a cleaned frame would hold.

    The models are those that the configuration names: the production versions of its store, or the
    directories in `couplings.NAME.model`. The engine needs `H` seconds before a sample and `L`
    after it (`deepclean config`). Where the data do not have them, the gain is 0 and the strain is
    as it came; the state vector says so.

    Args:
        data: strain, its state vector where the configuration names one, and the witnesses, by
            full channel name. Not-a-number marks what is missing.
        config: the configuration, or its file.
        start: the first sample's time, a whole GPS second as any kind of number, `series.t0` or
            LIGOTimeGPS, or a text as the command line takes it ("2025-01-04 04:40", in UTC); None:
            the strain's first whole second.
        end: the end, likewise; None: that of the strain. Either may lie up to 600 s outside of the
            strain.

    Returns:
        By full channel name, from `start` to `end`. Where there is no strain, its products are
        not-a-number and all other channels 0.

    Raises:
        ConfigError, ModelError: the configuration or a model is of no use.
        InputError: a channel is absent, the strain has another rate, an argument is not of these
            kinds, or is farther outside of the strain.
    """
    from gwpy.timeseries import TimeSeries, TimeSeriesDict

    config = _loaded(config)
    run = OpenRun(_run(data, config))
    span = _span(run.source, start, end)
    strain, products = config.strain.channel, config.output.products
    frames = [
        (frame.span, render(frame, strain, products))
        for frame in run.cleaned(span)
        if not any(isinstance(block.strain, Gap) for block in frame.source.blocks)
    ]
    if not frames:
        raise InputError(f"there is no second of {strain} in {span}", channels=[strain])
    made = TimeSeriesDict()
    for name, first in frames[0][1].items():
        whole = np.zeros(span.samples(first.rate), dtype=first.samples.dtype)
        if name.startswith(strain):
            whole.fill(np.nan)
        for held, channels in frames:
            offset = (held.start - span.start) // NS * first.rate
            samples = channels[name].samples
            whole[offset : offset + len(samples)] = samples
        unit = "strain" if name.startswith(strain) else ""
        made[name] = TimeSeries(
            whole, t0=span.start // NS, sample_rate=first.rate, name=name, channel=name, unit=unit
        )
    return made


def train(
    data: TimeSeriesDict, config: Config | str | Path, coupling: str, **options: Any
) -> TrainingResult:
    """Fit a coupling's model and write it into the configuration's store as a new version.

    No version is put in force: `deepclean models promote` does that.

    Args:
        data: as `clean` takes it; 1000 s and more.
        config: the configuration, or its file; the section `training` says how.
        coupling: its name in the configuration.
        options: keywords of `deepclean.train.run_training`.

    Returns:
        The new version's directory, its figures and a table of what was tried.

    Raises:
        ConfigError, InputError, ModelError, OutputError: as `deepclean train`.
    """
    held = from_gwpy(data)
    return run_training(_loaded(config), coupling, TrainingData(held, held), **options)


def validate(
    data: TimeSeriesDict,
    config: Config | str | Path,
    start: Time | None = None,
    end: Time | None = None,
) -> Mapping[str, Any]:
    """Clean data and return the report of `deepclean validate`, as its JSON has it.

    Args:
        data: as `clean` takes it.
        config: the configuration, or its file.
        start: as `clean` takes it.
        end: as `clean` takes it.

    Raises:
        ConfigError, InputError, ModelError: as `deepclean validate`.
    """
    run = _run(data, _loaded(config))
    span = _span(run.open_source(), start, end)
    request = ValidationRequest(span, [span], [], limits(()))
    return judge([run], request).report


def state_segments(state: TimeSeries) -> DataQualityDict:
    """Return when each bit of a cleaned frame's state vector is set, as segments by its name.

    Args:
        state: the channel `<ifo>:DEEPCLEAN-STATE_VECTOR`.
    """
    from gwpy.segments import DataQualityDict, DataQualityFlag, Segment

    bits = np.asarray(state.value).astype(np.uint32)
    rate, begin = float(state.sample_rate.value), float(state.t0.value)
    known = [Segment(begin, begin + len(bits) / rate)]
    found = DataQualityDict()
    for bit in State:
        on = np.concatenate(([0], ((bits & bit) != 0).astype(np.int8), [0]))
        edges = np.flatnonzero(np.diff(on)).reshape(-1, 2)
        active = [Segment(begin + low / rate, begin + high / rate) for low, high in edges]
        found[bit.name] = DataQualityFlag(bit.name, known=known, active=active)
    return found


def _loaded(config: Config | str | Path) -> Config:
    return config if isinstance(config, Config) else load_config(Path(config))


def _run(data: TimeSeriesDict, config: Config) -> ValidationRun:
    return ValidationRun("data", config, partial(_source, config, from_gwpy(data)))


def _source(config: Config, held: RemoteData) -> HistorySource:
    return HistorySource(channels_of(config), held, held)


def _span(source: HistorySource, start: Time | None, end: Time | None) -> Span:
    """Return the whole seconds that are wanted of the strain."""
    strain = source.channels.strain
    (held,) = source.strain.spans(strain)
    first = -(-held.start // NS) if start is None else _second("start", start)
    last = held.end // NS if end is None else _second("end", end)
    if not first < last:
        raise InputError(f"{strain}: no whole second from GPS {first} to {last}")
    earliest, latest = held.start // NS, -(-held.end // NS)
    for name, second, beyond in (("start", first, earliest - first), ("end", last, last - latest)):
        if beyond > _BEYOND:
            raise InputError(
                f"{name}: GPS {second} is {beyond} s outside of the data: {strain} covers GPS "
                f"{earliest} to {latest}; take it from there, or leave {name} out"
            )
    return Span(first * NS, last * NS)


def _second(name: str, given: Time) -> int:
    """Return the whole GPS second that an argument names.

    Raises:
        InputError: it names none.
    """
    to_value = getattr(given, "to_value", None)  # as a Quantity has it
    try:
        value: Any = given if to_value is None else to_value("s")
        number = isinstance(value, SupportsFloat) and not isinstance(value, bool | np.bool)
        if not (number or isinstance(value, str)) or np.ndim(value):
            raise ValueError("of this kind no time is taken")
        return whole_second(str(value)) // NS
    except ValueError as error:
        raise InputError(
            f"{name}={given!r}: {error}; wanted is a whole GPS second, as 1420000000, or a date in "
            "UTC, as '2025-01-04 04:40'"
        ) from error
