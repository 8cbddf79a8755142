"""The data sets known by name, and the one function that loads them and a user's own files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from jaxfc.data import cifar10, digits, idx, readers, tables
from jaxfc.data.dataset import Dataset
from jaxfc.data.split import Splitting
from jaxfc.errors import unknown_name

LOADERS: dict[str, Callable[[str | Path | None], Dataset]] = {
    "digits": digits.load,
    "cifar10": cifar10.load,
    "mnist": idx.load_mnist,
    "fashion_mnist": idx.load_fashion_mnist,
}


def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    label: str | int | None = None,
    task: str = "classification",
    weights: str | None = None,
    stream: bool | None = None,
    columns: Mapping[str, str] | None = None,
    splitting: Splitting = Splitting(),  # noqa: B008 (it is immutable)
) -> Dataset:
    """Load a data set by name, or a user's own file by path.

    Args:
        name: `"digits"`, `"cifar10"`, `"mnist"`, `"fashion_mnist"`, or a path that ends in `.npz`, `.npy`,
            `.csv`, `.parquet`, `.arrow` or `.feather`; see `docs/howto/own-data.md`.
        data_dir: the folder that holds a downloaded data set's files; by default the environment
            variable `JAXFC_DATA`, and failing that a cache into which they are downloaded once.
        label: the label column of a `.csv`, by name or index; by default the last. For the tasks
            `"multilabel"` and `"regression"` it may name several, as in `"a,b"`.
        task: what to learn from a file: `"classification"`, `"multilabel"` (labels of 0 and 1) or
            `"regression"` (numbers).
        weights: what holds the weights of a file's examples: a column of a `.csv`, an array of a `.npz`.
        stream: leave a file's inputs where they are, and read rows when they are needed; by default where they
            would take more than a quarter of the memory that is free. A `.csv` and what is downloaded is always read.
        columns: what columns of a table are, by name: `"number"`, `"category"`, `"date"`, or `"skip"` to leave one
            out; the others are recognized. By default so are those of tables that hold more than finite numbers.
        splitting: how a table's rows are held out to validate and to test on; by default at random.

    Raises:
        ValueError: an unknown name or task, or contents that cannot be used.
        TypeError: labels or targets of a type that does not fit the task.
        FormatError: a corrupted or truncated file.
        FileNotFoundError: a file that is not there.
        OSError: a download that failed.

    >>> load("digits").x_test.shape
    (300, 64)
    """
    if task not in tables.TASKS:
        raise unknown_name("task", task, tables.TASKS)
    if Path(name).suffix.lower() in readers.KNOWN:
        how = {"columns": columns, "splitting": splitting}
        return tables.load(name, label=label, task=task, weights=weights, stream=stream, **how)
    if name not in LOADERS:
        raise unknown_name("data set", name, [*LOADERS, *(f"FILE{suffix}" for suffix in readers.KNOWN)])
    if task != "classification":
        raise ValueError(f"task={task!r} is for .npz and .csv files; {name} has classes: use task='classification'")
    if weights is not None:
        raise ValueError(f"weights={weights!r} is for .npz and .csv files; {name} has none: leave weights out")
    if columns is not None:
        raise ValueError(f"columns={dict(columns)} is for tables; {name} has none: leave columns out")
    if splitting != Splitting():
        raise ValueError(f"{splitting} is for tables; {name} has validation and test rows of its own: leave it out")
    return LOADERS[name](data_dir)
