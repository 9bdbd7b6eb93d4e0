"""The archive: the cleaned frames of some minutes as one file for each strain product.

A file holds one product with its accounting channels: the state vector, the source's state vector,
versions and gains. They tell where the product can be used, and at 16 Hz they are less than a
hundredth of the file. Where the frames hold the estimates, the files of OUT_DQ hold them too: they
say what that product lacks. Its description is that of the frames and the product
(`H-H1_DEEPCLEAN_OUT_DQ-1370000128-256.gwf`).

A thread reads the frames from the output directory when their stretch is complete. So cleaning
neither waits nor holds them in memory, and a restart archives the frames that it finds. The thread
pauses after every small file. A lower priority would not do: a thread that waits for the processor
while it holds the interpreter's lock holds up the work loop.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from errno import errorcode
from pathlib import Path
from typing import Self

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.channels import product_names, subtracted
from deepclean.core.output.segments import difference
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, OutputError, passes
from deepclean.io.frame_channels import estimate_channels, strain_channels
from deepclean.io.merge import Content, FilePiece, Merger, read, runs
from deepclean.io.retention import Retention, held
from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FAR
from deepclean.system.atomic import sweep
from deepclean.system.clock import gps_now
from deepclean.system.lock import OutputLock

_log = logging.getLogger(__name__)


class FrameArchive:
    """Archives while it is entered, where the configuration names a directory.

    A failure never reaches the work loop. It is logged once and counted, and the file is tried
    again as long as its small files are there.

    Args:
        config: the run's configuration.
        retry: seconds until a failed file is tried again.
        pause: seconds after every small file.

    Attributes:
        written: number of files, by product.
        failures: number of failures, by the operating system's error; `unreadable`: small files
            that were left out.
    """

    def __init__(self, config: Config, *, retry: float = 30.0, pause: float = 0.002) -> None:
        output = config.output
        self._source, self._description = output.directory, output.description
        self._length = output.archive.length * NS
        self._retry, self._pause = retry, pause
        self._reached = -1
        self._stopped, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)
        self._folders: list[_ArchiveFolder] = []
        self.written: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        directory = output.archive.directory
        if directory is not None:
            self._lock = OutputLock(directory, f"{output.description}_ARCHIVE")
            self._folders = [
                _ArchiveFolder(config, directory, name, self) for name in output.products
            ]

    def __enter__(self) -> Self:
        if self._folders:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop between two small files; the next start makes an unfinished file anew."""
        self._stopped.set()
        self._wake.set()
        if self._folders:
            self._thread.join(timeout=2.0)  # where a disk hangs it ends with the process
        if not self._thread.is_alive():
            self.close()

    def close(self) -> None:
        """Let others archive under these names."""
        if self._folders:
            self._lock.__exit__()

    def appeared(self, name: FrameName, _: Mapping[str, Series]) -> None:
        """Note a frame that was written; wake the thread where a stretch is complete."""
        reached = name.span.end // self._length
        if reached != self._reached:
            self._reached = reached
            self._wake.set()

    def round(self) -> bool:
        """Archive every complete stretch; return whether nothing has to be tried again."""
        finished = [self._attempt(folder) for folder in self._folders]
        return all(finished)

    def step(self) -> None:
        """Pause. Raises StoppedError where the archive is left."""
        if self._stopped.wait(self._pause):
            raise StoppedError

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            finished = self.round()
            self._wake.wait(None if finished else self._retry)

    def _attempt(self, folder: _ArchiveFolder) -> bool:
        try:
            self._lock.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.hold()
            # A frame of the future is of another run, or of a clock that was wrong.
            limit = max(gps_now() + FAR, (self._reached + 1) * self._length)
            names = held(self._source, self._description)
            folder.fill([name for name in names if name.span.end <= limit])
        except StoppedError:
            return True
        except Exception as error:  # noqa: BLE001  (whatever it is, cleaning goes on)
            number = getattr(error, "errno", None) or 0
            self.failures[errorcode.get(number, "unknown")] += 1
            if folder.works:
                expected = isinstance(error, OutputError | OSError)
                _log.error(
                    "the archive of %s is not written: %s",
                    folder.product,
                    str(error),  # the error itself would keep its file open in a handler
                    exc_info=None if expected else error,
                )
            folder.works = False
            return False
        if not folder.works:
            _log.info("the archive of %s is written again", folder.product)
        folder.works = True
        return True


class StoppedError(Exception):
    """The archive was left in the middle of its work."""


class _ArchiveFolder:
    """The archive of one product."""

    def __init__(
        self, config: Config, directory: Path, product: str, archive: FrameArchive
    ) -> None:
        output, strain = config.output, config.strain.channel
        self.product, self.works = product, True
        self._archive, self._settings, self._source = archive, output.archive, output.directory
        self._channel = product_names(strain, [product])[product]
        self._stem = f"{strain}_DEEPCLEAN_"
        self._estimates = {subtracted(strain), *estimate_channels(config)}
        self._merger = Merger(
            directory,
            config.interferometer[0],
            f"{output.description}_{product}",
            output.archive.format,
            dict.fromkeys(strain_channels(config), "strain"),
            output.compression,
            archive.step,
        )
        self._retention: Retention | None = None
        self._finished: list[FrameName] | None = None
        self._done = 0
        """GPS nanoseconds before which all is done. The disk is read only at the start and after a
        failure: a file that somebody removed is not made again."""

    def fill(self, names: Sequence[FrameName]) -> None:
        """Write the files that are complete and not there yet.

        Args:
            names: all small files, in order of time.
        """
        directory, description = self._merger.directory, self._merger.description
        if self._retention is None:
            sweep(directory, description)
            keep = self._settings.retention
            self._retention = Retention(directory, description, keep.count, keep.age)
        if self._finished is None:
            self._finished = held(directory, description)
        length = self._settings.length * NS
        stretches = self._stretches(names)
        for begin, pieces in stretches.items():
            stretch = Span(begin, begin + length)
            newest = Span(max(stretches), max(stretches) + length)
            try:
                self._write(stretch, newest, pieces, self._finished, self._retention)
            except BaseException:
                self._finished = None
                raise
            self._done = stretch.end
        self._finished = []

    def _stretches(self, names: Sequence[FrameName]) -> dict[int, list[FilePiece]]:
        """Return the pieces of every complete stretch that is not done yet, in order of time."""
        length = self._settings.length * NS
        stretches: dict[int, list[FilePiece]] = defaultdict(list)
        end = names[-1].span.end // length * length if names else 0
        reached = self._done
        for name in names:
            while (start := max(name.span.start, reached)) < min(name.span.end, end):
                begin = start // length * length
                reached = min(name.span.end, begin + length)
                path = self._source / str(name)
                stretches[begin].append(FilePiece(path, Span(start, reached)))
        return stretches

    def _write(
        self,
        stretch: Span,
        newest: Span,
        pieces: Sequence[FilePiece],
        finished: Sequence[FrameName],
        retention: Retention,
    ) -> None:
        name = self._merger.name(stretch)
        if not retention.allows(name, self._merger.name(newest)):
            return
        missing = difference([stretch], (name.span for name in finished))
        parts = [
            FilePiece(piece.path, part)
            for piece in pieces
            for span in missing
            if (part := piece.span.overlap(span)) is not None
        ]
        for run in runs(self._contents(parts)):
            try:
                name = self._merger.write(run)
                self._archive.written[self.product] += 1
                _log.debug("archived: %s", name)
            finally:
                retention.step(name)

    def _contents(self, pieces: Sequence[FilePiece]) -> Iterator[Content]:
        """Yield the contents that can be read; damaged ones are a gap.

        Raises:
            OSError: the system refuses a file just now.
        """
        for piece in pieces:
            self._archive.step()
            try:
                contents = self._read(piece)
            except InputError as fault:
                self._archive.failures["unreadable"] += 1
                _log.warning("left out of the archive: %s", fault)
                continue
            yield from (content for content in contents if self._channel in content.channels)

    def _read(self, piece: FilePiece) -> list[Content]:
        """Return the content of a piece. A file of HDF5 has no place for a gap within a second.

        Raises:
            InputError: the file is damaged, or gone.
            OSError: the system refuses it just now.
        """
        stretches = self._settings.format == "gwf"
        try:
            return read(piece, self._wanted, stretches=stretches)
        except InputError:
            # The library does not tell a damaged file from one that the system refuses. So the
            # system is asked for the bytes, and if it gives them now, the library once more.
            try:
                piece.path.read_bytes()
            except OSError as error:
                if passes(error.errno):
                    raise
            return read(piece, self._wanted, stretches=stretches)

    def _wanted(self, channel: str) -> bool:
        """Return whether a channel is the product, or belongs to it."""
        if channel in self._estimates:
            return self.product == "OUT_DQ"
        return channel == self._channel or not channel.startswith(self._stem)
