"""The columns of what scikit-learn hands over: numbers stay numbers, and frames of other things are recognized."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxfc.data import Column, Columns, recognize
from jaxfc.data.arrays import blurred_column


def is_plain(table: Any) -> bool:
    """Whether a table is an array, or a frame whose columns all have a type of numbers.

    >>> is_plain(np.eye(2))
    True
    """
    if not hasattr(table, "columns"):
        return True
    types = list(table.dtypes)  # of pandas, NumPy's or alike; or polars'
    return all(
        kind.is_numeric() if hasattr(kind, "is_numeric") else getattr(kind, "kind", "O") in "uif" for kind in types
    )


def columns_of(table: Any, names: Any = None, overrides: Mapping[Any, str] | None = None) -> Columns:
    """What the columns of a table are.

    Those of an array are numbers, whatever they are, so that the folds of a cross-validation have the same columns and
    one program; a frame's are recognized.

    Args:
        table: an array, or a frame.
        names: the names of an array's columns.
        overrides: what columns are, by name or by place, as `jaxfc.data.recognize` takes it.

    Raises:
        ValueError: as `recognize`; all columns of an array the same in every row.

    >>> [column.name for column in columns_of(np.eye(2)).columns]
    ['x0', 'x1']
    """
    given = {f"x{key}" if isinstance(key, int) else key: kind for key, kind in (overrides or {}).items()}
    if not isinstance(table, np.ndarray):
        return recognize(table, given)
    places = [f"x{place}" for place in range(table.shape[1])]
    names = places if names is None else list(map(str, names))
    if not given:
        return _numbers(table, names)
    kinds = dict.fromkeys(places, "number") | {places[names.index(k)] if k in names else k: v for k, v in given.items()}
    found = recognize(table, kinds)
    named = tuple(dataclasses.replace(column, name=names[column.place]) for column in found.columns)
    left_out = tuple((names[places.index(name)], why) for name, why in found.left_out)
    return Columns(named, tuple(names), left_out, named=False)


def _numbers(x: np.ndarray, names: list[str]) -> Columns:
    missing = np.isnan(x)
    known = x
    if missing.any():
        some = ~missing.all(axis=0)
        medians = np.zeros(x.shape[1])
        medians[some] = np.nanmedian(x[:, some], axis=0)
        known = np.where(missing, medians, x)
    if (known == known[:1]).all() and not missing.any():
        raise ValueError("no column is left to learn from: every column is the same in all rows")
    offsets = np.zeros(x.shape[1])
    if x.dtype == np.float64 and blurred_column(known) is not None:
        varied = (known != known[:1]).any(axis=0)
        blurred = [varied[i] and blurred_column(known[:, i : i + 1]) is not None for i in range(x.shape[1])]
        offsets = np.where(blurred, np.median(known, axis=0), 0.0)
    gaps = missing.any(axis=0)
    made = [Column(name, "number", i, offset=float(offsets[i]), gaps=bool(gaps[i])) for i, name in enumerate(names)]
    return Columns(tuple(made), tuple(names), named=False)
