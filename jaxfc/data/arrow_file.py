"""Reading a table of features and labels from a Parquet or Arrow file, numbers some rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxfc.data.arrays import Array, as_weights
from jaxfc.data.cells import Sheet, as_sheet
from jaxfc.data.checks import check_inputs
from jaxfc.data.csv_file import Column, NotNumbers, Table, choose_columns
from jaxfc.data.file_rows import FileRows
from jaxfc.data.mapped import is_large, spilled
from jaxfc.data.opening import check_room, damaged, file_size

SUFFIXES = (".parquet", ".arrow", ".feather")
_ROWS = 2**14  # read at once
_OBJECT = 80  # bytes of a value that is text, or may be missing


def read_arrow(
    path: Path,
    *,
    label: Column | Sequence[Column] | None = None,
    with_label: bool = True,
    features: Sequence[str] | None = None,
    weights: str | None = None,
    stream: bool | None = None,
    sheet: bool = False,
) -> Table:
    """Read a Parquet or Arrow file as `jaxfc.data.csv_file.read_csv` reads a `.csv`; see there for arguments.

    Rows come from such a file in its own order only. Where they are large, or `stream` says so, they are written into
    a temporary file once, from which they are then read in any order.

    Raises:
        FormatError: not such a file, or a damaged one.
        NotNumbers: a feature that is no finite number, unless a sheet is asked for.
        ValueError: as `read_csv`; labels or weights with missing values.
        ImportError: pyarrow is not installed.
        FileNotFoundError: there is no such file.
    """
    file_size(path)
    schema, count, batches = _opened(path)
    columns = choose_columns(list(schema.names), label if with_label else (), features, weights, path)
    names = [schema.names[i] for i in columns.features]
    if not count:
        raise ValueError(f"{path} has columns but no rows")
    rows = None
    if sheet:
        check_room(path, _OBJECT * count * len(names), f"a table of {count} rows")
    else:
        rows = _space(schema, columns.features, count, path, stream)
    labels: dict[str, list[str]] = {schema.names[i]: [] for i in columns.labels}
    row_weights, start, held = [], 0, []
    for batch in batches:
        if rows is None:
            held.append(batch.select(names))
        else:
            for place, i in enumerate(columns.features):
                rows[start : start + len(batch), place] = _values(batch, i, path, start, NotNumbers)
        for i in columns.labels:
            labels[schema.names[i]] += _texts(batch, i, path, start)
        if columns.weights is not None:
            row_weights.append(_values(batch, columns.weights, path, start))
        start += len(batch)
    x = _sheet(held, path) if rows is None else _checked(rows, path)
    w = None if weights is None else as_weights(np.concatenate(row_weights), count, what=f"{path}: column {weights!r}")
    return Table(tuple(names), x, labels, w, range(1, count + 1))


def _space(schema: Any, features: list[int], count: int, path: Path, stream: bool | None) -> np.ndarray:
    """Room for numbers: in memory, or in a temporary file where they are large."""
    types = [_number_type(schema.field(i), path) for i in features]
    narrow = all(np.can_cast(each, np.float32) for each in types)
    shape, dtype = (count, len(features)), np.float32 if narrow else np.float64
    size = count * len(features) * np.dtype(dtype).itemsize
    if is_large(size, stream):
        return spilled(shape, dtype)
    check_room(path, size, f"a table of {count} rows")
    return np.empty(shape, dtype)


def _checked(rows: np.ndarray, path: Path) -> Array:
    x = FileRows(rows) if isinstance(rows, np.memmap) else rows
    try:
        check_inputs(x, what=str(path))
    except ValueError as error:
        raise NotNumbers(str(error)) from error
    return x


def _sheet(batches: list[Any], path: Path) -> Sheet:
    import pyarrow as pa

    return as_sheet(pa.Table.from_batches(batches))._replace(where=lambda row: f"{path}: row {row}")


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
        raise NotNumbers(f"{path}: column {field.name!r} is of {field.type}: features must be numbers")
    return np.dtype(field.type.to_pandas_dtype())


def _column(batch: Any, i: int, path: Path, start: int, error: type[ValueError] = ValueError) -> Any:
    column = batch.column(i)
    if column.null_count:
        row = start + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise error(f"{path}: row {row}: column {batch.schema.names[i]!r} is empty: fill or remove missing values")
    return column


def _values(batch: Any, i: int, path: Path, start: int, error: type[ValueError] = ValueError) -> np.ndarray:
    return _column(batch, i, path, start, error).to_numpy(zero_copy_only=False)


def _texts(batch: Any, i: int, path: Path, start: int) -> list[str]:
    values = _column(batch, i, path, start).to_pylist()
    return [str(int(value)) if isinstance(value, bool) else str(value).strip() for value in values]
