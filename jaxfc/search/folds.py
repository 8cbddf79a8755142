"""The rows that candidates train on and are measured on: the data set's own split, or k folds."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int, Integer, Num

from jaxfc.data import PLANS, Dataset
from jaxfc.search.population import FoldData


class Fold(NamedTuple):
    """The indices of the training rows to train on, and the rows to measure on."""

    rows: Int[np.ndarray, " rows"]
    x_val: Num[np.ndarray, "val features"]
    y_val: Integer[np.ndarray, " val"]

    def plans(self, sampling: str, batch_size: int, *, seed: int, first_epoch: int, count: int) -> np.ndarray:
        """The rows of the batches of so many epochs, `(count, iterations, batch)`."""
        epochs = range(first_epoch, first_epoch + count)
        return np.stack([self.rows[PLANS[sampling](len(self.rows), batch_size, seed=seed, epoch=n)] for n in epochs])

    def on_device(self, data: Dataset, device: jax.Device) -> FoldData:
        """The fold's data on a device."""
        return jax.device_put(FoldData(data.normalizer, data.x_train, data.y_train, self.x_val, self.y_val), device)


def split(data: Dataset, folds: int, seed: int) -> list[Fold]:
    """The folds of a data set; with `folds` 1, its own training and validation rows.

    With more, the training rows are split at random into so many equal parts; each is measured on by the
    networks that were trained on the other rows. What does not divide evenly is trained on always.

    Raises:
        ValueError: `folds` below 1, or more folds than training rows.
    """
    count = len(data.x_train)
    if folds == 1:
        return [Fold(np.arange(count, dtype=np.int32), data.x_val, data.y_val)]
    if not 1 < folds <= count:
        raise ValueError(f"folds={folds} must be from 1 to the number of training rows, {count}")
    order = np.random.default_rng([seed, 1]).permutation(count).astype(np.int32)
    size = count // folds
    parts = []
    for i in range(folds):
        held = order[i * size : (i + 1) * size]
        rows = np.sort(np.setdiff1d(order, held))
        parts.append(Fold(rows, data.x_train[held], data.y_train[held]))
    return parts
