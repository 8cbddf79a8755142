"""Reading a table of features and labels from a `.csv` file."""

import io
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxfc.data.arrays import Array, as_weights
from jaxfc.data.cells import MISSING, Sheet, of_texts
from jaxfc.data.opening import check_room, file_size
from jaxfc.errors import FormatError, listed, shortened, unknown_name
from jaxfc.memory import in_units

# A column by its name, or by its index, from the end where it is negative.
Column = str | int

_LONGEST = 1000  # characters of a name or a label: a longer one is a text, which somebody would have to read
_LONGEST_LINE = 2**26
_DELIMITERS = ",;\t|"
_SAMPLE = 2**20  # characters by which the delimiter is found
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:,\d+)?")


class NotNumbers(ValueError):
    """A feature of a table is no finite number: the table has to be read as a `jaxfc.data.cells.Sheet`.

    >>> issubclass(NotNumbers, ValueError)
    True
    """


class Table(NamedTuple):
    """What a `.csv` file holds.

    Args:
        features: the names of the feature columns.
        x: `(rows, features)` of floats, which may be in a file; of a `.csv` float64, finite in float32 too. Or, where
            that was asked for, a `jaxfc.data.cells.Sheet` of these columns as they are.
        labels: the text in each label column, by its name, a row each; empty where no label was asked for.
        weights: the rows' weights, `(rows,)` float32, or None where none were asked for.
        lines: the line of the file each row stands on; of a file without lines, its number from 1.

    >>> Table(("a", "b"), np.ones((1, 2)), {"side": ["left"]}, None, [2]).features
    ('a', 'b')
    """

    features: tuple[str, ...]
    x: Array | Sheet
    labels: dict[str, list[str]]
    weights: np.ndarray | None
    lines: Sequence[int]


class Columns(NamedTuple):
    """The indices of the columns to read."""

    features: list[int]
    labels: list[int]
    weights: int | None


def read_csv(
    path: Path,
    *,
    label: Column | Sequence[Column] | None = None,
    with_label: bool = True,
    features: Sequence[str] | None = None,
    weights: str | None = None,
    sheet: bool = False,
) -> Table:
    r"""Read a table in UTF-8, whose first line names the columns.

    Values are separated by commas, semicolons, tabs or `|`, whichever divides the first lines into the same number of
    values, and the most. Blank lines are skipped, and so is white space around values.

    Args:
        path: the file.
        label: the label column, or several; by default the last.
        with_label: whether there is a label column to read.
        features: the columns to read as features, in this order; by default all but labels and weights.
        weights: the column that holds the rows' weights, if there is one.
        sheet: keep features as the text that they are.

    Raises:
        NotNumbers: a feature that is not a finite number, unless a sheet is asked for.
        FormatError: not such a file: not text, rows of unequal length, wrong quotes, or no header.
        ValueError: columns without a name or of the same name, a column that is not there or serves twice, an
            empty label, or a weight that is not a number of at least 0. The message says where.
        FileNotFoundError: there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "points.csv")
    ...     _ = path.write_text("a,b,side\n1,2,left\n3,4,right\n")
    ...     table = read_csv(path)
    >>> table.features, table.labels
    (('a', 'b'), {'side': ['left', 'right']})
    """
    values, lines, row_weights = array("d"), array("q"), array("d")
    texts: dict[int, list[str]] = {}
    with _reading(path, as_text=sheet) as reader, np.errstate(over="ignore"):
        names = _header(next(reader, []), path)
        columns = choose_columns(names, label if with_label else (), features, weights, path)
        labels = {names[i]: [] for i in columns.labels}
        texts = {i: [] for i in columns.features} if sheet else {}
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            place = f"{path}, line {reader.line_num}"
            if len(row) != len(names):
                raise FormatError(f"{place}: {len(row)} values where the header names {len(names)} columns")
            for i, column in texts.items():
                column.append(row[i])
            if not sheet:
                values.frombytes(_numbers(row, columns.features, names, place).tobytes())
            for i in columns.labels:
                labels[names[i]].append(_label(row[i], names[i], place))
            if columns.weights is not None:
                row_weights.append(_weight(row[columns.weights], names[columns.weights], place))
            lines.append(reader.line_num)
    if not lines:
        raise ValueError(f"{path} has a header but no rows")
    if sheet:
        cells = tuple(of_texts(names[i], _with_points(texts[i], reader.dialect.delimiter)) for i in columns.features)
        x: Any = Sheet(cells, len(lines), where=lambda row: f"{path}, line {lines[row]}")
    else:
        x = np.frombuffer(values, np.float64).reshape(len(lines), len(columns.features))
    w = None if weights is None else as_weights(np.array(row_weights), len(lines), what=f"{path}: column {weights!r}")
    return Table(tuple(names[i] for i in columns.features), x, labels, w, lines)


def column_names(path: Path) -> tuple[str, ...]:
    r"""Read the names of a `.csv` file's columns.

    Raises:
        FormatError, ValueError, FileNotFoundError: as `read_csv`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "points.csv")
    ...     _ = path.write_text("a, b\n1,2\n")
    ...     column_names(path)
    ('a', 'b')
    """
    with _reading(path) as reader:
        return tuple(_header(next(reader, []), path))


@contextmanager
def _reading(path: Path, as_text: bool = False) -> Iterator[Any]:
    import csv

    _check_room(path, as_text)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader: Any = None
        try:
            sample = file.read(_SAMPLE)
            file.seek(0)
            how = {"skipinitialspace": True, "strict": True}
            reader = csv.reader(file, delimiter=delimiter_of(sample, whole=len(sample) < _SAMPLE), **how)
            yield reader
        except UnicodeDecodeError as error:
            raise FormatError(f"{path} is not text in UTF-8 ({error.reason}): save it as CSV in UTF-8") from error
        except csv.Error as error:
            raise FormatError(f"{path}, line {reader.line_num}: {error}") from error


def delimiter_of(sample: str, whole: bool = True) -> str:
    r"""What separates the values of a table, going by its first lines; a comma where nothing does.

    Args:
        sample: how the table begins.
        whole: whether that is all of it, so that its last line ends there.

    >>> delimiter_of("size;price\n1,5;2\n"), delimiter_of("a\n1\n")
    (';', ',')
    """
    import csv

    found = {}
    for delimiter in _DELIMITERS:
        try:
            rows = list(csv.reader(io.StringIO(sample), delimiter=delimiter, skipinitialspace=True))
        except csv.Error:  # a field too long, say: the table's reader says where
            rows = [sample.partition("\n")[0].split(delimiter)]
        rows = [row for row in rows if row]
        rows = rows if whole or len(rows) < 2 else rows[:-1]
        width = len(rows[0]) if rows else 1
        found[delimiter] = (width > 1 and all(len(row) == width for row in rows), width)
    return max(_DELIMITERS, key=lambda delimiter: found[delimiter])


def _with_points(texts: list[str], delimiter: str) -> list[str]:
    """A column in which a comma stands for the decimal point, as where semicolons separate, with points."""
    if delimiter == "," or not any("," in text for text in texts):
        return texts
    if all(_DECIMAL_COMMA.fullmatch(text.strip()) or text.strip().lower() in MISSING for text in texts):
        return [text.replace(",", ".") for text in texts]
    return texts


def _check_room(path: Path, as_text: bool) -> None:
    """Raise unless there is memory for a table as wide, and of rows as long, as a file begins with."""
    size = file_size(path)
    with path.open("rb") as file:
        head, row = file.readline(_LONGEST_LINE), file.readline(_LONGEST_LINE)
    if len(head) == _LONGEST_LINE:
        raise FormatError(f"{path}: its first line does not end within {in_units(_LONGEST_LINE)}: it is no table")
    columns = max(head.count(delimiter.encode()) for delimiter in _DELIMITERS) + 1
    rows = size // max(len(row), 2 * columns)
    # A number takes eight bytes, then four, and is copied into a split; a label is an object, and so is a text.
    check_room(path, rows * ((80 if as_text else 16) * columns + 100), f"a table of about {rows} rows")


def _header(row: list[str], path: Path) -> list[str]:
    names = [name.strip() for name in row]
    if not any(names):
        raise FormatError(f"{path} is empty, or its first line is: the first line must name the columns")
    # A number such as 5.1 names no column, though 0, 1, 2 may: numbered columns are common.
    numbers = [name for name in names if _parse(name) is not None and any(map(str.isdigit, name))]
    value = next((name for name in numbers if not name.isdecimal()), None)
    if value is not None:
        raise FormatError(f"{path} starts with the value {value!r}: its first line must name the columns")
    if "" in names:
        raise ValueError(f"{path}: column {names.index('')} has no name: name it, or remove it")
    long = next((name for name in names if len(name) > _LONGEST), None)
    if long is not None:
        raise ValueError(
            f"{path}: the name of column {names.index(long)} has {len(long)} characters, {shortened(long)!r}: "
            f"give it one of at most {_LONGEST}"
        )
    repeated, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"{path}: {count} columns are named {repeated!r}: the first line must name the columns, each differently"
        )
    return names


def choose_columns(
    names: list[str],
    label: Column | Sequence[Column] | None,
    features: Sequence[str] | None,
    weights: str | None,
    path: Path,
) -> Columns:
    """Find the columns in the header, and check that none serves twice."""
    if weights is not None and weights not in names:
        raise unknown_name(f"weights column in {path}:", weights, names)
    weights_index = None if weights is None else names.index(weights)
    if label is None:  # the last column, or the one before it
        label = len(names) - 1 if weights_index != len(names) - 1 else len(names) - 2
    places = {name: i for i, name in enumerate(names)}
    labels = [_label_index(names, places, one, path) for one in ([label] if isinstance(label, Column) else label)]
    used = labels if weights_index is None else [*labels, weights_index]
    twice, count = Counter(used).most_common(1)[0] if used else (None, 0)
    if count > 1:
        raise ValueError(f"{path}: column {names[twice]!r} is named twice, as a label or as weights: name another")
    return Columns(_feature_indices(places, labels, weights_index, features, path), labels, weights_index)


def _label_index(names: list[str], places: Mapping[str, int], label: Column, path: Path) -> int:
    if label in places:
        return places[label]
    try:
        index = int(label)
    except ValueError:
        raise unknown_name(f"label column in {path}:", label, names) from None
    if not -len(names) <= index < len(names):
        raise ValueError(f"label column {index} is not in {path}, which has {len(names)} columns: {listed(names)}")
    return index % len(names)


def _feature_indices(
    places: Mapping[str, int], labels: list[int], weights: int | None, features: Sequence[str] | None, path: Path
) -> list[int]:
    names, other = list(places), {*labels, weights}
    if features is None:
        chosen = [i for i in range(len(names)) if i not in other]
        if not chosen and len(names) == 1:
            raise ValueError(
                f"{path} has only the column {names[0]!r}: are its values separated by commas, semicolons, tabs or |?"
            )
        if not chosen:
            raise ValueError(f"{path} has no column left for features beside {listed(names)}: name fewer labels")
        return chosen
    missing = [name for name in features if name not in places]
    if missing:
        raise ValueError(f"{path} lacks the column {missing[0]!r}, a feature of the model; it has: {listed(names)}")
    wanted = set(features)
    for role, indices in (("the label", labels), ("the weights", [] if weights is None else [weights])):
        taken = [names[i] for i in indices if names[i] in wanted]
        if taken:
            raise ValueError(
                f"{path}: column {taken[0]!r} cannot be {role}, it is a feature of the model: name another"
            )
    return [places[name] for name in features]


def _numbers(row: list[str], chosen: list[int], names: list[str], place: str) -> np.ndarray:
    try:
        numbers = np.array([float(row[i]) for i in chosen], np.float64)
        if np.isfinite(numbers.astype(np.float32)).all():
            return numbers
    except ValueError:
        pass
    i = next(i for i in chosen if _parse(row[i]) is None or not math.isfinite(np.float32(row[i])))
    raise NotNumbers(
        f"{place}: column {names[i]!r} is {_shown(row[i])}: features must be finite numbers; "
        "fill or remove missing values, and turn text into numbers"
    )


def _label(text: str, name: str, place: str) -> str:
    text = text.strip()
    if text.lower() in ("", "nan"):
        raise ValueError(f"{place}: the label, column {name!r}, is missing: fill it in, or remove the row")
    if len(text) > _LONGEST:
        raise ValueError(
            f"{place}: the label, column {name!r}, has {len(text)} characters, {shortened(text)!r}, and at most "
            f"{_LONGEST} can be: name the label column by --label"
        )
    return text


def _weight(text: str, name: str, place: str) -> float:
    weight = _parse(text)
    if weight is None or not 0 <= np.float32(weight) < math.inf:
        raise ValueError(f"{place}: column {name!r} is {_shown(text)}: weights must be finite numbers of at least 0")
    return weight


def _shown(text: str) -> str:
    return repr(shortened(text.strip())) if text.strip() else "empty"


def _parse(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
