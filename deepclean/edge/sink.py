"""Where cleaned frames go: one file each, seen whole or not at all, and bounded in number."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.edge import gwf
from deepclean.edge.files import OutputChannel
from deepclean.edge.names import FrameName
from deepclean.errors import OutputError


@dataclass(slots=True)
class FrameSink:
    """Writes frames of one description into one directory.

    Args:
        directory: made if it is not there.
        interferometer: `H1`; its first letter is the site of the file names.
        description: LIGO-T050017 description.
        history: lines of every frame's history record, by name.
        units: unit by channel name; channels that are not named have none.
        compression: `none` or `gzip`.
        fsync: make every file durable before it appears.
        keep_count: keep this many of the newest files; None: all.
        keep_age: delete files whose data is older, in nanoseconds, than the newest; None: never.
        guard: called before every write; may raise OutputError.

    Raises:
        OutputError: the directory cannot be made.
    """

    directory: Path
    interferometer: str
    description: str
    history: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    compression: gwf.Compression = "none"
    fsync: bool = False
    keep_count: int | None = None
    keep_age: int | None = None
    guard: Callable[[], None] = lambda: None
    _kept: list[FrameName] = field(init=False)

    def __post_init__(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._sweep()
        except OSError as error:
            raise self._unusable(error) from error
        self._kept = self.finished()

    def finished(self) -> list[FrameName]:
        """Return the frames of this description that lie in the directory, in order of time.

        Raises:
            OutputError: the directory cannot be read.
        """
        try:
            with os.scandir(self.directory) as entries:
                names = [FrameName.parse(entry.name) for entry in entries]
        except OSError as error:
            raise self._unusable(error) from error
        mine = [n for n in names if n is not None and n.description == self.description]
        return sorted(mine, key=lambda name: name.start)

    def write(self, span: Span, channels: Mapping[str, Series]) -> Path:
        """Write one frame; delete what the retention no longer allows.

        Args:
            span: whole seconds.
            channels: by full name.

        Returns:
            The file.

        Raises:
            OutputError: the frame did not appear.
            ValueError: the span is not whole seconds.
        """
        if span.start % NS or span.duration % NS:
            raise ValueError(f"{span} is not whole seconds, as file names need")
        name = FrameName(
            self.interferometer[0], self.description, span.start // NS, span.duration // NS
        )
        outputs = {
            channel: OutputChannel(series, self.units.get(channel, ""))
            for channel, series in channels.items()
        }
        data = gwf.serialise(span, outputs, history=self.history, compression=self.compression)
        path = self.directory / str(name)
        self.guard()
        gwf.publish(path, data, fsync=self.fsync)
        self._kept.append(name)
        self._retain()
        return path

    def _unusable(self, error: OSError) -> OutputError:
        return OutputError(
            f"the output directory cannot be used: {error.strerror}",
            path=self.directory,
            errno=error.errno,
        )

    def _retain(self) -> None:
        """Delete the oldest files beyond the limits."""
        newest = self._kept[-1].span.end
        while len(self._kept) > 1 and self._excess(newest):
            with suppress(OSError):
                (self.directory / str(self._kept.pop(0))).unlink()

    def _excess(self, newest: int) -> bool:
        if self.keep_count is not None and len(self._kept) > self.keep_count:
            return True
        return self.keep_age is not None and newest - self._kept[0].span.end > self.keep_age

    def _sweep(self) -> None:
        """Remove the temporaries that an interrupted run of this description left."""
        for path in self.directory.glob(f".*-{self.description}-*.tmp"):
            with suppress(FileNotFoundError):
                path.unlink()
