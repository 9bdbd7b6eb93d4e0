"""A sliding window of one stream's samples, addressed by absolute index.

Between two stages of the signal's path stands a `Track`: the earlier stage appends, the later
reads a range, and what nobody needs again is dropped. Indices that were never written read as
zero; which of them are gaps is known elsewhere (core.gain), never guessed from the samples.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray


class StreamBuffer:
    """Pieces of a stream, in order, over a sliding range of absolute sample indices.

    Args:
        rows: number of channels that travel together.
        dtype: of the samples that `read` returns.
    """

    def __init__(self, rows: int, dtype: type[np.floating[Any]] = np.float64) -> None:
        self.rows = rows
        self.dtype = dtype
        self._pieces: deque[tuple[int, NDArray[Any]]] = deque()

    def append(self, first: int, samples: NDArray[Any]) -> None:
        """Add samples that begin at index `first`; the track keeps the array, not a copy.

        Args:
            first: absolute index, not before the end of what was appended last.
            samples: shape `(rows, n)`.

        Raises:
            ValueError: the piece overlaps the one before it or has another number of rows.
        """
        if samples.ndim != 2 or samples.shape[0] != self.rows:
            raise ValueError(f"a piece of shape {samples.shape} on a track of {self.rows} rows")
        if self._pieces:
            begin, last = self._pieces[-1]
            if first < begin + last.shape[1]:
                raise ValueError(f"index {first} was already written")
        self._pieces.append((first, samples))

    def read(self, first: int, stop: int) -> NDArray[Any]:
        """Return a new array of shape `(rows, stop - first)`; zero where nothing was written."""
        window = np.zeros((self.rows, stop - first), dtype=self.dtype)
        for begin, samples in self._pieces:
            low, high = max(begin, first), min(begin + samples.shape[1], stop)
            if low < high:
                window[:, low - first : high - first] = samples[:, low - begin : high - begin]
        return window

    def drop_before(self, index: int) -> None:
        """Forget the pieces that end at or before `index`."""
        while self._pieces and self._pieces[0][0] + self._pieces[0][1].shape[1] <= index:
            self._pieces.popleft()

    def __len__(self) -> int:
        """Return how many pieces are held."""
        return len(self._pieces)

    def copy(self) -> StreamBuffer:
        """Return an independent track over the same (never modified) pieces."""
        twin = StreamBuffer(self.rows, self.dtype)
        twin._pieces = self._pieces.copy()
        return twin
