"""The stream that daemons are killed over: files made ahead, that appear when they are told to."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

from scripts.soak_site import START, Site, content


class Stream:
    """The site's files, made ahead and let appear one by one.

    Every 900 s a strain file is missing, another is cut short, and a witness file is missing.

    Args:
        site: whose input directories are filled.
        store: directory for the files until then.
        seconds: of data from `START` on.
    """

    def __init__(self, site: Site, store: Path, seconds: int) -> None:
        self.site = site
        self._files: dict[Path, Path] = {}
        self.readable: list[int] = []
        self.shown = START
        self.end = START + seconds
        self._cleaned = 0
        store.mkdir()
        for second in range(START, self.end):
            self._make(second, store)

    def _make(self, second: int, store: Path) -> None:
        phase = (second - START) % 900
        # Witnesses first: what is there with the strain is never a matter of time.
        files = {self.site.witness_path(second): content(self.site.witnesses(second))}
        if phase == 30:
            files.clear()
        if phase != 10:
            strain = content(self.site.strain(second))
            files[self.site.strain_path(second)] = strain[:20_000] if phase == 20 else strain
        if phase not in (10, 20):
            self.readable.append(second)
        for path, data in files.items():
            self._files[path] = store / path.name
            self._files[path].write_bytes(data)

    def show(self, end: int) -> None:
        """Let the files of the seconds before `end` appear, as far as they have not."""
        for second in range(self.shown, min(end, self.end)):
            for path in (self.site.witness_path(second), self.site.strain_path(second)):
                if path in self._files:
                    path.hardlink_to(self._files[path])
            self.shown = second + 1

    def hide(self) -> None:
        """Take all away again."""
        for path in self._files:
            path.unlink(missing_ok=True)
        self.shown, self._cleaned = START, 0

    @property
    def cleanable(self) -> int:
        """How many of the readable seconds that appeared have their look-ahead."""
        return max(bisect_left(self.readable, self.shown) - 1, 0)

    @property
    def cleaned(self) -> int:
        """How many of the readable seconds have their frame."""
        while self._cleaned < len(self.readable) and self._next().exists():
            self._cleaned += 1
        return self._cleaned

    @property
    def writing(self) -> bool:
        """Whether the next frame lies there unfinished."""
        return self.cleaned < len(self.readable) and self._unfinished().exists()

    def _next(self) -> Path:
        return self.site.cleaned_path(self.readable[self._cleaned])

    def _unfinished(self) -> Path:
        return self._next().with_name(f".{self._next().name}.tmp")
