"""Holding rows out of a data set, to validate and to test on."""

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
