"""What is in a table, before anything is trained on it: its columns, what they become, and its targets."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxfc.data.cells import Sheet
from jaxfc.data.columns import Column, Columns, recognize
from jaxfc.data.csv_file import Column as Label
from jaxfc.data.dates import written
from jaxfc.data.encoder import MOST_ONE_HOT, inputs_of
from jaxfc.data.readers import TABLES
from jaxfc.data.tables import TASKS, read_targets
from jaxfc.errors import listed, shortened, unknown_name

LEFT_OUT = "left out"
_MOST, _WIDEST = 4, 60  # categories, and characters of a cell


def overview(
    path: str | Path,
    *,
    label: Label | None = None,
    task: str = "classification",
    weights: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> str:
    r"""A table of a table's columns: what each is, its values, how many are missing, and what it becomes.

    Args:
        path: a `.csv`, `.parquet`, `.arrow` or `.feather` file.
        label: the label column, or several, as for `jaxfc.load`.
        task: what is to be learned, as for `jaxfc.load`.
        weights: the column of weights, if there is one.
        columns: what columns are, by name, as for `jaxfc.load`.

    Raises:
        ValueError, TypeError, OSError: as `jaxfc.load`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "t.csv")
    ...     _ = file.write_text("size,colour,side\n1.5,red,left\n,blue,right\n2.5,red,left\n3.5,green,left\n")
    ...     print(overview(file).partition("\n")[2])
    column  kind      values                  missing  becomes
    size    number    1.5 to 3.5, median 2.5        1  2 inputs: value, missing
    colour  category  red 2, blue 1, green 1        0  3 inputs: blue, green, red
    <BLANKLINE>
    side, to be learned by classification: 2 classes: left 3, right 1
    """
    path = Path(path)
    if path.suffix.lower() not in TABLES:
        raise ValueError(f"{path} is no table, going by its name: name a {', '.join(TABLES)} file")
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    table, y, classes, _ = read_targets(path, columns, label=label, task=task, weights=weights)
    rows = [("column", "kind", "values", "missing", "becomes")]
    if isinstance(table.x, Sheet):
        with warnings.catch_warnings():  # the table says what is left out
            warnings.simplefilter("ignore")
            found = recognize(table.x, columns)
        rows += _lines(found, found.codes(table.x))
        inputs = len(inputs_of(found))
    else:
        numbers = np.asarray(table.x, np.float64).T
        shown = zip(table.features, map(_range, numbers), strict=True)
        rows += [(name, "number", values, "0", "1 input: value, standardized") for name, values in shown]
        inputs = len(table.features)
    left = sum(row[1] == LEFT_OUT for row in rows)
    head = f"{path}: {len(table.lines)} rows; {len(rows) - 1 - left} columns become {inputs} inputs"
    return "\n".join([head, *_aligned(rows), "", *_targets(list(table.labels), y, classes, task)])


def _lines(found: Columns, codes: np.ndarray) -> list[tuple[str, ...]]:
    """A line for each column of a table, in its order."""
    becomes: dict[str, list[str]] = {}
    for name, what in inputs_of(found):
        becomes.setdefault(name, []).append(what)
    left_out = dict(found.left_out)
    places = {column.name: place for place, column in enumerate(found.columns)}
    lines = []
    for name in found.names:
        if name in left_out:
            lines.append((name, LEFT_OUT, left_out[name], "", ""))
        elif name in places:
            column, x = found.columns[places[name]], codes[:, places[name]]
            made = becomes.get(name, [])
            count = f"{len(made)} input{'s' * (len(made) != 1)}: {_briefly(made)}"
            lines.append((name, column.kind, _values(column, x), str(int(np.isnan(x).sum())), count))
    return lines


def _briefly(inputs: list[str]) -> str:
    """The names of inputs, those that belong together as one."""
    names = (re.sub(r"^(sin|cos) of", "sin and cos of", name) for name in inputs)
    names = (re.sub(r"^\d+\. most frequent$", f"the {MOST_ONE_HOT} most frequent", name) for name in names)
    return listed(dict.fromkeys(names), 6)


def _values(column: Column, x: np.ndarray) -> str:
    present = x[~np.isnan(x)].astype(np.float64)
    if column.kind == "number":
        return _range(present + column.offset)
    if column.kind == "date":
        return f"{written(present.min() + column.offset)} to {written(present.max() + column.offset)}"
    return _counts(column.categories, np.bincount(present.astype(int), minlength=len(column.categories)))


def _range(x: np.ndarray) -> str:
    return f"{x.min():.4g} to {x.max():.4g}, median {np.median(x):.4g}"


def _counts(names: tuple[str, ...], counts: np.ndarray) -> str:
    """The most frequent names with their counts."""
    order = np.argsort(-counts[: len(names)], kind="stable")
    shown = ", ".join(f"{shortened(names[i], 20)} {counts[i]}" for i in order[:_MOST])
    return shown if len(names) <= _MOST else f"{shown} … ({len(names)} in all)"


def _targets(names: list[str], y: np.ndarray, classes: tuple[str, ...], task: str) -> list[str]:
    """What is said of the targets."""
    if task == "classification":
        counts = _counts(classes, np.bincount(y, minlength=len(classes)))
        return [f"{names[0]}, to be learned by {task}: {len(classes)} classes: {counts}"]
    each = y.reshape(len(y), -1)
    if task == "multilabel":
        return [f"{name}, a label: {int(each[:, i].sum())} of {len(y)} rows" for i, name in enumerate(names)]
    return [f"{name}, a number to predict: {_range(each[:, i])}" for i, name in enumerate(names)]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Lines in which columns stand below one another; numbers to the right."""
    rows = [tuple(shortened(cell, _WIDEST) for cell in row) for row in rows]
    widths = [max(len(row[i]) for row in rows if i in (0, 1) or row[1] != LEFT_OUT) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[i].rjust(width) if i == 3 else row[i].ljust(width) for i, width in enumerate(widths)]
        lines.append("  ".join(cells).rstrip())
    return lines
