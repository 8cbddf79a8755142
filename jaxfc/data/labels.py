"""Targets from the text or numbers of a file: class indices and their names, labels of 0 and 1, numbers."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int32, UInt8

from jaxfc.errors import shortened, unknown_name

_LONGEST = 1000  # characters of a label, of which tables and pictures have to be made
_INTEGER = re.compile(r"([+-]?\d+)(?:\.0*)?")


def encode(labels: Sequence[str], *, what: str) -> tuple[Int32[np.ndarray, " rows"], tuple[str, ...]]:
    """Number the distinct labels from 0, in order: of number if all are integers, else of text.

    Args:
        labels: a label for each row; `"2"` and `"2.0"` are the same integer.
        what: where they are from, for messages.

    Returns:
        Each row's class index, and the classes' names in the order of their indices.

    Raises:
        TypeError: the labels are numbers but not all integers: something to predict by regression.
        ValueError: fewer than 2 distinct labels.

    >>> encode(["10", "9", "9.0"], what="y")
    (array([1, 0, 0], dtype=int32), ('9', '10'))
    """
    # Not by NumPy, for which each text would be as long as the longest.
    texts = sorted(set(labels))
    place = {text: i for i, text in enumerate(texts)}
    rows = np.array([place[label] for label in labels])
    long = next((text for text in texts if len(text) > _LONGEST), None)
    if long is not None:
        raise ValueError(
            f"{what}: a label has {len(long)} characters, {shortened(long)!r}, and at most {_LONGEST} can be: is it "
            "the label?"
        )
    if all(map(_INTEGER.fullmatch, texts)):
        # Several texts may be one integer, so number the integers and not the texts.
        integers, texts_rows = np.unique(np.array([_integer(text) for text in texts], object), return_inverse=True)
        texts, rows = [str(integer) for integer in integers], texts_rows[rows]
    elif all(_number(text) is not None for text in texts):
        fraction = next(text for text in texts if not _INTEGER.fullmatch(text))
        raise TypeError(
            f"{what}: label {fraction!r} is not an integer; labels must be integers or text: "
            "to predict numbers use task='regression' (--task regression)"
        )
    check_classes(len(texts), what=what)
    return rows.astype(np.int32), tuple(texts)


def check_classes(num_classes: int, *, what: str) -> None:
    """Raise a ValueError unless there are at least 2 classes.

    >>> check_classes(1, what="y")
    Traceback (most recent call last):
    ValueError: y: every row has the same label; a classifier needs at least 2 classes
    """
    if num_classes < 2:
        raise ValueError(f"{what}: every row has the same label; a classifier needs at least 2 classes")


def look_up(labels: Sequence[str], classes: Sequence[str], *, where: Sequence[str]) -> Int32[np.ndarray, " rows"]:
    """Return the index of each label among a model's classes.

    A label is a class's name. Where all labels are integers and no class's name is one, they are
    taken for class indices.

    Args:
        labels: a label for each row.
        classes: the classes' names, in the order of their indices.
        where: where each label is from, for messages.

    Raises:
        ValueError: a label that is not one of the classes; the message says where and names it.

    >>> look_up(["dog", "cat"], ("cat", "dog"), where=["line 2", "line 3"])
    array([1, 0], dtype=int32)
    """
    indices = {name: index for index, name in enumerate(classes)}
    numbered = not any(map(_INTEGER.fullmatch, classes)) and all(map(_INTEGER.fullmatch, labels))
    if numbered:
        indices = {str(index): index for index in range(len(classes))}
    found = {}
    for place, label in zip(where, labels, strict=True):
        if label not in found:
            name = label if label in indices or not _INTEGER.fullmatch(label) else str(_integer(label))
            if name not in indices:
                raise ValueError(f"{place}: {unknown_name('label', label, indices)}")
            found[label] = indices[name]
    return np.array([found[label] for label in labels], np.int32)


def numbers(texts: Sequence[str], *, column: str, where: Sequence[str]) -> Float64[np.ndarray, " rows"]:
    """Return the numbers to predict that a column of text holds.

    Args:
        texts: the column, a text for each row.
        column: its name, for messages.
        where: where each text is from, for messages.

    Raises:
        TypeError: a text that is no number.
        ValueError: an infinite number.

    >>> numbers(["1.5", "red"], column="price", where=["line 2", "line 3"])
    Traceback (most recent call last):
    TypeError: line 3: column 'price' is 'red', no number to predict: for names use --task classification
    """
    values = [_number(text) for text in texts]
    if None in values:
        row = values.index(None)
        raise TypeError(
            f"{where[row]}: column {column!r} is {shortened(texts[row])!r}, no number to predict: "
            "for names use --task classification"
        )
    array = np.array(values, np.float64)
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise ValueError(f"{where[wrong[0]]}: column {column!r} is {texts[wrong[0]]!r}: targets must be finite numbers")
    return array


def flags(texts: Sequence[str], *, column: str, where: Sequence[str]) -> UInt8[np.ndarray, " rows"]:
    """Return the labels of 0 and 1 that a column of text holds.

    Args:
        texts: the column, a text for each row.
        column: its name, for messages.
        where: where each text is from, for messages.

    Raises:
        ValueError: a text that is neither 0 nor 1.

    >>> flags(["0", "1.0"], column="red", where=["line 2", "line 3"])
    array([0, 1], dtype=uint8)
    """
    values = [_number(text) for text in texts]
    row = next((row for row, value in enumerate(values) if value not in (0, 1)), None)
    if row is not None:
        raise ValueError(
            f"{where[row]}: column {column!r} is {shortened(texts[row])!r}: a label must be 0 or 1; "
            "for one class to a row use --task classification"
        )
    return np.array(values, np.uint8)


def _integer(text: str) -> int:
    return int(_INTEGER.fullmatch(text)[1])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
