"""What a site leaves on disk: frame files of strain and witnesses, archives of the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from deepclean.core.block import Series, concatenate
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, OutputError
from deepclean.io.channels import OutputChannel
from deepclean.io.t050017 import FrameName
from deepclean.simulate.damage import Act
from deepclean.simulate.faults import Fault
from deepclean.simulate.rehearsal import Rehearsal
from deepclean.simulate.simulator import Simulator

LONGEST = 4096
"""Seconds in a file, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the files go and how long each is.

    Args:
        strain: directory of the strain's frame files, which hold the state vector too.
        witnesses: directory of the witnesses' frame files; None puts them into the strain's.
        truth: directory of HDF5 archives with what the strain is the sum of; None writes none.
        strain_length: seconds a file.
        witness_length: seconds a file.
        truth_length: seconds a file.
        strain_description: of LIGO-T050017, after the interferometer.
        witness_description: likewise.

    Raises:
        ConfigError: a length that is not a whole number of seconds from 1 to `LONGEST`.
    """

    strain: Path
    witnesses: Path | None = None
    truth: Path | None = None
    strain_length: int = 1
    witness_length: int = 1
    truth_length: int = 64
    strain_description: str = "llhoft"
    witness_description: str = "lldetchar"

    def __post_init__(self) -> None:
        for name in ("strain_length", "witness_length", "truth_length"):
            if not 1 <= getattr(self, name) <= LONGEST:
                raise ConfigError(
                    f"{name}: {getattr(self, name)} is not from 1 to {LONGEST} seconds"
                )


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of file.

    Args:
        directory: where.
        description: the second part of the name.
        length: seconds a file.
        channels: what each holds, by full name.
        extension: `gwf`, or `hdf5` for a channel archive.
    """

    directory: Path
    description: str
    length: int
    channels: tuple[str, ...]
    extension: str = "gwf"


@dataclass(frozen=True, slots=True, eq=False)
class MadeFile:
    """A file that is ready to appear.

    Args:
        product: its kind.
        path: its final name.
        span: what it covers.
        publish: makes it appear under that name, complete unless a fault has it otherwise.
        place: it appears when the file over this span is due: its own, but for a fault.
        delay: seconds of the clock after that.
        appears: False where a fault deletes the file or lets nothing happen.
    """

    product: Product
    path: Path
    span: Span
    publish: Callable[[], None]
    place: Span
    delay: float = 0.0
    appears: bool = True


def products(simulator: Simulator, layout: Layout) -> list[Product]:
    """Return the kinds of files that a layout asks of a site."""
    site = simulator.site
    strain = (site.strain, site.state)
    witnesses = tuple(witness.channel for witness in site.witnesses)
    described = f"{site.ifo}_{layout.strain_description}"
    if layout.witnesses is None:
        kinds = [Product(layout.strain, described, layout.strain_length, strain + witnesses)]
    else:
        kinds = [Product(layout.strain, described, layout.strain_length, strain)]
        if witnesses:
            described = f"{site.ifo}_{layout.witness_description}"
            kinds.append(Product(layout.witnesses, described, layout.witness_length, witnesses))
    if layout.truth is not None:
        truth = tuple(site.truth)
        kinds.append(Product(layout.truth, f"{site.ifo}_TRUTH", layout.truth_length, truth, "hdf5"))
    return kinds


def make_files(
    simulator: Simulator, kinds: list[Product], span: Span, faults: Sequence[Fault] = ()
) -> Iterator[tuple[int, list[MadeFile]]]:
    """Make the files of a span, second by second.

    Files follow one another from the span's start; the last of a kind may be shorter. A fault can
    make several of one.

    Args:
        simulator: of the site.
        kinds: of files.
        span: whole GPS seconds.
        faults: what goes wrong.

    Yields:
        The GPS second up to which the data are made, and the files that this second completed.

    Raises:
        ConfigError: the span does not start and end on whole seconds, or a wrong fault.
        InputError: the site is not defined over all of the span.
        OutputError: a directory cannot be made.
    """
    if span.start % NS or span.end % NS:
        raise ConfigError(f"frame files hold whole GPS seconds, which {span} is not")
    simulator.require(span)
    rehearsal = Rehearsal(simulator, faults, span)
    for kind in kinds:
        _make_directory(kind.directory)
    return _made(simulator, kinds, span, rehearsal)


def _made(
    simulator: Simulator, kinds: list[Product], span: Span, rehearsal: Rehearsal
) -> Iterator[tuple[int, list[MadeFile]]]:
    wanted = dict.fromkeys(name for kind in kinds for name in kind.channels)
    pending: dict[Product, list[dict[str, Series]]] = {kind: [] for kind in kinds}
    last = span.end // NS
    for second in range(span.start // NS, last):
        made = simulator.read(wanted, Span.of_seconds(second, 1))
        made = rehearsal.samples(made, Span.of_seconds(second, 1))
        finished = []
        for kind, seconds in pending.items():
            seconds.append({name: made[name] for name in kind.channels})
            if len(seconds) == kind.length or second + 1 == last:
                finished += _files(simulator, kind, seconds, rehearsal)
                seconds.clear()
        yield second + 1, finished


def _files(
    simulator: Simulator, kind: Product, seconds: list[dict[str, Series]], rehearsal: Rehearsal
) -> list[MadeFile]:
    """Return the file of these seconds; a frame is serialised here, ahead of its appearance."""
    from deepclean.io import gwf, hdf5

    site = simulator.site
    series = {name: concatenate([second[name] for second in seconds]) for name in kind.channels}
    span = next(iter(series.values())).span
    start, duration = span.start // NS, span.duration // NS
    name = FrameName(site.ifo[0], kind.description, start, duration, kind.extension)
    if kind.extension == "hdf5":
        path = kind.directory / str(name)
        truth = {channel: OutputChannel(one, "strain") for channel, one in series.items()}
        return [MadeFile(kind, path, span, lambda: hdf5.write_archive(path, truth), span)]
    series, flagged = rehearsal.channels(series, span)
    output = {
        channel: OutputChannel(one, "strain" if channel == site.strain else "")
        for channel, one in series.items()
    }
    made = {"SIMULATED": f"{site.ifo} seed {site.seed}"}
    data = gwf.serialise(span, output, history=made, invalid=flagged)
    acts = rehearsal.acts(name, data, kind.channels, kind.length)
    return [_made_file(kind, act, span) for act in acts]


def _made_file(kind: Product, act: Act, span: Span) -> MadeFile:
    path = kind.directory / act.name
    if act.foreign:
        kind = replace(kind, description="foreign")
    appears = act.do not in {"delete", "nothing"}
    return MadeFile(kind, path, span, lambda: _do(act, path), act.place, act.delay, appears)


def _do(act: Act, path: Path) -> None:
    """Do to a file what is to be done."""
    from deepclean.io import gwf

    match act.do:
        case "publish":
            gwf.publish(path, act.data)
        case "begin":
            with _written(path):
                path.write_bytes(act.data)
        case "finish":
            # As the writer that still has it open: not under that name again where it is gone.
            with _written(path), suppress(FileNotFoundError), path.open("r+b") as file:
                file.write(act.data)
        case "delete":
            with _written(path):
                path.unlink(missing_ok=True)
        case "nothing":
            pass


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        said = f"cannot be written: {error.strerror}"
        raise OutputError(said, path=path, errno=error.errno) from error


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be made: {error.strerror}", path=path, errno=error.errno
        ) from error
