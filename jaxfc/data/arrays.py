"""The element types of arrays: as a data set stores them, and as they go to a device."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, Integer, Num

from jaxfc.data.file_rows import FileRows, blocks, first_place

Rows = Num[np.ndarray | FileRows, "rows features"]
Labels = Integer[np.ndarray, " rows"]
Indices = Integer[np.ndarray, " _"]
Array = np.ndarray | FileRows

# Rounding to float32 may blur a column by so much of its standard deviation.
_MOST_BLUR = 0.01


def as_stored(x: Array, *, what: str = "x") -> Array:
    """Return numbers in a type that a data set stores: uint8, float32 or float64.

    These three stay as they are, without a copy, and bool becomes uint8. Other integers and float16 become
    float32 where it holds each value exactly, else float64.

    Raises:
        ValueError: not real numbers.

    >>> import numpy as np
    >>> [as_stored(np.array([number])).dtype.name for number in (True, 2**24, 2**24 + 1)]
    ['uint8', 'float32', 'float64']
    """
    if x.dtype in (np.uint8, np.float32, np.float64):
        return x
    check_real(x, what=what)
    if x.dtype == bool:
        return x.astype(np.uint8)
    if np.can_cast(x.dtype, np.float32):
        return x.astype(np.float32)
    return x.astype(np.float64) if x.dtype.kind == "f" else narrowed_exactly(x.astype(np.float64), what=what)


def as_targets(y: np.ndarray, targets: str) -> np.ndarray:
    """Return targets that were checked (see `check_examples`) in the type that a data set stores.

    Class indices become int32, soft targets float32 and labels uint8; numbers are stored as inputs are.

    >>> import numpy as np
    >>> as_targets(np.array([2, 0]), "classes").dtype.name, as_targets(np.array([0.5, 2]), "numbers").dtype.name
    ('int32', 'float64')
    """
    if targets == "numbers":
        stored = as_stored(y)
        return stored.astype(np.float32) if stored.dtype == np.uint8 else stored
    if targets == "labels":
        return y.astype(np.uint8, copy=False)
    return y.astype(np.float32 if y.dtype.kind == "f" else np.int32, copy=False)


def as_weights(w: np.ndarray, num_rows: int, *, what: str = "weights") -> Float32[np.ndarray, " rows"]:
    """Return the weights of examples as float32.

    Raises:
        ValueError: not one for each row, a weight that is negative, NaN or too large, or none above zero.
        TypeError: not numbers.

    >>> import numpy as np
    >>> as_weights(np.array([1, 0, -2]), 3, what="w_train")
    Traceback (most recent call last):
    ValueError: w_train[2] is -2: weights must be finite and at least 0
    """
    if w.dtype.kind not in "buif":
        raise TypeError(f"{what} has type {w.dtype}: weights must be numbers")
    if w.shape != (num_rows,):
        raise ValueError(f"{what} has shape {w.shape}: it must be ({num_rows},), a weight for each row")
    with np.errstate(over="ignore"):
        stored = w.astype(np.float32, copy=False)
    wrong = np.flatnonzero(~(np.isfinite(stored) & (stored >= 0)))
    if len(wrong):
        raise ValueError(f"{what}[{wrong[0]}] is {w[wrong[0]]}: weights must be finite and at least 0")
    if not stored.any():
        raise ValueError(f"{what} is 0 in all {num_rows} rows: give at least one row a weight above 0, or no weights")
    return stored


def as_device_rows(
    x: Array, *, what: str, wide: bool, names: tuple[str, ...] | None = None, learned: bool = True
) -> Array:
    """Return stored inputs or targets in the type that they have on a device.

    float64 stays where the device computes in it, and becomes float32 elsewhere; other types stay.

    Args:
        x: `(rows, columns)` or `(rows,)`, finite.
        what: what `x` is called in messages.
        wide: whether JAX's 64-bit mode is on.
        names: the columns' names, for messages.
        learned: the rows are trained on, and every column's values have to stay apart; a few rows that are only
            measured or predicted may well be alike.

    Raises:
        ValueError: a value too large for float32, or a column to be learned from that rounding to float32 blurs
            by more than a hundredth of its standard deviation, as it does a date in seconds. The message names
            the place.

    >>> import numpy as np
    >>> seconds = np.array([[1.7e9], [1.7e9 + 1]])
    >>> as_device_rows(seconds, what="x_train", wide=False, names=("sold",))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: x_train: values of column 0 ('sold'), such as 1700000000.0, fall together in float32: subtract ...
    >>> as_device_rows(seconds - 1.7e9, what="x_train", wide=False).dtype.name
    'float32'
    """
    if x.dtype != np.float64 or wide:
        return x
    narrow = _as_float32(x, what=what)
    column = blurred_column(x) if learned else None
    if column is not None:
        name = f" ({names[column]!r})" if names else ""
        raise ValueError(
            f"{what}: values of column {column}{name}, such as {np.asarray(x[:1]).ravel()[column]}, fall together in "
            'float32: subtract an offset, or compute in float64 with param_dtype="float64"'
        )
    return narrow


def narrowed(x: Float[Array, "..."], *, what: str) -> Array:
    """Return `x` as float32, or as it is where that would blur a column.

    Raises:
        ValueError: a value too large for float32.

    >>> import numpy as np
    >>> narrowed(np.array([0.1, 0.2]), what="y").dtype.name, narrowed(np.array([1e12, 1e12 + 1]), what="y").dtype.name
    ('float32', 'float64')
    """
    narrow = _as_float32(x, what=what)
    return narrow if x.dtype == np.float32 or blurred_column(x) is None else x


def narrowed_exactly(x: Float[Array, "..."], *, what: str) -> Array:
    """Return `x` as float32 where it holds each value exactly, else as it is.

    Raises:
        ValueError: a value too large for float32.

    >>> import numpy as np
    >>> [narrowed_exactly(np.array([number]), what="y").dtype.name for number in (0.5, 0.1)]
    ['float32', 'float64']
    """
    narrow = _as_float32(x, what=what)
    return narrow if all(map(np.array_equal, blocks(narrow), blocks(x))) else x


def blurred_column(x: Float[Array, "..."]) -> int | None:
    """Return the first column that float32 cannot hold: rounding moves its values apart or together.

    That is one in which the rounding errors' standard deviation is above a hundredth of the values'.

    >>> import numpy as np
    >>> blurred_column(np.array([[0.1, 1.7e9], [0.2, 1.7e9 + 1]]))
    1
    """
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.asarray(x[:1]).reshape(1, -1)

        def apart() -> Iterator[np.ndarray]:
            """Numbers and their rounding errors, from the first row's on, so that a constant has no deviation."""
            for block in blocks(x):
                columns = block.reshape(len(block), -1)
                yield np.stack([columns - first, _rounding(columns) - _rounding(first)])

        mean = sum(each.sum(axis=1) for each in apart())[:, None] / len(x)
        deviation, error = np.sqrt(sum(np.square(each - mean).sum(axis=1) for each in apart()) / len(x))
    blurred = np.flatnonzero(~(error <= _MOST_BLUR * deviation))
    return int(blurred[0]) if len(blurred) else None


def check_real(x: np.ndarray, *, what: str) -> None:
    """Raise a ValueError unless an array's type is one of real numbers.

    >>> import numpy as np
    >>> check_real(np.array(["a"]), what="x")
    Traceback (most recent call last):
    ValueError: x has type <U1; features must be real numbers
    """
    if x.dtype.kind not in "buif":
        raise ValueError(f"{what} has type {x.dtype}; features must be real numbers")


def _rounding(x: np.ndarray) -> np.ndarray:
    return x - x.astype(np.float32)


def _as_float32(x: Array, *, what: str) -> Array:
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float32, copy=False)
    place = None if x.dtype == np.float32 else first_place(narrow, lambda block: ~np.isfinite(block))
    if place is not None:
        value = np.asarray(x[place[0] : place[0] + 1])[(0, *place[1:])]
        raise ValueError(f"{what}[{', '.join(map(str, place))}] is {value}, too large for float32: rescale it")
    return narrow
