"""Changes of a coupling's versions: published, put in force, taken back, pruned; all are logged.

A pointer is moved first and logged then. Where the second fails or never happens, the pointer that
the daemon obeys is right, and the log lacks one line (`log.productions` can do without it).

In all functions, a `check` is called with a version's directory before the version is put in force,
and raises where it must not be; `why` is the reason for the log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from torch import nn

from deepclean.errors import ModelError, UnavailableError
from deepclean.models import files as models
from deepclean.models.content import WEIGHTS, read_version
from deepclean.models.manifest import MANIFEST, Description, Manifest, Origin, sha256
from deepclean.models.store import directory as coupling_directory
from deepclean.models.store import log as model_log
from deepclean.models.store import permissions, rejections, versions
from deepclean.models.store.log import What
from deepclean.models.store.versions import Pointer
from deepclean.models.tensors import Scalers

Check = Callable[[Path], object]


def publish(models_directory: Path, source: Path, why: str = "") -> Path:
    """Copy a model directory of our format into the store; return the new version's directory.

    The source is loaded where it lies, and its copy is loaded before it appears. The copy's
    manifest has the new number and names the origin. It keeps `parent_version` only as far as the
    parent's weights are in this store. No pointer is moved.

    Raises:
        ModelError: the source is no model that works, or is in this store.
        OutputError: the file system refused.
    """
    raw, manifest, content = read_version(source)
    models.load(source)
    if source.resolve().is_relative_to(models_directory.resolve()):
        raise ModelError("is in this store already: promote it", path=source)
    origin = Origin(
        format="deepclean",
        coupling=manifest.coupling,
        version=manifest.version,
        sha256=sha256(raw),
    )
    return add(models_directory, content, manifest.model_copy(update={"origin": origin}), why)


def add(
    models_directory: Path,
    content: dict[str, bytes],
    manifest: Manifest,
    why: str = "",
    what: What = "publish",
) -> Path:
    """Put a model's files into the store as the next version, and log it.

    Args:
        models_directory: the store.
        content: files by name, without the manifest.
        manifest: its version is replaced by the new number.
        why: the reason.
        what: the action.

    Raises:
        ModelError: the written version does not load.
        OutputError: the file system refused.
    """
    directory = models_directory / manifest.interferometer / manifest.coupling
    with coupling_directory.changing(directory):
        parent = manifest.parent_version
        if manifest.origin is not None and parent is not None:
            parent = _with_weights(directory, manifest.parent_weights)
        update = {"schema_version": 2, "parent_version": parent}
        manifest = manifest.model_copy(update=update)
        path = coupling_directory.appear(directory, content, manifest, models.load)
        model_log.append(directory, model_log.now(what, None, int(path.name), why))
    return path


def add_trained(
    models_directory: Path,
    network: nn.Module,
    scalers: Scalers,
    description: Description,
    beside: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a trained network as the next version; the description's number does not count.

    Args:
        models_directory: the store.
        network: in evaluation mode.
        scalers: of its channels.
        description: of the model.
        beside: further files by name that are no part of the model, such as `files.PICTURE`.

    Raises:
        ModelError: as `models.make`.
        OutputError: the file system refused.
    """
    content, manifest = models.make(network, scalers, description)
    return add(models_directory, content | dict(beside or {}), manifest, what="train")


def promote(directory: Path, version: int, check: Check, why: str = "") -> int | None:
    """Put a version in force, and return the version that was.

    A canary that becomes production is no canary any more.

    Raises:
        ModelError: there is no such version, or the check refused it.
        OutputError: the file system refused.
    """
    with coupling_directory.changing(directory):
        return _to_production(directory, "promote", version, check, why)


def rollback(directory: Path, check: Check, why: str = "") -> tuple[int, int]:
    """Put the former production in force again; return the version that was and the one that is.

    A second rollback goes back one further. The log tells which versions were in force.

    Raises:
        ModelError: there is no former production, it is gone, or the check refused it.
        OutputError: the file system refused.
    """
    with coupling_directory.changing(directory):
        current = versions.read_pointer(directory, "production")
        if current is None:
            raise ModelError("there is no production version to go back from", path=directory)
        former = model_log.productions(model_log.read(directory).changes, current)[:-1]
        if not former:
            raise ModelError(
                f"no version was in force before {current}: nothing to go back to", path=directory
            )
        version = former[-1]
        if version not in versions.versions(directory):
            raise ModelError(
                f"the former production, version {version}, is not there any more; promote "
                "another one",
                path=directory,
            )
        _to_production(directory, "rollback", version, check, why)
    return current, version


def put_back(directory: Path, version: int, check: Check, why: str = "") -> int | None:
    """Put a version in force again that was before, whatever the log says; return as `promote`.

    Raises:
        ModelError: there is no such version, or the check refused it.
        OutputError: the file system refused.
    """
    with coupling_directory.changing(directory):
        return _to_production(directory, "rollback", version, check, why)


def set_canary(
    directory: Path, version: int | None, check: Check, why: str = "", *, only: int | None = None
) -> int | None:
    """Make a version the canary, or none where it is None; return the canary that was.

    With `only`, nothing is changed unless that is the canary.

    Raises:
        ModelError: there is no such version, it is in force, or the check refused it.
        OutputError: the file system refused.
    """
    with coupling_directory.changing(directory):
        before = _named(directory, "canary")
        if only is not None and before != only:
            return before
        if version is None:
            versions.clear_pointer(directory, "canary")
        else:
            versions.require(directory, version)
            if version == _named(directory, "production"):
                raise ModelError(f"version {version} is in production already", path=directory)
            check(directory / str(version))
            versions.set_pointer(directory, "canary", version)
        if before != version:
            model_log.append(directory, model_log.now("canary", before, version, why))
    return before


def superfluous(
    directory: Path, keep: int, among: Collection[int] | None = None
) -> tuple[int, ...]:
    """Return the versions that may be removed, ascending.

    The newest versions, those that a pointer names, their parents and the former production are
    kept.

    Args:
        directory: the coupling's.
        keep: number of newest versions; at least one.
        among: the versions that may be removed at all; None for any.

    Raises:
        ModelError: a pointer or the log cannot be read; then nothing may be removed.
        ValueError: `keep` is less than one.
    """
    if keep < 1:
        raise ValueError("at least one version is kept")
    present = versions.versions(directory)
    named = {pointer: versions.read_pointer(directory, pointer) for pointer in versions.POINTERS}
    stack = model_log.productions(model_log.read(directory).changes, named["production"])
    parents = {_parent(directory, number) for number in named.values()}
    eligible = [number for number in present if among is None or number in among]
    # The newest of all stays, so that no number is ever given twice.
    spared = {*eligible[-keep:], *present[-1:], *named.values(), *parents, *stack[-2:]}
    return tuple(number for number in eligible if number not in spared)


def prune(
    directory: Path, keep: int, why: str = "", *, among: Collection[int] | None = None
) -> tuple[int, ...]:
    """Remove the superfluous versions and return them; each removal is logged, with `why`.

    Args:
        directory: the coupling's.
        keep: as `superfluous`.
        why: the reason.
        among: as `superfluous`.

    Raises:
        ModelError: as `superfluous`.
        OutputError: the file system refused; the versions named in the log are gone.
    """
    if not directory.is_dir():
        return ()
    with coupling_directory.changing(directory):
        # Decided again under the lock: a version may have been promoted since it was shown.
        gone = superfluous(directory, keep, among)
        for number in gone:
            coupling_directory.vanish(directory, number)
            rejections.clear(directory, number)
            model_log.append(directory, model_log.now("prune", number, None, why))
    return gone


def _to_production(directory: Path, what: What, version: int, check: Check, why: str) -> int | None:
    """Put a version in force, and return the version that was."""
    versions.require(directory, version)
    check(directory / str(version))
    before = _named(directory, "production")
    if before != version:
        versions.set_pointer(directory, "production", version)
        model_log.append(directory, model_log.now(what, before, version, why))
    if _named(directory, "canary") == version:
        versions.clear_pointer(directory, "canary")
        model_log.append(directory, model_log.now("canary", version, None, "in production now"))
    return before


def _named(directory: Path, pointer: Pointer) -> int | None:
    """Return the version that a pointer names; a damaged pointer is replaced next, so None."""
    try:
        return versions.read_pointer(directory, pointer)
    except ModelError:
        return None


def _parent(directory: Path, version: int | None) -> int | None:
    """Return what a version was fine-tuned or refitted from; None where that cannot be told."""
    if version is None:
        return None
    path = directory / str(version) / MANIFEST
    try:
        return Manifest.parse(permissions.read(path), path).parent_version
    except (ModelError, UnavailableError):
        return None


def _with_weights(directory: Path, digest: str | None) -> int | None:
    """Return the newest version whose weights have this hash, if any."""
    if digest is None:
        return None
    for number in reversed(versions.versions(directory)):
        try:
            _, manifest, _ = read_version(directory / str(number))
        except ModelError:
            continue
        if manifest.files[WEIGHTS] == digest:
            return number
    return None
