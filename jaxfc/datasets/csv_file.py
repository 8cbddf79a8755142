"""Reading a table of numbers and labels from a `.csv` file."""

import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxfc.errors import FormatError, unknown_name


class Table(NamedTuple):
    """What a `.csv` file holds.

    Args:
        features: the names of the feature columns.
        x: `(rows, features)` float32, finite.
        labels: the text in the label column, a row each; empty where no label was asked for.
        lines: the line of the file each row stands on.
    """

    features: tuple[str, ...]
    x: np.ndarray
    labels: list[str]
    lines: Sequence[int]


def read_csv(
    path: Path, *, label: str | int | None = None, with_label: bool = True, features: Sequence[str] | None = None
) -> Table:
    """Read a comma-separated file in UTF-8, whose first line names the columns.

    Blank lines are skipped, and so is white space around values.

    Args:
        path: the file.
        label: the label column, by name or index; by default the last.
        with_label: whether there is a label column to read.
        features: the columns to read as features, in this order; by default all but the label.

    Raises:
        FormatError: not such a file: not text, rows of unequal length, wrong quotes, or no header.
        ValueError: columns without a name or of the same name, a column that is not there, a
            feature that is not a finite number, or an empty label. The message says where.
        FileNotFoundError: there is no such file.
    """
    import csv

    values, labels, lines = array("f"), [], array("q")
    with path.open(newline="", encoding="utf-8-sig") as file, np.errstate(over="ignore"):
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        try:
            names = _header(next(reader, []), path)
            label_index = _label_index(names, label, path) if with_label else None
            chosen = _feature_indices(names, label_index, features, path)
            for row in reader:
                if not row or (len(row) == 1 and not row[0].strip()):
                    continue
                if len(row) != len(names):
                    raise FormatError(
                        f"{path}, line {reader.line_num}: {len(row)} values where the header names {len(names)} columns"
                    )
                values.frombytes(_numbers(row, chosen, names, path, reader.line_num).tobytes())
                if label_index is not None:
                    labels.append(_label(row[label_index], names[label_index], path, reader.line_num))
                lines.append(reader.line_num)
        except UnicodeDecodeError as error:
            raise FormatError(f"{path} is not text in UTF-8 ({error.reason}): save it as CSV in UTF-8") from error
        except csv.Error as error:
            raise FormatError(f"{path}, line {reader.line_num}: {error}") from error
    if not lines:
        raise ValueError(f"{path} has a header but no rows")
    x = np.frombuffer(values, np.float32).reshape(len(lines), len(chosen))
    return Table(tuple(names[i] for i in chosen), x, labels, lines)


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
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(
            f"{path}: {names.count(repeated)} columns are named {repeated!r}: "
            "the first line must name the columns, each differently"
        )
    return names


def _label_index(names: list[str], label: str | int | None, path: Path) -> int:
    if label is None:
        return len(names) - 1
    if label in names:
        return names.index(label)
    try:
        index = int(label)
    except ValueError:
        raise unknown_name(f"label column in {path}:", label, names) from None
    if not -len(names) <= index < len(names):
        raise ValueError(f"label column {index} is not in {path}, which has {len(names)} columns: {', '.join(names)}")
    return index % len(names)


def _feature_indices(names: list[str], label: int | None, features: Sequence[str] | None, path: Path) -> list[int]:
    if features is None:
        chosen = [i for i in range(len(names)) if i != label]
        if not chosen:
            raise ValueError(f"{path} has only the column {names[0]!r}: are its values separated by commas?")
        return chosen
    missing = [name for name in features if name not in names]
    if missing:
        raise ValueError(f"{path} lacks the column {missing[0]!r}, a feature of the model; it has: {', '.join(names)}")
    if label is not None and names[label] in features:
        raise ValueError(
            f"{path}: column {names[label]!r} cannot be the label, it is a feature of the model: name another"
        )
    return [names.index(name) for name in features]


def _numbers(row: list[str], chosen: list[int], names: list[str], path: Path, line: int) -> np.ndarray:
    try:
        numbers = np.array([float(row[i]) for i in chosen], np.float32)
        if np.isfinite(numbers).all():
            return numbers
    except ValueError:
        pass
    i = next(i for i in chosen if _parse(row[i]) is None or not math.isfinite(np.float32(row[i])))
    value = repr(row[i].strip()) if row[i].strip() else "empty"
    raise ValueError(
        f"{path}, line {line}: column {names[i]!r} is {value}: features must be finite numbers; "
        "fill or remove missing values, and turn text into numbers"
    )


def _label(text: str, name: str, path: Path, line: int) -> str:
    text = text.strip()
    if text.lower() in ("", "nan"):
        raise ValueError(f"{path}, line {line}: the label, column {name!r}, is missing: fill it in, or remove the row")
    return text


def _parse(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
