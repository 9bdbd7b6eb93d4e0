"""Output of cleaned frames: one file each, complete or not there, and bounded in number."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, output_errors
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.frhistory import history
from deepclean.io.retention import Retention, held
from deepclean.io.t050017 import FrameName
from deepclean.system.atomic import sweep

_UNUSABLE = "the output directory cannot be used"


Appeared = Callable[[FrameName, Mapping[str, Series]], None]
"""Is told of a frame that was written, by its name and its channels."""


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
        fsync: sync every file to the disk before it appears.
        keep_count: keep this many of the newest files; None: all.
        keep_age: delete files whose data is older than the newest by this many nanoseconds; None:
            never.
        guard: called before every write; may raise OutputError, and then nothing is deleted either.
        appeared: called with every frame that was written, and its channels.
        sweeps: remove the temporaries of an interrupted run at the start; False where they may
            belong to other processes that write here.

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
    appeared: Appeared = lambda name, channels: None
    sweeps: bool = True
    _retention: Retention = field(init=False)
    _parts: list[tuple[Span, dict[str, OutputChannel]]] = field(default_factory=list)
    """The frames of the last file, where they fill it only in part."""

    def __post_init__(self) -> None:
        directory, description = self.directory, self.description
        with output_errors(directory, _UNUSABLE):
            directory.mkdir(parents=True, exist_ok=True)
            if self.sweeps:
                sweep(directory, description)
            self._retention = Retention(directory, description, self.keep_count, self.keep_age)

    def keep(self, count: int | None, age: int | None) -> None:
        """Change how many files are kept: their number, and their age in nanoseconds."""
        self._retention.count, self._retention.age = count, age

    def finished(self) -> list[FrameName]:
        """Return the frames of this description that lie in the directory, in order of time.

        Raises:
            OutputError: the directory cannot be read.
        """
        with output_errors(self.directory, _UNUSABLE):
            return held(self.directory, self.description)

    def foreign(self, span: Span, keys: Collection[str]) -> tuple[FrameName, dict[str, str]] | None:
        """Return a frame in a span whose history record differs, and what differs in it.

        Frames without such a record, which nobody can tell, are passed over.

        Args:
            span: the frames that are looked at.
            keys: the names of the records that are compared.

        Returns:
            The frame and its own values of the differing records; None: there is no such frame.

        Raises:
            OutputError: the directory cannot be read.
        """
        for name in self.finished():
            if name.span.overlap(span) is None:
                continue
            try:
                record = history(self.directory / str(name))
            except InputError:
                continue
            differing = {
                key: record[key]
                for key in sorted(set(keys) & set(record))
                if record[key] != self.history.get(key)
            }
            if differing:
                return name, differing
        return None

    def write(self, span: Span, channels: Mapping[str, Series]) -> Path:
        """Write one frame; then, written or not, delete the files beyond the retention's limits.

        File names have whole seconds. A frame that fills them only in part is followed by others of
        the same file, which is then written anew with all of them.

        Args:
            span: of the frame.
            channels: by full name.

        Returns:
            The file.

        Raises:
            OutputError: the frame did not appear.
        """
        start, end = span.start // NS, -(-span.end // NS)
        name = FrameName(self.interferometer[0], self.description, start, end - start)
        outputs = {
            channel: OutputChannel(series, self.units.get(channel, ""))
            for channel, series in channels.items()
        }
        path = self.directory / str(name)
        self.guard()
        try:
            gwf.publish(path, self._content(name, span, outputs), fsync=self.fsync)
        finally:
            self._retention.step(name)
        self.appeared(name, channels)
        return path

    def _content(
        self, name: FrameName, span: Span, outputs: dict[str, OutputChannel]
    ) -> bytes | memoryview:
        """Return a file's content: a frame, after those that fill another part of the same file."""
        before = [part for part in self._parts if name.span.covers(part[0])]
        self._parts = [] if span == name.span else [*before, (span, outputs)]
        if len(self._parts) < 2:
            return gwf.serialise(span, outputs, history=self.history, compression=self.compression)
        # All frames of a file have the same channels; one may lack a copied one.
        common = set.intersection(*(set(channels) for _, channels in self._parts))
        parts = [(at, {n: c for n, c in has.items() if n in common}) for at, has in self._parts]
        content = BytesIO()
        gwf.write_frames(content, parts, history=self.history, compression=self.compression)
        return content.getbuffer()
