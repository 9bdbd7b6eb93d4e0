"""Parity: the frames of a live run against a replay of the same time, sample by sample.

A second that differs is explained if the frame accounts for the difference (`validate.compare`) and
there is a cause. A cause shows as a difference between the channels of the frame and the replay:

| reason | evidence |
|---|---|
| missing_in_archive | there is no frame |
| model_switch | the version channel differs, or the second is in the crossfade after that |
| operator | AUTOMATIC or FOLLOWING is 0: somebody set a gain or froze the adaptation |
| late_frame | WITNESSES_GOOD is 0: the frame or its witnesses came late; or beside such a second |
| no_lookahead | the gain falls to 0 at the end: the frame was released before the next one came; |
| | or the second is right before such a second |
| gate_memory | a gain or SETTLED differs, within the history after a late frame or a switch, |
| | which the gate remembers |
| adaptation | the gains that follow a drift differ, within the history after a late frame, a |
| | switch or a start, on which they rest; or the second is beside such a second |
| restart | a gain is lower or SETTLED is 0, within the engine's history after the first frame |
| | after a gap |

"Beside" and "before" reach as far as the filters, which spread a missing sample or its rounding.
Any other difference is unexplained. The CANARY product is not compared: a replay has no canary.
The estimates and their sum are compared where the configuration has them in its frames.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from deepclean.config import Config
from deepclean.core.channels import (
    adaptation,
    gain,
    model_version,
    product_names,
    state_vector,
    subtracted,
)
from deepclean.core.engine.schedule import CROSSFADE
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import InputError, output_errors
from deepclean.io.frame_channels import estimate_channels, estimate_rates
from deepclean.io.history import History
from deepclean.validate import shards
from deepclean.validate.compare import Comparison, DifferentSecond
from deepclean.validate.shards import OpenRun, ValidationRun
from deepclean.validate.whole import one_block

UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Parity:
    """The result of a comparison.

    Args:
        span: the compared span.
        compared: number of seconds that both archive and history hold.
        seconds: the seconds that differ, in order, each with its reason.
    """

    span: Span
    compared: int
    seconds: Sequence[tuple[DifferentSecond, str]]

    @property
    def passed(self) -> bool:
        """Whether every difference is explained."""
        return all(reason != UNEXPLAINED for _, reason in self.seconds)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the summary for people."""
        differ = sum(second.absent is None for second, _ in self.seconds)
        yield (
            f"GPS {self.span.start // NS} to {self.span.end // NS}: {self.compared} s compared, "
            f"{self.compared - differ} equal bit for bit, {differ} differ"
        )
        for reason in dict.fromkeys(reason for _, reason in self.seconds):
            seconds = [second for second, why in self.seconds if why == reason]
            yield f"{reason}: {len(seconds)} s, first:"
            yield from map("  {}".format, _detail(seconds[0]))
        count = sum(reason == UNEXPLAINED for _, reason in self.seconds)
        yield f"{count or 'no'} unexplained difference{'s' if count > 1 else ''}"

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "schema": 1,
            "span": [self.span.start // NS, self.span.end // NS],
            "compared": self.compared,
            "passed": self.passed,
            "seconds": [{"reason": why, **_plain(asdict(second))} for second, why in self.seconds],
        }


def parity(
    run: ValidationRun,
    span: Span,
    directory: Path,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Parity:
    """Compare archived frames with their replay.

    Args:
        run: the configuration of the live run, its models and its input.
        span: whole seconds.
        directory: directory of the frames, or of an archive of them.
        processes: number of processes.
        progress: told how many shards are done, of how many.

    Raises:
        InputError: there is nothing to compare.
    """
    archive = History([directory])
    archive.require(_strain_channels(run.config))
    if not any(each.overlap(span) for each in archive.spans()):
        raise InputError(f"no frame of {span}", path=directory)
    jobs = [(directory, shard) for shard in shards.shards([span])]
    found: list[DifferentSecond] = []
    compared = 0
    for done, (count, seconds) in enumerate(
        shards.in_processes([run], _work, jobs, processes), start=1
    ):
        compared += count
        found += seconds
        progress(done, len(jobs))
    if not compared:
        raise InputError(f"nothing of {span} is both there and in the history", path=directory)
    # The starts of frames without a frame before them. The start of the span is none of them.
    starts = [each.start // NS for each in archive.spans()]
    engine = OpenRun(run).engine()
    reach = -(-(engine.schedule.forecast + engine.settings.ramp) // NS) + 1
    return Parity(span, compared, explain(found, starts, -(-engine.history // NS), reach))


def write(found: Parity, into: Path) -> Path:
    """Write `parity.json` into a directory. Raises OutputError if that fails."""
    path = into / "parity.json"
    with output_errors(path, "cannot be written"):
        into.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found.as_json(), indent=1, allow_nan=False) + "\n")
    return path


def explain(
    seconds: Sequence[DifferentSecond], starts: Sequence[int], history: int, reach: int
) -> list[tuple[DifferentSecond, str]]:
    """Return each second with its reason (the module's table).

    Args:
        seconds: the seconds that differ, in order.
        starts: GPS seconds of frames without a frame before them.
        history: seconds of input that a sample depends on.
        reach: seconds beside a gap that the filters spoil.
    """
    # The gain that a frame tells is that of its end. It acts from the frame's start to the end of
    # the next one, and the filters spread that into a second before and one after.
    near = {s.start + ahead for s in seconds if s.adapted for ahead in (-1, 1, 2)}
    sound = [s for s in seconds if s.accounted or (s.accounted_beside and s.start in near)]
    accounted = {second.start for second in sound}
    late = [second.start for second in sound if second.late]
    switched = [second.start for second in sound if second.switched]
    operated = [second.start for second in sound if second.operated]
    adapted = [second.start for second in sound if second.adapted]

    def beside(second: DifferentSecond, whens: Sequence[int], before: int, after: int) -> bool:
        return any(-before <= second.start - when <= after for when in whens)

    # A gain also falls before a late frame, which is then the cause.
    early = [s.start for s in sound if s.ends_low and not beside(s, late, reach, 0)]

    def reason(second: DifferentSecond) -> str:
        if second.absent is not None:
            return "missing_in_archive" if second.absent == "archive" else UNEXPLAINED
        crossfaded = beside(second, switched, 0, CROSSFADE // NS)
        if second.start not in accounted:
            return "model_switch" if crossfaded else UNEXPLAINED
        told = second.told
        # A gate that began late opens later, never earlier.
        held_back = second.unsettled or not second.higher
        causes = [
            ("model_switch", second.switched or crossfaded),
            ("operator", second.operated),
            ("late_frame", second.late),
            ("no_lookahead", second.lower and beside(second, early, reach, 0)),
            ("late_frame", beside(second, late, reach, reach)),
            ("gate_memory", told and beside(second, late, 0, history)),
            ("gate_memory", beside(second, switched, 0, history if told else reach)),
            # The last cause: a start may have had all its history; the causes above are certain.
            ("restart", held_back and beside(second, starts, 0, history if told else reach)),
            (
                "adaptation",
                beside(second, adapted, 1, 2)
                and beside(second, [*late, *switched, *starts, *operated], 0, history),
            ),
        ]
        return next((name for name, holds in causes if holds), UNEXPLAINED)

    return [(second, reason(second)) for second in seconds]


def _work(job: tuple[Path, Span]) -> tuple[int, list[DifferentSecond]]:
    """Compare one shard; return the number of compared seconds, and those that differ."""
    directory, shard = job
    opened = shards.opened(0)
    config = opened.config
    ifo, strain = config.interferometer, config.strain
    archive = History([directory])
    names = [state_vector(ifo), *_strain_channels(config)]
    for coupling, settings in config.enabled_couplings.items():
        names += [gain(ifo, coupling), model_version(ifo, coupling)]
        if settings.adapt != "off":
            names += adaptation(ifo, coupling)
    if strain.state_vector is not None:
        names.append(strain.state_vector)
    comparison = Comparison(
        *(strain.channel, strain.state_vector, _official(config), estimate_rates(config)),
        subtracted=config.output.subtracted,
    )
    compared, seconds = 0, []
    for frame in opened.cleaned(shard):
        expected = comparison.replayed(frame)
        found = comparison.second(one_block(frame), expected, archive.read(names, frame.span))
        compared += expected is not None and (found is None or found.absent is None)
        if found is not None:
            seconds.append(found)
    return compared, seconds


def _official(config: Config) -> tuple[str, ...]:
    """Return the products that are compared. A replay has no canary."""
    return tuple(product for product in config.output.products if product != "CANARY")


def _strain_channels(config: Config) -> list[str]:
    """Return the channels that every frame has: products, estimates, and their sum."""
    strain = config.strain.channel
    names = [*product_names(strain, _official(config)).values(), *estimate_channels(config)]
    return [*names, subtracted(strain)] if config.output.subtracted else names


def _detail(second: DifferentSecond) -> Iterator[str]:
    """Yield the lines that describe one second."""
    if second.absent is not None:
        yield f"GPS {second.start}: not in the {second.absent}"
    for each in second.differences:
        if each.samples:
            yield (
                f"GPS {format_gps(each.instant)} {each.channel}: {each.archived:.10g} archived, "
                f"{each.replayed:.10g} replayed; {each.samples} samples differ, by at most "
                f"{each.largest:.3g}"
            )
        else:
            yield f"GPS {second.start} {each.channel}: not in the archive, or damaged"


def _plain(values: Any) -> Any:
    """Return a structure with None for every number that is not finite."""
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(value) for value in values]
    return None if isinstance(values, float) and not isfinite(values) else values
