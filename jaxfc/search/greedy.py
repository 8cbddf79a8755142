"""Which of many networks to join, and how often: greedy selection with replacement (Caruana et al. 2004)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxfc.tasks import Task

# By what predictions are judged, the first that a task has: smoother than what ranks epochs, which ties on few rows.
JUDGES = ("log_loss", "pinball", "rmse")


def chosen(task: Task, predictions: Any, y: Any, weights: Any = None, *, size: int) -> list[int]:
    r"""The numbers of the networks whose mean prediction is good, as often as each is in it.

    Beginning with none, that network is added, again and again, with which the mean $\frac1k \sum_i p_i$ is best.

    Args:
        task: the task, by whose log loss, pinball loss or RMSE (or else by what ranks) means are judged.
        predictions: of each network for the same rows, none of which it was trained on, `(networks, rows, outputs)`.
        y: the rows' targets.
        weights: their weights.
        size: how many to add.

    >>> from jaxfc import Classification
    >>> p = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.5, 0.5], [0.1, 0.9]], [[0.1, 0.9], [0.9, 0.1]]], "f")
    >>> chosen(Classification(), p, np.array([0, 1]), size=2)
    [1, 0]
    """
    judge = next((name for name in JUDGES if name in task.metrics), task.rank)
    p, y = np.asarray(predictions, np.float32), np.asarray(y)
    y = y.astype(np.float32) if y.dtype == np.float64 else y
    return _chosen(task, p, y, weights, judge, size).tolist()


@partial(jax.jit, static_argnames=("judge", "size"))
def _chosen(task: Task, p: Any, y: Any, weights: Any, judge: str, size: int) -> Any:
    metric = task.metrics[judge]

    def add(total: Any, count: Any) -> tuple[Any, Any]:
        def score(one: Any) -> Any:
            return metric.function((total + one) / (count + 1).astype(p.dtype), y, weights)

        scores = lax.map(score, p)
        best = jnp.argmax(scores) if metric.higher else jnp.argmin(scores)
        return total + p[best], best

    return lax.scan(add, jnp.zeros(p.shape[1:], p.dtype), jnp.arange(size))[1]
