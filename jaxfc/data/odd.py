"""Data that can be trained on and hardly are meant so: refused where nothing can come of it, else warned of."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from jaxfc.data.arrays import Array
from jaxfc.data.file_rows import blocks
from jaxfc.errors import listed

_MANY, _FEW = 20, 10  # classes, and rows to each, from which on they look like identifiers or like numbers


def check_classes_repeat(num_classes: int, num_rows: int, *, what: str) -> None:
    """Raise a ValueError where each row has a class of its own: an identifier, of which nothing can be learned.

    >>> check_classes_repeat(60, 60, what="people.csv: column 'id'")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: people.csv: column 'id' has another label in each of 60 rows, as an identifier has: name the label ...
    """
    if num_classes == num_rows >= _MANY:
        raise ValueError(
            f"{what} has another label in each of {num_rows} rows, as an identifier has: name the label column "
            "(--label), or predict numbers with task='regression' (--task regression)"
        )


def warn_of_numbers(classes: Sequence[str], num_classes: int, num_rows: int, *, what: str) -> None:
    """Warn of whole numbers so many and so rare that they look like something to predict by regression.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warn_of_numbers([str(year) for year in range(1950, 2000)], 50, 100, what="wines.csv: column 'year'")
    >>> print(str(caught[0].message).partition(":")[2].partition(",")[0])
     column 'year' holds 50 whole numbers in 100 rows
    """
    if num_classes > _MANY and num_rows < _FEW * num_classes and all(name.lstrip("+-").isdecimal() for name in classes):
        warnings.warn(
            f"{what} holds {num_classes} whole numbers in {num_rows} rows, and each becomes a class: to predict a "
            "number use task='regression' (--task regression)",
            stacklevel=2,
        )


def warn_of_untrained(y: Mapping[str, np.ndarray], classes: Sequence[str], *, what: str) -> None:
    """Warn of classes that other splits have and the training rows have not: no network learns them.

    Args:
        y: class indices by split.
        classes: their names.
        what: where they are from.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warn_of_untrained({"train": np.array([0, 1]), "test": np.array([2])}, ("a", "b", "c"), what="d.npz")
    >>> print(caught[0].message)
    d.npz: no training row is of the class 'c', which test rows are of: it cannot be learned
    """
    trained = set(np.unique(y["train"]).tolist())
    for split, indices in y.items():
        missing = [repr(classes[i]) for i in np.unique(indices).tolist() if i not in trained]
        if missing:
            name = f"class {missing[0]}" if len(missing) == 1 else f"classes {listed(missing, 5)}"
            warnings.warn(
                f"{what}: no training row is of the {name}, which {split} rows are of: it cannot be learned",
                stacklevel=2,
            )
            return


def check_alike(x: Mapping[str, Array], *, what: str) -> None:
    """Raise a ValueError where some splits hold bytes and others floats that are no such bytes, but scaled, say.

    >>> check_alike({"x": np.uint8([[0, 200]]), "x_test": np.float32([[0.1, 0.8]])}, what="d.npz")
    Traceback (most recent call last):
    ValueError: d.npz: x is uint8 and x_test float32, from 0.1 to 0.8: scale both alike, or store both as uint8
    """
    stored = next((name for name, part in x.items() if part.dtype == np.uint8), None)
    for name, part in x.items() if stored is not None else ():
        if part.dtype == np.uint8:
            continue
        low, high = min(map(np.min, blocks(part))), max(map(np.max, blocks(part)))
        if low < 0 or not 1 < high <= 255:
            raise ValueError(
                f"{what}: {stored} is uint8 and {name} {part.dtype}, from {low:.3g} to {high:.3g}: scale both alike, "
                "or store both as uint8"
            )
