"""What the listing commands of `deepclean models` say, as rows and tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepclean.core.time import format_gps
from deepclean.errors import ModelError

if TYPE_CHECKING:
    from rich.table import Table

    from deepclean.models.log import Change
    from deepclean.models.manifest import Channel, Manifest


DAMAGED = ("DAMAGED", "", "see deepclean models verify", "")
"""The cells after a version's or a pointer's name where it is damaged."""


def manifest_of(path: Path) -> Manifest:
    """Return the manifest in a version's directory. Raises ModelError where it is damaged."""
    from deepclean.models import directory as coupling_directory
    from deepclean.models import permissions
    from deepclean.models.manifest import Manifest

    return Manifest.parse(
        permissions.read(path / coupling_directory.MANIFEST), path / coupling_directory.MANIFEST
    )


def row(path: Path) -> dict[str, Any]:
    """Return what a list says of a version; a damaged one says so."""
    try:
        manifest = manifest_of(path)
    except ModelError as error:
        return {"version": int(path.name), "fault": str(error)}
    from deepclean.models import rejections

    return {
        "version": manifest.version,
        "rejected": rejections.read(path.parent, manifest.version),
        "architecture": manifest.architecture,
        "parent_version": manifest.parent_version,
        "training": manifest.training,
        "validation": manifest.validation,
    }


def pointers(directory: Path) -> dict[str, Any]:
    """Return what each pointer names, and what is wrong with one, by pointer, as `faults`."""
    from deepclean.models import versions

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
    """Return whether a pointer or a version of what is listed is damaged."""
    return bool(coupling["faults"]) or any("fault" in row for row in coupling["versions"])


def cells(row: dict[str, Any] | None, coupling: dict[str, Any]) -> list[str]:
    """Return a version's cells in the list; None stands for no version at all."""
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
        spans(row["training"]),
        "-" if ratio is None else f"{ratio:.4f}",
    ]


def spans(training: Any) -> str:
    """Return from when to when a model was trained, and on how many seconds of that."""
    if not training:
        return "-"
    first, last = min(start for start, _ in training), max(end for _, end in training)
    seconds = sum(end - start for start, end in training) // 10**9
    return f"{format_gps(first)} to {format_gps(last)} ({seconds} s)"


def lines(
    manifest: Manifest, pointers: Sequence[str], rejected: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """Return the lines of `show`."""
    origin = manifest.origin
    figures = ", ".join(f"{name} {value:.4g}" for name, value in manifest.validation.items())
    rate = manifest.sample_rate
    return [
        ("in force as", ", ".join(pointers) or "-"),
        ("network", short(manifest.architecture)),
        ("strain", _channel(manifest.strain)),
        ("witnesses", "\n".join(_channel(channel) for channel in manifest.channels)),
        ("rate", f"{rate} Hz"),
        ("bands", ", ".join(f"{low:g}-{high:g} Hz" for low, high in manifest.bands)),
        ("kernel, edge", f"{manifest.kernel / rate:g} s, {manifest.edge / rate:g} s"),
        ("receptive field", f"{manifest.receptive_field} samples a side"),
        ("trained on", spans(manifest.training)),
        ("validation", figures or "-"),
        ("parent", "-" if manifest.parent_version is None else str(manifest.parent_version)),
        (
            "copied from",
            "-"
            if origin is None
            else f"{origin.format}, {origin.coupling} {origin.version or ''}, {origin.sha256[:12]}",
        ),
        ("software", manifest.software_version),
        *(() if rejected is None else (("rejected", f"{rejected['when']}: {rejected['why']}"),)),
    ]


def _channel(channel: Channel) -> str:
    return f"{channel.name}, {'rate not known' if channel.rate is None else f'{channel.rate} Hz'}"


def short(value: Any) -> str:
    """Return a value of a manifest on one line."""
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."


def history(changes: Iterable[Change]) -> Table:
    """Return changes as a table."""
    from rich.table import Table

    table = Table("when (UTC)", "who", "what", "from", "to", "why")
    for change in changes:
        numbers = ("-" if n is None else str(n) for n in (change.before, change.after))
        table.add_row(change.when, plain(change.who), change.what, *numbers, plain(change.why))
    return table


def plain(text: str) -> str:
    """Return text that a table prints as it is."""
    from rich.markup import escape

    return escape(text)
