"""Which reader reads which file, by the ending of its name."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxfc.data import csv_file
from jaxfc.data.arrow_file import SUFFIXES, arrow_names, read_arrow
from jaxfc.data.npz_file import read_beside, read_npz

ARRAYS, TABLES = (".npz", ".npy"), (".csv", *SUFFIXES)
KNOWN = (*ARRAYS, *TABLES)


def check_suffix(path: Path) -> str:
    """Return a file's ending, in small letters.

    Raises:
        ValueError: there is no reader for it.

    >>> check_suffix(Path("Points.CSV"))
    '.csv'
    """
    suffix = path.suffix.lower()
    if suffix not in KNOWN:
        raise ValueError(f"{path} is not a {', '.join(KNOWN[:-1])} or {KNOWN[-1]} file, going by its name")
    return suffix


def read_arrays(path: Path, **which: Any) -> dict[str, np.ndarray]:
    """The arrays of a `.npz`, or of a `.npy` and those beside it; see `jaxfc.data.npz_file`."""
    return (read_npz if path.suffix.lower() == ".npz" else read_beside)(path, **which)


def read_table(path: Path, *, stream: bool | None = None, **columns: Any) -> csv_file.Table:
    """A table; see `jaxfc.data.csv_file.read_csv` and `jaxfc.data.arrow_file.read_arrow`."""
    return csv_file.read_csv(path, **columns) if is_csv(path) else read_arrow(path, stream=stream, **columns)


def column_names(path: Path) -> tuple[str, ...]:
    """The names of a table's columns."""
    return csv_file.column_names(path) if is_csv(path) else arrow_names(path)


def is_csv(path: Path) -> bool:
    """Whether a table is text, whose rows are lines."""
    return path.suffix.lower() == ".csv"
