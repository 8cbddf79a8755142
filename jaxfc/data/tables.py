"""A user's own data, from files of arrays and tables: to train on, to evaluate a model on, to predict."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from jaxfc.data import labels
from jaxfc.data.array_sets import Part, npz_classes, npz_examples, npz_parts, npz_targets
from jaxfc.data.arrays import Array, narrowed, narrowed_exactly
from jaxfc.data.cells import Sheet
from jaxfc.data.checks import is_soft
from jaxfc.data.columns import Columns, recognize
from jaxfc.data.csv_file import Column, NotNumbers, Table
from jaxfc.data.dataset import Dataset
from jaxfc.data.encoder import Encoder
from jaxfc.data.normalizer import standardized
from jaxfc.data.npz_file import as_features
from jaxfc.data.odd import check_classes_repeat, warn_of_numbers, warn_of_untrained
from jaxfc.data.readers import ARRAYS, TABLES, check_suffix, column_names, is_csv, read_arrays, read_table
from jaxfc.data.split import Splitting, held_out_rows
from jaxfc.errors import unknown_name

# What there is to learn from a file, and the kind of its targets.
TASKS = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}

Examples = tuple[Num[Array, "rows features"], np.ndarray, np.ndarray | None]


def load(
    path: str | Path,
    *,
    label: Column | None = None,
    task: str = "classification",
    weights: str | None = None,
    stream: bool | None = None,
    columns: Mapping[str, str] | None = None,
    splitting: Splitting = Splitting(),  # noqa: B008 (it is immutable)
) -> Dataset:
    """Load a data set to train on from a file of arrays (`.npz`, `.npy`) or a table (`.csv`, `.parquet`, `.arrow`).

    A `.npz` file holds `x` and `y`, and may hold `x_val` and `y_val`, `x_test` and `y_test`. Inputs
    of more than two axes are flattened to `(rows, features)`; uint8 stays uint8, other numbers become
    float32, or float64 where float32 would blur a feature. `y` holds class indices from 0 to C-1, text, or a
    probability for each class; for the task `"multilabel"` a row of 0 and 1; for `"regression"` a number
    or a row of numbers. In place of one file there may be several: `NAME.npy` is `x`, `NAME.y.npy` is `y`, and so on.

    A `.csv` file has a first line that names its columns: one label column, of integers or text; several of 0
    and 1 for the task `"multilabel"`; one or several of numbers for `"regression"`. The others are features. So it
    is with a `.parquet`, `.arrow` or `.feather` file. Where features are all finite numbers they stay as they are, and
    the normalizer standardizes them. Text, dates and missing values are recognized by `jaxfc.data.recognize`, stored as
    its codes, and encoded by a `jaxfc.data.Encoder`.

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
        columns: for columns of a table, `"number"`, `"category"`, `"date"` or `"skip"`, as `jaxfc.data.recognize` takes
            it. Where it is given, tables of numbers are recognized and encoded as well.
        splitting: how rows are held out; by default at random.

    Raises:
        FormatError: a corrupted or truncated file, one that lacks an array, or uneven rows.
        ValueError: contents that cannot be used: infinite values, values that do not fit their column, missing ones in
            arrays or targets, fewer than 2 classes, too few rows, an unknown label column, and so on. The message says
            where.
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
        splitting.check()
        how = {"label": label, "task": task, "weights": weights, "key": splitting.key}
        table, y, classes, keys = read_targets(path, columns, stream, **how)
        names = {"feature_names": table.features, "target_names": tuple(table.labels) if task == "regression" else None}
        x, found = table.x, None
        if isinstance(x, Sheet):
            found = recognize(x, columns)
            x, names["feature_names"] = found.codes(x), tuple(column.name for column in found.columns)
        parts = {"train": Part(x, y, table.weights)}
        if splitting != Splitting():
            parts = _split(parts["train"], splitting, _keys(splitting, keys, y, task, path))
        return _dataset(path, parts, TASKS[task], classes, columns=found, **names)
    if splitting != Splitting():
        raise ValueError(f"{splitting} is for tables; {path} holds arrays: put x_val and x_test into it instead")
    if columns is not None:
        raise ValueError(f"columns={dict(columns)} is for tables; {path} holds arrays of numbers: leave it out")
    if label is not None:
        raise ValueError(f"label={label!r} is for .csv files; the labels of {path} are its array 'y'")
    parts, image_shape = npz_parts(path, weights, stream)
    parts, classes = npz_classes(parts, path) if task == "classification" else npz_targets(parts, TASKS[task], path)
    return _dataset(path, parts, TASKS[task], classes, image_shape=image_shape)


def read_any(path: Path, columns: Mapping[str, str] | None, stream: bool | None = None, **which: Any) -> Table:
    """Read a table of numbers; or as a sheet, where something else is in it or `columns` are given."""
    if columns is None:
        try:
            return read_table(path, stream=stream, **which)
        except NotNumbers:
            if stream:  # what is recognized is held in memory
                raise
    return read_table(path, sheet=True, **which)


def read_targets(
    path: Path,
    columns: Mapping[str, str] | None,
    stream: bool | None = None,
    *,
    label: Column | None,
    task: str,
    weights: str | None,
    key: str | None = None,
) -> tuple[Table, np.ndarray, tuple[str, ...], list[str] | None]:
    """Read a table to learn from; arguments are those of `load`, and the column that rows are split by.

    Returns:
        The table, its targets, the names of classes or labels, and the text of that column, if there is one.
    """
    wanted = _label(label, TASKS[task])
    if key is not None:
        names = column_names(path)
        if key not in names:
            raise unknown_name(f"column to split {path} by:", key, names)
        rest = [name for name in names if name not in (key, weights)]
        wanted = rest[-1:] if wanted is None else [wanted] if isinstance(wanted, Column) else wanted
        wanted = [*wanted, key]
    table = read_any(path, columns, stream, label=wanted, weights=weights)
    keys = None if key is None else table.labels.pop(key)
    return table, *_csv_targets(table, TASKS[task], path), keys


def _keys(splitting: Splitting, keys: list[str] | None, y: np.ndarray, task: str, path: Path) -> np.ndarray:
    """What rows are split by: texts, times as numbers, or classes."""
    if splitting.stratified:
        if task != "classification":
            raise ValueError(f"{path}: stratified is for classes, and a {task} has none: leave it out")
        return y
    if splitting.by:
        return np.array(keys)
    time = {splitting.time: keys}
    kinds = {splitting.time: "number"}
    times = recognize(time)
    times = recognize(time, kinds) if times.columns[0].kind == "category" else times
    codes = times.codes(time)[:, 0]
    missing = np.flatnonzero(np.isnan(codes))
    if len(missing):
        raise ValueError(
            f"{path}: row {missing[0]} has no value in column {splitting.time!r}: fill it in, or remove it"
        )
    return codes


def _split(rows: Part, splitting: Splitting, keys: np.ndarray) -> dict[str, Part]:
    """Hold out a tenth of the rows to test on, which are the latest, and of the others as many to validate on."""
    parts, fraction = {}, 1 / 10
    for split in ("test", "val"):
        kept, held = splitting.hold_out(keys, fraction)
        parts[split], rows, keys = rows.rows(held), rows.rows(kept), keys[kept]
        fraction = 1 / 9
    return {"train": rows, **parts}


def read_features(
    path: str | Path, *, num_features: int, feature_names: Sequence[str] | None = None, columns: Columns | None = None
) -> Num[Array, "rows features"]:
    r"""Read inputs to make predictions for: a `.npy` array, the `x` of a `.npz` file, or a `.csv` file.

    Args:
        path: the file.
        num_features: the number of features of the model.
        feature_names: the `.csv` columns to use, in this order; others, such as a label, are ignored. By
            default all columns, in the file's order.
        columns: those of the model, where it has any: rows are read as they are, and become their codes.

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
    if columns is not None:
        if check_suffix(path) in ARRAYS:
            return columns.codes(read_arrays(path, required=("x",))["x"])
        return columns.codes(read_table(path, with_label=False, features=_used(columns), sheet=True).x)
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
    columns: Columns | None = None,
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
        columns: as for `read_features`.

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
        return npz_examples(path, classes, num_features, targets, target_names, weights, columns)
    usual = tuple({"classes": (), "labels": classes, "numbers": target_names or ()}[targets])
    label = _label(label, targets)
    if usual and (set(usual) <= set(column_names(path)) if label is None else _same(label, usual)):
        label = usual  # in the model's order
    how = {"features": feature_names} if columns is None else {"features": _used(columns), "sheet": True}
    table = read_table(path, label=label, weights=weights, **how)
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
    x = narrowed_exactly(table.x, what=f"{path}: x") if columns is None else columns.codes(table.x)
    return x, y, table.weights


def _used(columns: Columns) -> list[str]:
    return [column.name for column in columns.columns]


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


def _dataset(
    path: Path,
    parts: dict[str, Part],
    targets: str,
    classes: tuple[str, ...],
    *,
    target_names: tuple[str, ...] | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: tuple[str, ...] | None = None,
    columns: Columns | None = None,
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
    fit = fit if columns is None else partial(Encoder.fit, columns)
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
        columns=columns,
    )


def _narrowed(parts: list[Array], *, what: str) -> list[Array]:
    """Return the splits in float32, or all as they are where that would blur a column of one of them."""
    narrow = [part if part.dtype == np.uint8 else narrowed(part, what=what) for part in parts]
    return parts if any(part.dtype == np.float64 for part in narrow) else narrow
