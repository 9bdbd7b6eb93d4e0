"""`deepclean validate`: a report on a span of history, or the parity of a live run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.begin.simulate import injection
from deepclean.cli.terminal import times
from deepclean.cli.terminal.progress import progress
from deepclean.cli.terminal.resume import begins_anew, interruptible
from deepclean.config import Config, load
from deepclean.core.output.segments import intersection
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, ExitStatus, InputError, hint
from deepclean.remote.address import address_of
from deepclean.remote.output import output_directory
from deepclean.validate.criteria import limits, unmeasured
from deepclean.validate.segments import query_segments, read_segments

if TYPE_CHECKING:
    from deepclean.simulate.injection import Injection
    from deepclean.validate.run import ValidationRequest
    from deepclean.validate.shards import ValidationRun


def validate(
    config: options.ConfigOption,
    start: times.StartOption,
    end: times.EndOption,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of the report, also at an address such as s3://bucket/place."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Check the parity instead of writing a report: compare the frames of a live run "
            "in this directory with a replay of the same time. With --out, also write parity.json."
        ),
    ] = None,
    segments: Annotated[
        Path | None,
        typer.Option(help="File of the segments that count: HDF5, XML, or text of two columns."),
    ] = None,
    flag: Annotated[
        str | None,
        typer.Option(
            help="Data-quality flag that counts, in that file; without a file, in the segment "
            "database."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Number of processes. It does not change the result.")
    ] = 1,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="[COUPLING=]DIRECTORY",
            help="Compare with the same configuration and the model in this directory.",
        ),
    ] = None,
    compare_config: Annotated[
        Path | None, typer.Option(help="Compare with this configuration.")
    ] = None,
    criteria: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LIMIT",
            help="Change the limit of a criterion: asd_ratio, worst_8s, guard, outside, "
            "duty_cycle, range_gain, snr_ratio, unseen, relative (to the compared run). The limit "
            "none means that the criterion is not judged. May be repeated.",
        ),
    ] = None,
    inject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GPS[,M1,M2,MPC]",
            help="Inject a binary that merges at GPS into the strain before it is cleaned, and "
            "recover it. May be repeated.",
        ),
    ] = None,
    strain: options.StrainPaths = None,
    witnesses: options.WitnessPaths = None,
    fetch: options.FetchOption = False,
    override: options.SetOption = None,
) -> None:
    """Validate a configuration and its models over a span of history.

    Cleans the span with the engine and the gates of a live run, and writes a report: index.html
    and report.json. Exit status 0: all criteria are met (with --against: every difference is
    explained); 3: that is not so; 2: the configuration or the input cannot be used; 1: the report
    cannot be written.
    """
    settings = options.prepare(config, override)
    span = times.whole_span(start, end)
    if out is None and against is None:
        raise ConfigError("no output: give --out DIR for a report, or --against DIR for the parity")
    judged, signals = limits(criteria or []), _signals(inject or [], span)
    counting, flagged = _counting(span, segments, flag)
    from deepclean.models.loading import load_models
    from deepclean.run.lookahead import decided
    from deepclean.validate.shards import ValidationRun

    def run_of(name: str, of: Config) -> ValidationRun:
        # A live run reads nothing of a damaged file, so its replay must not either.
        whole = against is not None and of.input.checksum
        opened = partial(options.history_source, of, span, strain, witnesses, fetch, checksum=whole)
        if of.wait == "auto":
            if against is not None:
                raise ConfigError(
                    "couplings: wait is auto: name what that run decided, as --set "
                    "couplings.NAME.wait=0 (`deepclean inspect FRAME` prints it with the frames' "
                    "history)"
                )
            of = decided(of, load_models(of), opened(), span)
        return ValidationRun(name, of, opened)

    run = run_of("validated", settings)
    if against is not None:
        raise typer.Exit(_parity(run, span, against, out, jobs))
    assert out is not None
    runs = [run]
    other = _other(config, override, settings, compare, compare_config)
    if other is not None:
        runs.append(run_of(*other))
    from deepclean.validate.run import ValidationRequest

    request = ValidationRequest(span, counting, tuple(signals), judged, flagged)
    raise typer.Exit(_report(runs, request, out, jobs))


def _signals(texts: Sequence[str], span: Span) -> list[Injection]:
    """Return the binaries that the option names.

    Raises:
        ConfigError: one is malformed, or does not merge in the span.
    """
    signals = {text: injection(text) for text in texts}
    late = [text for text, s in signals.items() if not span.start <= s.coalescence < span.end]
    if late:
        raise ConfigError([f"--inject {text}: does not merge in the span" for text in late])
    return list(signals.values())


def _report(runs: Sequence[ValidationRun], request: ValidationRequest, out: Path, jobs: int) -> int:
    """Write the report; return the exit status."""
    from deepclean.validate.report import write
    from deepclean.validate.run import validate

    with (
        interruptible(lambda: begins_anew(request.span)),
        progress("validate", unit="parts") as show,
    ):
        validated = validate(runs, request, jobs, show.reach)
    with output_directory(out) as directory:
        page = write(validated, directory)
    for fault in validated.report["runs"][0]["unread"]:
        print(f"deepclean: {fault}", file=sys.stderr)
    verdict = validated.report["verdict"]
    for each in verdict["criteria"]:
        limit = f">= {each['at_least']:g}" if "at_least" in each else f"<= {each['at_most']:g}"
        value = unmeasured(each["criterion"]) if (v := each["value"]) is None else f"{v:.5g}"
        of = f" ({each['of']})" if each["of"] else ""
        options.say(
            f"{'met    ' if each['met'] else 'NOT MET'} {each['criterion']}{of} {value} {limit}"
        )
    print(times.said(request.span))
    options.say(f"{'in spec' if verdict['passed'] else 'not in spec'}: {shown(page, out)}")
    return ExitStatus.DONE if verdict["passed"] else ExitStatus.VERDICT


def _parity(run: ValidationRun, span: Span, directory: Path, out: Path | None, jobs: int) -> int:
    """Print how a live run's frames differ from their replay; return the exit status."""
    from deepclean.validate.parity import parity, write

    with interruptible(lambda: begins_anew(span)), progress("compare", unit="parts") as show:
        found = parity(run, span, directory, jobs, show.reach)
    for line in found.lines():
        options.say(line)
    if out is not None:
        with output_directory(out) as place:
            write(found, place)
    return ExitStatus.DONE if found.passed else ExitStatus.VERDICT


def shown(page: Path, out: Path) -> str:
    """Return where a page of a report is, in words for a person."""
    address = address_of(out)
    return str(page) if address is None else f"{address}/{page.name}"


def _other(
    path: Path,
    override: list[str] | None,
    config: Config,
    compare: str | None,
    compare_config: Path | None,
) -> tuple[str, Config] | None:
    """Return name and configuration of the run to compare with, or None."""
    if compare is not None and compare_config is not None:
        raise ConfigError("--compare and --compare-config exclude each other")
    if compare_config is not None:
        return compare_config.stem, load(compare_config)
    if compare is None:
        return None
    coupling, _, directory = compare.rpartition("=")
    from deepclean.models import files as models
    from deepclean.models import packaged

    packaged.admit(config.models.architectures)
    model = models.load(Path(directory))
    known = list(config.enabled_couplings)
    if not coupling:
        coupling = known[0] if len(known) == 1 else model.coupling
    if coupling not in known:
        raise ConfigError(f"--compare {compare}: no coupling {coupling}{hint(coupling, known)}")
    given = [*(override or []), f"couplings.{coupling}.model={Path(directory).absolute()}"]
    return f"{coupling} version {model.version}", load(path, given)


def _counting(span: Span, segments: Path | None, flag: str | None) -> tuple[list[Span], str | None]:
    """Return the parts of the span that count, and the name of their source."""
    if segments is not None:
        found = read_segments(segments, flag)
    elif flag is not None:
        found = query_segments(flag, span)
    else:
        return [span], None
    name = " ".join(part for part in (flag, segments.name if segments else None) if part)
    counting = intersection(found, [span])
    if not counting:
        raise InputError(f"{name}: no segment in GPS {span.start // NS} to {span.end // NS}")
    return counting, name
