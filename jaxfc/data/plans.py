"""Index plans: which rows make up the batches of an epoch."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Integer

Plan = Integer[np.ndarray, "iterations batch"]


def shuffled_plan(num_rows: int, batch_size: int, *, seed: int, epoch: int) -> Plan:
    """Indices for one epoch over shuffled rows: every row at most once.

    The `num_rows % batch_size` rows that do not fill a batch sit this epoch out; each epoch shuffles
    anew, so it is others the next time. The plan depends on the seed and the epoch alone.

    >>> shuffled_plan(5, 2, seed=0, epoch=1).shape
    (2, 2)
    """
    iterations = check_batch(num_rows, batch_size)
    order = np.random.default_rng([seed, epoch]).permutation(num_rows)
    return order[: iterations * batch_size].reshape(iterations, batch_size).astype(np.int32)


def replacement_plan(num_rows: int, batch_size: int, *, seed: int, epoch: int) -> Plan:
    """Indices for one epoch of draws with replacement, `num_rows // batch_size` batches of them.

    >>> replacement_plan(5, 2, seed=0, epoch=1).shape
    (2, 2)
    """
    iterations = check_batch(num_rows, batch_size)
    return np.random.default_rng([seed, epoch]).integers(num_rows, size=(iterations, batch_size), dtype=np.int32)


PLANS: dict[str, Callable[..., Plan]] = {"shuffled": shuffled_plan, "replacement": replacement_plan}


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
