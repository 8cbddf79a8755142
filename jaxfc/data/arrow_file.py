"""Reading a table of numbers and labels from a Parquet or Arrow file, some rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxfc.data.arrays import as_weights
from jaxfc.data.checks import check_inputs
from jaxfc.data.csv_file import Column, Table, choose_columns
from jaxfc.data.file_rows import FileRows
from jaxfc.data.mapped import is_large, spilled
from jaxfc.data.opening import check_room, damaged, file_size

SUFFIXES = (".parquet", ".arrow", ".feather")
_ROWS = 2**14  # read at once


def read_arrow(
    path: Path,
    *,
    label: Column | Sequence[Column] | None = None,
    with_label: bool = True,
    features: Sequence[str] | None = None,
    weights: str | None = None,
    stream: bool | None = None,
) -> Table:
    """Read a Parquet or Arrow file as `jaxfc.data.csv_file.read_csv` reads a `.csv`; see there for arguments.

    Rows come from such a file in its own order only. Where they are large, or `stream` says so, they are written into
    a temporary file once, from which they are then read in any order.

    Raises:
        FormatError: not such a file, or a damaged one.
        ValueError: as `read_csv`; a column with missing values, or a feature that is no number.
        ImportError: pyarrow is not installed.
        FileNotFoundError: there is no such file.
    """
    file_size(path)
    schema, count, batches = _opened(path)
    columns = choose_columns(list(schema.names), label if with_label else (), features, weights, path)
    names = [schema.names[i] for i in columns.features]
    types = [_number_type(schema.field(i), path) for i in columns.features]
    if not count:
        raise ValueError(f"{path} has columns but no rows")
    narrow = all(np.can_cast(each, np.float32) for each in types)
    shape, dtype = (count, len(names)), np.float32 if narrow else np.float64
    size = count * len(names) * np.dtype(dtype).itemsize
    large = is_large(size, stream)
    if not large:
        check_room(path, size, f"a table of {count} rows")
    x = spilled(shape, dtype) if large else np.empty(shape, dtype)
    labels: dict[str, list[str]] = {schema.names[i]: [] for i in columns.labels}
    row_weights, start = [], 0
    for batch in batches:
        for place, i in enumerate(columns.features):
            x[start : start + len(batch), place] = _values(batch, i, path, start)
        for i in columns.labels:
            labels[schema.names[i]] += _texts(batch, i, path, start)
        if columns.weights is not None:
            row_weights.append(_values(batch, columns.weights, path, start))
        start += len(batch)
    x = FileRows(x) if large else x
    check_inputs(x, what=str(path))
    w = None if weights is None else as_weights(np.concatenate(row_weights), count, what=f"{path}: column {weights!r}")
    return Table(tuple(names), x, labels, w, range(1, count + 1))


def arrow_names(path: Path) -> tuple[str, ...]:
    """The names of a file's columns."""
    return tuple(_opened(path)[0].names)


def _opened(path: Path) -> tuple[Any, int, Iterator[Any]]:
    """The schema, the number of rows, and record batches."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(f"{path} needs pyarrow: pip install 'jaxfc[arrow]'") from error

    broken = f"{path} is not a {path.suffix} file, or is corrupted or truncated"

    def guarded(batches: Iterator[Any]) -> Iterator[Any]:
        with damaged(broken):
            yield from batches

    with damaged(broken):
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path)
            return file.schema_arrow, file.metadata.num_rows, guarded(file.iter_batches(_ROWS))
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        numbers = range(file.num_record_batches)
        count = sum(file.get_batch(i).num_rows for i in numbers)
        return file.schema, count, guarded(file.get_batch(i) for i in numbers)


def _number_type(field: Any, path: Path) -> np.dtype:
    import pyarrow.types as kinds

    if not (kinds.is_integer(field.type) or kinds.is_floating(field.type) or kinds.is_boolean(field.type)):
        raise ValueError(f"{path}: column {field.name!r} is of {field.type}: features must be numbers")
    return np.dtype(field.type.to_pandas_dtype())


def _column(batch: Any, i: int, path: Path, start: int) -> Any:
    column = batch.column(i)
    if column.null_count:
        row = start + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(f"{path}: row {row}: column {batch.schema.names[i]!r} is empty: fill or remove missing values")
    return column


def _values(batch: Any, i: int, path: Path, start: int) -> np.ndarray:
    return _column(batch, i, path, start).to_numpy(zero_copy_only=False)


def _texts(batch: Any, i: int, path: Path, start: int) -> list[str]:
    values = _column(batch, i, path, start).to_pylist()
    return [str(int(value)) if isinstance(value, bool) else str(value).strip() for value in values]
