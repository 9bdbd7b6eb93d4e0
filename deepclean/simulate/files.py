"""What a site leaves on disk: frame files of strain and witnesses, archives of the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deepclean.core.block import Series, join
from deepclean.core.time import NS, Span
from deepclean.edge.files import OutputChannel
from deepclean.edge.names import FrameName
from deepclean.errors import ConfigError, OutputError
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
        publish: makes it appear under that name, complete.
    """

    product: Product
    path: Path
    span: Span
    publish: Callable[[], None]


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
    simulator: Simulator, kinds: list[Product], span: Span
) -> Iterator[tuple[int, list[MadeFile]]]:
    """Make the files of a span, second by second.

    Files follow one another from the span's start; the last of a kind may be shorter.

    Args:
        simulator: of the site.
        kinds: of files.
        span: whole GPS seconds.

    Yields:
        The GPS second up to which the data are made, and the files that this second completed.

    Raises:
        ConfigError: the span does not start and end on whole seconds.
        InputError: the site is not defined over all of the span.
        OutputError: a directory cannot be made.
    """
    if span.start % NS or span.end % NS:
        raise ConfigError(f"frame files hold whole GPS seconds, which {span} is not")
    simulator.require(span)
    for kind in kinds:
        _make_directory(kind.directory)
    return _made(simulator, kinds, span)


def _made(
    simulator: Simulator, kinds: list[Product], span: Span
) -> Iterator[tuple[int, list[MadeFile]]]:
    wanted = dict.fromkeys(name for kind in kinds for name in kind.channels)
    pending: dict[Product, list[dict[str, Series]]] = {kind: [] for kind in kinds}
    last = span.end // NS
    for second in range(span.start // NS, last):
        made = simulator.read(wanted, Span.of_seconds(second, 1))
        finished = []
        for kind, seconds in pending.items():
            seconds.append({name: made[name] for name in kind.channels})
            if len(seconds) == kind.length or second + 1 == last:
                finished.append(_file(simulator, kind, seconds))
                seconds.clear()
        yield second + 1, finished


def _file(simulator: Simulator, kind: Product, seconds: list[dict[str, Series]]) -> MadeFile:
    """Return a file of these seconds; a frame file is serialised here, ahead of its appearance."""
    from deepclean.edge import gwf, hdf5

    site = simulator.site
    series = {name: join([second[name] for second in seconds]) for name in kind.channels}
    in_strain = {site.strain, *site.truth}
    output = {
        name: OutputChannel(one, "strain" if name in in_strain else "")
        for name, one in series.items()
    }
    span = next(iter(series.values())).span
    start, duration = span.start // NS, span.duration // NS
    name = FrameName(site.ifo[0], kind.description, start, duration, kind.extension)
    path = kind.directory / str(name)
    if kind.extension == "hdf5":
        return MadeFile(kind, path, span, lambda: hdf5.write_archive(path, output))
    data = gwf.serialise(span, output, history={"SIMULATED": f"{site.ifo} seed {site.seed}"})
    return MadeFile(kind, path, span, lambda: gwf.publish(path, data))


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be made: {error.strerror}", path=path, errno=error.errno
        ) from error
