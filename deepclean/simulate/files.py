"""The files of a site: frame files of strain and witnesses, archives of the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from deepclean.core.block import Series, concatenate
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, output_errors
from deepclean.io import gwf, hdf5
from deepclean.io.channels import OutputChannel
from deepclean.io.t050017 import FrameName
from deepclean.simulate.damage import Act
from deepclean.simulate.faults import Fault
from deepclean.simulate.rehearsal import Rehearsal
from deepclean.simulate.simulator import Simulator

LONGEST = 4096
"""Longest file in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The directories and the lengths of the files.

    Args:
        strain: directory of the strain's frame files, which hold the state vector too.
        witnesses: directory of the witnesses' frame files; None puts them into the strain's.
        truth: directory of HDF5 archives with the components of the strain; None writes none.
        strain_length: seconds of a strain file.
        witness_length: seconds of a witness file.
        truth_length: seconds of a truth file.
        strain_description: LIGO-T050017 description of strain files; None: `<IFO>_llhoft`.
        witness_description: the same of witness files; None: `<IFO>_lldetchar`.

    Raises:
        ConfigError: a length that is not a whole number of seconds from 1 to `LONGEST`.
    """

    strain: Path
    witnesses: Path | None = None
    truth: Path | None = None
    strain_length: int = 1
    witness_length: int = 1
    truth_length: int = 64
    strain_description: str | None = None
    witness_description: str | None = None

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
        directory: of the files.
        description: the second part of a file's name.
        length: seconds of a file.
        channels: full names of the channels in a file.
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
        span: the time that it covers.
        publish: lets it appear under that name, complete unless a fault prevents that.
        place: it appears when the file over this span is due; its own span without a fault.
        delay: seconds of the clock after that.
        appears: False if a fault deletes the file or prevents it.
    """

    product: Product
    path: Path
    span: Span
    publish: Callable[[], None]
    place: Span
    delay: float = 0.0
    appears: bool = True


Making = Iterator[tuple[int, list[MadeFile]]]
"""The GPS second up to which the data are complete, and the files that this second completed."""


def products(simulator: Simulator, layout: Layout) -> list[Product]:
    """Return the kinds of files of a site in a layout."""
    site = simulator.site
    strain = (site.strain, site.state)
    witnesses = tuple(witness.channel for witness in site.witnesses)
    described = layout.strain_description or f"{site.ifo}_llhoft"
    if layout.witnesses is None:
        kinds = [Product(layout.strain, described, layout.strain_length, strain + witnesses)]
    else:
        kinds = [Product(layout.strain, described, layout.strain_length, strain)]
        if witnesses:
            described = layout.witness_description or f"{site.ifo}_lldetchar"
            kinds.append(Product(layout.witnesses, described, layout.witness_length, witnesses))
    if layout.truth is not None:
        truth = tuple(site.truth)
        kinds.append(Product(layout.truth, f"{site.ifo}_TRUTH", layout.truth_length, truth, "hdf5"))
    return kinds


def make_files(
    simulator: Simulator, kinds: list[Product], span: Span, faults: Sequence[Fault] = ()
) -> Making:
    """Serialise the files of a span, second by second.

    Files follow one another from the span's start. The last file of a kind may be shorter. A fault
    can turn one file into several.

    Args:
        simulator: of the site.
        kinds: the kinds of files.
        span: whole GPS seconds.
        faults: the faults.

    Yields:
        The GPS second up to which the data are complete, and the files that this second completed.

    Raises:
        ConfigError: the span does not consist of whole seconds, or a fault is invalid.
        InputError: the site is not defined over the whole span.
        OutputError: a directory cannot be made.
    """
    if span.start % NS or span.end % NS:
        raise ConfigError(f"frame files hold whole GPS seconds, which {span} is not")
    simulator.require(span)
    rehearsal = Rehearsal(simulator, faults, span)
    for kind in kinds:
        with output_errors(kind.directory, "cannot be made"):
            kind.directory.mkdir(parents=True, exist_ok=True)
    return _made(simulator, kinds, span, rehearsal)


def _made(simulator: Simulator, kinds: list[Product], span: Span, rehearsal: Rehearsal) -> Making:
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
    """Return the file of these seconds. A frame is serialised here, before it appears."""
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
    """Perform an operation on a file."""
    with output_errors(path, "cannot be written"):
        match act.do:
            case "publish":
                gwf.publish(path, act.data)
            case "begin":
                path.write_bytes(act.data)
            case "finish":
                # A writer that has the file open does not create a deleted name again.
                with suppress(FileNotFoundError), path.open("r+b") as file:
                    file.write(act.data)
            case "delete":
                path.unlink(missing_ok=True)
            case "nothing":
                pass
