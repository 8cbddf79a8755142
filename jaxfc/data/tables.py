"""A user's own data, from files of arrays and tables: to train on, to evaluate a model on, to predict."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Num

from jaxfc.data import labels
from jaxfc.data.arrays import Array, as_targets, as_weights, narrowed, narrowed_exactly
from jaxfc.data.checks import check_examples, is_soft
from jaxfc.data.csv_file import Column, Table
from jaxfc.data.dataset import Dataset
from jaxfc.data.normalizer import standardized
from jaxfc.data.npz_file import as_features
from jaxfc.data.odd import check_alike, check_classes_repeat, warn_of_numbers, warn_of_untrained
from jaxfc.data.readers import ARRAYS, TABLES, check_suffix, column_names, is_csv, read_arrays, read_table
from jaxfc.data.split import held_out_rows
from jaxfc.errors import FormatError, unknown_name

# What there is to learn from a file, and the kind of its targets.
TASKS = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}

# A label far beyond the number of rows is an identifier and no class index; a few rows may still
# hold labels of many classes.
_MOST_CLASSES = 1000


class Part(NamedTuple):
    """The inputs, targets and weights of a split."""

    x: Array
    y: np.ndarray
    w: np.ndarray | None

    def rows(self, indices: np.ndarray) -> "Part":
        """Return some of the rows."""
        return Part(*(array if array is None else array[indices] for array in self))


Examples = tuple[Num[Array, "rows features"], np.ndarray, np.ndarray | None]


def load(
    path: str | Path,
    *,
    label: Column | None = None,
    task: str = "classification",
    weights: str | None = None,
    stream: bool | None = None,
) -> Dataset:
    """Load a data set to train on from a file of arrays (`.npz`, `.npy`) or a table (`.csv`, `.parquet`, `.arrow`).

    A `.npz` file holds `x` and `y`, and may hold `x_val` and `y_val`, `x_test` and `y_test`. Inputs
    of more than two axes are flattened to `(rows, features)`; uint8 stays uint8, other numbers become
    float32, or float64 where float32 would blur a feature. `y` holds class indices from 0 to C-1, text, or a
    probability for each class; for the task `"multilabel"` a row of 0 and 1; for `"regression"` a number
    or a row of numbers. In place of one file there may be several: `NAME.npy` is `x`, `NAME.y.npy` is `y`, and so on.

    A `.csv` file has a first line that names its columns: one label column, of integers or text; several of 0
    and 1 for the task `"multilabel"`; one or several of numbers for `"regression"`. The others are features. So it
    is with a `.parquet`, `.arrow` or `.feather` file.

    Text labels are numbered in sorted order, and the integers of a `.csv` in order of size;
    `classes` keeps the mapping. Without validation rows a tenth of all rows, drawn at random with
    seed 0, is held out for validation; without test rows, another tenth for test. The normalizer
    standardizes uint8 inputs by a single deviation, and all others feature by feature.

    Args:
        path: the file; as text, it is the data set's name.
        label: the label column of a `.csv` file, by name or by index (negative from the end); by
            default the last. For multilabel and regression several by name, as in `"a,b"`.
        task: `"classification"`, `"multilabel"` or `"regression"`.
        stream: leave inputs in their file and read them when they are needed; by default where they would take more
            than a quarter of the memory that is free. What is compressed is unpacked into a temporary file once.
        weights: the column of a `.csv` file that holds the examples' weights, or the array of a `.npz` file: with
            `"w"` those of the validation rows are `w_val` and those of the test rows `w_test`, if they are there.

    Raises:
        FormatError: a corrupted or truncated file, one that lacks an array, or uneven rows.
        ValueError: contents that cannot be used: missing or infinite values, features that are not
            numbers, fewer than 2 classes, too few rows, an unknown label column, and so on. The
            message says where.
        TypeError: labels that are neither integers nor text, or targets of a regression that are not numbers.
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
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if check_suffix(path) in TABLES:
        table = read_table(path, stream=stream, label=_label(label, TASKS[task]), weights=weights)
        y, classes = _csv_targets(table, TASKS[task], path)
        parts = {"train": Part(table.x, y, table.weights)}
        names = tuple(table.labels) if task == "regression" else None
        return _dataset(path, parts, TASKS[task], classes, target_names=names, feature_names=table.features)
    if label is not None:
        raise ValueError(f"label={label!r} is for .csv files; the labels of {path} are its array 'y'")
    parts, image_shape = _npz_parts(path, weights, stream)
    parts, classes = _npz_classes(parts, path) if task == "classification" else _npz_targets(parts, TASKS[task], path)
    return _dataset(path, parts, TASKS[task], classes, image_shape=image_shape)


def read_features(
    path: str | Path, *, num_features: int, feature_names: Sequence[str] | None = None
) -> Num[Array, "rows features"]:
    r"""Read inputs to make predictions for: a `.npy` array, the `x` of a `.npz` file, or a `.csv` file.

    Args:
        path: the file.
        num_features: the number of features of the model.
        feature_names: the `.csv` columns to use, in this order; others, such as a label, are ignored. By
            default all columns, in the file's order.

    Returns:
        `(rows, num_features)`: uint8, float32, or float64 where float32 does not hold the numbers exactly. Rows that
        take much memory stay in their file.

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
    if check_suffix(path) in TABLES:
        table = read_table(path, with_label=False, features=feature_names)
        _check_columns(table.features, num_features, path, "without a label column")
        return narrowed_exactly(table.x, what=f"{path}: x")
    return as_features(read_arrays(path, required=("x",))["x"], what=str(path), num_features=num_features)


def read_examples(
    path: str | Path,
    *,
    classes: Sequence[str],
    num_features: int,
    feature_names: Sequence[str] | None = None,
    label: Column | None = None,
    targets: str = "classes",
    target_names: Sequence[str] | None = None,
    weights: str | None = None,
) -> Examples:
    r"""Read rows with their targets to evaluate a model on: `x` and `y` of a `.npz` file, or a `.csv` file.

    Labels are names of classes. Where no class's name is an integer and all labels are, they are
    taken for class indices.

    Args:
        path: the file.
        classes: the names of the model's classes or labels, in the order of their indices.
        num_features: the number of features of the model.
        feature_names: the `.csv` columns to use as features, in this order; by default all but labels and weights.
        label: the label column of a `.csv` file, or several, as for `load`. By default the columns that the
            model's labels or targets are named after where the file has them all, else the last.
        targets: the kind of the model's targets, as in `Dataset`.
        target_names: the names of the numbers that the model predicts, if it has them.
        weights: the column or array with the examples' weights, as for `load`.

    Returns:
        `(x, y, w)`: `x` as `read_features` returns it, `y` as a `Dataset` stores it, and the weights or None.

    Raises:
        FormatError, ValueError, TypeError, FileNotFoundError: as `load`, and ValueError for a label
            that is none of the classes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "test.csv")
    ...     _ = path.write_text("a,b,side\n1,2,right\n3,4,left\n")
    ...     x, y, w = read_examples(path, classes=("left", "right"), num_features=2)
    >>> x.shape, y, w
    ((2, 2), array([1, 0], dtype=int32), None)
    """
    path = Path(path)
    if targets not in TASKS.values():
        raise unknown_name("targets", targets, TASKS.values())
    if check_suffix(path) in ARRAYS:
        return _npz_examples(path, classes, num_features, targets, target_names, weights)
    usual = tuple({"classes": (), "labels": classes, "numbers": target_names or ()}[targets])
    label = _label(label, targets)
    if usual and (set(usual) <= set(column_names(path)) if label is None else _same(label, usual)):
        label = usual  # in the model's order
    table = read_table(path, label=label, features=feature_names, weights=weights)
    _check_columns(table.features, num_features, path, "beside the label column")
    if usual and len(table.labels) != len(usual):
        raise ValueError(
            f"{path}: {len(table.labels)} label columns, {', '.join(table.labels)}, where the model predicts "
            f"{len(usual)}: name them in the order of {','.join(usual)}"
        )
    if targets == "classes":
        (column,) = table.labels.values()
        y = labels.look_up(column, classes, where=_places(table, path))
    else:
        y, _ = _csv_targets(table, targets, path)
    y = narrowed_exactly(y, what=f"{path}: y") if targets == "numbers" else y
    return narrowed_exactly(table.x, what=f"{path}: x"), y, table.weights


def _check_columns(features: tuple[str, ...], num_features: int, path: Path, which: str) -> None:
    if len(features) != num_features:
        raise ValueError(f"{path} has {len(features)} columns {which}; the model takes {num_features} features")


def _label(label: Column | Sequence[Column] | None, targets: str) -> Column | Sequence[Column] | None:
    """Return the label columns: where there may be several, `"a,b"` names two."""
    if targets == "classes" or not isinstance(label, str):
        return label
    return [name.strip() for name in label.split(",")]


def _same(label: Column | Sequence[Column], usual: tuple[str, ...]) -> bool:
    return isinstance(label, list) and sorted(label) == sorted(usual)


def _places(table: Table, path: Path) -> list[str]:
    return [f"{path}, {'line' if is_csv(path) else 'row'} {line}" for line in table.lines]


def _csv_targets(table: Table, targets: str, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the targets that the label columns hold, and the names of classes or labels."""
    if targets == "classes":
        ((name, column),) = table.labels.items()
        y, classes = labels.encode(column, what=str(path))
        check_classes_repeat(len(classes), len(y), what=f"{path}: column {name!r}")
        warn_of_numbers(classes, len(classes), len(y), what=f"{path}: column {name!r}")
        return y, classes
    read = labels.flags if targets == "labels" else labels.numbers
    where = _places(table, path)
    y = np.column_stack([read(texts, column=name, where=where) for name, texts in table.labels.items()])
    if targets == "labels":
        return y, tuple(table.labels)
    return y[:, 0] if y.shape[1] == 1 else y, ()


def _npz_parts(path: Path, weights: str | None, stream: bool | None) -> tuple[dict[str, Part], tuple[int, ...] | None]:
    """Return the splits a `.npz` file holds, and the shape of an image where `x` holds images."""
    optional = ("x_val", "y_val", "x_test", "y_test")
    w_names = () if weights is None else (weights, f"{weights}_val", f"{weights}_test")
    arrays = read_arrays(path, required=("x", "y", *w_names[:1]), optional=(*optional, *w_names[1:]), stream=stream)
    for mine, other in zip(optional, ("y_val", "x_val", "y_test", "x_test"), strict=True):
        if mine in arrays and other not in arrays:
            raise FormatError(f"{path} holds {mine!r} but lacks the array {other!r}")
    shape = arrays["x"].shape[1:]
    is_image = arrays["x"].dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)))
    parts = {}
    for split, suffix in (("train", ""), ("val", "_val"), ("test", "_test")):
        if f"x{suffix}" in arrays:
            x = as_features(arrays.pop(f"x{suffix}"), what=f"{path}: {split}")
            w = arrays.get(f"{weights}{suffix}")
            w = None if w is None else as_weights(w, len(x), what=f"{path}: {weights}{suffix}")
            parts[split] = Part(x, arrays[f"y{suffix}"], w)
    check_alike(
        {f"x{'' if split == 'train' else f'_{split}'}": part.x for split, part in parts.items()}, what=str(path)
    )
    return parts, shape if is_image else None


def _npz_classes(parts: dict[str, Part], path: Path) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Return the splits with labels as int32 class indices or soft targets, and the classes' names."""
    if all(part.y.dtype.kind in "US" for part in parts.values()):
        names = [_texts(part.x, part.y, what=f"{path}: {split}") for split, part in parts.items()]
        indices, classes = labels.encode([name for part in names for name in part], what=str(path))
        ends = np.cumsum([len(part) for part in names])[:-1]
        check_classes_repeat(len(classes), len(indices), what=f"{path}: y")
        split_indices = zip(parts.items(), np.split(indices, ends), strict=True)
        return {split: part._replace(y=y) for (split, part), y in split_indices}, classes
    targets = [part.y for part in parts.values()]
    highest = max((int(y.max()) for y in targets if y.size and y.dtype.kind in "iu"), default=0)
    num_classes = next((y.shape[1] for y in targets if is_soft(y)), highest + 1)
    for split, part in parts.items():
        check_examples(part.x, part.y, num_classes, what=f"{path}: {split}")
    labels.check_classes(num_classes, what=str(path))
    if highest >= max(_MOST_CLASSES, *map(len, targets)):
        raise ValueError(
            f"{path}: y holds {highest}, but labels must be class indices 0, 1, 2 and so on: "
            "number them with np.unique(y, return_inverse=True)"
        )
    train = parts["train"].y
    if not is_soft(train):
        distinct = len(np.unique(train))
        check_classes_repeat(distinct, len(train), what=f"{path}: y")
        warn_of_numbers((), distinct, len(train), what=f"{path}: y")
    stored = {split: part._replace(y=as_targets(part.y, "classes")) for split, part in parts.items()}
    return stored, tuple(map(str, range(num_classes)))


def _npz_targets(parts: dict[str, Part], targets: str, path: Path) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Return the splits with checked labels or numbers, and the labels' names."""
    y = parts["train"].y
    num_outputs = y.shape[1] if y.ndim == 2 else 1
    for split, part in parts.items():
        check_examples(part.x, part.y, num_outputs, what=f"{path}: {split}", targets=targets)
    stored = {split: part._replace(y=as_targets(part.y, targets)) for split, part in parts.items()}
    return stored, tuple(map(str, range(num_outputs))) if targets == "labels" else ()


def _npz_examples(
    path: Path,
    classes: Sequence[str],
    num_features: int,
    targets: str,
    target_names: Sequence[str] | None,
    weights: str | None,
) -> Examples:
    arrays = read_arrays(path, required=("x", "y", *(() if weights is None else (weights,))))
    x, y = as_features(arrays["x"], what=str(path), num_features=num_features), arrays["y"]
    w = None if weights is None else as_weights(arrays[weights], len(x), what=f"{path}: {weights}")
    if targets == "classes" and not is_soft(y):
        names = _texts(x, y, what=str(path))
        return x, labels.look_up(names, classes, where=[f"{path}: y[{i}]" for i in range(len(names))]), w
    own = y.shape[1] if y.ndim == 2 else 1
    num_outputs = len(target_names or range(own)) if targets == "numbers" else len(classes)
    check_examples(x, y, num_outputs, what=str(path), targets=targets)
    return x, as_targets(y, targets), w


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
    parts: dict[str, Part],
    targets: str,
    classes: tuple[str, ...],
    *,
    target_names: tuple[str, ...] | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: tuple[str, ...] | None = None,
) -> Dataset:
    """Hold out what splits are missing, and fit the normalizer to the training rows."""
    train, fraction = parts["train"], 1 / 10
    for split in ("val", "test"):
        if split not in parts:
            kept, held = held_out_rows(len(train.x), fraction)
            parts[split], train = train.rows(held), train.rows(kept)
            fraction = 1 / 9  # of what is left: a tenth of all rows
    splits = [train, parts["val"], parts["test"]]
    if targets == "classes" and not is_soft(train.y):
        indices = {"train": train.y, "validation": parts["val"].y, "test": parts["test"].y}
        warn_of_untrained(indices, classes, what=str(path))
    x_train, x_val, x_test = _narrowed([part.x for part in splits], what=f"{path}: x")
    y_train, y_val, y_test = [part.y for part in splits]
    if targets == "numbers":
        y_train, y_val, y_test = _narrowed([y_train, y_val, y_test], what=f"{path}: y")
    fit = partial(standardized, per_feature=x_train.dtype != np.uint8)
    # The splits' widths are compared when the data set is made.
    return Dataset(
        name=str(path),
        x_train=x_train,
        y_train=y_train,
        x_val=x_val,
        y_val=y_val,
        x_test=x_test,
        y_test=y_test,
        classes=classes,
        normalizer=fit(x_train),
        image_shape=image_shape,
        feature_names=feature_names,
        targets=targets,
        target_names=target_names,
        w_train=train.w,
        w_val=parts["val"].w,
        w_test=parts["test"].w,
        fit_normalizer=fit,
    )


def _narrowed(parts: list[Array], *, what: str) -> list[Array]:
    """Return the splits in float32, or all as they are where that would blur a column of one of them."""
    narrow = [part if part.dtype == np.uint8 else narrowed(part, what=what) for part in parts]
    return parts if any(part.dtype == np.float64 for part in narrow) else narrow
