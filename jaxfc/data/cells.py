"""Tables as they come (arrays, frames of pandas, polars and Arrow), brought to one form: columns of cells."""

import math
import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np

from jaxfc.data.dates import days
from jaxfc.errors import listed, shortened

# Texts that stand for a missing value, in small letters.
MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "nat", "<na>", "null", "none"})
VALUES = ("number", "text", "boolean", "date")  # what a cell may hold
_MOST_WHOLE = 2**63


class Cells(NamedTuple):
    """A column of a table.

    Args:
        name: its name.
        kind: `"numbers"` (float64, NaN where missing), `"dates"` (float64, days since 1970-01-01, NaN where missing),
            or `"texts"` (text, None where missing).
        values: `(rows,)`.
        declared: the categories, in their order, where the column's type itself names them.
        odd: the first row whose value is of another type than those before it, and what is said of it.

    >>> Cells("a", "texts", np.array(["x", None], object)).is_missing().tolist()
    [False, True]
    """

    name: str
    kind: str
    values: np.ndarray
    declared: tuple[str, ...] | None = None
    odd: tuple[int, str] | None = None

    def is_missing(self) -> np.ndarray:
        """Which rows have no value."""
        return np.equal(self.values, None) if self.kind == "texts" else np.isnan(self.values)


class Sheet(NamedTuple):
    """A table, column by column.

    Args:
        columns: its columns.
        rows: how many rows it has.
        named: whether the columns have names of their own, by which they can be found in any order.
        where: what a row is called in messages, by its index.

    >>> as_sheet({"a": [1.5, 2.5], "b": ["x", "y"]}).names
    ['a', 'b']
    """

    columns: tuple[Cells, ...]
    rows: int
    named: bool = True
    where: Callable[[int], str] = "row {}".format

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [cells.name for cells in self.columns]


def as_sheet(table: Any) -> Sheet:
    """Bring a table to columns of cells.

    Args:
        table: a NumPy array `(rows, columns)` of numbers or of objects; a frame of pandas or polars, or an Arrow
            table; a mapping of names to columns; or what this function made.

    Raises:
        TypeError: no table.
        ValueError: no rows or no columns, several columns of a name, or columns of several lengths.

    >>> table = as_sheet(np.array([[1, "a"], [None, "b"]], object))
    >>> [(cells.name, cells.kind, cells.values.tolist()) for cells in table.columns]
    [('x0', 'numbers', [1.0, nan]), ('x1', 'texts', ['a', 'b'])]
    """
    if isinstance(table, Sheet):
        return table
    if hasattr(table, "combine_chunks") and hasattr(table, "column_names"):  # Arrow
        made = _of([(name, _of_arrow(name, table[name])) for name in table.column_names])
    elif hasattr(table, "iloc") and hasattr(table, "columns"):  # pandas; by place, as names may come twice
        made = _of([(str(n), _of_pandas(str(n), table.iloc[:, i])) for i, n in enumerate(table.columns)])
    elif hasattr(table, "get_columns"):  # polars
        made = _of([(series.name, _of_polars(series)) for series in table.get_columns()])
    elif isinstance(table, dict):
        made = _of([(str(name), of_objects(str(name), np.asarray(values))) for name, values in table.items()])
    else:
        made = _of_array(table)
    if not made.columns or not made.rows:
        raise ValueError(f"the table has {made.rows} rows and {len(made.columns)} columns: there is nothing in it")
    return made


def _of(columns: list[tuple[str, Cells]]) -> Sheet:
    name, count = Counter(name for name, _ in columns).most_common(1)[0] if columns else ("", 0)
    if count > 1:
        raise ValueError(f"{count} columns are named {shortened(name)!r}: name each differently")
    lengths = {len(cells.values) for _, cells in columns}
    if len(lengths) > 1:
        raise ValueError(
            f"columns are of different lengths, {listed(map(str, sorted(lengths)))}: a row has all of them"
        )
    return Sheet(tuple(cells for _, cells in columns), lengths.pop() if lengths else 0)


def _of_array(table: Any) -> Sheet:
    try:
        # Of lists, each value keeps its type.
        array = np.array(table, object) if isinstance(table, list | tuple) else np.asarray(table)
    except ValueError as error:
        raise TypeError(f"a {type(table).__name__} is no table: give an array (rows, columns) or a frame") from error
    if array.ndim != 2:
        raise ValueError(f"the table has shape {array.shape}: it must be (rows, columns), as from x.reshape(-1, 1)")
    columns = tuple(of_objects(f"x{i}", array[:, i]) for i in range(array.shape[1]))
    return Sheet(columns, len(array), named=False)


def of_objects(name: str, values: np.ndarray) -> Cells:
    """A column of a NumPy array of any type; of objects, each value says itself what it is.

    >>> of_objects("paid", np.array([True, False])).values.tolist()
    ['True', 'False']
    """
    if values.ndim != 1:
        raise ValueError(f"column {shortened(name)!r} has shape {values.shape}: it must be (rows,)")
    if values.dtype.kind in "uif":
        return Cells(name, "numbers", values.astype(np.float64))
    if values.dtype.kind == "b":
        return Cells(name, "texts", _texts(map(str, values.tolist())))
    if values.dtype.kind == "M":
        return Cells(name, "dates", _of_moments(values))
    if values.dtype.kind in "US":
        return of_texts(name, values.astype(np.str_).tolist())
    if values.dtype.kind != "O":
        raise TypeError(f"column {shortened(name)!r} has type {values.dtype}: use numbers, text, booleans or dates")
    return _of_any(name, values.tolist())


def of_texts(name: str, texts: Sequence[str | None]) -> Cells:
    """A column of text, in which some texts stand for a missing value.

    >>> of_texts("a", ["1", " NA", "?"]).values.tolist()
    ['1', None, None]
    """
    seen: dict[str | None, str | None] = {None: None}
    for text in texts:
        if text not in seen:
            bare = text.strip()
            seen[text] = None if bare.lower() in MISSING else bare
    return Cells(name, "texts", _texts(seen[text] for text in texts))


def _texts(texts: Iterable[str | None]) -> np.ndarray:
    texts = list(texts)
    values = np.empty(len(texts), object)
    values[:] = texts
    return values


def _of_any(name: str, values: list[Any]) -> Cells:
    """Objects: all numbers, all booleans, all dates, or text."""
    kinds = [_kind(value) for value in values]
    found = list(dict.fromkeys(kind for kind in kinds if kind))
    if not found:
        return Cells(name, "numbers", np.full(len(values), np.nan))
    if foreign := [kind for kind in found if kind not in VALUES]:
        row = kinds.index(foreign[0])
        raise TypeError(
            f"column {shortened(name)!r}, row {row}: {shortened(repr(values[row]))} is a {foreign[0]}: a value must be "
            "a number, text, a boolean or a date"
        )
    bare = [value if kind else None for value, kind in zip(values, kinds, strict=True)]
    if found in (["number"], ["date"]):
        kind, read = ("numbers", _float) if found == ["number"] else ("dates", lambda value: days(_moment(value)))
        return Cells(name, kind, np.array([math.nan if value is None else read(value) for value in bare]))
    odd = None
    if len(found) > 1:
        row = next(row for row, kind in enumerate(kinds) if kind == found[1])
        odd = (row, f"is {shortened(repr(values[row]))}, a {found[1]}, where rows before it hold a {found[0]}")
    return of_texts(name, [None if value is None else text_of(value) for value in bare])._replace(odd=odd)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text" if value.strip().lower() not in MISSING else ""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return ""
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, numbers.Real) or hasattr(value, "as_tuple"):  # a decimal
        return "number"
    return "date" if isinstance(value, date | np.datetime64) else type(value).__name__


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _moment(value: Any) -> datetime:
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)


def _of_moments(values: np.ndarray) -> np.ndarray:
    micros = values.astype("datetime64[us]")
    return np.where(np.isnat(micros), np.nan, micros.astype(np.int64) / 86_400_000_000)


def text_of(value: Any) -> str:
    """A value as the text that it is as a category: whole numbers without a point.

    >>> text_of(2.0), text_of(0.5), text_of(True)
    ('2', '0.5', 'True')
    """
    if isinstance(value, float | np.floating) and value == int(value if math.isfinite(value) else 0):
        return str(int(value)) if abs(value) < _MOST_WHOLE else repr(float(value))
    return str(value)


def _of_pandas(name: str, series: Any) -> Cells:
    kind = str(series.dtype)
    if kind == "category":
        declared = [text_of(each) for each in series.cat.categories.tolist()]
        return _of_codes(name, series.cat.codes.to_numpy(), declared)
    if kind.startswith("datetime64") and series.dt.tz is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if getattr(series.dtype, "kind", "O") in "uif" and not isinstance(series.dtype, np.dtype):  # may be missing
        return Cells(name, "numbers", series.to_numpy(np.float64, na_value=np.nan))
    values = series.to_numpy()
    return of_objects(name, values if values.dtype.kind in "uifbMO" else np.array(series.tolist(), object))


def _of_polars(series: Any) -> Cells:
    kind = series.dtype
    name = type(kind).__name__ if not isinstance(kind, type) else kind.__name__
    if name in ("Categorical", "Enum"):
        texts = series.cast(str).to_list()
        declared = list(kind.categories) if name == "Enum" else sorted({*texts} - {None})
        places = {text: i for i, text in enumerate(declared)}
        return _of_codes(series.name, np.array([places.get(text, -1) for text in texts]), declared)
    if kind.is_numeric():
        values = np.array(series.to_list(), np.float64) if series.null_count() else series.to_numpy()
        return of_objects(series.name, values.astype(np.float64))
    if name == "Datetime" and kind.time_zone:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    values = np.empty(len(series), object)
    values[:] = series.to_list()
    return of_objects(series.name, values)


def _of_arrow(name: str, column: Any) -> Cells:
    import pyarrow.types as kinds

    kind = column.type
    if kinds.is_dictionary(kind):
        column = column.unify_dictionaries().combine_chunks()
        column = column.chunk(0) if hasattr(column, "chunks") and column.num_chunks else column
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        cells = _of_codes(name, codes, [text_of(each) for each in column.dictionary.to_pylist()])
        # A dictionary is a way of storing, in the order of the first rows, unless it says that it is ordered.
        return cells if kind.ordered else cells._replace(declared=tuple(sorted(cells.declared or ())))
    if kinds.is_integer(kind) or kinds.is_floating(kind):
        return Cells(name, "numbers", column.to_numpy().astype(np.float64))
    if kinds.is_timestamp(kind) or kinds.is_date(kind):
        return Cells(name, "dates", _of_moments(column.cast("timestamp[us]").to_numpy()))
    values = np.empty(len(column), object)
    values[:] = column.to_pylist()
    return of_objects(name, values)


def _of_codes(name: str, codes: np.ndarray, declared: Sequence[str]) -> Cells:
    texts = [*declared, None]
    return Cells(name, "texts", _texts(texts[code] for code in codes.tolist()), tuple(declared))
