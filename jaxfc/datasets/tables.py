"""A user's own data, from `.npz` and `.csv` files: to train on, to evaluate a model on, to predict."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Num

from jaxfc.data import Dataset, check_examples, hold_out, standardized
from jaxfc.datasets import labels
from jaxfc.datasets.csv_file import read_csv
from jaxfc.datasets.npz_file import as_features, read_npy, read_npz
from jaxfc.errors import FormatError

# A label far beyond the number of rows is an identifier and no class index; a few rows may still
# hold labels of many classes.
_MOST_CLASSES = 1000

Examples = tuple[np.ndarray, np.ndarray]


def load(path: str | Path, *, label: str | int | None = None) -> Dataset:
    """Load a data set to train on from a `.npz` or `.csv` file.

    A `.npz` file holds `x` and `y`, and may hold `x_val` and `y_val`, `x_test` and `y_test`. Inputs
    of more than two axes are flattened to `(rows, features)`; uint8 stays uint8, other numbers
    become float32. Labels are class indices from 0 to C-1, or text.

    A `.csv` file has a first line that names its columns, and one label column, of integers or text.

    Text labels are numbered in sorted order, and the integers of a `.csv` in order of size;
    `classes` keeps the mapping. Without validation rows a tenth of all rows, drawn at random with
    seed 0, is held out for validation; without test rows, another tenth for test. The normalizer
    standardizes uint8 inputs by a single deviation, and all others feature by feature.

    Args:
        path: the file; as text, it is the data set's name.
        label: the label column of a `.csv` file, by name or by index (negative from the end); by
            default the last.

    Raises:
        FormatError: a corrupted or truncated file, one that lacks an array, or uneven rows.
        ValueError: contents that cannot be used: missing or infinite values, features that are not
            numbers, fewer than 2 classes, too few rows, an unknown label column, and so on. The
            message says where.
        TypeError: labels that are neither integers nor text.
        FileNotFoundError: there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "points.npz")
    ...     np.savez(path, x=np.arange(60.0).reshape(20, 3), y=np.array(["left", "right"] * 10))
    ...     data = load(path)
    >>> data.x_train.shape, data.x_val.shape, data.classes
    ((16, 3), (2, 3), ('left', 'right'))
    """
    path = Path(path)
    if _suffix(path, ".npz", ".csv") == ".csv":
        table = read_csv(path, label=label)
        y, classes = labels.encode(table.labels, what=str(path))
        return _dataset(path, {"train": (table.x, y)}, classes, feature_names=table.features)
    if label is not None:
        raise ValueError(f"label={label!r} is for .csv files; the labels of {path} are its array 'y'")
    parts, image_shape = _npz_parts(path)
    parts, classes = _npz_classes(parts, path)
    return _dataset(path, parts, classes, image_shape=image_shape)


def read_features(
    path: str | Path, *, num_features: int, feature_names: Sequence[str] | None = None
) -> Num[np.ndarray, "rows features"]:
    r"""Read inputs to predict the classes of: a `.npy` array, the `x` of a `.npz` file, or a `.csv` file.

    Args:
        path: the file.
        num_features: the number of features of the model.
        feature_names: the `.csv` columns to use, in this order; others, such as a label, are ignored. By
            default all columns, in the file's order.

    Returns:
        `(rows, num_features)`, uint8 or float32.

    Raises:
        FormatError: a corrupted or truncated file, one that lacks `x`, or uneven rows.
        ValueError: inputs that are not finite numbers, a missing column, or another number of features.
        FileNotFoundError: there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "new.csv")
    ...     _ = path.write_text("b,note,a\n2,x,1\n")
    ...     read_features(path, num_features=2, feature_names=("a", "b"))
    array([[1., 2.]], dtype=float32)
    """
    path = Path(path)
    suffix = _suffix(path, ".npy", ".npz", ".csv")
    if suffix == ".csv":
        table = read_csv(path, with_label=False, features=feature_names)
        _check_columns(table.features, num_features, path, "without a label column")
        return table.x
    x = read_npy(path) if suffix == ".npy" else read_npz(path, required=("x",))["x"]
    return as_features(x, what=str(path), num_features=num_features)


def read_examples(
    path: str | Path,
    *,
    classes: Sequence[str],
    num_features: int,
    feature_names: Sequence[str] | None = None,
    label: str | int | None = None,
) -> tuple[Num[np.ndarray, "rows features"], Int32[np.ndarray, " rows"]]:
    r"""Read labelled rows to evaluate a model on: `x` and `y` of a `.npz` file, or a `.csv` file.

    Labels are names of classes. Where no class's name is an integer and all labels are, they are
    taken for class indices.

    Args:
        path: the file.
        classes: the names of the model's classes, in the order of their indices.
        num_features: the number of features of the model.
        feature_names: the `.csv` columns to use as features, in this order; by default all but the label.
        label: the label column of a `.csv` file, as for `load`.

    Returns:
        `(x, y)`: `(rows, num_features)`, uint8 or float32, and the class index of each row.

    Raises:
        FormatError, ValueError, TypeError, FileNotFoundError: as `load`, and ValueError for a label
            that is none of the classes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "test.csv")
    ...     _ = path.write_text("a,b,side\n1,2,right\n3,4,left\n")
    ...     x, y = read_examples(path, classes=("left", "right"), num_features=2)
    >>> x.shape, y
    ((2, 2), array([1, 0], dtype=int32))
    """
    path = Path(path)
    if _suffix(path, ".npz", ".csv") == ".csv":
        table = read_csv(path, label=label, features=feature_names)
        _check_columns(table.features, num_features, path, "beside the label column")
        x, names, where = table.x, table.labels, [f"{path}, line {line}" for line in table.lines]
    else:
        arrays = read_npz(path, required=("x", "y"))
        x, y = as_features(arrays["x"], what=str(path), num_features=num_features), arrays["y"]
        names = _texts(x, y, what=str(path))
        where = [f"{path}: y[{i}]" for i in range(len(names))]
    return x, labels.look_up(names, classes, where=where)


def _suffix(path: Path, *known: str) -> str:
    suffix = path.suffix.lower()
    if suffix not in known:
        raise ValueError(f"{path} is not a {' or '.join(known)} file, going by its name")
    return suffix


def _check_columns(features: tuple[str, ...], num_features: int, path: Path, which: str) -> None:
    if len(features) != num_features:
        raise ValueError(f"{path} has {len(features)} columns {which}; the model takes {num_features} features")


def _npz_parts(path: Path) -> tuple[dict[str, Examples], tuple[int, ...] | None]:
    """Return the splits a `.npz` file holds, and the shape of an image where `x` holds images."""
    optional = ("x_val", "y_val", "x_test", "y_test")
    arrays = read_npz(path, required=("x", "y"), optional=optional)
    for mine, other in zip(optional, ("y_val", "x_val", "y_test", "x_test"), strict=True):
        if mine in arrays and other not in arrays:
            raise FormatError(f"{path} holds {mine!r} but lacks the array {other!r}")
    shape = arrays["x"].shape[1:]
    is_image = arrays["x"].dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)))
    parts = {}
    for split, suffix in (("train", ""), ("val", "_val"), ("test", "_test")):
        if f"x{suffix}" in arrays:
            x = as_features(arrays.pop(f"x{suffix}"), what=f"{path}: {split}")
            parts[split] = x, arrays[f"y{suffix}"]
    return parts, shape if is_image else None


def _npz_classes(parts: dict[str, Examples], path: Path) -> tuple[dict[str, Examples], tuple[str, ...]]:
    """Return the splits with labels as int32 class indices, and the classes' names."""
    if all(y.dtype.kind in "US" for _, y in parts.values()):
        names = [_texts(x, y, what=f"{path}: {split}") for split, (x, y) in parts.items()]
        indices, classes = labels.encode([name for part in names for name in part], what=str(path))
        ends = np.cumsum([len(part) for part in names])[:-1]
        for split, y in zip(parts, np.split(indices, ends), strict=True):
            parts[split] = parts[split][0], y
        return parts, classes
    highest = max((int(y.max()) for _, y in parts.values() if y.size and y.dtype.kind in "iu"), default=0)
    for split, (x, y) in parts.items():
        check_examples(x, y, highest + 1, what=f"{path}: {split}")
    num_classes = highest + 1
    labels.check_classes(num_classes, what=str(path))
    if num_classes > max(_MOST_CLASSES, *(len(y) for _, y in parts.values())):
        raise ValueError(
            f"{path}: y holds {highest}, but labels must be class indices 0, 1, 2 and so on: "
            "number them with np.unique(y, return_inverse=True)"
        )
    return {split: (x, y.astype(np.int32)) for split, (x, y) in parts.items()}, tuple(map(str, range(num_classes)))


def _texts(x: np.ndarray, y: np.ndarray, *, what: str) -> list[str]:
    """Return integer or text labels as text, after the checks that hold for both."""
    # A range is checked by look-up, which also serves classes named -1 and 1: here any label is in it.
    check_examples(x, np.zeros(y.shape, np.int32) if y.dtype.kind in "iuUS" else y, 1, what=what)
    if y.dtype.kind in "iu":
        return [str(label) for label in y.tolist()]
    texts = [text.strip() for text in y.astype(np.str_).tolist()]
    if "" in texts:
        raise ValueError(f"{what}: y[{texts.index('')}] is empty: fill it in, or remove the row")
    return texts


def _dataset(
    path: Path,
    parts: dict[str, Examples],
    classes: tuple[str, ...],
    *,
    image_shape: tuple[int, ...] | None = None,
    feature_names: tuple[str, ...] | None = None,
) -> Dataset:
    x, y = parts["train"]
    fraction = 1 / 10
    if "val" not in parts:
        x, y, *parts["val"] = hold_out(x, y, fraction)
        fraction = 1 / 9  # of what is left: a tenth of all rows
    if "test" not in parts:
        x, y, *parts["test"] = hold_out(x, y, fraction)
    (x_val, y_val), (x_test, y_test) = parts["val"], parts["test"]
    # The splits' widths are compared when the data set is made.
    return Dataset(
        name=str(path),
        x_train=x,
        y_train=y,
        x_val=x_val,
        y_val=y_val,
        x_test=x_test,
        y_test=y_test,
        classes=classes,
        normalizer=standardized(x, per_feature=x.dtype != np.uint8),
        image_shape=image_shape,
        feature_names=feature_names,
    )
