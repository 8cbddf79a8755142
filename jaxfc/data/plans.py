"""Index plans: which rows make up the batches of an epoch."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Integer

Plan = Integer[np.ndarray, "iterations batch"]


def shuffled_plan(num_rows: int, batch_size: int, *, seed: int, epoch: int, weights: np.ndarray | None = None) -> Plan:
    """Indices for one epoch over shuffled rows: every row at most once.

    The `num_rows % batch_size` rows that do not fill a batch sit this epoch out; each epoch shuffles
    anew, so it is others the next time. The plan depends on the seed and the epoch alone, not on weights.

    >>> shuffled_plan(5, 2, seed=0, epoch=1).shape
    (2, 2)
    """
    iterations = check_batch(num_rows, batch_size)
    order = np.random.default_rng([seed, epoch]).permutation(num_rows)
    return order[: iterations * batch_size].reshape(iterations, batch_size).astype(np.int32)


def replacement_plan(
    num_rows: int, batch_size: int, *, seed: int, epoch: int, weights: np.ndarray | None = None
) -> Plan:
    """Indices for one epoch of draws with replacement, `num_rows // batch_size` batches of them, whatever rows weigh.

    >>> replacement_plan(5, 2, seed=0, epoch=1).shape
    (2, 2)
    """
    iterations = check_batch(num_rows, batch_size)
    return np.random.default_rng([seed, epoch]).integers(num_rows, size=(iterations, batch_size), dtype=np.int32)


def continuous_plan(
    num_rows: int, batch_size: int, *, seed: int, epoch: int, weights: np.ndarray | None = None
) -> Plan:
    """Indices for one epoch of an endless stream, in which each row of a weight above 0 comes before any comes again.

    An epoch is `num_rows // batch_size` batches of it, which go on where those of the epoch before ended. Rows of
    weight 0 are in none: they may fill up the arrays to a length that data sets of several lengths have in common,
    and so have a program in common.

    >>> weights = np.array([1, 1, 1, 0])
    >>> stream = [continuous_plan(4, 2, seed=0, epoch=epoch, weights=weights) for epoch in (1, 2, 3)]
    >>> np.bincount(np.ravel(stream)).tolist()
    [4, 4, 4]
    """
    size = check_batch(num_rows, batch_size) * batch_size
    rows = np.arange(num_rows) if weights is None else np.flatnonzero(weights > 0)
    rounds, skipped = divmod((epoch - 1) * size, len(rows))
    last = (epoch * size - 1) // len(rows)
    orders = [np.random.default_rng([seed, number]).permutation(rows) for number in range(rounds, last + 1)]
    return np.concatenate(orders)[skipped : skipped + size].reshape(-1, batch_size).astype(np.int32)


PLANS: dict[str, Callable[..., Plan]] = {
    "shuffled": shuffled_plan,
    "replacement": replacement_plan,
    "continuous": continuous_plan,
}


def check_batch(num_rows: int, batch_size: int) -> int:
    """Return the number of full batches in so many rows.

    Raises:
        ValueError: there is none.

    >>> check_batch(100, 32)
    3
    """
    if not 1 <= batch_size <= num_rows:
        raise ValueError(f"batch_size={batch_size} must be from 1 to the number of training rows, {num_rows}")
    return num_rows // batch_size
