"""The rows and tables that the listing commands of `deepclean models` print."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepclean.core.time import NS, format_gps
from deepclean.errors import ModelError
from deepclean.models.manifest import MANIFEST, Channel, Manifest
from deepclean.models.store import permissions, rejections, versions
from deepclean.models.store.log import Change
from deepclean.system.utc import utc

if TYPE_CHECKING:
    from rich.table import Table


DAMAGED = ("DAMAGED", "", "see below", "")
"""The cells after the name of a damaged version or pointer."""


def manifest_of(path: Path) -> Manifest:
    """Return the manifest in a version's directory. Raises ModelError if it is damaged."""
    return Manifest.parse(permissions.read(path / MANIFEST), path / MANIFEST)


def row(path: Path) -> dict[str, Any]:
    """Return the facts of a version for the list; of a damaged version, its number and fault."""
    try:
        manifest = manifest_of(path)
    except ModelError as error:
        return {"version": int(path.name), "fault": str(error)}
    return {
        "version": manifest.version,
        "rejected": rejections.read(path.parent, manifest.version),
        "architecture": manifest.architecture,
        "parent_version": manifest.parent_version,
        "training": manifest.training,
        "validation": manifest.validation,
    }


def pointers(directory: Path) -> dict[str, Any]:
    """Return the version that each pointer names, and under `faults` the faults by pointer."""
    named: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for pointer in versions.POINTERS:
        named[pointer] = None
        try:
            named[pointer] = versions.read_pointer(directory, pointer)
            if named[pointer] is not None:
                versions.require(directory, named[pointer])
        except ModelError as error:
            faults[pointer] = str(error)
    return named | {"faults": faults}


def is_damaged(coupling: dict[str, Any]) -> bool:
    """Return whether a pointer or a version of a listed coupling is damaged."""
    return bool(coupling["faults"]) or any("fault" in row for row in coupling["versions"])


def version_list(listed: list[dict[str, Any]]) -> Table:
    """Return a table of the versions of couplings."""
    from rich.table import Table

    table = Table()
    for column in ("coupling", "version", "pointer", "network", "parent", "trained from (GPS)"):
        table.add_column(column)
    table.add_column("ASD ratio", justify="right")
    for one in listed:
        name = str(one["coupling"]) + ("" if one["enabled"] else " (disabled)")
        for row in one["versions"] or [None]:
            table.add_row(name, *cells(row, one))
            name = ""
        for pointer in one["faults"]:
            table.add_row(name, "", pointer, *DAMAGED)
    return table


def cells(row: dict[str, Any] | None, coupling: dict[str, Any]) -> list[str]:
    """Return the cells of a version in the list. None stands for a coupling without versions."""
    if row is None:
        return ["none", "", "", "", "", ""]
    number = row["version"]
    pointer = " ".join(p for p in ("production", "canary") if coupling[p] == number)
    if "fault" in row:
        return [str(number), pointer, *DAMAGED]
    if row["rejected"] is not None:
        pointer = f"{pointer} rejected".strip()
    ratio = row["validation"].get("asd_ratio")
    return [
        str(number),
        pointer,
        str(row["architecture"].get("name", "")),
        "-" if row["parent_version"] is None else str(row["parent_version"]),
        began(row["training"]),
        "-" if ratio is None else f"{ratio:.4f}",
    ]


def began(training: Any) -> str:
    """Return when a model's training data begin, in GPS and as a day, and their length."""
    if not training:
        return "-"
    first = min(start for start, _ in training)
    seconds = sum(end - start for start, end in training) // NS
    return f"{format_gps(first)} ({utc(first // NS)[:10]}), {seconds} s"


def spans(training: Any) -> str:
    """Return the span of a model's training data and how many seconds of it were used."""
    if not training:
        return "-"
    first, last = min(start for start, _ in training), max(end for _, end in training)
    seconds = sum(end - start for start, end in training) // NS
    return f"{format_gps(first)} to {format_gps(last)} ({seconds} s), {utc(first // NS)} UTC"


def lines(
    manifest: Manifest, pointers: Sequence[str], rejected: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """Return the rows of `show`."""
    origin = manifest.origin
    figures = ", ".join(f"{name} {value:.4g}" for name, value in manifest.validation.items())
    rate = manifest.sample_rate
    copied = "-"
    if origin is not None:
        copied = f"{origin.format}, {origin.coupling} {origin.version or ''}, {origin.sha256[:12]}"
    return [
        ("in force as", ", ".join(pointers) or "-"),
        ("network", short(manifest.architecture)),
        ("strain", _channel(manifest.strain)),
        ("witnesses", "\n".join(_channel(channel) for channel in manifest.channels)),
        ("rate", f"{rate} Hz"),
        ("bands", ", ".join(f"{low:g}-{high:g} Hz" for low, high in manifest.bands)),
        ("kernel, edge", f"{manifest.kernel / rate:g} s, {manifest.edge / rate:g} s"),
        ("receptive field", "{} samples before, {} after".format(*manifest.reach)),
        ("trained on", spans(manifest.training)),
        ("validation", figures or "-"),
        ("parent", "-" if manifest.parent_version is None else str(manifest.parent_version)),
        ("copied from", copied),
        ("software", manifest.software_version),
        *(() if rejected is None else (("rejected", f"{rejected['when']}: {rejected['why']}"),)),
    ]


def _channel(channel: Channel) -> str:
    return f"{channel.name}, {'rate not known' if channel.rate is None else f'{channel.rate} Hz'}"


def short(value: Any) -> str:
    """Return a manifest's value as text, on one line."""
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."


def history(changes: Iterable[Change]) -> Table:
    """Return a table of changes."""
    from rich.table import Table

    table = Table("when (UTC)", "who", "what", "from", "to", "why")
    for change in changes:
        numbers = ("-" if n is None else str(n) for n in (change.before, change.after))
        table.add_row(change.when, plain(change.who), change.what, *numbers, plain(change.why))
    return table


def plain(text: str) -> str:
    """Return text with rich's markup escaped, so that a table prints it unchanged."""
    from rich.markup import escape

    return escape(text)
