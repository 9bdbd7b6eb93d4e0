"""`deepclean validate`: a report on a stretch of history, and the parity of a live run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli.options import (
    ConfigOption,
    EndOption,
    FetchOption,
    SetOption,
    StartOption,
    StrainPaths,
    WitnessPaths,
    history_source,
    prepare,
    whole_span,
)
from deepclean.config import Config, load
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError, hint

if TYPE_CHECKING:
    from deepclean.simulate.injection import Injection
    from deepclean.validate.shards import ValidationRun

NOT_MET = 3
"""Exit status where criteria are not met, or a difference is not explained."""


def validate(
    config: ConfigOption,
    start: StartOption,
    end: EndOption,
    out: Annotated[
        Path | None, typer.Option(help="Directory of the report.", show_default=False)
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Parity instead of a report: compare the frames of a live run that lie in this "
            "directory with a replay of the same time; with --out also as parity.json.",
            show_default=False,
        ),
    ] = None,
    segments: Annotated[
        Path | None,
        typer.Option(help="File of the segments that count: HDF5, XML, or text of two columns."),
    ] = None,
    flag: Annotated[
        str | None,
        typer.Option(
            help="Data-quality flag that counts; of the file, or without one of the segment "
            "database.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes. Their number changes nothing of the result.")
    ] = 1,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="[COUPLING=]DIRECTORY",
            help="Compare with the same configuration with this model.",
        ),
    ] = None,
    compare_config: Annotated[
        Path | None, typer.Option(help="Compare with this configuration.")
    ] = None,
    criteria: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LIMIT",
            help="Change a criterion: asd_ratio, worst_8s, guard, outside, duty_cycle, "
            "range_gain, snr_ratio, relative (to what is compared); none: not judged. "
            "May be repeated.",
            show_default=False,
        ),
    ] = None,
    inject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GPS[,M1,M2,MPC]",
            help="Put a binary merging at GPS into the strain before it is cleaned, and find it "
            "again. May be repeated.",
            show_default=False,
        ),
    ] = None,
    strain: StrainPaths = None,
    witnesses: WitnessPaths = None,
    fetch: FetchOption = False,
    override: SetOption = None,
) -> None:
    """Validate a configuration and its models over a stretch of history.

    Cleans it with the engine and the gates of a live run, and writes a report: index.html and
    report.json. Exit status 0: all criteria are met (with --against: no difference is left
    unexplained); 3: not so; 2: the configuration or the input is of no use; 1: the report cannot
    be written.
    """
    settings = prepare(config, override)
    span = whole_span(start, end)
    if out is None and against is None:
        raise ConfigError("--out DIR for a report, or --against DIR for the parity, please")
    from deepclean.models.loading import load_models
    from deepclean.run.lookahead import decided
    from deepclean.validate.shards import ValidationRun

    def run_of(name: str, of: Config) -> ValidationRun:
        # A live run reads nothing of a damaged file, so its replay must not either.
        whole = against is not None and of.input.checksum
        opened = partial(history_source, of, span, strain, witnesses, fetch, checksum=whole)
        if of.wait == "auto":
            if against is not None:
                raise ConfigError(
                    "couplings: wait is auto: name what that run decided, as --set "
                    "couplings.NAME.wait=0 (`deepclean inspect` prints it with the frames' history)"
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
    raise typer.Exit(_report(runs, span, out, segments, flag, jobs, criteria or [], inject or []))


def _report(
    runs: Sequence[ValidationRun],
    span: Span,
    out: Path,
    segments: Path | None,
    flag: str | None,
    jobs: int,
    criteria: Sequence[str],
    inject: Sequence[str],
) -> int:
    """Write the report; return the exit status."""
    from deepclean.validate.criteria import limits
    from deepclean.validate.report import write
    from deepclean.validate.run import ValidationRequest, validate
    from deepclean.validate.signals import outside

    signals = _signals(inject)
    wrong = outside(signals, span)
    if wrong:
        raise ConfigError([f"--inject {text}: does not merge in the span" for text in wrong])
    counting, said = _counting(span, segments, flag)
    asked = ValidationRequest(span, counting, tuple(signals.values()), limits(criteria), said)
    with _Bar() as bar:
        validated = validate(runs, asked, jobs, bar.show)
    page = write(validated, out)
    for fault in validated.report["runs"][0]["unread"]:
        print(f"deepclean: {fault}", file=sys.stderr)
    verdict = validated.report["verdict"]
    for each in verdict["criteria"]:
        limit = f">= {each['at_least']:g}" if "at_least" in each else f"<= {each['at_most']:g}"
        value = "none" if each["value"] is None else f"{each['value']:.5g}"
        of = f" ({each['of']})" if each["of"] else ""
        print(f"{'met    ' if each['met'] else 'NOT MET'} {each['criterion']}{of} {value} {limit}")
    print(f"{'in spec' if verdict['passed'] else 'not in spec'}: {page}")
    return 0 if verdict["passed"] else NOT_MET


def _parity(run: ValidationRun, span: Span, directory: Path, out: Path | None, jobs: int) -> int:
    """Print how a live run's frames differ from their replay; return the exit status."""
    from deepclean.validate.parity import parity, write

    with _Bar() as bar:
        found = parity(run, span, directory, jobs, bar.show)
    for line in found.lines():
        print(line)
    if out is not None:
        write(found, out)
    return 0 if found.passed else NOT_MET


class _Bar:
    """A progress bar on standard error."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._progress.start()
        self._task = self._progress.add_task("validate", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, done: int, total: int) -> None:
        """Show how many jobs are done."""
        self._progress.update(self._task, completed=done, total=total)


def _other(
    path: Path,
    override: list[str] | None,
    config: Config,
    compare: str | None,
    compare_config: Path | None,
) -> tuple[str, Config] | None:
    """Return name and configuration of what is compared, if anything is."""
    if compare is not None and compare_config is not None:
        raise ConfigError("--compare and --compare-config: one of them, please")
    if compare_config is not None:
        return compare_config.stem, load(compare_config)
    if compare is None:
        return None
    coupling, _, directory = compare.rpartition("=")
    from deepclean.models import load as models

    model = models.load(Path(directory))
    version = model.version
    if not coupling:
        coupling = model.coupling
        if len(config.enabled_couplings) == 1:
            (coupling,) = config.enabled_couplings
    if coupling not in config.enabled_couplings:
        known = list(config.enabled_couplings)
        raise ConfigError(f"--compare {compare}: no coupling {coupling}{hint(coupling, known)}")
    given = [*(override or []), f"couplings.{coupling}.model={Path(directory).absolute()}"]
    return f"{coupling} version {version}", load(path, given)


def _counting(span: Span, segments: Path | None, flag: str | None) -> tuple[list[Span], str | None]:
    """Return the parts of the span that count, and what said so."""
    from deepclean.validate.segments import query_segments, read_segments, within

    if segments is not None:
        found = read_segments(segments, flag)
    elif flag is not None:
        found = query_segments(flag, span)
    else:
        return [span], None
    said = " ".join(part for part in (flag, segments.name if segments else None) if part)
    counting = within(found, span)
    if not counting:
        raise InputError(f"{said}: no segment in GPS {span.start // NS} to {span.end // NS}")
    return counting, said


def _signals(inject: Sequence[str]) -> dict[str, Injection]:
    from deepclean.cli.simulate import injection

    return {text: injection(text) for text in inject}
