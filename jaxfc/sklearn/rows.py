"""Rows of a table on their way into a data set: joined where they are alike, held out, filled up to a few lengths.

Programs are compiled for lengths. So rows are filled up to one of a few, and the folds of a cross-validation share
one program. What fills up has weight 0: no batch has it, and no measure counts it.
"""

from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from jaxfc.data import Columns, Dataset, Encoder

FEW = 1000  # rows up to which they are joined
LEAST = 64  # the least length that rows are filled up to


class Rows(NamedTuple):
    """Inputs, targets and weights.

    >>> Rows(np.ones((3, 2)), np.zeros(3), np.ones(3)).size
    3
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.x)

    def take(self, which: Any) -> "Rows":
        """Some of them."""
        return Rows(*(each[which] for each in self))


def length_for(num_rows: int) -> int:
    """The length that so many rows are filled up to: 4, 5, 6 or 7 times a power of two, at most a quarter more.

    Fewer than 64 rows are filled up to 64: an epoch goes through them more than once.

    >>> [length_for(rows) for rows in (3, 142, 143, 455, 456)]
    [64, 160, 160, 512, 512]
    """
    rows = max(num_rows, LEAST)
    unit = 2 ** ((rows - 1).bit_length() - 3)
    return -(-rows // unit) * unit


def filled(rows: Rows, length: int) -> Rows:
    """Rows with copies of the last, of weight 0, up to a length.

    >>> filled(Rows(np.ones((2, 1)), np.arange(2), np.ones(2)), 4).weights
    array([1., 1., 0., 0.])
    """
    chosen = rows.take(np.minimum(np.arange(length), rows.size - 1))
    return chosen._replace(weights=np.where(np.arange(length) < rows.size, chosen.weights, 0))


def joined(rows: Rows) -> Rows:
    """Rows without those of weight 0; of a few rows, each once, with the weight of all that are alike, in an order.

    Weights are in parts of the greatest. So a weight of 2 is a row given twice, and the order in which rows are given
    does not matter, to the last bit.
    Of many rows to sort them takes too long, and they are as they came.

    >>> print(*joined(Rows(np.array([[2.0], [1.0], [2.0]]), np.array([0, 1, 0]), np.ones(3))), sep=" ")
    [[1.]
     [2.]] [1 0] [0.5 1. ]
    """
    if not rows.weights.all():
        rows = rows.take(rows.weights > 0)
    if rows.size > FEW:
        return rows._replace(weights=rows.weights / rows.weights.max())
    both = np.column_stack([rows.x, rows.y.reshape(rows.size, -1)]).astype(np.float64) + 0.0  # of -0.0 it makes 0.0
    bits = both.view(np.int64)  # among which a missing value, NaN, is alike to another
    _, first, place = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    weights = np.bincount(place.reshape(-1), weights=rows.weights)
    return rows.take(first)._replace(weights=weights / weights.max())


def parted(rows: Rows, fraction: float, seed: int, stratify: bool) -> tuple[Rows, Rows]:
    """Rows to train on, and a fraction of them held out; with as much of each class, where that can be.

    Raises:
        ValueError: too few rows.

    >>> rows = Rows(np.ones((10, 1)), np.arange(10) % 2, np.ones(10))
    >>> [float(part.y.mean()) for part in parted(rows, 0.2, 0, stratify=True)]
    [0.5, 0.5]
    """
    held = max(round(rows.size * fraction), 1)
    if held >= rows.size:
        raise ValueError(
            f"n_samples={rows.size} different rows are too few to hold out validation_fraction={fraction}: "
            "give X_val and y_val, or train without early stopping"
        )
    classes = None
    if stratify:
        counts = np.bincount(rows.y)
        counts = counts[counts > 0]
        classes = rows.y if counts.min() > 1 and len(counts) <= min(held, rows.size - held) else None
    kept, held_out = train_test_split(np.arange(rows.size), test_size=held, random_state=seed, stratify=classes)
    return rows.take(np.sort(kept)), rows.take(np.sort(held_out))


def dataset(
    train: Rows,
    val: Rows | None,
    columns: Columns,
    encoder: Encoder | None,
    targets: str,
    classes: tuple[str, ...],
    room: int = 0,
) -> Dataset:
    """A data set of rows, filled up to lengths that several have in common; without validation rows, of one row.

    Args:
        train: the rows to train on, as codes.
        val: those to validate on.
        columns: what made the codes.
        encoder: what makes inputs of them; by default it is fitted to the rows to train on.
        targets: the kind of targets, as in `jaxfc.Dataset`.
        classes: the classes' names, likewise.
        room: for how many more rows to train on there is to be room, in the same program.

    >>> from jaxfc.data import recognize
    >>> columns = recognize(np.eye(3))
    >>> rows = Rows(columns.codes(np.eye(3)), np.array([0, 1, 1]), np.ones(3))
    >>> dataset(rows, None, columns, None, "classes", ("a", "b")).x_train.shape
    (64, 3)
    """
    train_rows = filled(train, length_for(train.size + room))
    val_rows = train.take(slice(1))._replace(weights=np.ones(1)) if val is None else filled(val, length_for(val.size))
    return Dataset(
        "the table",
        *train_rows[:2],
        *val_rows[:2],
        None,
        None,
        classes,
        Encoder.fit(columns, train.x) if encoder is None else encoder,
        feature_names=tuple(column.name for column in columns.columns),
        columns=columns,
        targets=targets,
        w_train=train_rows.weights,
        w_val=val_rows.weights,
    )


def together(data: Dataset) -> tuple[Rows, Rows]:
    """All the rows of a data set of `dataset`, joined, those to validate on too; and these alone.

    >>> from jaxfc.data import recognize
    >>> columns = recognize(np.eye(3))
    >>> rows = Rows(columns.codes(np.eye(3)), np.array([0, 1, 1]), np.ones(3))
    >>> data = dataset(rows.take([0, 1]), rows.take([2]), columns, None, "classes", ("a", "b"))
    >>> [each.size for each in together(data)]
    [3, 1]
    """
    parts = (data.x_train, data.y_train, data.w_train), (data.x_val, data.y_val, data.w_val)
    train, val = (Rows(*part).take(part[2] > 0) for part in parts)
    return joined(Rows(*map(np.concatenate, zip(train, val, strict=True)))), val
