"""The step that the daemon and replay share: a frame in, the frames that it completes written."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import errorcode
from functools import partial
from pathlib import Path

from deepclean import __version__
from deepclean.config import Config
from deepclean.control.updates import CONTROL
from deepclean.core import reasons
from deepclean.core.block import Block, Gap, Series, Version, concatenate
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.frames import Assembler, FrameJoiner
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.output.products import outcome, reasons_record, render
from deepclean.core.time import NS, format_gps
from deepclean.errors import OutputError
from deepclean.io.arrakis.publisher import BlockPublisher
from deepclean.io.frame_channels import estimate_rates, strain_channels
from deepclean.io.sink import Appeared, FrameSink
from deepclean.models.model import Model
from deepclean.rollout.updates import ModelIdentity, ModelUpdates
from deepclean.system.logs import Transitions
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.counters import IdentifiesModel

_log = logging.getLogger(__name__)


class FrameCleaner:
    """Cleans frames and writes them.

    Args:
        config: says which channels and products.
        engine: made from it.
        sink: where the frames go.
        now: monotonic seconds, for the latencies; None where there is nothing to measure.
        duration: nanoseconds of a written frame; None: as the input's.
        strict: raise where a frame cannot be written, rather than count it as lost.
        updates: of the models; None where those that the engine began with stay.
        accounts: are told of every frame.

    Attributes:
        publisher: publishes every frame, beside the sink or in its place; None: nobody does.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        sink: FrameSink,
        now: Callable[[], float] | None = None,
        *,
        duration: int | None = None,
        strict: bool = False,
        updates: ModelUpdates | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self._strain = config.strain.channel
        self._state = config.strain.state_vector
        self._products, self._subtracted = config.output.products, config.output.subtracted
        self._estimates = estimate_rates(config)
        self._engine = engine
        self._failed: dict[Version, Exception] = {}
        self._failing: dict[Version, Exception] = {}
        self._assembler = Assembler(engine)
        self._finished: list[CleanedFrame] = []
        self._joiner = FrameJoiner(duration)
        self._outcomes: deque[str] = deque()  # of the frames inside the joiner, in order
        self._strict = strict
        self._updates = updates
        accounts = accounts or Accounts()
        self._counters, self._timings = accounts.counters, accounts.timings
        self._spectra = accounts.spectra
        self._sink = sink
        self.publisher: BlockPublisher | None = None
        self._rendered: tuple[CleanedFrame, dict[str, Series]] | None = None
        self._now = now
        self._writing = True
        self._gaps: Counter[str] = Counter()
        self._said = Transitions(_log)
        self.ledger = accounts.ledger
        self.latencies = accounts.latencies

    def push(self, frame: InputFrame) -> list[Path]:
        """Clean the next frame; return the files that this completes."""
        if frame.wanted:
            self._enter(frame)
        self._update_models(frame)
        with self._timings.stage("clean"):
            finished = self._attempt(partial(self._assembler.push, frame), frame)
        if self._updates is not None:
            self._guard("controls", "what freezes hold is not recorded", self._updates.note_held)
        self._say_failures(frame)
        written = self._write(finished)
        with self._timings.stage("prepare"):
            self._guard("preparing", "the next frame is not prepared", self._engine.prepare)
        return written

    def release(self) -> list[Path]:
        """Write what is inside, without its look-ahead (Engine.release)."""
        written = self._write(self._attempt(self._assembler.release))
        return written + self._write_each(self._joiner.flush())

    @property
    def model_errors(self) -> Mapping[Version, Exception]:
        """What the networks raised over the last frame taken, by version."""
        return self._failing

    def _attempt(
        self, work: Callable[[], list[CleanedFrame]], frame: InputFrame | None = None
    ) -> list[CleanedFrame]:
        """Return what the assembler finishes; where it fails, what it holds, as it came."""
        try:
            finished = work()
        except Exception as error:
            if self._strict:
                raise
            self._said.failed(
                "clean", "the cleaning failed and begins anew; what is inside passes through", error
            )
            return self._assembler.abandon(frame)
        if frame is not None:
            self._said.works("clean", "the cleaning works again")
        return finished

    def _update_models(self, frame: InputFrame) -> None:
        """Let the models come and go before a frame goes in; where that fails, all stays as it is.

        What was decided on frames that came out is in force from this frame on: no earlier frame
        can be changed by it.
        """
        finished, self._finished = self._finished, []
        if self._updates is None:
            return
        step = partial(self._updates.step, finished, frame)
        self._guard("models", "the models are not updated", step)
        step = partial(self._updates.take_orders, frame)
        self._guard("orders", "no orders of operators are taken", step)

    def _guard(self, what: str, said: str, step: Callable[[], None]) -> None:
        """Do a step on which no frame depends; where it fails, say so once and go on."""
        try:
            step()
        except Exception as error:
            if self._strict:
                raise
            self._said.failed(what, said, error)
        else:
            self._said.works(what, f"{what}: works again")

    def _say_failures(self, frame: InputFrame) -> None:
        """Log which networks began to fail and which work again: transitions only."""
        errors = self._engine.model_errors
        if not errors and not self._failed:
            return
        failing = {n: e for n, e in errors.items() if e is not self._failed.get(n)}
        instant = format_gps(frame.span.start)
        for version in failing.keys() - self._failing.keys():
            _log.warning("GPS %s: the network of %s fails: %s", instant, version, failing[version])
        for version in self._failing.keys() - failing.keys():
            _log.info("GPS %s: the network of %s works again", instant, version)
        self._failing, self._failed = failing, dict(errors)

    def _enter(self, frame: InputFrame) -> None:
        """Note a wanted frame in the ledger."""
        gap = next((b.strain for b in frame.blocks if isinstance(b.strain, Gap)), None)
        if gap is None:
            self.ledger.frames_in += 1
            self.ledger.inside += 1
            self.ledger.last_in = frame.span.end
        else:
            self._gaps[gap.reason] += frame.span.duration
            # The ledger counts whole seconds; frames may be shorter.
            seconds, self._gaps[gap.reason] = divmod(self._gaps[gap.reason], NS)
            self.ledger.gaps[gap.reason] += seconds

    def _write(self, frames: Sequence[CleanedFrame]) -> list[Path]:
        """Write the frames that are wanted, joined to the length that is configured."""
        if self._updates is not None:
            self._finished += frames
        written: list[Path] = []
        for frame in frames:
            if not frame.source.wanted:
                continue
            if self.publisher is not None:
                publish = partial(self._publish, self.publisher, frame)
                self._guard("publishing", "a frame is not published", publish)
            if _has_strain(frame.source.blocks):
                self._outcomes.append(outcome(frame))
                written += self._write_each(self._joiner.push(frame))
        return written

    def _write_each(self, frames: Iterable[CleanedFrame]) -> list[Path]:
        return [path for frame in frames if (path := self._write_one(frame)) is not None]

    def _write_one(self, frame: CleanedFrame) -> Path | None:
        outcomes = [self._outcomes.popleft() for _ in range(frame.frames)]
        try:
            path = self._put(frame)
        except Exception as error:
            if self._strict:
                raise
            self.ledger.inside -= frame.frames
            number = getattr(error, "errno", None) or 0
            self.ledger.lost[errorcode.get(number, "unknown")] += frame.frames
            if self._writing:
                instant, foreseen = format_gps(frame.span.start), isinstance(error, OutputError)
                told = None if foreseen else error
                _log.error("GPS %s: frame lost: %s", instant, error, exc_info=told)
            self._writing = False
            return None
        if not self._writing:
            _log.info("GPS %s: frames are written again", format_gps(frame.span.start))
        self._writing = True
        self.ledger.inside -= frame.frames
        self.ledger.written.update(outcomes)
        self.ledger.last_out = frame.span.end
        if self._now is not None and frame.source.arrived is not None:
            latency = self._now() - frame.source.arrived
            self.latencies.append(latency)
            self._timings.latency(latency)
        if self._spectra is not None:
            self._spectra.push(frame)
        return path

    def _publish(self, publisher: BlockPublisher, frame: CleanedFrame) -> None:
        """Hand a frame to the publisher."""
        if _has_strain(frame.source.blocks):
            publisher.push(frame.span, self._render(frame))
        else:
            publisher.push_gap(frame.span)

    def _render(self, frame: CleanedFrame) -> dict[str, Series]:
        """Return the channels of a frame; those of the last one are kept."""
        if self._rendered is None or self._rendered[0] is not frame:
            with self._timings.stage("render"):
                rendered = render(
                    *(frame, self._strain, self._products, self._estimates),
                    subtracted=self._subtracted,
                )
            self._rendered = frame, rendered
        return self._rendered[1]

    def _put(self, frame: CleanedFrame) -> Path | None:
        """Write one frame, where frames are written; return the file."""
        rendered = self._render(frame)
        self._rendered = None
        self._counters.cleaned(frame, rendered)
        if self._updates is not None:
            self._note_models(self._updates.identities(frame))
            self._note_controls(self._updates.controls_over(frame.span))
        if self.publisher is not None and self.publisher.only:
            return None
        self._note(reasons.RECORD, reasons_record(frame))
        if self._state is not None:
            rendered |= _copied(frame, self._state)
        with self._timings.stage("write"):
            return self._sink.write(frame.span, rendered)

    def _note_models(self, models: Mapping[str, ModelIdentity]) -> None:
        """Say in the frames and to whoever asks which models are in force."""
        if models != self._counters.models:
            self._counters.models = models
            self._sink.history = {**self._sink.history, **models_record(models)}

    def _note_controls(self, controls: Mapping[str, str]) -> None:
        """Say in the frames what operators set."""
        self._note(CONTROL, controls)

    def _note(self, kind: str, record: Mapping[str, str]) -> None:
        """Take the lines of the frames' history whose names begin with `kind` from a record."""
        history = self._sink.history
        others = {name: said for name, said in history.items() if not name.startswith(kind)}
        # Their order is part of the file.
        if [*others.items(), *record.items()] != list(history.items()):
            self._sink.history = {**others, **record}


def sink_of(
    config: Config,
    loaded: Mapping[str, Model],
    directory: Path | None = None,
    *,
    sweeps: bool = True,
    guard: Callable[[], None] = lambda: None,
    appeared: Appeared = lambda name, channels: None,
) -> FrameSink:
    """Return the sink of a configuration.

    Args:
        config: says what is written, and how.
        loaded: the models in force.
        directory: where to; nothing is deleted there. None: the configuration's own, with its
            retention.
        sweeps: see FrameSink.
        guard: see FrameSink.
        appeared: see FrameSink.

    Raises:
        OutputError: the directory cannot be used.
    """
    output = config.output
    elsewhere = directory is not None
    return FrameSink(
        directory=directory or output.directory,
        interferometer=config.interferometer,
        description=output.description,
        history=made_from(config, loaded),
        units=dict.fromkeys(strain_channels(config), "strain"),
        compression=output.compression,
        fsync=output.fsync,
        keep_count=None if elsewhere else output.retention.count,
        keep_age=None if elsewhere else output.retention.age,
        sweeps=sweeps,
        guard=guard,
        appeared=appeared,
    )


def made_from(config: Config, loaded: Mapping[str, IdentifiesModel]) -> dict[str, str]:
    """Return what a frame's history says of how it was made, by name."""
    record = {"deepclean": __version__, "configuration": config.hash, "wait": str(config.wait)}
    return record | models_record(loaded)


def models_record(models: Mapping[str, IdentifiesModel]) -> dict[str, str]:
    """Return what a frame's history says of the models in force, by coupling."""
    return {f"model {n}": f"version {m.version} sha256 {m.hash}" for n, m in models.items()}


def _has_strain(blocks: Iterable[Block]) -> bool:
    return all(isinstance(block.strain, Series) for block in blocks)


def _copied(frame: CleanedFrame, state: str) -> dict[str, Series]:
    """Return the source's state vector, unchanged, where the whole frame has it."""
    pieces = [block.source.state for block in frame.blocks]
    series = [piece for piece in pieces if isinstance(piece, Series)]
    if len(series) < len(pieces):
        return {}
    return {state: concatenate(series)}
