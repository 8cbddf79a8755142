"""Checks of inputs and targets, before anything is trained or written."""

from collections.abc import Callable

import numpy as np

from jaxfc.data.arrays import Array
from jaxfc.data.file_rows import FileRows, first_place
from jaxfc.errors import unknown_name


def check_inputs(x: Array, *, what: str = "inputs", features: int | None = None, missing: bool = False) -> None:
    """Raise unless `x` is finite `(rows, features)`, with at least one row; where values may be `missing`, or NaN.

    Raises:
        ValueError: a wrong shape, no rows, or a NaN or infinite input.

    >>> import numpy as np
    >>> check_inputs(np.array([[1, np.nan]]))
    Traceback (most recent call last):
    ValueError: inputs: x[0, 1] is nan: remove or fill missing and infinite values
    """
    if x.ndim != 2 or (features is not None and x.shape[1] != features):
        raise ValueError(f"{what}: x has shape {x.shape}; it must be (rows, {features or 'features'})")
    if not len(x) or not x.shape[1]:
        raise ValueError(f"{what}: x has shape {x.shape}: there is nothing to train on or evaluate")
    if not np.issubdtype(x.dtype, np.floating) or getattr(x, "finite", False):
        return
    place = first_place(x, np.isinf if missing else lambda block: ~np.isfinite(block))
    if place is not None:
        row, column = place
        value = np.asarray(x[row : row + 1])[0, column]
        raise ValueError(f"{what}: x[{row}, {column}] is {value}: remove or fill missing and infinite values")
    if isinstance(x, FileRows) and not missing:
        x.finite = True  # of rows in a file it is not asked again


def check_examples(
    x: Array,
    y: np.ndarray | None,
    num_outputs: int,
    *,
    what: str = "data",
    features: int | None = None,
    targets: str = "classes",
    missing: bool = False,
) -> None:
    """Raise unless `x` is finite `(rows, features)` and `y` holds a target of its kind for each row.

    Args:
        x: inputs.
        y: their targets, or None to check inputs alone. For `"classes"` they are class indices, `(rows,)`, or
            soft targets, `(rows, classes)` floats that sum to 1 in each row; for `"labels"` `(rows, labels)` of 0
            and 1; for `"numbers"` finite numbers, `(rows,)` or `(rows, outputs)`.
        num_outputs: the number of classes, of labels or of numbers.
        what: where they are from, for messages.
        features: the number of features that `x` must have.
        targets: the kind of targets: `"classes"`, `"labels"` or `"numbers"`.
        missing: inputs may be NaN.

    Raises:
        ValueError: a wrong shape, no rows, a NaN or infinite input or target, a target out of range, or an
            unknown kind.
        TypeError: targets of another type than their kind has.

    >>> import numpy as np
    >>> check_examples(np.ones((2, 3)), np.array([0, 5]), 3)
    Traceback (most recent call last):
    ValueError: data: y[1] is 5; labels must lie in [0, 3)
    >>> check_examples(np.ones((2, 3)), np.array([0.5, 1e9]), 1, targets="numbers")
    """
    if targets not in TARGETS:
        raise unknown_name("targets", targets, TARGETS)
    check_inputs(x, what=what, features=features, missing=missing)
    if y is not None:
        TARGETS[targets](x, y, num_outputs, what)


def is_soft(y: np.ndarray) -> bool:
    """Whether targets of classes are soft, a probability for each class and not the index of one.

    >>> import numpy as np
    >>> is_soft(np.array([[0.9, 0.1]])), is_soft(np.array([0]))
    (True, False)
    """
    return y.ndim == 2 and np.issubdtype(y.dtype, np.floating)


def _check_classes(x: Array, y: np.ndarray, num_classes: int, what: str) -> None:
    if is_soft(y):
        _check_soft(x, y, num_classes, what)
        return
    if not np.issubdtype(y.dtype, np.integer):
        raise TypeError(
            f"{what}: y has type {y.dtype}; labels must be integers, as in y.astype(int); "
            "to predict numbers, load with task='regression' or give targets='numbers'"
        )
    _check_shape(x, y, (len(x),), what)
    wrong = np.flatnonzero((y < 0) | (y >= num_classes))
    if len(wrong):
        raise ValueError(f"{what}: y[{wrong[0]}] is {y[wrong[0]]}; labels must lie in [0, {num_classes})")


def _check_soft(x: Array, y: np.ndarray, num_classes: int, what: str) -> None:
    _check_shape(x, y, (len(x), num_classes), what)
    _check_values(y, y >= 0, "is {}; a probability must be a number from 0 to 1", what)
    sums = y.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero(~(np.abs(sums - 1) <= 1e-3))
    if len(wrong):
        raise ValueError(f"{what}: y[{wrong[0]}] sums to {sums[wrong[0]]:g}; soft targets must sum to 1 in each row")


def _check_labels(x: Array, y: np.ndarray, num_labels: int, what: str) -> None:
    if y.dtype.kind not in "buif":
        raise TypeError(f"{what}: y has type {y.dtype}; each label must be 0 or 1")
    _check_shape(x, y, (len(x), num_labels), what)
    _check_values(y, (y == 0) | (y == 1), "is {}; each label must be 0 or 1", what)


def _check_numbers(x: Array, y: np.ndarray, num_outputs: int, what: str) -> None:
    if y.dtype.kind not in "uif":
        first = f", y[0] is {y.flat[0].item()!r}" if y.size else ""
        raise TypeError(
            f"{what}: y has type {y.dtype}{first}; targets of a regression must be numbers: "
            "for names use task='classification' (--task classification)"
        )
    _check_shape(x, y, (len(x),) if y.ndim == num_outputs == 1 else (len(x), num_outputs), what)
    _check_values(y, np.isfinite(y), "is {}: remove or fill missing and infinite targets", what)


def _check_shape(x: Array, y: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    if y.shape != shape:
        raise ValueError(f"{what}: y has shape {y.shape} where x has shape {x.shape}; y must be {shape}")


def _check_values(y: np.ndarray, is_right: np.ndarray, message: str, what: str) -> None:
    if not is_right.all():
        place = tuple(np.argwhere(~is_right)[0].tolist())
        raise ValueError(f"{what}: y[{', '.join(map(str, place))}] {message.format(y[place])}")


TARGETS: dict[str, Callable[[Array, np.ndarray, int, str], None]] = {
    "classes": _check_classes,
    "labels": _check_labels,
    "numbers": _check_numbers,
}
