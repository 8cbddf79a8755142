"""Reading arrays of inputs and labels from `.npz` and `.npy` files."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxfc.data.arrays import Array, check_real, narrowed_exactly
from jaxfc.data.checks import check_inputs
from jaxfc.data.file_rows import FileRows
from jaxfc.data.mapped import is_large, map_npy, map_npz, npz_bytes
from jaxfc.data.npy_header import Header, read_header
from jaxfc.data.opening import check_room, damaged, file_size
from jaxfc.errors import FormatError, listed

MAGIC = b"\x93NUMPY"

INPUTS = ("x", "x_val", "x_test")


def read_npz(
    path: Path, *, required: Iterable[str], optional: Iterable[str] = (), stream: bool | None = None
) -> dict[str, np.ndarray]:
    """Read the named arrays of a `.npz` file; inputs are memory-mapped if `stream` says so, or they are large.

    Raises:
        FormatError: not a `.npz` file, a corrupted one, one of Python objects, or one that lacks an array.
        FileNotFoundError: there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder, "points.npz"), x=np.eye(2), y=np.array([0, 1]))
    ...     read_npz(Path(folder, "points.npz"), required=("y",), optional=("w",))
    {'y': array([0, 1])}
    """
    import zipfile

    file_size(path)
    with path.open("rb") as file, damaged(f"{path} is not a .npz file, or is corrupted or truncated"):
        if file.read(len(MAGIC)) == MAGIC:
            raise FormatError(f"{path} holds a single array: it is a .npy file, not a .npz file")
        mapped = INPUTS if is_large(sum(npz_bytes(path, name) for name in INPUTS), stream) else ()
        with zipfile.ZipFile(file) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            missing = [name for name in required if name not in members]
            if missing:
                raise FormatError(f"{path} lacks the array {missing[0]!r}; it holds: {listed(members) or 'nothing'}")
            names = [name for name in (*required, *optional) if name in members]
            _check_room(archive, {name: members[name] for name in names if name not in mapped}, path)
            return {
                name: map_npz(path, name)
                if name in mapped
                else _member(archive, members[name], f"{path}: the array {name!r}")
                for name in names
            }


def read_npy(path: Path, *, stream: bool | None = None) -> np.ndarray:
    """Read the array in a `.npy` file, or memory-map it if `stream` says so, or it is large.

    Raises:
        FormatError: not a `.npy` file, a corrupted one, or one of Python objects.
        FileNotFoundError: there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "x.npy"), np.array([1, 2]))
    ...     read_npy(Path(folder, "x.npy"))
    array([1, 2])
    """
    size = file_size(path)
    with path.open("rb") as file, damaged(f"{path} is not a .npy file, or is corrupted or truncated"):
        if file.read(4) == b"PK\x03\x04":
            raise FormatError(f"{path} holds several arrays: it is a .npz file, not a .npy file")
        file.seek(0)
        if is_large(size, stream):
            return map_npy(path)
        header = read_header(file, size)
        check_room(path, _room(header), "its array")
        file.seek(0)
        return np.load(file, allow_pickle=False)


def read_beside(
    path: Path, *, required: Iterable[str], optional: Iterable[str] = (), stream: bool | None = None
) -> dict[str, np.ndarray]:
    """Read arrays that have files of their own: `x` is `NAME.npy`, and `y` beside it `NAME.y.npy`, and so on.

    Raises:
        FormatError: as `read_npy`, or a required array has no file.
        FileNotFoundError: there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "points.npy"), np.eye(2))
    ...     np.save(Path(folder, "points.y.npy"), np.array([0, 1]))
    ...     sorted(read_beside(Path(folder, "points.npy"), required=("x", "y"), optional=("x_val",)))
    ['x', 'y']
    """
    files = {name: path if name == "x" else path.with_suffix(f".{name}.npy") for name in (*required, *optional)}
    there = {name: file for name, file in files.items() if file.is_file()}
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    missing = next((name for name in required if name not in there), None)
    if missing is not None:
        raise FormatError(f"{path} has no array {missing!r} beside it: put it into {files[missing]}")
    large = is_large(sum(there[name].stat().st_size for name in INPUTS if name in there), stream)
    return {name: read_npy(file, stream=large and name in INPUTS) for name, file in there.items()}


def as_features(x: np.ndarray, *, what: str, num_features: int | None = None) -> Array:
    """Return `x` as `(rows, features)`: uint8 as it is, what float32 holds exactly as float32, the rest as float64.

    An array that is memory-mapped stays in its file.

    Raises:
        ValueError: not numbers, not finite (in float32), no rows, fewer than 2 axes or a wrong number of features.

    >>> as_features(np.ones((5, 2, 3), np.int64), what="x").dtype.name
    'float32'
    """
    check_real(x, what=f"{what}: x")
    if isinstance(x, np.memmap) and x.ndim >= 2:
        x = FileRows(x)
    elif x.ndim > 2:
        x = x.reshape(len(x), math.prod(x.shape[1:]))
    check_inputs(x, what=what, features=num_features)
    if x.dtype == np.uint8:
        return x
    wide = x.astype(np.float32 if np.can_cast(x.dtype, np.float32) else np.float64, copy=False)
    return narrowed_exactly(wide, what=f"{what}: x")


def _room(header: Header) -> int:
    """The memory that an array takes on its way into a data set: it is held twice, once in parts."""
    wide = header.dtype.itemsize if header.dtype in (np.uint8, np.float32) else 8
    return header.nbytes + math.prod(header.shape) * wide


def _check_room(archive: Any, members: Mapping[str, str], path: Path) -> None:
    """Read what all members promise before any is read: a few kB may unpack to many GB."""
    needed = 0
    for name, member in members.items():
        with damaged(f"{path}: the array {name!r} cannot be read"), archive.open(member) as file:
            needed += _room(read_header(file, archive.getinfo(member).file_size))
    check_room(path, needed, f"the arrays {', '.join(members)}")


def _member(archive: Any, member: str, what: str) -> np.ndarray:
    with damaged(f"{what} cannot be read"), archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # to the end, where the checksum is compared
            raise ValueError("more bytes follow than its header promises")
    return array
