"""A sliding window of one stream's samples, addressed by absolute index.

A `StreamBuffer` stands between two stages of the signal's path. The earlier stage appends, the
later stage reads a range, and samples that nobody needs again are dropped. Indices that were never
written read as zero. Which of them are gaps is known elsewhere (core.gain) and never guessed from
the samples.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A read copies from every piece that it meets, which takes a microsecond or two for each, whatever
# its length, and to join a piece is to copy it: 32768 samples in some 20 us. Blocks of 1/16 s would
# make sixteen pieces a second, of 1024 samples of the strain.
_SHORT = 1 << 15
"""The number of samples, of all rows, from which on a piece stands alone."""

_ROOM = 8
"""The number of further short pieces, at least, for which an array of them has room."""


class StreamBuffer:
    """Pieces of a stream, in order, over a sliding range of absolute sample indices.

    Short pieces that follow one another are one piece, in an array with room for more.

    >>> buffer = StreamBuffer(1)
    >>> buffer.append(100, np.array([[1.0, 2.0]]))
    >>> buffer.append(103, np.array([[4.0]]))
    >>> buffer.read(99, 105).tolist()
    [[0.0, 1.0, 2.0, 0.0, 4.0, 0.0]]
    >>> buffer.drop_before(102)
    >>> buffer.read(100, 104).tolist()
    [[0.0, 0.0, 0.0, 4.0]]

    Args:
        rows: the number of channels that travel together.
        dtype: the type of the samples that `read` returns.
    """

    def __init__(self, rows: int, dtype: type[np.floating[Any]] = np.float64) -> None:
        self.rows = rows
        self.dtype = dtype
        self._pieces: deque[tuple[int, NDArray[Any]]] = deque()
        # The array in which the last piece lies, and the columns of it that are used; None where
        # that piece stands alone.
        self._array: NDArray[Any] | None = None
        self._used = 0

    def append(self, first: int, samples: NDArray[Any]) -> None:
        """Add samples that begin at index `first`. The buffer may keep the array, not a copy.

        Args:
            first: absolute index of the first sample, not before the end of the piece before.
            samples: shape `(rows, n)`.

        Raises:
            ValueError: the piece overlaps the one before it or has another number of rows.
        """
        if samples.ndim != 2 or samples.shape[0] != self.rows:
            raise ValueError(f"a piece of shape {samples.shape} in a buffer of {self.rows} rows")
        count = samples.shape[1]
        begin, last = self._pieces[-1] if self._pieces else (first, samples[:, :0])
        if first < begin + last.shape[1]:
            raise ValueError(f"index {first} was already written")
        if samples.size >= _SHORT:
            self._array = None
            self._pieces.append((first, samples))
            return
        array, held = self._array, last.shape[1]
        if array is None or first > begin + held:
            begin, last, array, held = first, samples[:, :0], None, 0
        else:
            self._pieces.pop()
        if array is None or self._used + count > array.shape[1]:
            # What is still held moves to a new array, with as much room again.
            array = self._array = np.empty((self.rows, 2 * held + _ROOM * count), self.dtype)
            array[:, :held], self._used = last, held
        low, self._used = self._used - held, self._used + count
        array[:, self._used - count : self._used] = samples
        self._pieces.append((begin, array[:, low : self._used]))

    def read(self, first: int, stop: int, rows: slice = slice(None)) -> NDArray[Any]:
        """Return the samples of a range of indices, with zeros where nothing was written.

        Args:
            first: absolute index of the first sample.
            stop: absolute index after the last.
            rows: the rows to return.

        Returns:
            Shape `(rows, stop - first)`, a new array.
        """
        if self._last_holds(first, stop):
            begin, samples = self._pieces[-1]
            return samples[rows, first - begin : stop - begin].astype(self.dtype)
        count = len(range(*rows.indices(self.rows)))
        window = np.zeros((count, stop - first), dtype=self.dtype)
        for begin, samples in self._pieces:
            end = begin + samples.shape[1]
            if end <= first:
                continue
            if begin >= stop:
                break
            low, high = max(begin, first), min(end, stop)
            window[:, low - first : high - first] = samples[rows, low - begin : high - begin]
        return window

    def view(self, first: int, stop: int) -> NDArray[Any]:
        """Return all rows of a range as `read` does, but not to be changed: it may be no copy."""
        if self._last_holds(first, stop):
            begin, samples = self._pieces[-1]
            return samples[:, first - begin : stop - begin].astype(self.dtype, copy=False)
        return self.read(first, stop)

    def _last_holds(self, first: int, stop: int) -> bool:
        """Return whether a range lies in the last piece."""
        if not self._pieces:
            return False
        begin, samples = self._pieces[-1]
        return begin <= first and stop <= begin + samples.shape[1]

    def drop_before(self, index: int) -> None:
        """Drop the samples before `index`."""
        while self._pieces and self._pieces[0][0] < index:
            begin, samples = self._pieces.popleft()
            if begin + samples.shape[1] > index:
                self._pieces.appendleft((index, samples[:, index - begin :]))
        if not self._pieces:
            self._array = None

    def __len__(self) -> int:
        """Return the number of pieces held."""
        return len(self._pieces)

    def widened(self, rows: int) -> StreamBuffer:
        """Return an independent buffer with more rows, which are zero so far."""
        twin = StreamBuffer(rows, self.dtype)
        for begin, samples in self._pieces:
            more = np.zeros((rows - self.rows, samples.shape[1]), self.dtype)
            twin._pieces.append((begin, np.concatenate([samples, more])))
        return twin

    def copy(self) -> StreamBuffer:
        """Return an independent buffer over the same samples, which are never modified."""
        # Only one buffer may go on filling the array.
        twin = StreamBuffer(self.rows, self.dtype)
        twin._pieces = self._pieces.copy()
        return twin
