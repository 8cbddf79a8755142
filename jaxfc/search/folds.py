"""The rows that candidates train on and are measured on: the data set's own split, or k folds."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from jaxfc.data import PLANS, Dataset, Encoding
from jaxfc.training.measuring import DeviceData
from jaxfc.training.prepare import device_data, rows_on_device
from jaxfc.training.settings import RunSettings


class Fold(NamedTuple):
    """Rows to train on, rows to measure on, and the normalizer fitted on the former.

    Rows are indices of training rows; `held` is None where the validation rows are measured on. `weights` are those
    of the training rows of the fold, or None.
    """

    rows: Int[np.ndarray, " rows"]
    held: Int[np.ndarray, " held"] | None
    normalizer: Encoding
    weights: np.ndarray | None = None

    def plans(self, settings: RunSettings, *, first_epoch: int, count: int) -> np.ndarray:
        """The rows of the batches of so many epochs, `(count, iterations, batch)`."""
        plan, epochs = PLANS[settings.sampling], range(first_epoch, first_epoch + count)
        how = {"seed": settings.order, "weights": self.weights}
        of = [plan(len(self.rows), settings.batch_size, epoch=n, **how) for n in epochs]
        return np.stack([self.rows[each] for each in of])


def split(data: Dataset, folds: int, seed: int) -> list[Fold]:
    """The folds of a data set; with `folds` 1, its own training and validation rows.

    With more, the training rows are split at random into so many equal parts; each is measured on by the
    networks that were trained on the other rows, whose normalizer is fitted on these alone. What does not
    divide evenly is trained on always.

    Raises:
        ValueError: `folds` below 1, or more folds than training rows.
    """
    count, weights = len(data.x_train), data.weights("train")
    if folds == 1:
        return [Fold(np.arange(count, dtype=np.int32), None, data.normalizer, weights)]
    if not 1 < folds <= count:
        raise ValueError(f"folds={folds} must be from 1 to the number of training rows, {count}")
    order = np.random.default_rng([seed, 1]).permutation(count).astype(np.int32)
    size = count // folds
    parts = []
    for i in range(folds):
        held = order[i * size : (i + 1) * size]
        rows = np.sort(np.setdiff1d(order, held))
        normalizer = data.fit_normalizer(data.x_train[rows]) if data.fit_normalizer else data.normalizer
        parts.append(Fold(rows, held, normalizer, None if weights is None else weights[rows]))
    return parts


def on_device(data: Dataset, folds: list[Fold], settings: RunSettings, device: jax.Device) -> list[DeviceData]:
    """The folds' data on a device; the training rows are there once."""
    whole = device_data(data, settings, None, device)
    weights = data.weights("train")
    parts = []
    for fold in folds:
        part = whole._replace(normalizer=jax.device_put(fold.normalizer, device))
        if fold.held is not None:
            held = fold.held
            weighed = None if weights is None else weights[held]
            x, y, weighed = jax.device_put((*rows_on_device(data, "train", held), weighed), device)
            part = part._replace(x_val=x, y_val=y, weights_val=weighed)
        parts.append(part)
    return parts
