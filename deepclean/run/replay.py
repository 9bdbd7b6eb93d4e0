"""Replay: the daemon's cleaning over history, as fast as the machine allows.

Input before the span refills the engine's history and input after it gives the look-ahead, so the
samples of any stretch are the same whether it is replayed alone, as part of a longer one, or was
cleaned live. What is finished is not done again, so an interrupted replay is resumed by repeating
the command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deepclean.config import Config
from deepclean.core.engine.engine import Engine
from deepclean.core.frame import InputFrame
from deepclean.core.output.segments import difference
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, ModelError
from deepclean.io.sink import FrameSink
from deepclean.io.source import HistorySource
from deepclean.io.t050017 import FrameName
from deepclean.rollout.updates import ModelUpdates
from deepclean.run import configurations
from deepclean.run.cleaner import FrameCleaner

Progress = Callable[[int], None]
"""Called with the nanoseconds of data done since the last call."""


@dataclass(frozen=True, slots=True)
class ReplayOutput:
    """The frames that a replay writes.

    Args:
        duration: nanoseconds of a frame, whole seconds.
        overwrite: clean also what is finished already, and replace those frames.
        elsewhere: frames that were finished before and are not in the sink's directory.
    """

    duration: int = NS
    overwrite: bool = False
    elsewhere: tuple[FrameName, ...] = ()


SECONDS = ReplayOutput()
"""Frames of one second, where there are none yet."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay did.

    Args:
        written: frames written now.
        skipped: nanoseconds that were finished already.
        gaps: seconds without strain.
        outcomes: written seconds, by what became of each: `cleaned`, or the first reason why it
            is not cleaned throughout (Ledger.written), however many there are in a frame.
    """

    written: int
    skipped: int
    gaps: int
    outcomes: Counter[str] = field(default_factory=Counter, compare=False)


def replay(
    config: Config,
    make_engine: Callable[[], Engine],
    source: HistorySource,
    sink: FrameSink,
    span: Span,
    *,
    output: ReplayOutput = SECONDS,
    progress: Progress = lambda done: None,
    updates: Callable[[Engine], ModelUpdates] | None = None,
) -> ReplayResult:
    """Clean a span of history into frames.

    Args:
        config: what to clean.
        make_engine: gives a fresh engine for each stretch that is still to be done.
        source: where the data is.
        sink: where the frames go; what it holds of the span is taken as finished.
        span: whole seconds.
        output: the frames that are wanted.
        progress: told how the work gets on.
        updates: gives the updates of an engine's models, where they are not to stay as they are.

    Raises:
        InputError: the span or the duration is not whole seconds, a channel is not there, the
            strain has another rate, or the frames that are there were made otherwise.
        OutputError: a frame cannot be written.
        ModelError: a network failed; a live run would pass the strain through.
    """
    # The models in force change while a run goes on whose models are taken from its record.
    compared = None if updates is None else ("configuration", "wait")
    parts = unfinished(config, span, output, sink, compared)
    source.check()
    configurations.keep(config, sink.directory)
    skipped = span.duration - sum(part.duration for part in parts)
    progress(skipped)
    written, gaps, outcomes = 0, 0, Counter[str]()
    for part in parts:
        engine = make_engine()
        cleaning = FrameCleaner(
            config,
            engine,
            sink,
            duration=output.duration,
            strict=True,
            updates=updates(engine) if updates else None,
        )
        written += clean(
            cleaning, engine, source.frames(part, engine.needs(part), skip=True), progress
        )
        gaps += cleaning.ledger.gaps.total()
        outcomes += cleaning.ledger.written
    return ReplayResult(written, skipped, gaps, outcomes)


def unfinished(
    config: Config,
    span: Span,
    output: ReplayOutput,
    sink: FrameSink,
    compared: Iterable[str] | None = None,
) -> list[Span]:
    """Return the parts of a span that are still to be done.

    Args:
        config: by which they are cleaned.
        span: whole seconds.
        output: the frames that are wanted.
        sink: where the frames go.
        compared: the history records in which frames that are there must agree with those to be
            written; None: those of the configuration and of all models.

    Raises:
        InputError: the span or the duration is not whole seconds; or the frames that are there were
            made otherwise, or, if they are to be replaced, would not be.
        OutputError: the sink's directory cannot be read.
    """
    duration = output.duration
    if span.start % NS or span.end % NS or duration % NS or duration < NS:
        raise InputError(f"{span} in frames of {duration / NS} s: only whole seconds are replayed")
    names = [*output.elsewhere, *sink.finished()]
    if output.overwrite:
        _require_replaced(span, duration, names, sink.directory)
        return [span]
    keys = [k for k in sink.history if k != "deepclean"] if compared is None else list(compared)
    if found := sink.foreign(span, keys):
        name, there = found
        said = "; ".join(_differing(config, sink, there))
        raise InputError(
            f"{name} was made otherwise ({said}): choose another directory "
            "(--output), a span without such frames, or --overwrite",
            path=sink.directory,
        )
    return difference([span], sorted((name.span for name in names), key=lambda one: one.start))


def _differing(config: Config, sink: FrameSink, there: Mapping[str, str]) -> Iterator[str]:
    """Yield how the history records of a frame differ from those to be written, in words."""
    for record, value in there.items():
        if record == "configuration":
            keys = configurations.differences(config, sink.directory, value)
            if keys:
                yield from keys
                continue
        yield f"{record}: {value} there, {sink.history.get(record, 'nothing')} now"


def _require_replaced(
    span: Span, duration: int, names: Iterable[FrameName], directory: Path
) -> None:
    """Raise InputError for a frame that would stay beside the frames of its time."""
    for name in names:
        start = name.span.start // duration * duration
        whole = Span(start, start + duration).overlap(span)
        if name.span.overlap(span) is not None and whole != name.span:
            raise InputError(
                f"{name} would stay beside the frames that replace it: remove it, or choose "
                "--start, --end and --duration as they were",
                path=directory,
            )


def clean(
    cleaning: FrameCleaner, engine: Engine, frames: Iterable[InputFrame], progress: Progress
) -> int:
    """Clean one stretch to its end; return how many frames were written.

    Raises:
        OutputError, ModelError: as `replay`.
    """
    written = 0
    for frame in frames:
        written += len(cleaning.push(frame))
        for version, error in engine.model_errors.items():
            raise ModelError(f"the network of {version} failed: {error}") from error
        if frame.wanted:
            progress(frame.span.duration)
    return written + len(cleaning.release())
