"""Holding rows out of a data set, to validate and to test on."""

from typing import NamedTuple

import numpy as np

from jaxfc.data.arrays import Indices


def hold_out(x: np.ndarray, y: np.ndarray, fraction: float, *, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Split rows at random, the same for the same seed, into `(x, y, x_held, y_held)`.

    Raises:
        ValueError: too few rows for each part to hold one.

    >>> import numpy as np
    >>> x, y, x_held, y_held = hold_out(np.ones((10, 3)), np.zeros(10, int), 0.2)
    >>> x.shape, x_held.shape
    ((8, 3), (2, 3))
    """
    kept, held = held_out_rows(len(x), fraction, seed=seed)
    return x[kept], y[kept], x[held], y[held]


def held_out_rows(num_rows: int, fraction: float, *, seed: int = 0) -> tuple[Indices, Indices]:
    """Return the indices of the rows that `hold_out` keeps, and of those it holds out, each in order.

    Raises:
        ValueError: too few rows for each part to hold one.

    >>> [len(rows) for rows in held_out_rows(10, 0.2)]
    [8, 2]
    """
    held = round(num_rows * fraction)
    if not 0 < held < num_rows:
        raise ValueError(
            f"{num_rows} rows are too few to hold out a fraction of {fraction}: add rows, or give x_val and x_test"
        )
    order = np.random.default_rng(seed).permutation(num_rows)
    return np.sort(order[held:]), np.sort(order[:held])


class Splitting(NamedTuple):
    """How rows are held out of a table, where that is not at random.

    Args:
        by: a column; rows that have the same in it are held out together, or not at all: a patient, a shop.
        time: a column of dates or numbers; the latest rows are held out, to test, and those before them to validate.
        stratified: as large a part of each class is held out.

    >>> Splitting(by="patient").key
    'patient'
    """

    by: str | None = None
    time: str | None = None
    stratified: bool = False

    def check(self) -> None:
        """Raise a ValueError where more than one way is asked for."""
        asked = [name for name, value in self._asdict().items() if value]
        if len(asked) > 1:
            raise ValueError(f"rows are split in one way: choose one of {', '.join(asked)}")

    @property
    def key(self) -> str | None:
        """The column that rows are split by, if there is one; it is not learned from."""
        return self.by or self.time

    def hold_out(self, keys: np.ndarray, fraction: float) -> tuple[Indices, Indices]:
        """The rows to keep, and those to hold out.

        Args:
            keys: what each row has in the column; where stratified, its class. Of times, numbers.
            fraction: how many rows to hold out, about.

        Raises:
            ValueError: too few rows, groups or times for each part to have one.

        >>> [rows.tolist() for rows in Splitting(time="day").hold_out(np.array([5, 1, 5, 2, 3]), 0.2)]
        [[1, 3, 4], [0, 2]]
        """
        count = round(len(keys) * fraction)
        held_out_rows(len(keys), fraction)  # raises where there are too few
        if self.time:
            # Rows of the same time stay together.
            held = keys >= np.sort(keys)[len(keys) - count]
        elif self.by:
            held = np.isin(keys, _groups_of(keys, count))
        else:
            held = _stratified(keys, count)
        if held.all() or not held.any():
            what = f"column {self.key!r} has the same in" if self.key else "classes do not divide"
            raise ValueError(f"{what} too many of {len(keys)} rows to hold out a fraction of {fraction:.3g}")
        return np.flatnonzero(~held), np.flatnonzero(held)


def _groups_of(keys: np.ndarray, count: int) -> np.ndarray:
    """Groups, in an order drawn at random, that have at least so many rows together."""
    groups, sizes = np.unique(keys, return_counts=True)
    order = np.random.default_rng(0).permutation(len(groups))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), count)) + 1
    return groups[order[:enough]]


def _stratified(classes: np.ndarray, count: int) -> np.ndarray:
    """So many rows, drawn at random, of each class as large a part as of all."""
    order = np.random.default_rng(0).permutation(len(classes))
    _, index, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    # Within each class, rows have evenly spaced places from 0 to 1; those with the smallest are held out.
    place = np.empty(len(classes))
    for each, size in enumerate(sizes):
        rows = order[index[order] == each]
        place[rows] = (np.arange(size) + 0.5) / size
    held = np.zeros(len(classes), bool)
    held[order[np.argsort(place[order], kind="stable")[:count]]] = True
    return held
