"""A network and a task together: the training loss, and predictions."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num

from jaxfc.data import Encoding
from jaxfc.layers.common import wide_type
from jaxfc.networks import Network, apply, penalty
from jaxfc.networks.contract import dtype
from jaxfc.tasks import Classification, Task

ROWS = 1000  # rows measured or predicted at once: bounds the memory that activations take

Batch = Num[Array | np.ndarray, "batch features"]


def loss(
    net: Network,
    params: Any,
    stats: Any,
    x: Batch,
    y: Any,
    key: Any = None,
    weights: Float[Array | np.ndarray, " batch"] | None = None,
    task: Task = Classification(),  # noqa: B008 (it is immutable)
) -> tuple[Float[Array, ""], Any]:
    r"""The training loss: the task's, and the network's penalty, $\tfrac\lambda2 \sum w^2$ over weight matrices.

    Made for `jax.value_and_grad(loss, argnums=1, has_aux=True)`.

    Args:
        net: the network.
        params: its parameters, as `init` returns them.
        stats: its running statistics, likewise.
        x: inputs.
        y: targets.
        key: for what the network draws in training mode; see `jaxfc.FCNet.apply`.
        weights: per-example weights.
        task: the task.

    Returns:
        The loss, and the updated running statistics.

    Raises:
        ValueError, TypeError: as the network's `apply` and the task's loss.

    >>> import jax
    >>> from jaxfc import FCNet, init
    >>> net = FCNet(4, (8,), 3)
    >>> params, stats = init(net, jax.random.key(0))
    >>> gradient = jax.value_and_grad(loss, argnums=1, has_aux=True)
    >>> (value, stats), grads = gradient(net, params, stats, jnp.ones((2, 4)), jnp.array([0, 2]))
    >>> grads[0]["w"].shape
    (4, 8)
    """
    outputs, stats = apply(net, params, stats, x, key=key, train=True)
    value = task.loss(outputs, jnp.asarray(y), None if weights is None else jnp.asarray(weights))
    term = penalty(net, params)
    if term is not None:
        wide = wide_type(value, term)
        value = value.astype(wide) + term.astype(wide)
    return value, stats


def predict_proba(
    net: Network,
    params: Any,
    stats: Any,
    x: Batch,
    task: Task = Classification(),  # noqa: B008
) -> Float[Array, "batch predictions"]:
    """Test-mode predictions: class probabilities, or what else the task makes of outputs.

    >>> import jax
    >>> from jaxfc import FCNet, init
    >>> net = FCNet(4, (8,), 3, weight_scale=0.0)
    >>> print(np.asarray(predict_proba(net, *init(net, jax.random.key(0)), jnp.ones((1, 4)))).round(3))
    [[0.333 0.333 0.333]]
    """
    return task.decode(apply(net, params, stats, x)[0])


def predict(
    net: Network,
    params: Any,
    stats: Any,
    x: Batch,
    task: Task = Classification(),  # noqa: B008
) -> Any:
    """Test-mode answers: the class of the highest score for each row, or what else the task answers.

    >>> from jaxfc import FCNet
    >>> params = [{"w": jnp.eye(2), "b": jnp.zeros(2)}]
    >>> print(predict(FCNet(2, (), 2), params, (), jnp.array([[1.0, 0.0], [0.0, 1.0]])))
    [0 1]
    """
    return task.answer(predict_proba(net, params, stats, x, task))


def outputs_of(
    net: Network, params: Any, stats: Any, normalizer: Encoding, x: Num[Array, "rows features"]
) -> Float[Array, "rows outputs"]:
    """Test-mode outputs of rows as stored, a bounded number of rows at a time.

    >>> from jaxfc import FCNet
    >>> from jaxfc.data import Normalizer
    >>> params = [{"w": jnp.eye(2), "b": jnp.zeros(2)}]
    >>> print(outputs_of(FCNet(2, (), 2), params, (), Normalizer(jnp.zeros(2), jnp.ones(())), jnp.eye(2)))
    [[1. 0.]
     [0. 1.]]
    """

    def of(x: Array) -> Array:
        return apply(net, params, stats, normalizer(x, dtype(net)))[0]

    if len(x) <= ROWS:
        return of(x)
    chunks = -(-len(x) // ROWS)
    padded = jnp.pad(x, ((0, chunks * ROWS - len(x)), (0, 0))).reshape(chunks, ROWS, -1)
    return lax.map(of, padded).reshape(chunks * ROWS, -1)[: len(x)]
