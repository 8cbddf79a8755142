"""Arrays that stay in their files: memory-mapped, or unpacked into a temporary file where they are compressed."""

import errno
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import DTypeLike

from jaxfc.data.file_rows import FileRows
from jaxfc.data.npy_header import read_header
from jaxfc.errors import FormatError, OutOfMemoryError
from jaxfc.memory import free_bytes, in_units

SHARE = 0.25  # of the free memory that inputs may take; while they are split, they are there more than once
_CHUNK = 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError, struct.error)


def is_large(nbytes: int, asked: bool | None = None) -> bool:
    """Whether inputs of so many bytes stay in their file: where the user asks for it, or they take much memory.

    >>> is_large(1000), is_large(1000, True), is_large(2**60), is_large(2**60, False)
    (False, True, True, False)
    """
    return nbytes > SHARE * free_bytes() if asked is None else asked


def spilled(shape: tuple[int, ...], dtype: DTypeLike, *, fortran: bool = False) -> np.memmap:
    """An array to be written, in a temporary file without a name: it is gone with the process, however that ends.

    The file is in the folder that `TMPDIR` names.

    Raises:
        OSError: the disk is full.

    >>> x = spilled((2, 3), np.float32)
    >>> x[:] = 1
    >>> float(x.sum())
    6.0
    """
    with tempfile.TemporaryFile(prefix="jaxfc-") as file:  # the map outlives it
        size = max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)
        _reserve(file, size)
        with _room_for(f"a temporary file of {in_units(size)}"):
            return np.memmap(file, dtype, "r+", shape=shape, order="F" if fortran else "C")


@contextmanager
def _room_for(what: str) -> Iterator[None]:
    """Say what there are no addresses for: a map needs them, though no memory, and `ulimit -v` counts them."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise OutOfMemoryError(f"{what} cannot be mapped into memory: raise the limit (ulimit -v)") from error


def _reserve(file: Any, size: int) -> None:
    """Take room on the disk now: to write to a map for which there is none ends the process."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            where = f"{tempfile.gettempdir()} (TMPDIR names another folder)"
            error.filename = f"a temporary file of {size / 1e9:.3g} GB in {where}"
            raise
    else:
        file.truncate(size)


def map_npy(path: Path) -> np.memmap:
    """Map the array in a `.npy` file.

    Raises:
        FormatError: not a `.npy` file, a truncated one, or one of Python objects.
        FileNotFoundError: there is no such file.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "x.npy"), np.array([[1, 2]]))
    ...     map_npy(Path(folder, "x.npy")).shape
    (1, 2)
    """
    with path.open("rb") as file:
        try:
            return _mapped(path, file)
        except OutOfMemoryError:
            raise
        except _BROKEN as error:
            raise FormatError(f"{path} is not a {path.suffix} file, or is corrupted or truncated ({error})") from error


def map_npz(path: Path, name: str) -> np.memmap:
    """Map an array of a `.npz` file: where it lies, or unpacked into a temporary file.

    Its checksum is verified.

    Raises:
        FormatError: a corrupted or truncated file, or an array of Python objects.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez_compressed(Path(folder, "points.npz"), x=np.array([[1, 2]]))
    ...     map_npz(Path(folder, "points.npz"), "x").tolist()
    [[1, 2]]
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            info = archive.getinfo(f"{name}.npy")
            if info.compress_type != zipfile.ZIP_STORED:
                return _unpacked(member, info.file_size)
            while member.read(_CHUNK):  # the checksum is compared at the end
                pass
        with path.open("rb") as file:
            file.seek(info.header_offset)
            name_and_extra = struct.unpack("<26xHH", file.read(30))
            file.seek(sum(name_and_extra), 1)
            return _mapped(path, file)
    except OSError as error:
        if error.filename != path:
            error.filename = f"{path}, unpacked into {error.filename}" if error.filename else path
        raise
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"{path}, array {name!r}: {error}") from error
    except _BROKEN as error:
        raise FormatError(f"{path}: the array {name!r} cannot be read ({error})") from error


def npz_bytes(path: Path, name: str) -> int:
    """The bytes that an array of a `.npz` file takes, unpacked; 0 where there is no such array, or no such file.

    >>> npz_bytes(Path("absent.npz"), "x")
    0
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.getinfo(f"{name}.npy").file_size
    except (OSError, KeyError, *_BROKEN):
        return 0


def resident(x: np.ndarray | FileRows) -> np.ndarray:
    """Rows in memory.

    Raises:
        ValueError: they do not fit.

    >>> resident(np.ones((2, 3))).shape
    (2, 3)
    """
    if isinstance(x, FileRows) and x.nbytes > free_bytes():
        raise ValueError(
            f"{len(x)} rows of {x.nbytes / 1e9:.3g} GB do not fit into memory: stream them, or take fewer rows "
            "(num_train, --num-train)"
        )
    return np.asarray(x)


def _mapped(path: Path, file: BufferedIOBase) -> np.memmap:
    shape, fortran, dtype = read_header(file, path.stat().st_size)
    if 0 in shape:
        raise ValueError(f"an array of shape {shape} is empty")
    with _room_for(f"{path}: an array of {in_units(int(np.prod(shape)) * dtype.itemsize)}"):
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def _unpacked(member: BufferedIOBase, size: int) -> np.memmap:
    shape, fortran, dtype = read_header(member, size)  # before there is room made for it
    x = spilled(shape, dtype, fortran=fortran)
    flat = x.reshape(-1, order="F" if fortran else "C").view(np.uint8)
    place = 0
    while place < len(flat):
        chunk = member.read(min(_CHUNK, len(flat) - place))
        if not chunk:
            raise EOFError(f"it ends after {place} of {len(flat)} bytes")
        flat[place : place + len(chunk)] = np.frombuffer(chunk, np.uint8)
        place += len(chunk)
    if member.read(1):  # to the end, where the checksum is compared
        raise ValueError("it is longer than its shape")
    return x
