"""Rows that stay in a file until they are asked for, and blocks of rows, by which statistics and checks go."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import DTypeLike

# So many numbers are looked at at once: 4 MB of float64.
_BLOCK = 2**19
# So many rows are copied at once while they are put back into the order that was asked for.
_PIECE = 4096


class FileRows:
    """`(rows, features)` of an array in a file, read when they are asked for.

    To take a part, by a slice or by indices, or to change the type reads nothing; `np.asarray` reads. Rows are
    read in the file's order, whatever order they are wanted in: a disk is slow at jumping to and fro.

    Args:
        source: the array, memory-mapped; what follows the first axis is flattened.
        rows: which of its rows; by default all.
        types: the types that the numbers are brought to, one after another; by default the array's own.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "x.npy"), np.arange(6).reshape(3, 2))
    ...     x = FileRows(np.load(Path(folder, "x.npy"), mmap_mode="r"))
    ...     last = x[[2, 1]].astype(np.float32)
    ...     print(len(last), np.asarray(last).tolist())
    2 [[4.0, 5.0], [2.0, 3.0]]
    """

    ndim = 2

    def __init__(self, source: np.ndarray, rows: Any = None, types: tuple[np.dtype, ...] = ()) -> None:
        self.source = source
        self.rows = range(len(source)) if rows is None else rows
        self.types = types
        self.finite = False  # whether that was checked

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers."""
        return self.types[-1] if self.types else self.source.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self), int(np.prod(self.source.shape[1:]))

    @property
    def nbytes(self) -> int:
        """The bytes that they would take in memory."""
        return len(self) * self.shape[1] * self.dtype.itemsize

    def __getitem__(self, which: Any) -> "FileRows":
        """Some of the rows: a slice, indices, or a mask."""
        rows = self.rows
        if not isinstance(which, slice):
            which = np.asarray(which)
            which = np.flatnonzero(which) if which.dtype == bool else which
            if isinstance(rows, range):  # its numbers are not in memory, and need not be
                if which.size and not (-len(rows) <= which.min() and which.max() < len(rows)):
                    raise IndexError(f"rows {which.min()} to {which.max()} are not all of {len(rows)} rows")
                return self._with(np.where(which < 0, which + len(rows), which) * rows.step + rows.start)
        return self._with(rows[which])

    def astype(self, dtype: DTypeLike, *, copy: bool = True) -> "FileRows":
        """The same as numbers of another type, once they are read."""
        return self if np.dtype(dtype) == self.dtype else self._with(self.rows, (*self.types, np.dtype(dtype)))

    def _with(self, rows: Any, types: tuple[np.dtype, ...] | None = None) -> "FileRows":
        part = FileRows(self.source, rows, self.types if types is None else types)
        part.finite = self.finite
        return part

    def __array__(self, dtype: DTypeLike = None, copy: bool | None = None) -> np.ndarray:
        """Read them."""
        x = self._read().reshape(self.shape)
        with np.errstate(over="ignore"):
            for each in (*self.types, *(() if dtype is None else (dtype,))):
                x = x.astype(each, copy=False)
        return x

    def _read(self) -> np.ndarray:
        rows = self.rows
        if isinstance(rows, range):
            rows = slice(rows.start, rows.stop, rows.step) if len(rows) else slice(0)
            return np.array(self.source[rows], order="C")  # a copy, and no longer a map of the file
        order = np.argsort(rows, kind="stable")
        x = np.empty((len(rows), *self.source.shape[1:]), self.source.dtype)
        for start in range(0, len(rows), _PIECE):
            places = order[start : start + _PIECE]
            x[places] = self.source[rows[places]]
        return x


def blocks(x: Any) -> Iterator[np.ndarray]:
    """Go through rows in memory or in a file, some megabytes of them at a time.

    >>> [block.shape for block in blocks(np.ones((3 * 2**18, 1)))]
    [(524288, 1), (262144, 1)]
    """
    size = max(_BLOCK // max(int(np.prod(x.shape[1:])), 1), 1)
    for start in range(0, len(x), size):
        yield np.asarray(x[start : start + size])


def first_place(x: Any, is_wrong: Callable[[np.ndarray], np.ndarray]) -> tuple[int, ...] | None:
    """Return the place of the first number that is wrong, block by block; None where none is.

    >>> first_place(np.array([[1.0, 2.0], [np.nan, 3.0]]), np.isnan)
    (1, 0)
    """
    start = 0
    for block in blocks(x):
        wrong = is_wrong(block)
        if wrong.any():
            row, *rest = np.argwhere(wrong)[0].tolist()
            return start + row, *rest
        start += len(block)
    return None
