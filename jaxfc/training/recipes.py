"""How a table is trained on where nothing else is said: the one place for such defaults.

They were chosen on tables that no comparison is made on; see [Tables](../explanation/tables.md).
"""

import math
from typing import Any

import numpy as np

from jaxfc.data import Dataset
from jaxfc.training.noise import unexplained

MOST_ROWS = 1000  # to look at for a target's noise
STEPS = 16  # of an epoch, about
LEAST_DECAY = 0.1
NOISY = 0.6  # of a target's variance unexplained: from there on the decay is the greatest
MANY = 2000  # rows, from which on it falls


def table_defaults(num_rows: int, num_features: int, task: str, noise: float = 1.0) -> dict[str, Any]:
    r"""Settings of a `jaxfc.TrainConfig` that suit a table, for whoever gives no others.

    A small network of SiLU, about 800 steps of AdamW at a high rate along a cosine, and a strong decay of weights,
    which draws it towards a linear model; the last epoch's parameters, so that every row is trained on. The decay is
    weaker the more rows there are, and of a regression the more a linear model explains: of $n$ rows, with the part
    $\nu$ that is left unexplained,
    $\lambda = \max\left(0.1, \min(1, (\nu / 0.6)^2) \min(1, \sqrt{2000 / n})\right)$.

    Args:
        num_rows: the number of training rows; of a padded table, with those that pad it, so that tables padded to
            one length have one program.
        num_features: the number of input features.
        task: `"classification"`, `"multilabel"` or `"regression"`.
        noise: of a regression, the part of the target's variance that a linear model leaves unexplained; see
            `noise_of`.

    >>> table_defaults(512, 30, "classification")["hidden"]
    (64, 64)
    >>> [table_defaults(rows, 30, "regression")["batch_size"] for rows in (12, 512, 100_000)]
    [12, 32, 256]
    >>> [round(table_defaults(512, 30, "regression", noise)["weight_decay"], 2) for noise in (0.1, 0.4, 0.9)]
    [0.1, 0.44, 1.0]
    >>> [round(table_defaults(rows, 30, "classification")["weight_decay"], 2) for rows in (2000, 8000, 1_000_000)]
    [1.0, 0.5, 0.1]
    """
    batch_size = min(max(2 ** round(math.log2(max(num_rows / STEPS, 1))), 16), 256)
    noisy = min((noise / NOISY) ** 2, 1.0) if task == "regression" else 1.0
    decay = max(noisy * min(math.sqrt(MANY / num_rows), 1.0), LEAST_DECAY)
    return {
        "hidden": (64, 64),
        "activation": "silu",
        "dropout_keep_ratio": 0.9,
        "epochs": 50,
        "batch_size": min(batch_size, num_rows),
        "update_rule": "adamw",
        "learning_rate": 0.02,
        "weight_decay": decay,
        "beta2": 0.95,
        "schedule": "cosine",
    }


def noise_of(data: Dataset) -> float:
    """The part of a regression's targets that a linear model leaves unexplained, as `table_defaults` takes it.

    Of several targets it is that of all together, each standardized.

    >>> from jaxfc.data import Normalizer
    >>> x = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    >>> same = Normalizer(np.zeros(2, np.float32), np.float32(1))
    >>> data = Dataset("sums", x, x.sum(axis=1), x, x.sum(axis=1), None, None, (), same, targets="numbers")
    >>> noise_of(data) < 0.001
    True
    """
    weights = data.weights("train")
    rows = np.arange(len(data.x_train)) if weights is None else np.flatnonzero(weights > 0)
    rows = rows[:: max(len(rows) // MOST_ROWS, 1)][:MOST_ROWS]
    x = np.asarray(data.normalizer(np.asarray(data.x_train[rows])))
    y = np.asarray(data.y_train[rows], np.float64).reshape(len(rows), -1)
    return unexplained(x, y / np.maximum(y.std(axis=0), np.finfo(float).tiny))
