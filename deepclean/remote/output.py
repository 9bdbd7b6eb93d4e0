"""Outputs at an address: written on this machine as ever, then put there and removed here.

The files are written into a spool, a directory of the cache. A thread puts each whole file at the
address, verifies it, and removes it from the spool. What is in the spool when the process dies is
put there when the same command is given again: nothing is lost, and nothing is done twice.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from deepclean.core.time import NS, Span
from deepclean.errors import DeepCleanError, InputError, UnavailableError, output_errors
from deepclean.io.retention import held
from deepclean.io.t050017 import FrameName
from deepclean.remote.address import address_of
from deepclean.remote.cache import place_of
from deepclean.remote.storage import Storage

_log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds between two looks into the spool."""

_RECORD = ".made-from.json"
"""Says how the frames at an address were made; a hidden name, which no reader of frames takes."""


class RemoteFrames:
    """The frames of one description at an address, and the spool in which they are written.

    Entered, it puts what appears in the spool at the address. Left without a fault, it waits until
    all is there.

    Args:
        address: where the frames go.
        description: LIGO-T050017 description.
        span: what is cleaned; each span has a spool of its own, so that shards do not meet.

    Attributes:
        directory: the spool.
        sent: number of files put at the address.
    """

    def __init__(self, address: str, description: str, span: Span) -> None:
        self._storage, self._description = Storage(address), description
        self.directory = place_of(address, "output") / f"{span.start // NS}-{span.end // NS}"
        self.sent = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="remote output", daemon=True)

    def __enter__(self) -> Self:
        with output_errors(self.directory, "the spool cannot be used"):
            self.directory.mkdir(parents=True, exist_ok=True)
        self.send()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop the thread; put the rest at the address, unless a fault or Ctrl-C ends the run.

        Raises:
            UnavailableError: the rest could not be put there; it is kept.
        """
        self._stopped.set()
        self._thread.join()
        if kind is None:
            self.send()

    def finished(self) -> list[FrameName]:
        """Return the frames that are at the address (frames_at)."""
        return frames_at(self._storage.address, self._description)

    def require_same(self, made_from: Mapping[str, str], ignored: Collection[str]) -> None:
        """Note how the frames are made, or hold it against what was noted before.

        Args:
            made_from: what each frame's history record says.
            ignored: names of records that may differ.

        Raises:
            InputError: the frames that are there were made otherwise.
            UnavailableError: the storage cannot be reached just now.
        """
        now = {key: value for key, value in made_from.items() if key not in ignored}
        before = self._made_from()
        if before is None:
            self.note(made_from)
            return
        differing = [
            f"{key}: {before.get(key, 'nothing')} there, {now.get(key, 'nothing')} now"
            for key in sorted((before.keys() | now.keys()) - set(ignored))
            if before.get(key) != now.get(key)
        ]
        if differing:
            raise InputError(
                f"{self._storage.address}: its frames were made otherwise "
                f"({'; '.join(differing)}): choose another directory (--output), or --overwrite"
            )

    def note(self, made_from: Mapping[str, str]) -> None:
        """Note how the frames are made from now on."""
        self._storage.write(self._record, (json.dumps(dict(made_from), indent=1) + "\n").encode())

    def send(self) -> None:
        """Put what is in the spool at the address.

        Raises:
            UnavailableError: the storage cannot be reached just now; the files stay in the spool.
            InputError: there is no such bucket, or no right to write in it.
        """
        names = held(self.directory, self._description)
        for name in names:
            path = self.directory / str(name)
            try:
                self._storage.write(str(name), path.read_bytes())
            except UnavailableError as error:
                left = len(held(self.directory, self._description))
                raise UnavailableError(
                    f"{error}; {left} files are kept in {self.directory}: the same command again "
                    "sends them"
                ) from error
            path.unlink(missing_ok=True)
            self.sent += 1

    @property
    def _record(self) -> str:
        return f".{self._description}{_RECORD}"

    def _made_from(self) -> dict[str, str] | None:
        if all(one.name != self._record for one in self._storage.objects()):
            return None
        try:
            return dict(json.loads(self._storage.read(self._record)))
        except ValueError as error:
            raise InputError(f"{self._storage.address}/{self._record}: is no record") from error

    def _run(self) -> None:
        works = True
        while not self._stopped.wait(_PAUSE):
            try:
                self.send()
            except DeepCleanError as error:
                if works:
                    _log.warning("not sent yet: %s", error)
                works = False
            else:
                works = True


def frames_at(address: str, description: str) -> list[FrameName]:
    """Return the frames of a description that are at an address, in order of time.

    Raises:
        InputError, UnavailableError: as Storage.objects.
    """
    found = (FrameName.parse(one.name) for one in Storage(address).objects())
    mine = (name for name in found if name is not None and name.description == description)
    return sorted(mine, key=lambda name: name.start)


@contextmanager
def output_directory(place: Path) -> Iterator[Path]:
    """Yield a directory for files such as a report; at an address, they are put there at the end.

    Raises:
        InputError, UnavailableError: as Storage.write.
    """
    address = address_of(place)
    if address is None:
        yield place
        return
    storage = Storage(address)
    with TemporaryDirectory() as directory:
        yield Path(directory)
        for path in sorted(Path(directory).rglob("*")):
            if path.is_file():
                storage.write(str(path.relative_to(directory)), path.read_bytes())
