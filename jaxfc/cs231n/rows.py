"""A Solver's rows on the device: brought there once, in the model's own type, and looked up there."""

import math
from typing import Any

import jax
import numpy as np

from jaxfc.cs231n.bridge import aligned
from jaxfc.objective import ROWS

Array = np.ndarray


class Rows:
    """Training and validation rows as one array, so that one program classifies either.

    Args:
        model: one of `fc_net`'s.
        X_train: training rows, of any number of axes.
        X_val: validation rows.

    Raises:
        ValueError: rows that the model does not take.
    """

    def __init__(self, model: Any, X_train: Array, X_val: Array) -> None:
        self.model = model
        self.parts = (X_train, X_val)
        for X in self.parts:
            model.check_features(X)
        sizes = [len(X) for X in self.parts]
        rows = aligned((sum(sizes), math.prod(X_train.shape[1:])), model.dtype)
        for X, part in zip(self.parts, np.split(rows, sizes[:1]), strict=True):
            part[:] = X.reshape(len(X), -1)
        with jax.enable_x64(True):
            self.x = jax.device_put(rows)

    def has(self, X: Array) -> bool:
        """Whether `X` is the training or the validation rows."""
        return any(X is part for part in self.parts)

    def classes(self, X: Array, rows: Array, layers: Any, running: Any) -> Array:
        """The class that the model, with parameters as the core network has them, gives each of some rows of `X`."""
        model = self.model
        program = model.programs().classes
        rows = (rows + (0 if X is self.parts[0] else len(self.parts[0]))).astype(np.int32)
        return np.concatenate(
            [
                program(model.numbers(), layers, running, self.x, rows[start : start + ROWS])
                for start in range(0, len(rows), ROWS)
            ]
        )
