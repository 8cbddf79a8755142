"""One training step: the gradient of the loss, and an update."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Integer, Key, Num

from jaxfc import objective
from jaxfc.data import Encoding
from jaxfc.layers.common import wide_type, wider
from jaxfc.networks import Network
from jaxfc.networks.contract import Params, Stats, dtype
from jaxfc.optim import UpdateRule
from jaxfc.tasks import Classification, Task


class TrainState(NamedTuple):
    """Everything that a step changes. A pytree; a checkpoint keeps it whole.

    >>> from jaxfc import FCNet
    >>> from jaxfc.optim import adam
    >>> state = init_state(FCNet(4, (8,), 3), adam, jax.random.key(0))
    >>> state.params[0]["w"].shape, int(state.step)
    ((4, 8), 0)
    """

    params: Params
    stats: Stats
    opt_state: Any
    key: Key[Array, "*members"]
    step: Integer[Array, "*members"]


def init_state(net: Network, rule: UpdateRule, key: Key[Array, ""], **hyper: Any) -> TrainState:
    """Draw parameters and return the state to start from; `hyper` goes to the rule's `init`.

    Raises:
        ValueError, TypeError: hyper-parameters that the rule does not take.

    >>> from jaxfc import FCNet
    >>> from jaxfc.optim import adam
    >>> state = init_state(FCNet(4, (8,), 3), adam, jax.random.key(0), learning_rate=0.5)
    >>> print(state.opt_state.learning_rate)
    0.5
    """
    params, stats, step_key = init_network(net, key)
    # A step donates its state: what the caller handed over must not be a part of it.
    opt_state = rule.init(params, **jax.tree.map(_own, hyper))
    return TrainState(params, stats, opt_state, step_key, jax.device_put(np.int32(0)))  # compiles nothing


def _own(value: Any) -> Any:
    return jnp.array(value) if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer) else value


@jax.jit
def init_network(net: Network, key: Key[Array, ""]) -> tuple[Params, Stats, Key[Array, ""]]:
    """Draw parameters and statistics, and derive the key that a training's steps draw from.

    >>> from jaxfc import FCNet
    >>> init_network(FCNet(4, (8,), 3), jax.random.key(0))[0][0]["w"].shape
    (4, 8)
    """
    init_key, step_key = jax.random.split(key)
    return *net.init(init_key), step_key


def take_step(
    net: Network,
    rule: UpdateRule,
    state: TrainState,
    x: Num[Array | np.ndarray, "batch features"],
    y: Any,
    normalizer: Encoding | None = None,
    weights: Float[Array | np.ndarray, " batch"] | None = None,
    task: Task = Classification(),  # noqa: B008 (it is immutable)
    accumulate: int = 1,
) -> tuple[TrainState, Float[Array, ""]]:
    """Take one step on a batch: the pure function that `train_step` compiles.

    Args:
        net: the network; changing its numbers compiles nothing.
        rule: the update rule.
        state: the state to start from. `train_step` donates it: its arrays are gone after the call.
        x: the batch's inputs.
        y: its targets.
        normalizer: applied to `x` inside the step, if given.
        weights: per-example weights of the loss.
        task: the task.
        accumulate: the gradient is summed over so many parts of the batch, so that only a part's activations
            are in memory. It is that of the whole batch, but for what a network makes of a batch as a whole:
            batchnorm's statistics are each part's own, and dropout draws for each part anew.

    Returns:
        The new state, and the loss before the update.

    >>> from jaxfc import FCNet
    >>> from jaxfc.optim import adam
    >>> net = FCNet(4, (8,), 3)
    >>> state = init_state(net, adam, jax.random.key(0), learning_rate=1e-2)
    >>> state, loss = train_step(net, adam, state, jnp.ones((2, 4)), jnp.array([0, 2]))
    >>> int(state.step)
    1
    """
    if normalizer is not None:
        x = normalizer(x, dtype(net))
    key = jax.random.fold_in(state.key, state.step)
    if accumulate == 1:
        loss, stats, grads = _gradient(net, task, state.params, state.stats, x, y, key, weights)
    else:
        loss, stats, grads = _accumulated(net, task, state, x, y, key, weights, accumulate)
    params, opt_state = rule(state.params, grads, state.opt_state)
    return TrainState(params, stats, opt_state, state.key, state.step + 1), loss


train_step = jax.jit(take_step, static_argnames=("rule", "accumulate"), donate_argnames="state")


def _gradient(
    net: Network, task: Task, params: Params, stats: Stats, x: Any, y: Any, key: Any, weights: Any
) -> tuple[Float[Array, ""], Stats, Params]:
    gradient = jax.value_and_grad(objective.loss, argnums=1, has_aux=True)
    (loss, stats), grads = gradient(net, params, stats, x, y, key, weights, task)
    return loss, stats, grads


def _accumulated(
    net: Network, task: Task, state: TrainState, x: Any, y: Any, key: Any, weights: Any, parts: int
) -> tuple[Float[Array, ""], Stats, Params]:
    r"""Loss and gradient of a batch from those of its parts, $\sum_m \frac{W_m}{W} g_m$ with $W_m$ a part's weight."""
    rows = len(x) // parts
    x, y, weights = jax.tree.map(lambda a: a.reshape(parts, rows, *a.shape[1:]), (x, y, weights))
    if weights is None:
        shares = jnp.full(parts, 1 / parts)
    else:
        each = jnp.sum(weights, axis=1, dtype=wide_type(weights))
        shares = each / jnp.where(each.sum() == 0, 1, each.sum())

    def part(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        stats, loss, grads = carry
        i, share, x, y, weights = inputs
        mine, stats, more = _gradient(net, task, state.params, stats, x, y, jax.random.fold_in(key, i), weights)
        grads = jax.tree.map(lambda sum, g: sum + share.astype(sum.dtype) * g.astype(sum.dtype), grads, more)
        return (stats, loss + share.astype(loss.dtype) * mine, grads), None

    def wide(p: Array) -> Array:
        return jnp.zeros(p.shape, wide_type(p))

    blank = jnp.zeros((), wider(dtype(net)))
    start = (state.stats, blank, jax.tree.map(wide, state.params))
    (stats, loss, grads), _ = lax.scan(part, start, (jnp.arange(parts), shares, x, y, weights))
    return loss, stats, jax.tree.map(lambda g, p: g.astype(p.dtype), grads, state.params)
