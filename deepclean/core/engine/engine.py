"""The signal's path: blocks of strain and witnesses in, cleaned blocks out.

`push(block)` takes the next stretch of input, of any length, and returns the earlier blocks whose
cleaning it completed: one out for one in, of the same span. Cleaning is computed in hops anchored
to GPS 0, so the samples of a block are a pure function of the configuration, the models and the
input from `history` before it to `lookahead` after it, however the input was cut and whenever the
engine was started. Where nothing waits, `lookahead` is 0, and the witnesses after a hop are
forecast (core.engine.forecasting).

Per hop `k`, each stage has advanced by its offset in the schedule (core.engine.schedule):

    witnesses -> resample -> standardise, predict -> bandpass -> interpolate -> gain -> subtract
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deepclean.core import reasons
from deepclean.core.block import (
    Block,
    CleanedBlock,
    Estimate,
    Gap,
    Samples,
    Series,
    StrainProducts,
    Version,
    WitnessFault,
)
from deepclean.core.copying import copy_state
from deepclean.core.engine.controls import ActiveControls
from deepclean.core.engine.coupling import Coupling, schedule_of
from deepclean.core.engine.forecasting import Forecasting
from deepclean.core.engine.lookahead import LookAhead, Strategy
from deepclean.core.engine.pipeline import Pipeline
from deepclean.core.engine.schedule import EngineSettings, Schedule
from deepclean.core.engine.state import StreamState
from deepclean.core.engine.versions import ActiveVersions
from deepclean.core.subtract import subtract
from deepclean.core.time import NS, Span


class Engine:
    """Cleans a stream of blocks.

    Args:
        settings: the rates, hop, ramp and resampling that all couplings share.
        couplings: the couplings, at least one, with distinct names.

    Attributes:
        settings: the settings.
        versions: the versions of the models at work.
        controls: the operator's settings.
        schedule: the schedule of the engine's stages.
        witnesses: all channels that any coupling uses, sorted.

    Raises:
        ValueError: there is no coupling, two have the same name, a network does not suit its
            configured mode, or a coupling has no bands where there are gates or forecasts.
    """

    def __init__(self, settings: EngineSettings, couplings: Sequence[Coupling]) -> None:
        if not couplings or len({coupling.name for coupling in couplings}) < len(couplings):
            raise ValueError("an engine needs at least one coupling, each with its own name")
        self.settings = settings
        self.schedule = Schedule(settings, {c.name: schedule_of(settings, c) for c in couplings})
        # Constants, asked for with every block, which take longer to compute than a block to take.
        self._history, self._lookahead = self.schedule.history, self.schedule.lookahead
        waits = settings.forecast is None
        strategy: Strategy = (LookAhead if waits else Forecasting)(settings, self.schedule)
        self._pipeline = Pipeline(settings, self.schedule, strategy, couplings)
        self.witnesses = self._pipeline.witnesses
        self.versions = ActiveVersions(self._pipeline)
        self._state = self.versions.state
        self.controls = ActiveControls(settings, self._state)

    @property
    def model_errors(self) -> dict[Version, Exception]:
        """The last error of each version's network. Its estimate is invalid there."""
        return dict(self._state.errors)

    @property
    def frontier(self) -> int | None:
        """The end of the input, GPS nanoseconds; None before the first block."""
        return self._state.stream.frontier if self._state.stream else None

    @property
    def pending(self) -> int:
        """The number of blocks that went in and have not come out."""
        return len(self._state.stream.pending) if self._state.stream else 0

    @property
    def history(self) -> int:
        """The history `H`: the nanoseconds of input before a hop that its samples depend on."""
        return self._history

    @property
    def lookahead(self) -> int:
        """The look-ahead `L`: the nanoseconds of input after a hop that its samples depend on."""
        return self._lookahead

    def needs(self, span: Span) -> Span:
        """Return the input that the cleaned samples of a span depend on.

        A span that is not whole hops needs the history of the hop in which it begins and the
        look-ahead of the one in which it ends.
        """
        hop = self.settings.hop
        return Span(
            span.start // hop * hop - self.history, -(-span.end // hop) * hop + self.lookahead
        )

    def push(self, block: Block) -> list[CleanedBlock]:
        """Take the next block and return the blocks that it completes, in order.

        A stretch between the last block's end and this one's start is a gap in every channel.

        Args:
            block: the next block, with strain at the rate of the settings and witnesses at any rate
                from the slowest that the settings take. A slower witness counts as a gap.

        Raises:
            ValueError: the block starts before the end of the last one, or its strain has
                another rate. The engine is unchanged.
        """
        if isinstance(block.strain, Series) and block.strain.rate != self.settings.strain_rate:
            raise ValueError(
                f"strain at {block.strain.rate} Hz, expected {self.settings.strain_rate} Hz"
            )
        finished: list[CleanedBlock] = []
        stream, start = self._state.stream, block.span.start
        if stream is not None and start < stream.frontier:
            raise ValueError(f"{block.span} starts before the end of the input so far")
        if stream is not None and start > stream.frontier + self.history + self.lookahead:
            # No block before such a gap rests on input after it, and none after on input before.
            finished, stream = self.release(), None
        if stream is None:
            self.versions.drop_leaving()
            stream = self._state.stream = self._pipeline.start(start)
        self._pipeline.prepare(stream)  # under the controls that were in force so far
        self.controls.prepare(stream)
        if start > stream.frontier:
            self._pipeline.skip(stream, start, reasons.NO_INPUT)
        stream.pending.append((block, self._pipeline.push(stream, block)))
        finished += self._give_out(stream)
        self._note_errors(stream)
        self.controls.collect(stream)
        self.versions.retire(stream)
        return finished

    def prepare(self) -> None:
        """Do what the next `push` begins with, while nobody waits for a block.

        Without look-ahead a hop leaves to the next one what it does not need itself: gains that are
        learnt, forecasts that are fitted, a look of the gates at its end. Nothing that comes out
        depends on whether this is called.
        """
        if self._state.stream is not None:
            self._pipeline.prepare(self._state.stream)

    def release(self) -> list[CleanedBlock]:
        """Return every block that is still pending, as if the input ended with a gap.

        The stream may go on, and later blocks still see the whole history. Only the blocks that are
        released here lack their look-ahead, so their gain falls to 0 towards the end.
        """
        kept = self._state.stream
        if kept is None or not kept.pending:
            return []
        stream = copy_state(kept)
        kept.pending.clear()
        # The last pending block is complete when its last hop is: a hop and a look-ahead after it
        # at most. Twice that is on the safe side.
        end = stream.frontier + 2 * self.lookahead + 2 * self.settings.hop
        self._pipeline.skip(stream, end, reasons.NO_LOOKAHEAD)
        self._note_errors(stream)
        return self._give_out(stream)

    def restart(self) -> None:
        """Drop the input so far and the pending blocks. The next block may start anywhere."""
        self._state.stream = None

    def _note_errors(self, stream: StreamState) -> None:
        """Keep the last error of each version's network."""
        for version, state in stream.couplings.items():
            if state.error is not None:
                self._state.errors[version] = state.error

    def _give_out(self, stream: StreamState) -> list[CleanedBlock]:
        """Return the pending blocks whose hops are all computed."""
        hop, finished = self.settings.hop, []
        while stream.pending and stream.pending[0][0].span.end <= stream.step * hop:
            finished.append(self._finish(stream, *stream.pending.popleft()))
        if (stream.step - stream.trimmed) * hop >= NS:  # once a second, however short the hops are
            self._pipeline.trim(stream)
            stream.trimmed = stream.step
        return finished

    def _finish(
        self, stream: StreamState, block: Block, faults: tuple[WitnessFault, ...]
    ) -> CleanedBlock:
        """Return the cleaned block of a block whose hops are all computed."""
        if isinstance(block.strain, Gap):
            return CleanedBlock(block, None, {}, faults)
        made = self.controls.applied(self.versions.estimates(stream, block.span), block.span)
        estimates, canary = self.versions.assign(stream.switches, made, block.span)
        products = _products(block.strain.samples, estimates.values(), canary.values())
        others: dict[Version, Estimate] = {}
        if len(made) > len(estimates):
            in_production = {Version(name, one.version) for name, one in estimates.items()}
            others = {v: one for v, one in made.items() if v not in in_production}
        return CleanedBlock(block, products, estimates, faults, canary, others)


def _products(
    strain: Samples, estimates: Iterable[Estimate], canary: Iterable[Estimate]
) -> StrainProducts:
    """Return the strain products of a block.

    Args:
        strain: the raw strain, shape `(n,)`.
        estimates: the estimates in production.
        canary: the estimates that the canary product subtracts instead; none where there is no
            canary.
    """
    official, tried = list(estimates), [estimate.ungated() for estimate in canary]
    # Where neither a gate nor an operator reduces a gain the first two products are the same array,
    # and without a canary the last two are.
    out_dq = production = subtract(strain, official)
    if any(one.valid is not None and one.gain is not one.valid for one in official):
        production = subtract(strain, [estimate.ungated() for estimate in official])
    return StrainProducts(out_dq, production, subtract(strain, tried) if tried else production)
