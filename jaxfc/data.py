"""Data sets as arrays, the normalization a network applies to them, and index plans for an epoch.

Inputs stay as they came (uint8 images stay uint8, a quarter of the memory and of the transfer);
`Normalizer` turns a batch into floating point inside the compiled step.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, DTypeLike, Float, Integer, Num

from jaxfc.errors import unknown_name

Rows = Num[np.ndarray, "rows features"]
Labels = Integer[np.ndarray, " rows"]


class Normalizer(NamedTuple):
    r"""The affine map from stored inputs to network inputs, $z = (x - \mathrm{mean}) \cdot \mathrm{scale}$.

    `mean` has shape `(features,)`; `scale` is a scalar or has shape `(features,)`. A pytree: it is
    an argument of the compiled step, and saved with the model.

    >>> import numpy as np
    >>> Normalizer(np.float32([1, 2]), np.float32(0.5))(np.uint8([[3, 2]]))
    Array([[1., 0.]], dtype=float32)
    """

    mean: Float[Array | np.ndarray, " features"]
    scale: Float[Array | np.ndarray, ""] | Float[Array | np.ndarray, " features"]

    def __call__(self, x: Num[Array | np.ndarray, "batch features"], dtype: DTypeLike = None) -> Array:
        """Normalize a batch, in `dtype` (by default that of `mean`)."""
        import jax.numpy as jnp

        dtype = dtype or self.mean.dtype
        return (jnp.asarray(x).astype(dtype) - jnp.asarray(self.mean, dtype)) * jnp.asarray(self.scale, dtype)


def centred(x: Rows) -> Normalizer:
    """Subtract the mean row (for images, the mean image), as the CS231n assignment does; scale 1.

    >>> import numpy as np
    >>> centred(np.uint8([[0, 10], [2, 30]])).mean
    array([ 1., 20.], dtype=float32)
    """
    return Normalizer(_mean(x), np.float32(1))


def standardized(x: Rows, *, per_feature: bool) -> Normalizer:
    """Subtract each feature's mean and divide by the standard deviation, of each feature or of all.

    A feature that never varies is left at zero rather than divided by zero.

    >>> import numpy as np
    >>> x = np.float32([[0, 10], [2, 30]])
    >>> print(standardized(x, per_feature=True)(x))
    [[-1. -1.]
     [ 1.  1.]]
    """
    mean = _mean(x)
    # Block by block: a float64 copy of all rows would take eight times the memory of uint8 ones.
    blocks = np.array_split(x, len(x) // 4096 + 1)
    variance = sum(np.square(block.astype(np.float64) - mean).sum(axis=0) for block in blocks) / len(x)
    deviation = np.sqrt(variance if per_feature else variance.mean())
    return Normalizer(mean, np.float32(1) / np.where(deviation > 0, deviation, 1).astype(np.float32))


def _mean(x: Rows) -> np.ndarray:
    return x.mean(axis=0, dtype=np.float64).astype(np.float32)


@dataclass(frozen=True)
class Dataset:
    """A data set, split and ready to train on.

    Args:
        name: what it is called in messages, and what `load` takes to load it again.
        x_train: training inputs, `(rows, features)`, uint8 or float32.
        y_train: their labels, `(rows,)`, int32 class indices in `[0, len(classes))`.
        x_val: validation inputs.
        y_val: their labels.
        x_test: test inputs, or None.
        y_test: their labels, or None.
        classes: the classes' names; `classes[i]` is what label `i` stands for.
        normalizer: the map from stored to network inputs, fitted on the training rows alone.
        image_shape: `(height, width)` or `(channels, height, width)` where rows are images.
        feature_names: the columns' names where the rows come from a table.

    Raises:
        ValueError: empty or non-finite inputs, shapes that do not fit one another, labels out of
            range. The message names the split, the value and the remedy.
        TypeError: labels that are not integers.

    >>> data = load("digits")
    >>> data.x_train.shape, data.x_train.dtype.name, len(data.classes)
    ((1297, 64), 'uint8', 10)
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray | None
    y_test: np.ndarray | None
    classes: tuple[str, ...]
    normalizer: Normalizer
    image_shape: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for split in ("train", "val", "test"):
            x, y = self.split(split) if split != "test" or self.x_test is not None else (None, None)
            if x is not None:
                check_examples(x, y, len(self.classes), what=f"{self.name}: {split}", features=self.num_features)

    @property
    def num_features(self) -> int:
        """The number of input features, a row's length."""
        return self.x_train.shape[1]

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return `(x, y)` of the split `"train"`, `"val"` or `"test"`.

        Raises:
            ValueError: another name, or `"test"` where the data set has no test rows.
        """
        if name not in ("train", "val", "test"):
            raise unknown_name("split", name, ("train", "val", "test"))
        x, y = getattr(self, f"x_{name}"), getattr(self, f"y_{name}")
        if x is None:
            raise ValueError(
                f"data set {self.name!r} has no {name} rows: use split 'val', or add x_{name} and y_{name}"
            )
        return x, y

    def subset(self, num_train: int) -> "Dataset":
        """Keep the first `num_train` training rows; validation, test and normalizer stay.

        Raises:
            ValueError: `num_train` is not in `[1, len(x_train)]`.
        """
        if not 1 <= num_train <= len(self.x_train):
            raise ValueError(
                f"num_train={num_train} must be from 1 to the {len(self.x_train)} training rows of {self.name!r}"
            )
        return replace(self, x_train=self.x_train[:num_train], y_train=self.y_train[:num_train])

    def mirrored(self) -> "Dataset":
        """Append the mirror image, left and right exchanged, of every training row; the labels stay.

        Raises:
            ValueError: rows that are no images.

        >>> load("digits").mirrored().x_train.shape
        (2594, 64)
        """
        if self.image_shape is None:
            raise ValueError(f"{self.name!r} has no images to mirror: leave mirror out")
        images = self.x_train.reshape(-1, *self.image_shape)[..., ::-1].reshape(self.x_train.shape)
        x, y = np.concatenate([self.x_train, images]), np.concatenate([self.y_train, self.y_train])
        return replace(self, x_train=x, y_train=y)


def check_examples(
    x: np.ndarray, y: np.ndarray | None, num_classes: int, *, what: str = "data", features: int | None = None
) -> None:
    """Raise unless `x` is finite `(rows, features)` and `y` holds one class index for each row.

    Raises:
        ValueError: a wrong shape, no rows, a NaN or infinite input, or a label outside `[0, num_classes)`.
        TypeError: `y` is not of an integer type.

    >>> import numpy as np
    >>> check_examples(np.ones((2, 3)), np.array([0, 5]), num_classes=3)
    Traceback (most recent call last):
    ValueError: data: y[1] is 5; labels must lie in [0, 3)
    """
    if x.ndim != 2 or (features is not None and x.shape[1] != features):
        raise ValueError(f"{what}: x has shape {x.shape}; it must be (rows, {features or 'features'})")
    if not len(x) or not x.shape[1]:
        raise ValueError(f"{what}: x has shape {x.shape}: there is nothing to train on or evaluate")
    if np.issubdtype(x.dtype, np.floating) and not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(f"{what}: x[{row}, {column}] is {x[row, column]}: remove or fill missing and infinite values")
    if y is None:
        return
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(f"{what}: y has type {y.dtype}; labels must be integers, as in y.astype(int)")
    if y.shape != (len(x),):
        raise ValueError(f"{what}: y has shape {y.shape} where x has shape {x.shape}; y must be ({len(x)},)")
    wrong = np.flatnonzero((y < 0) | (y >= num_classes))
    if len(wrong):
        raise ValueError(f"{what}: y[{wrong[0]}] is {y[wrong[0]]}; labels must lie in [0, {num_classes})")


def hold_out(x: np.ndarray, y: np.ndarray, fraction: float, *, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Split rows at random, the same for the same seed, into `(x, y, x_held, y_held)`.

    Raises:
        ValueError: too few rows for each part to hold one.

    >>> import numpy as np
    >>> x, y, x_held, y_held = hold_out(np.ones((10, 3)), np.zeros(10, int), 0.2)
    >>> x.shape, x_held.shape
    ((8, 3), (2, 3))
    """
    held = round(len(x) * fraction)
    if not 0 < held < len(x):
        raise ValueError(
            f"{len(x)} rows are too few to hold out a fraction of {fraction}: add rows, or give x_val and x_test"
        )
    order = np.random.default_rng(seed).permutation(len(x))
    kept, out = np.sort(order[held:]), np.sort(order[:held])
    return x[kept], y[kept], x[out], y[out]


def load(name: str, *, data_dir: str | Path | None = None, label: str | int | None = None) -> Dataset:
    """Load a data set by name, or a user's own `.npz` or `.csv` file by path.

    Args:
        name: `"digits"`, `"cifar10"`, `"mnist"`, `"fashion_mnist"`, or a path that ends in `.npz` or `.csv`.
        data_dir: the folder that holds a downloaded data set's files; by default the environment
            variable `JAXFC_DATA`, and failing that a cache into which they are downloaded once.
        label: the label column of a `.csv`, by name or index; by default the last.

    Raises:
        ValueError: an unknown name, or contents that cannot be used.
        FormatError: a corrupted or truncated file.
        FileNotFoundError: a file that is not there.
        OSError: a download that failed.

    >>> load("digits").x_test.shape
    (300, 64)
    """
    from jaxfc.datasets import LOADERS, tables

    if Path(name).suffix.lower() in (".npz", ".csv"):
        return tables.load(Path(name), label=label)
    if name not in LOADERS:
        raise unknown_name("data set", name, [*LOADERS, "FILE.npz", "FILE.csv"])
    return LOADERS[name](data_dir)


Plan = Integer[np.ndarray, "iterations batch"]


def shuffled_plan(num_rows: int, batch_size: int, *, seed: int, epoch: int) -> Plan:
    """Indices for one epoch over shuffled rows: every row at most once.

    The `num_rows % batch_size` rows that do not fill a batch sit this epoch out; each epoch shuffles
    anew, so it is others the next time. The plan depends on the seed and the epoch alone.

    >>> shuffled_plan(5, 2, seed=0, epoch=1).shape
    (2, 2)
    """
    iterations = check_batch(num_rows, batch_size)
    order = np.random.default_rng([seed, epoch]).permutation(num_rows)
    return order[: iterations * batch_size].reshape(iterations, batch_size).astype(np.int32)


def replacement_plan(num_rows: int, batch_size: int, *, seed: int, epoch: int) -> Plan:
    """Indices for one epoch of draws with replacement, `num_rows // batch_size` batches of them.

    >>> replacement_plan(5, 2, seed=0, epoch=1).shape
    (2, 2)
    """
    iterations = check_batch(num_rows, batch_size)
    return np.random.default_rng([seed, epoch]).integers(num_rows, size=(iterations, batch_size), dtype=np.int32)


PLANS: dict[str, Callable[..., Plan]] = {"shuffled": shuffled_plan, "replacement": replacement_plan}


def check_batch(num_rows: int, batch_size: int) -> int:
    """Return the number of full batches in so many rows.

    Raises:
        ValueError: there is none.

    >>> check_batch(100, 32)
    3
    """
    if not 1 <= batch_size <= num_rows:
        raise ValueError(f"batch_size={batch_size} must be from 1 to the number of training rows, {num_rows}")
    return num_rows // batch_size
