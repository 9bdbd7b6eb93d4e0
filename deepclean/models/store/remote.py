"""A model store beside this one, at an address: versions and pointers are sent there and fetched.

    <address>/<interferometer>/<coupling>/<version>/   the files of a version, the manifest last
    <address>/<interferometer>/<coupling>/production   and `canary`: the pointers

A version is there if its manifest is, and it never changes: one number with two contents is
refused. What is fetched is verified against the hashes in its manifest, loaded, and appears in the
local store as a version that was trained here would: owned by this user, writable by nobody else.
From then on the local store's rules hold (models.permissions). Whoever may write at the address
decides what is subtracted from the strain, as whoever may write in the store does: guard it too.

A pointer is an order when it changes at the address. What was last seen there is noted beside the
versions (`.remote.json`), so that a promotion on this machine is not undone by an old order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepclean.errors import ModelError
from deepclean.models import files as models
from deepclean.models.content import EPOCHS, PICTURE, read_version
from deepclean.models.manifest import MANIFEST, Manifest, sha256
from deepclean.models.store import changes as store
from deepclean.models.store import directory as coupling_directory
from deepclean.models.store import log as model_log
from deepclean.models.store import versions
from deepclean.models.store.versions import POINTERS, Pointer
from deepclean.remote.storage import RemoteObject, Storage
from deepclean.system.atomic import publish

SEEN = ".remote.json"

_BESIDE = (PICTURE, EPOCHS)
"""Files that lie beside a model and are no part of it."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was sent or fetched of one coupling.

    Args:
        versions: the new versions, ascending.
        pointers: the pointers that were moved, with the version that each names now.
    """

    versions: tuple[int, ...]
    pointers: Mapping[str, int | None]


class RemoteStore:
    """The versions of one coupling at an address.

    Args:
        address: of the store.
        directory: the coupling's, in the local store.
    """

    def __init__(self, address: str, directory: Path) -> None:
        place = f"{directory.parent.name}/{directory.name}"
        self.address = f"{address}/{place}"
        self._storage, self._directory = Storage(self.address), directory

    def push(self) -> Transfer:
        """Send the versions that are not there, and the pointers.

        Raises:
            ModelError: a version there has other files, or one here is damaged.
            InputError, UnavailableError: as Storage.write.
        """
        there = self._listed()
        sent = []
        for number in versions.versions(self._directory):
            path = self._directory / str(number)
            raw, manifest, content = read_version(path)
            if f"{number}/{MANIFEST}" in there:
                self._require_same(number, manifest)
                continue
            for name in _BESIDE:
                if (path / name).is_file():
                    content[name] = (path / name).read_bytes()
            for name, data in content.items():
                self._storage.write(f"{number}/{name}", data)
            self._storage.write(f"{number}/{MANIFEST}", raw)
            sent.append(number)
        moved: dict[str, int | None] = {}
        for pointer in POINTERS:
            here = self._here(pointer)
            if here != self._pointer(pointer, there):
                moved[pointer] = here
                if here is None:
                    self._storage.remove(pointer)
                else:
                    self._storage.write(pointer, b"%d\n" % here)
        self._note({pointer: self._here(pointer) for pointer in POINTERS})
        return Transfer(tuple(sent), moved)

    def pull(self, check: Callable[[Path], object]) -> Transfer:
        """Fetch the versions that are not here, and follow the pointers that changed there.

        Args:
            check: called with a version's directory before it is put in force; raises where it must
                not be.

        Raises:
            ModelError: a version is damaged, does not load, or has other files here; or the check
                refused one.
            InputError, UnavailableError: as Storage.read.
            OutputError: the local store cannot be changed.
        """
        there = self._listed()
        numbers = sorted(
            int(name.partition("/")[0])
            for name in there
            if name.endswith(f"/{MANIFEST}") and name.partition("/")[0].isdigit()
        )
        present = versions.versions(self._directory)
        fetched = []
        for number in numbers:
            if number in present:
                self._require_same(number, read_version(self._directory / str(number))[1])
            else:
                self._fetch(number, there)
                fetched.append(number)
        moved: dict[str, int | None] = {}
        seen, ordered = self._seen(), {p: self._pointer(p, there) for p in POINTERS}
        why = f"as at {self.address}"
        for pointer, order in ordered.items():
            if order == seen.get(pointer) or order == self._here(pointer):
                continue
            if pointer == "production" and order is not None:
                store.promote(self._directory, order, check, why)
            elif pointer == "canary":
                store.set_canary(self._directory, order, check, why)
            moved[pointer] = order
        self._note(ordered)
        return Transfer(tuple(fetched), moved)

    def _fetch(self, number: int, there: Mapping[str, RemoteObject]) -> None:
        """Fetch a version; it appears whole in the local store, or not at all."""
        where = f"{self.address}/{number}"
        manifest = Manifest.parse(self._storage.read(f"{number}/{MANIFEST}"), Path(where))
        if manifest.version != number:
            raise ModelError(f"{where}: holds version {manifest.version}")
        content = {}
        for name, digest in manifest.files.items():
            if "/" in name or name.startswith("."):
                raise ModelError(f"{where}: names a file {name!r}")
            content[name] = self._storage.read(f"{number}/{name}")
            if sha256(content[name]) != digest:
                raise ModelError(f"{where}/{name}: does not match the sha256 in its manifest")
        for name in _BESIDE:
            if f"{number}/{name}" in there:
                content[name] = self._storage.read(f"{number}/{name}")
        with coupling_directory.changing(self._directory):
            coupling_directory.appear(
                self._directory, content, manifest, models.load, version=number
            )
            change = model_log.now("publish", None, number, f"as at {self.address}")
            model_log.append(self._directory, change)

    def _require_same(self, number: int, here: Manifest) -> None:
        where = f"{self.address}/{number}"
        there = Manifest.parse(self._storage.read(f"{number}/{MANIFEST}"), Path(where))
        if there.files != here.files:
            raise ModelError(
                f"{where}: is another model than version {number} here: two machines train into "
                "one store; publish one of the two again, under a new number"
            )

    def _listed(self) -> dict[str, RemoteObject]:
        """Return the objects by their names below the coupling's address."""
        return {
            one.address.removeprefix(f"{self.address}/"): one for one in self._storage.objects()
        }

    def _pointer(self, pointer: Pointer, there: Mapping[str, RemoteObject]) -> int | None:
        if pointer not in there:
            return None
        text = self._storage.read(pointer).decode("ascii", "replace").strip()
        if not text.isdigit():
            raise ModelError(f"{self.address}/{pointer}: holds {text[:20]!r}, not a version number")
        return int(text)

    def _here(self, pointer: Pointer) -> int | None:
        return versions.read_pointer(self._directory, pointer)

    def _seen(self) -> dict[str, int | None]:
        """Return the pointers as they were at the address at the last transfer."""
        try:
            noted = json.loads((self._directory / SEEN).read_text())
            return dict(noted[self.address])
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _note(self, pointers: Mapping[Pointer, int | None]) -> None:
        if self._directory.is_dir():
            text = json.dumps({self.address: dict(pointers)}) + "\n"
            publish(self._directory / SEEN, text.encode(), mode=0o644)
