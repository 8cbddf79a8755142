"""The columns of a table: what each one is, and the numbers that stand for its values.

`recognize` looks at a table and says of each column whether it holds numbers, categories or dates, or nothing that
could be learned from. `Columns.codes` then turns that table, or any later one with these columns, into float32: the
rows that a data set stores, and that `jaxfc.data.Encoder` takes.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from jaxfc.data.arrays import blurred_column
from jaxfc.data.cells import Cells, Sheet, as_sheet, text_of
from jaxfc.data.dates import form_of, reader, written
from jaxfc.errors import listed, shortened, unknown_name

KINDS = ("number", "category", "date")
SKIP = "skip"

# Whole numbers of so few values, each in so many rows on average, are taken for categories: they are codes (of a
# region, a passenger class) about as often as they are counts, and a category's inputs keep the number beside, so
# that for a count nothing is lost. Numbers of more values would take an input each.
MOST_WHOLE, ROWS_EACH = 8, 10
# A text that is another one in more than this part of the rows names the row: an identifier, or free text.
_MOST_DISTINCT, _FEWEST_ROWS = 0.9, 20
_SAMPLE = 1000  # distinct texts by which the form of dates is found
_YEAR, _WEEK = 365.2425, 7.0


@dataclass(frozen=True)
class Column:
    """A column that is learned from.

    Args:
        name: its name.
        kind: `"number"`, `"category"` or `"date"`.
        place: its place in the table, from 0.
        categories: a category's values, as text, in the order of their codes.
        whole: the categories are whole numbers.
        offset: what is subtracted from numbers before they are rounded to float32, which would else blur them; of
            dates, the day that counting begins with, in days since 1970-01-01.
        form: how dates are written, where they come as text; see `jaxfc.data.dates`.
        cycles: of `"year"`, `"week"` and `"day"`, those in which dates differ.
        gaps: whether values are missing.

    >>> Column("sex", "category", 0, ("f", "m")).kind
    'category'
    """

    name: str
    kind: str
    place: int
    categories: tuple[str, ...] = ()
    whole: bool = False
    offset: float = 0.0
    form: str | None = None
    cycles: tuple[str, ...] = ()
    gaps: bool = False


@dataclass(frozen=True)
class Columns:
    """The columns of a table, and which of them are learned from.

    Args:
        columns: those learned from, in the table's order.
        names: the names of all columns of the table.
        left_out: the name of each column that is not learned from, and why.
        named: whether columns are found by their names, in any order, and not by their places alone.

    >>> columns = recognize({"size": [1.5, 2.5], "colour": ["red", "blue"]})
    >>> columns.codes({"colour": ["blue", "green"], "size": [None, 9.0]})
    array([[nan,  0.],
           [ 9.,  2.]], dtype=float32)
    """

    columns: tuple[Column, ...]
    names: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    named: bool = True

    def codes(self, table: Any) -> Float32[np.ndarray, "rows columns"]:
        """The numbers that stand for a table's values, a column for each in `columns`.

        Numbers are as they are (less the offset), dates are days from the first one on, a category is its index in
        `categories`, and one never seen before their number. What is missing is NaN.

        Args:
            table: as `recognize` takes it. A frame's columns are found by name; others that it has are ignored. An
                array has all columns of the table, in their order.

        Raises:
            ValueError: a column that is missing or there twice, or a value that is not of the column's kind,
                infinite, or beyond float32. The message names column and row.
            TypeError: no table.
        """
        sheet = as_sheet(table)
        found = self._found(sheet)
        return np.column_stack([_codes(column, found[column.name], sheet) for column in self.columns])

    def _found(self, sheet: Sheet) -> dict[str, Cells]:
        if sheet.named and self.named:
            there = {cells.name: cells for cells in sheet.columns}
            missing = [column.name for column in self.columns if column.name not in there]
            if missing:
                raise ValueError(
                    f"the table lacks the column {shortened(missing[0])!r}, which the model learned from; it has: "
                    f"{listed(there)}"
                )
            return there
        if len(sheet.columns) != len(self.names):
            raise ValueError(
                f"the table has {len(sheet.columns)} columns without names to go by; {len(self.names)} are expected: "
                f"{listed(self.names)}"
            )
        return dict(zip(self.names, sheet.columns, strict=True))


def recognize(table: Any, overrides: Mapping[str, str] | None = None) -> Columns:
    """Say what the columns of a table are.

    - Numbers are numbers; whole ones of at most 8 values, in 10 rows each or more, are categories.
    - Text, booleans, and what its type says is categorical, are categories. Text that is all numbers or all dates
      is that. Text with a value of its own in more than nine tenths of the rows is an identifier, and is left out.
    - A column that is the same in every row is left out.
    - The texts "", "?", NA, N/A, NaN, NaT, null and None, in any case, and what frames have in place of a value, are
      missing values.

    Args:
        table: a NumPy array `(rows, columns)`, a frame of pandas or polars, an Arrow table, or a mapping of names to
            columns.
        overrides: for columns by name, `"number"`, `"category"`, `"date"`, or `"skip"` to leave one out.

    Raises:
        ValueError: an unknown column or kind; a column of numbers and text; a date that cannot be read; an infinite
            number; or no column to learn from. The message names column and row.
        TypeError: no table.

    Warns:
        UserWarning: columns are left out that no override names.

    >>> [column.kind for column in recognize({"size": [1.5, 2.5], "sold": ["2020-01-31", "2020-02-01"]}).columns]
    ['number', 'date']
    """
    sheet, overrides = as_sheet(table), {} if overrides is None else {str(k): v for k, v in overrides.items()}
    for name, kind in overrides.items():
        if name not in sheet.names:
            raise unknown_name("column", name, sheet.names)
        if kind not in (*KINDS, SKIP):
            raise unknown_name(f"kind of column {shortened(name)!r}", kind, (*KINDS, SKIP))
    columns, left_out = [], []
    for place, cells in enumerate(sheet.columns):
        found = _recognized(cells, place, sheet, overrides.get(cells.name))
        if isinstance(found, Column):
            columns.append(found)
        else:
            left_out.append((cells.name, found))
    unasked = [f"{shortened(name)!r} ({why})" for name, why in left_out if name not in overrides]
    if not columns:
        raise ValueError(f"no column is left to learn from: {listed(unasked or [n for n, _ in left_out])}")
    if unasked:
        word = "column" if len(unasked) == 1 else "columns"
        warnings.warn(f"left out the {word} {listed(unasked)}", stacklevel=2)
    return Columns(tuple(columns), tuple(sheet.names), tuple(left_out), sheet.named)


def _recognized(cells: Cells, place: int, sheet: Sheet, override: str | None) -> Column | str:
    """A column, or why it is left out."""
    if override == SKIP:
        return "as asked"
    missing = cells.is_missing()
    gaps = bool(missing.any())
    if missing.all():
        return "it has no values"
    present = cells.values[~missing]
    if not gaps and (present == present[0]).all():
        return f"it is {_shown(cells, present[0])} in every row"
    if override == "category" or (override is None and cells.declared is not None):
        return _category(cells, place, gaps)
    if cells.odd is not None:
        row, what = cells.odd
        raise ValueError(f"{sheet.where(row)}: column {shortened(cells.name)!r} {what}: {_remedy(cells.name)}")
    form = None
    if cells.kind == "texts":
        kind, form = (override, None) if override == "number" else _kind_of_texts(present, override)
        if kind == "category":
            distinct = len(set(present.tolist()))
            if len(present) >= _FEWEST_ROWS and distinct > _MOST_DISTINCT * len(present):
                return f"it has {distinct} different texts in {len(present)} rows, as an identifier has"
            return _category(cells, place, gaps)
    else:
        kind = override or ("date" if cells.kind == "dates" else "number")
        if kind == "date" and cells.kind == "numbers":
            raise ValueError(f"column {shortened(cells.name)!r} holds numbers, and no dates: give it as number or skip")
    values = _values(Column(cells.name, kind, place, form=form), cells, sheet)
    if kind == "number":
        return _number(cells, values, place, gaps, override)
    return _date(cells, values, place, gaps, form)


def _kind_of_texts(present: np.ndarray, override: str | None) -> tuple[str, str | None]:
    """What a column of text holds, going by most of its values; of dates, how they are written as well."""
    distinct = list(dict.fromkeys(present.tolist()))
    if override is None:
        count = sum(number_of(text) is not None for text in distinct)
        if 2 * count > len(distinct):
            return "number", None
    sample = distinct[:_SAMPLE]
    form, count = form_of(sample)
    if override == "date" or 2 * count > len(sample):
        return "date", form
    return "category", None


def number_of(text: str) -> float | None:
    """The number that a text is; None where it is none.

    >>> number_of("1e3"), number_of("1_000"), number_of("one")
    (1000.0, None, None)
    """
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _category(cells: Cells, place: int, gaps: bool) -> Column:
    if cells.declared is not None:
        categories = cells.declared
    else:
        categories = tuple(dict.fromkeys(_as_texts(cells)[~cells.is_missing()].tolist()))
    values = [number_of(text) for text in categories]
    whole = all(value is not None and value.is_integer() for value in values)
    if cells.declared is None:
        numbered = None not in values
        categories = tuple(sorted(categories, key=(lambda text: (number_of(text), text)) if numbered else None))
    return Column(cells.name, "category", place, categories, whole=whole, gaps=gaps)


def _number(cells: Cells, values: Float64[np.ndarray, " rows"], place: int, gaps: bool, override: str | None) -> Column:
    present = values[~np.isnan(values)]
    if override is None and (present == np.rint(present)).all():
        distinct = np.unique(present)
        if 1 < len(distinct) <= MOST_WHOLE and len(present) >= ROWS_EACH * len(distinct):
            return Column(cells.name, "category", place, tuple(map(text_of, distinct.tolist())), whole=True, gaps=gaps)
    blurred = (present != present[0]).any() and blurred_column(present[:, None]) is not None
    offset = float(np.median(present)) if blurred else 0.0
    return Column(cells.name, "number", place, offset=offset, gaps=gaps)


def _date(cells: Cells, values: Float64[np.ndarray, " rows"], place: int, gaps: bool, form: str | None) -> Column:
    present = values[~np.isnan(values)]
    first = float(np.floor(present.min()))
    parts = {
        "year": np.floor(present / _YEAR % 1 * 12),
        "week": np.floor(present) % _WEEK,
        "day": np.round(present % 1, 6),
    }
    cycles = tuple(name for name, part in parts.items() if (part != part[0]).any())
    return Column(cells.name, "date", place, offset=first, form=form, cycles=cycles, gaps=gaps)


def _codes(column: Column, cells: Cells, sheet: Sheet) -> Float32[np.ndarray, " rows"]:
    if column.kind == "category":
        return _indices(column, cells)
    if cells.odd is not None:
        row, what = cells.odd
        raise ValueError(f"{sheet.where(row)}: column {shortened(column.name)!r} {what}: give it values of one kind")
    return (_values(column, cells, sheet) - column.offset).astype(np.float32)


def _indices(column: Column, cells: Cells) -> Float32[np.ndarray, " rows"]:
    """The index of each row's category; of one that is not known, the number of categories."""
    index: dict[Any, float] = {text: i for i, text in enumerate(column.categories)}
    if column.whole:  # 1.0 and 01 are the category 1
        for i, text in enumerate(column.categories):
            index.setdefault(text_of(float(text)), i)
    found: dict[Any, float] = {None: np.nan}
    for text in dict.fromkeys(_as_texts(cells).tolist()):
        if text is not None:
            value = number_of(text) if column.whole and text not in index else None
            found[text] = index.get(text if value is None else text_of(value), len(column.categories))
    return np.array([found[text] for text in _as_texts(cells).tolist()], np.float32)


def _as_texts(cells: Cells) -> np.ndarray:
    if cells.kind == "texts":
        return cells.values
    text = text_of if cells.kind == "numbers" else written
    values = np.empty(len(cells.values), object)
    values[:] = [None if value != value else text(value) for value in cells.values.tolist()]
    return values


def _values(column: Column, cells: Cells, sheet: Sheet) -> Float64[np.ndarray, " rows"]:
    """Numbers, or days since 1970-01-01, with NaN for what is missing."""
    noun = "number" if column.kind == "number" else "date"
    name = shortened(column.name)
    if cells.kind == "texts":
        read = number_of if column.kind == "number" else reader(column.form or "iso")
        known: dict[Any, float | None] = {text: read(text) for text in dict.fromkeys(cells.values) if text is not None}
        wrong = {text for text, value in known.items() if value is None}
        if wrong:
            row = next(row for row, text in enumerate(cells.values) if text in wrong)
            value = shortened(cells.values[row])
            form = f" (others are of the form {column.form})" if column.form else ""
            raise ValueError(f"{sheet.where(row)}: column {name!r} is {value!r}, and no {noun}{form}: {_remedy(name)}")
        values = np.array([np.nan if text is None else known[text] for text in cells.values], np.float64)
        given = np.equal(cells.values, None)
    else:
        values, given = cells.values, np.isnan(cells.values)
        if (cells.kind == "dates") != (column.kind == "date"):
            raise ValueError(f"column {name!r} holds {cells.kind}, where {column.kind}s are expected")
    with np.errstate(over="ignore"):
        wrong_rows = np.flatnonzero(~np.isfinite((values - column.offset).astype(np.float32)) & ~given)
    if len(wrong_rows):
        row = wrong_rows[0]
        raise ValueError(
            f"{sheet.where(row)}: column {name!r} is {cells.values[row]}: numbers must be finite, within float32: "
            "correct it, or leave it empty where it is missing"
        )
    return values


def _remedy(name: str) -> str:
    return f"correct it, or say what the column is (--column {name}=category, or =skip)"


def _shown(cells: Cells, value: Any) -> str:
    return (
        repr(shortened(value)) if cells.kind == "texts" else written(value) if cells.kind == "dates" else f"{value:g}"
    )
