"""CIFAR-10, from the official Python archive or the folder it unpacks to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from jaxfc.data.dataset import Dataset
from jaxfc.data.download import Remote, find_or_fetch
from jaxfc.data.normalizer import centred
from jaxfc.data.opening import check_at_most, damaged, file_size
from jaxfc.data.pickles import unpickled
from jaxfc.errors import FormatError, shortened

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
META = "batches.meta"
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")

# A batch of 10,000 images takes 31 MB; pickled anew, as text, it may take a few times as much.
MOST_OF_A_FILE, MOST_OF_ALL, MOST_MEMBERS = 2**28, 2**30, 1000

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
    return _batch(_read_file(Path(path)), str(path))


def unpickle(raw: bytes, where: str) -> dict[str, object]:
    """Return the entries of a batch file or of `batches.meta`, as pickled.

    Raises:
        FormatError: a corrupted, truncated or foreign file. Nothing in it is ever executed.

    >>> import pickle
    >>> unpickle(pickle.dumps({b"labels": [3, 7]}), "data_batch_1")
    {'labels': [3, 7]}
    """
    contents = unpickled(raw, where)
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

    if source.is_dir():
        for name in (META, *BATCHES):
            yield name, _read_file(source / name)
        return
    # One pass in the archive's own order: to go back means to decompress from the start again.
    with (
        damaged(f"{source} is corrupted or truncated: delete it and download it again"),
        gzip.open(source) as unpacked,
        tarfile.open(fileobj=(stream := _Bounded(unpacked, source)), mode="r:") as archive,
    ):
        for number, member in enumerate(archive):
            name = member.name.removeprefix("./").removeprefix(f"{FOLDER}/")
            check_at_most(f"{source}: {shortened(member.name)}", member.size, MOST_OF_A_FILE)
            if number > MOST_MEMBERS:
                raise FormatError(f"{source} holds more than {MOST_MEMBERS} members: it is damaged or foreign")
            if member.isfile() and name in (META, *BATCHES):
                yield name, archive.extractfile(member).read()
        while stream.read(1 << 20):  # gzip compares its checksum only at the end
            pass


class _Bounded:
    """A stream that gives no more at once, and no more in all, than the data set can hold.

    A header may promise any number of bytes, which a reader would make room for; and a few kB may unpack to any
    number of GB.
    """

    def __init__(self, stream: Any, source: Path) -> None:
        self._stream, self._source = stream, source
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        check_at_most(f"{self._source}: a part", size, MOST_OF_A_FILE)
        check_at_most(f"{self._source}: what is unpacked", self._stream.tell() + size, MOST_OF_ALL)
        return self._stream.read(size)

    def seek(self, place: int) -> int:
        check_at_most(f"{self._source}: what is unpacked", place, MOST_OF_ALL)
        return self._stream.seek(place)


def _read_file(path: Path) -> bytes:
    check_at_most(str(path), file_size(path), MOST_OF_A_FILE)
    return path.read_bytes()


def _batch(raw: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    contents = unpickled(raw, where)
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
    contents = unpickled(raw, where)
    names, rows = _entry(contents, b"label_names", where), _entry(contents, b"num_cases_per_batch", where)
    if not isinstance(names, list) or len(names) != 10 or not all(isinstance(name, bytes | str) for name in names):
        raise FormatError(f"{where}: 'label_names' must be a list of 10 names")
    if type(rows) is not int or not 10 <= rows <= 10_000:
        # What is no number may hold itself many times over: to print it would never end.
        found = rows if type(rows) is int and abs(rows) < 2**63 else f"a {type(rows).__name__} of another kind"
        raise FormatError(f"{where}: 'num_cases_per_batch' must be a number from 10 to 10000, but is {found}")
    texts = [name.decode(errors="replace") if isinstance(name, bytes) else name for name in names]
    if max(map(len, texts)) > 100:
        raise FormatError(f"{where}: 'label_names' holds a name of {max(map(len, texts))} characters")
    return tuple(texts), rows


def _entry(contents: object, key: bytes, where: str) -> object:
    """Return an entry under its key in bytes, as Python 2 wrote it, or in text."""
    if isinstance(contents, dict):
        for form in (key, key.decode()):
            if form in contents:
                return contents[form]
    raise FormatError(f"{where} has no entry {key.decode()!r}: not a CIFAR-10 file")
