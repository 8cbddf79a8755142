"""Reading arrays of inputs and labels from `.npz` and `.npy` files."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxfc.data import check_examples
from jaxfc.errors import FormatError


def read_npz(path: Path, *, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Read the named arrays of a `.npz` file.

    Raises:
        FormatError: not a `.npz` file, a corrupted one, one of Python objects, or one that lacks an array.
        FileNotFoundError: there is no such file.
    """
    with path.open("rb") as file:
        arrays = _open(file, path)
        if not isinstance(arrays, Mapping):
            raise FormatError(f"{path} holds a single array: it is a .npy file, not a .npz file")
        missing = [name for name in required if name not in arrays]
        if missing:
            raise FormatError(f"{path} lacks the array {missing[0]!r}; it holds: {', '.join(arrays) or 'nothing'}")
        return {name: _member(arrays, name, path) for name in (*required, *optional) if name in arrays}


def read_npy(path: Path) -> np.ndarray:
    """Read the array in a `.npy` file.

    Raises:
        FormatError: not a `.npy` file, a corrupted one, or one of Python objects.
        FileNotFoundError: there is no such file.
    """
    with path.open("rb") as file:
        x = _open(file, path)
    if not isinstance(x, np.ndarray):
        raise FormatError(f"{path} holds several arrays: it is a .npz file, not a .npy file")
    return x


def as_features(x: np.ndarray, *, what: str, num_features: int | None = None) -> np.ndarray:
    """Return `x` as `(rows, features)`: uint8 as it is, any other numbers as float32.

    Raises:
        ValueError: not numbers, not finite (in float32), no rows, fewer than 2 axes or a wrong number of features.
    """
    if x.dtype.kind not in "buif":
        raise ValueError(f"{what}: x has type {x.dtype}; features must be real numbers")
    if x.ndim > 2:
        x = x.reshape(len(x), math.prod(x.shape[1:]))
    check_examples(x, None, 0, what=what, features=num_features)
    if x.dtype == np.uint8:
        return x
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float32)
    if x.dtype.itemsize > 4 and not np.isfinite(narrow).all():
        row, column = np.argwhere(~np.isfinite(narrow))[0]
        raise ValueError(f"{what}: x[{row}, {column}] is {x[row, column]}, too large for float32: rescale it")
    return narrow


def _open(file: BinaryIO, path: Path) -> np.ndarray | Mapping:
    import zipfile

    try:
        return np.load(file, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise FormatError(f"{path} is not a {path.suffix} file, or is corrupted or truncated ({error})") from error


def _member(arrays: Mapping, name: str, path: Path) -> np.ndarray:
    import zipfile
    import zlib

    try:
        return arrays[name]
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise FormatError(f"{path}: the array {name!r} cannot be read ({error})") from error
