"""CIFAR-10, from the official Python archive or the folder it unpacks to."""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from jaxfc.data.dataset import Dataset
from jaxfc.data.download import Remote, find_or_fetch
from jaxfc.data.normalizer import centred
from jaxfc.errors import FormatError

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
META = "batches.meta"
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")

REMOTE = Remote("cifar10", "https://www.cs.toronto.edu/~kriz/", {ARCHIVE: "c58f30108f718f92721af3b95e74349a"})


def load(data_dir: str | Path | None = None) -> Dataset:
    """Return CIFAR-10, split as in CS231n: 49,000 to train on, the next 1,000 to validate, 10,000 to test.

    Rows are `(3072,)` uint8: 32×32 pixels of red, then of green, then of blue. The normalizer
    subtracts the mean image of the training rows.

    CIFAR-10 is from A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html.

    Args:
        data_dir: a folder that holds `cifar-10-batches-py/` or `cifar-10-python.tar.gz`, or that is
            `cifar-10-batches-py` itself; by default see `jaxfc.load`.

    Raises:
        FormatError: a corrupted, truncated or foreign file. Nothing in a file is ever executed.
        FileNotFoundError, NotADirectoryError: `data_dir` does not hold the data set.
        OSError: a download failed.

    >>> data = load()  # doctest: +SKIP
    >>> data.x_train.shape[1], data.classes[0]  # doctest: +SKIP
    (3072, 'airplane')
    """
    layout = f"{ARCHIVE}, or {FOLDER}/ with {', '.join((META, *BATCHES))}"
    x, y, classes = _read_all(find_or_fetch(REMOTE, data_dir, _find, layout=layout))
    # 49,000 of 50,000 and so on; a part of each batch, so that a smaller archive splits alike.
    test = len(x) // 6 * 5
    val = test - test // 50
    return Dataset(
        name="cifar10",
        x_train=x[:val],
        y_train=y[:val],
        x_val=x[val:test],
        y_val=y[val:test],
        x_test=x[test:],
        y_test=y[test:],
        classes=classes,
        normalizer=centred(x[:val]),
        image_shape=(3, 32, 32),
        fit_normalizer=centred,
    )


def read_batch(path: str | Path) -> tuple[UInt8[np.ndarray, "rows 3072"], Int32[np.ndarray, " rows"]]:
    """Read one batch file, such as `data_batch_1`, into `(images, labels)`.

    The official files hold 10,000 rows each. The images are read-only.

    Raises:
        FormatError: a corrupted, truncated or foreign file. Nothing in it is ever executed.
        FileNotFoundError: there is no such file.

    >>> images, labels = read_batch("cifar-10-batches-py/data_batch_1")  # doctest: +SKIP
    >>> images.shape[1], labels.dtype.name  # doctest: +SKIP
    (3072, 'int32')
    """
    return _batch(Path(path).read_bytes(), str(path))


def unpickle(raw: bytes, where: str) -> dict[str, object]:
    """Return the entries of a batch file or of `batches.meta`, as pickled.

    Raises:
        FormatError: a corrupted, truncated or foreign file. Nothing in it is ever executed.

    >>> unpickle(pickle.dumps({b"labels": [3, 7]}), "data_batch_1")
    {'labels': [3, 7]}
    """
    contents = _unpickle(raw, where)
    if not isinstance(contents, dict):
        raise FormatError(f"{where} holds no dictionary: not a CIFAR-10 file")

    def plain(value: object) -> object:
        return value.decode("latin1") if isinstance(value, bytes) else getattr(value, "array", value)

    return {plain(key): plain(value) for key, value in contents.items()}


def _find(folder: Path) -> Path | None:
    for unpacked in (folder / FOLDER, folder):
        if all((unpacked / name).is_file() for name in (META, *BATCHES)):
            return unpacked
    archive = folder / ARCHIVE
    return archive if archive.is_file() else None


def _read_all(source: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the images and labels of all batches, in the order of `BATCHES`, and the classes' names."""
    meta, seen = None, set()
    for name, raw in _files(source):
        if name == META:
            meta = _meta(raw, f"{source}: {name}")
            continue
        images, labels = _batch(raw, f"{source}: {name}")
        if not seen:  # made here and filled batch by batch, so that the whole is never in memory twice
            rows = len(images)
            x, y = np.empty((len(BATCHES) * rows, 3072), np.uint8), np.empty(len(BATCHES) * rows, np.int32)
        if len(images) != rows:
            raise FormatError(f"{source}: {name} holds {len(images)} images where another batch holds {rows}")
        start = BATCHES.index(name) * rows
        x[start : start + rows], y[start : start + rows] = images, labels
        seen.add(name)
    missing = [name for name in BATCHES if name not in seen] + ([META] if meta is None else [])
    if missing:
        raise FormatError(f"{source} lacks {', '.join(missing)}: it is not the whole of CIFAR-10")
    classes, expected = meta
    if rows != expected:
        raise FormatError(f"{source}: the batches hold {rows} images where {META} says {expected}")
    return x, y, classes


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and contents of each of the data set's files, from a folder or straight from the archive."""
    import gzip
    import tarfile
    import zlib

    if source.is_dir():
        for name in (META, *BATCHES):
            yield name, (source / name).read_bytes()
        return
    try:
        # One pass in the archive's own order: to go back means to decompress from the start again.
        with gzip.open(source) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                name = member.name.removeprefix("./").removeprefix(f"{FOLDER}/")
                if member.isfile() and name in (META, *BATCHES):
                    yield name, archive.extractfile(member).read()
            while stream.read(1 << 20):  # gzip compares its checksum only at the end
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FormatError(f"{source} is corrupted or truncated ({error}): delete it and download it again") from error


def _batch(raw: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    contents = _unpickle(raw, where)
    data = _entry(contents, b"data", where)
    images = getattr(data, "array", None)
    if images is None or images.ndim != 2 or images.shape[1] != 3072:
        found = type(data).__name__ if images is None else f"shape {images.shape}"
        raise FormatError(f"{where}: 'data' must be an array of bytes of shape (rows, 3072), but is of {found}")
    labels = _entry(contents, b"labels", where)
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise FormatError(f"{where}: 'labels' must be a list of whole numbers from 0 to 9")
    if len(labels) != len(images):
        raise FormatError(f"{where} holds {len(images)} images but {len(labels)} labels")
    return images, np.array(labels, np.int32)


def _meta(raw: bytes, where: str) -> tuple[tuple[str, ...], int]:
    """Return the classes' names and the number of rows in each batch."""
    contents = _unpickle(raw, where)
    names, rows = _entry(contents, b"label_names", where), _entry(contents, b"num_cases_per_batch", where)
    if not isinstance(names, list) or len(names) != 10 or not all(isinstance(name, bytes | str) for name in names):
        raise FormatError(f"{where}: 'label_names' must be a list of 10 names")
    if type(rows) is not int or not 10 <= rows <= 10_000:
        raise FormatError(f"{where}: 'num_cases_per_batch' must be a number from 10 to 10000, but is {rows!r:.40}")
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else name for name in names), rows


def _entry(contents: object, key: bytes, where: str) -> object:
    """Return an entry under its key in bytes, as Python 2 wrote it, or in text."""
    if isinstance(contents, dict):
        for form in (key, key.decode()):
            if form in contents:
                return contents[form]
    raise FormatError(f"{where} has no entry {key.decode()!r}: not a CIFAR-10 file")


def _unpickle(raw: bytes, where: str) -> object:
    try:
        return _Unpickler(raw, where).load()
    except FormatError:
        raise
    except Exception as error:  # a damaged pickle makes the unpickler raise nearly anything
        raise FormatError(f"{where} is corrupted or truncated ({type(error).__name__}: {error})") from error


class _Array:
    """Stands in for numpy's array, and for the function that makes an empty one, while a batch is unpickled.

    With stand-ins a pickle calls nothing but the two classes here, and not even numpy, whose own
    unpickling trusts the file not to lie about the memory it describes.
    """

    def __init__(self, *_: object) -> None:
        self.array = None

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, is_fortran, raw = state
        if not isinstance(dtype, _Dtype) or dtype.name not in ("u1", b"u1"):
            raise ValueError("an array that is not of bytes")
        self.array = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if is_fortran else "C")


class _Dtype:
    """Stands in for numpy's dtype."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: tuple) -> None:
        """Ignore byte order and the like, which say nothing about bytes."""


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _Unpickler(pickle.Unpickler):
    """Unpickles dictionaries, lists, text, numbers and arrays of bytes, and refuses everything else."""

    def __init__(self, raw: bytes, where: str) -> None:
        super().__init__(io.BytesIO(raw), encoding="bytes")
        self.where = where

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _STAND_INS:
            raise FormatError(
                f"{self.where} tries to load {module}.{name}: not a CIFAR-10 file, and nothing of it was run"
            )
        return _STAND_INS[module, name]
