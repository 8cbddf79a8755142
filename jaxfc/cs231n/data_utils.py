"""The assignment's CIFAR-10, as float64 images."""

from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxfc.cs231n.bridge import refuse
from jaxfc.data import cifar10, load

__all__ = ["get_CIFAR10_data", "load_CIFAR10", "load_CIFAR_batch", "load_pickle"]

Array = np.ndarray
__getattr__ = partial(refuse, __name__)


def load_pickle(f: BinaryIO) -> dict[str, object]:
    """Unpickle an open file of CIFAR-10; nothing in it is executed.

    Raises:
        FormatError: it is no file of CIFAR-10.

    >>> import io, pickle
    >>> load_pickle(io.BytesIO(pickle.dumps({b"labels": [3, 7]})))
    {'labels': [3, 7]}
    """
    return cifar10.unpickle(f.read(), getattr(f, "name", "file"))


def load_CIFAR_batch(filename: str | Path) -> tuple[Array, Array]:
    """Return a batch file's images, `(N, 32, 32, 3)` float64, and labels, `(N,)`.

    >>> images, labels = load_CIFAR_batch("cifar-10-batches-py/data_batch_1")  # doctest: +SKIP
    >>> images.shape[1:]  # doctest: +SKIP
    (32, 32, 3)
    """
    images, labels = cifar10.read_batch(filename)
    return _as_pictures(images), labels.astype(np.int64)


def load_CIFAR10(ROOT: str | Path) -> tuple[Array, Array, Array, Array]:
    """Return training images and labels and test images and labels of the folder `cifar-10-batches-py`.

    >>> X_train, y_train, X_test, y_test = load_CIFAR10("cifar-10-batches-py")  # doctest: +SKIP
    >>> len(X_train) == 5 * len(X_test)  # doctest: +SKIP
    True
    """
    batches = [load_CIFAR_batch(Path(ROOT) / name) for name in cifar10.BATCHES]
    images, labels = zip(*batches[:-1], strict=True)
    return np.concatenate(images), np.concatenate(labels), *batches[-1]


def get_CIFAR10_data(
    num_training: int = 49000, num_validation: int = 1000, num_test: int = 1000, subtract_mean: bool = True
) -> dict[str, Array]:
    """Return `X_train, y_train, X_val, y_val, X_test, y_test`; images are `(N, 3, 32, 32)` float64.

    Validation rows follow the training rows in the training batches. The mean image of the training
    rows is subtracted from all. The files are found as by `jaxfc.load("cifar10")`.

    Raises:
        ValueError: more rows than there are.

    >>> data = get_CIFAR10_data(num_training=50, num_validation=10, num_test=10)  # doctest: +SKIP
    >>> data["X_train"].shape  # doctest: +SKIP
    (50, 3, 32, 32)
    """
    data = load("cifar10")
    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    if num_training + num_validation > len(x) or num_test > len(data.x_test):
        raise ValueError(
            f"num_training={num_training} and num_validation={num_validation} need {num_training + num_validation} of "
            f"{len(x)} training rows, num_test={num_test} of {len(data.x_test)} test rows"
        )
    end = num_training + num_validation
    parts = {
        "train": (x[:num_training], y[:num_training]),
        "val": (x[num_training:end], y[num_training:end]),
        "test": (data.x_test[:num_test], data.y_test[:num_test]),
    }
    mean = parts["train"][0].mean(axis=0, dtype=np.float64) if subtract_mean else 0.0
    result = {}
    for name, (images, labels) in parts.items():
        result[f"X_{name}"] = (images - mean).reshape(-1, 3, 32, 32)
        result[f"y_{name}"] = labels.astype(np.int64)
    return result


def _as_pictures(images: Array) -> Array:
    return images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(np.float64)
