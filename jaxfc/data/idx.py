"""MNIST and Fashion-MNIST, from the four files in IDX format that both come in."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxfc.data.dataset import Dataset
from jaxfc.data.download import Remote, find_or_fetch
from jaxfc.data.normalizer import standardized
from jaxfc.data.opening import check_room, damaged, file_size
from jaxfc.errors import FormatError

_MOST_AXES = 32  # of an array

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

MNIST = Remote(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)
FASHION_MNIST = Remote(
    "fashion_mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def load_mnist(data_dir: str | Path | None = None) -> Dataset:
    """Return the MNIST handwritten digits: 55,000 to train on, 5,000 to validate, 10,000 to test.

    Rows are `(784,)` uint8, 28×28 pixels row by row; labels are the digits. The validation rows are
    the last twelfth of the training file.

    MNIST is from Y. LeCun, C. Cortes and C. Burges, http://yann.lecun.com/exdb/mnist/.

    Args:
        data_dir: a folder that holds the four files, gzipped or not, or that has them in its folder
            `mnist`; by default see `jaxfc.load`.

    Raises:
        FormatError: a corrupted, truncated or foreign file.
        FileNotFoundError, NotADirectoryError: `data_dir` does not hold the data set.
        OSError: a download failed.

    >>> data = load_mnist()  # doctest: +SKIP
    >>> data.x_train.shape[1], data.image_shape  # doctest: +SKIP
    (784, (28, 28))
    """
    return _load(MNIST, data_dir, tuple("0123456789"))


def load_fashion_mnist(data_dir: str | Path | None = None) -> Dataset:
    """Return Fashion-MNIST, pictures of garments: 55,000 to train on, 5,000 to validate, 10,000 to test.

    Rows are `(784,)` uint8, 28×28 pixels row by row. The validation rows are the last twelfth of
    the training file.

    Fashion-MNIST is from H. Xiao, K. Rasul and R. Vollgraf, 2017, https://arxiv.org/abs/1708.07747,
    under the MIT licence.

    Args:
        data_dir: a folder that holds the four files, gzipped or not, or that has them in its folder
            `fashion_mnist` or `fashion-mnist`; by default see `jaxfc.load`.

    Raises:
        FormatError: a corrupted, truncated or foreign file.
        FileNotFoundError, NotADirectoryError: `data_dir` does not hold the data set.
        OSError: a download failed.

    >>> data = load_fashion_mnist()  # doctest: +SKIP
    >>> data.classes[0]  # doctest: +SKIP
    'T-shirt/top'
    """
    return _load(FASHION_MNIST, data_dir, GARMENTS)


def read_idx(path: str | Path) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of bytes, gzipped or not, into an array of the shape in its header.

    The array is read-only.

    Raises:
        FormatError: not an IDX file of bytes, or one whose length does not fit its header.
        FileNotFoundError: there is no such file.

    >>> import struct, tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     file.write(struct.pack(">HBBI", 0, 8, 1, 3) + bytes([5, 0, 4])) and file.flush()
    ...     read_idx(file.name)
    array([5, 0, 4], dtype=uint8)
    """
    path = Path(path)
    with _opened(path) as file, damaged(f"{path} is corrupted or truncated"):
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0":
            raise FormatError(f"{path} is not an IDX file: it must start with two zero bytes, but starts with {head!r}")
        if head[2] != 0x08:
            raise FormatError(f"{path} holds data of IDX type 0x{head[2]:02x}; only bytes, 0x08, can be read")
        if head[3] > _MOST_AXES:
            raise FormatError(f"{path} is corrupted: its header promises an array of {head[3]} axes")
        lengths = file.read(4 * head[3])
        if len(lengths) < 4 * head[3]:
            raise FormatError(f"{path} is truncated: it ends within its header")
        shape = tuple(int.from_bytes(lengths[i : i + 4], "big") for i in range(0, len(lengths), 4))
        promised = math.prod(shape)
        check_room(path, promised, f"an array of shape {shape}")
        raw = file.read(promised + 1)  # one more, to see whether the file ends there: a packed one may never do
        if len(raw) != promised:
            follow = f"{len(raw)} follow" if len(raw) < promised else "more follow"
            raise FormatError(
                f"{path} is truncated or corrupted: its header promises {promised} bytes of shape {shape}, but {follow}"
            )
        return np.frombuffer(raw, np.uint8).reshape(shape)


def _opened(path: Path) -> Any:
    """A file to read from, unpacked as it is read."""
    import gzip

    file_size(path)
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


def _load(remote: Remote, data_dir: str | Path | None, classes: tuple[str, ...]) -> Dataset:
    def find(folder: Path) -> Path | None:
        candidates = [folder / remote.name, folder / remote.name.replace("_", "-")]
        # The files of the two data sets have the same names: only a folder's name can tell them apart.
        own = folder.resolve().name.lower().replace("-", "_")
        if own == remote.name or own not in (MNIST.name, FASHION_MNIST.name):
            candidates.append(folder)
        return next((found for found in candidates if all(_file(found, name) for name in FILES)), None)

    layout = f"{', '.join(FILES)} (each with or without .gz), there or in {remote.name}/"
    folder = find_or_fetch(remote, data_dir, find, layout=layout)
    x, y = _images_and_labels(folder, FILES[0], FILES[1])
    x_test, y_test = _images_and_labels(folder, FILES[2], FILES[3])
    train = len(x) - len(x) // 12
    fit = partial(standardized, per_feature=False)
    return Dataset(
        name=remote.name,
        x_train=x[:train],
        y_train=y[:train],
        x_val=x[train:],
        y_val=y[train:],
        x_test=x_test,
        y_test=y_test,
        classes=classes,
        normalizer=fit(x[:train]),
        image_shape=(28, 28),
        fit_normalizer=fit,
    )


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _images_and_labels(folder: Path, images_name: str, labels_name: str) -> tuple[np.ndarray, np.ndarray]:
    images_path, labels_path = _file(folder, images_name), _file(folder, labels_name)
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise FormatError(f"{images_path} holds an array of shape {images.shape}; it must be (images, 28, 28)")
    if labels.shape != images.shape[:1]:
        raise FormatError(f"{labels_path} holds labels of shape {labels.shape} for {len(images)} images")
    if not len(images):
        raise FormatError(f"{images_path} holds no images")
    if labels.max() > 9:
        raise FormatError(f"{labels_path} holds the label {labels.max()}; labels must lie from 0 to 9")
    return images.reshape(len(images), -1), labels.astype(np.int32)
