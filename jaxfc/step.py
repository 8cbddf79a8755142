"""The compiled programs of training: one step, and whole epochs.

An epoch is a scan over a plan, an `(iterations, batch)` matrix of row indices; then accuracies are
measured and the best parameters kept. Data are arguments: an array that a compiled function closes
over would be baked into the program. Nothing in here waits for the device.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Integer, Key, Num

from jaxfc import network
from jaxfc.data import Normalizer
from jaxfc.network import FCNet, Params, Stats
from jaxfc.optim import UpdateRule

EVALUATION_ROWS = 1000  # rows measured at once: bounds the memory that activations take


class TrainState(NamedTuple):
    """Everything that a step changes. A pytree; a checkpoint keeps it whole.

    >>> from jaxfc.optim import adam
    >>> state = init_state(FCNet(4, (8,), 3), adam, jax.random.key(0))
    >>> state.params[0]["w"].shape, int(state.step)
    ((4, 8), 0)
    """

    params: Params
    stats: Stats
    opt_state: Any
    key: Key[Array, ""]
    step: Integer[Array, ""]


class Best(NamedTuple):
    """The parameters of the epoch with the highest validation accuracy so far (the earliest of equals).

    >>> best = Best([{"w": jnp.ones((2, 2)), "b": jnp.zeros(2)}], (), jnp.float32(0.9), jnp.int32(3))
    >>> print(best.val_acc, best.epoch)
    0.9 3
    """

    params: Params
    stats: Stats
    val_acc: Float[Array, ""]
    epoch: Integer[Array, ""]


class DeviceData(NamedTuple):
    """What the program reads: the training rows, the indices of a sample of them, the validation rows.

    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> data = DeviceData(Normalizer(jnp.zeros(2), jnp.ones(())), x, y, jnp.arange(2), x_val=x, y_val=y)
    """

    normalizer: Normalizer
    x: Num[Array, "rows features"]
    y: Integer[Array, " rows"]
    sample: Integer[Array, " sample"]
    x_val: Num[Array, "val features"]
    y_val: Integer[Array, " val"]


def init_state(net: FCNet, rule: UpdateRule, key: Key[Array, ""], **hyper: Any) -> TrainState:
    """Draw parameters and return the state to start from; `hyper` goes to the rule's `init`.

    Raises:
        ValueError, TypeError: hyper-parameters that the rule does not take.

    >>> from jaxfc.optim import adam
    >>> state = init_state(FCNet(4, (8,), 3), adam, jax.random.key(0), learning_rate=0.5)
    >>> print(state.opt_state.learning_rate)
    0.5
    """
    params, stats, step_key = _init_network(net, key)
    return TrainState(params, stats, rule.init(params, **hyper), step_key, jnp.int32(0))


@jax.jit
def _init_network(net: FCNet, key: Key[Array, ""]) -> tuple[Params, Stats, Key[Array, ""]]:
    init_key, step_key = jax.random.split(key)
    return *network.init(net, init_key), step_key


def take_step(
    net: FCNet,
    rule: UpdateRule,
    state: TrainState,
    x: Num[Array | np.ndarray, "batch features"],
    y: Integer[Array | np.ndarray, " batch"],
    normalizer: Normalizer | None = None,
    weights: Float[Array, " batch"] | None = None,
) -> tuple[TrainState, Float[Array, ""]]:
    """Take one step on a batch: the pure function that `train_step` compiles.

    Args:
        net: the network; changing its numbers compiles nothing.
        rule: the update rule.
        state: the state to start from. `train_step` donates it: its arrays are gone after the call.
        x: the batch's inputs.
        y: its labels.
        normalizer: applied to `x` inside the step, if given.
        weights: per-example weights of the loss.

    Returns:
        The new state, and the loss before the update.

    >>> from jaxfc.optim import adam
    >>> net = FCNet(4, (8,), 3)
    >>> state = init_state(net, adam, jax.random.key(0), learning_rate=1e-2)
    >>> state, loss = train_step(net, adam, state, jnp.ones((2, 4)), jnp.array([0, 2]))
    >>> int(state.step)
    1
    """
    if normalizer is not None:
        x = normalizer(x, net.dtype)
    key = jax.random.fold_in(state.key, state.step)
    gradient = jax.value_and_grad(network.loss, argnums=1, has_aux=True)
    (loss, stats), grads = gradient(net, state.params, state.stats, x, y, key, weights)
    params, opt_state = rule(state.params, grads, state.opt_state)
    return TrainState(params, stats, opt_state, state.key, state.step + 1), loss


train_step = jax.jit(take_step, static_argnames="rule", donate_argnames="state")


def num_correct(
    net: FCNet,
    params: Params,
    stats: Stats,
    normalizer: Normalizer,
    x: Num[Array, "rows features"],
    y: Integer[Array, " rows"],
) -> Integer[Array, ""]:
    """How many rows are classified right, a bounded number of rows at a time.

    >>> net, params = FCNet(2, (), 2), [{"w": jnp.eye(2), "b": jnp.zeros(2)}]
    >>> normalizer = Normalizer(jnp.zeros(2), jnp.ones(()))
    >>> print(num_correct(net, params, (), normalizer, jnp.eye(2), jnp.array([0, 1])))
    2
    """

    def count(chunk: tuple[Array, Array]) -> Array:
        x, y = chunk
        return jnp.sum(network.predict(net, params, stats, normalizer(x, net.dtype)) == y)

    if len(x) <= EVALUATION_ROWS:
        return count((x, y))
    chunks = -(-len(x) // EVALUATION_ROWS)
    padding = chunks * EVALUATION_ROWS - len(x)
    x = jnp.pad(x, ((0, padding), (0, 0))).reshape(chunks, EVALUATION_ROWS, -1)
    # -1 is never right; unsigned labels could not hold it.
    y = jnp.pad(y.astype(jnp.int32), (0, padding), constant_values=-1).reshape(chunks, EVALUATION_ROWS)
    return jnp.sum(lax.map(count, (x, y)))


@jax.jit
def accuracy(
    net: FCNet,
    params: Params,
    stats: Stats,
    normalizer: Normalizer,
    x: Num[Array | np.ndarray, "rows features"],
    y: Integer[Array | np.ndarray, " rows"],
) -> Float[Array, ""]:
    """The fraction of rows classified right in test mode.

    >>> net, params = FCNet(2, (), 2), [{"w": jnp.eye(2), "b": jnp.zeros(2)}]
    >>> normalizer = Normalizer(jnp.zeros(2), jnp.ones(()))
    >>> print(accuracy(net, params, (), normalizer, jnp.eye(2), jnp.array([0, 0])))
    0.5
    """
    return num_correct(net, params, stats, normalizer, jnp.asarray(x), jnp.asarray(y)) / len(x)


def _accuracies(net: FCNet, params: Params, stats: Stats, data: DeviceData) -> Float[Array, "2"]:
    """Accuracy on the sample of the training rows, and on the validation rows."""
    train = num_correct(net, params, stats, data.normalizer, data.x[data.sample], data.y[data.sample])
    val = num_correct(net, params, stats, data.normalizer, data.x_val, data.y_val)
    return jnp.stack([train / len(data.sample), val / len(data.x_val)])


@jax.jit
def first_best(net: FCNet, state: TrainState, data: DeviceData) -> tuple[Best, Float[Array, "2"]]:
    """The initial parameters as the best so far, copied (both are donated later), and their accuracies.

    >>> from jaxfc.optim import sgd
    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> data = DeviceData(Normalizer(jnp.zeros(2), jnp.ones(())), x, y, jnp.arange(2), x_val=x, y_val=y)
    >>> net = FCNet(2, (), 2, weight_scale=0.0)
    >>> best, accuracies = first_best(net, init_state(net, sgd, jax.random.key(0)), data)
    >>> print(accuracies, best.epoch)
    [0.5 0.5] 0
    """
    accuracies = _accuracies(net, state.params, state.stats, data)
    best = Best(state.params, state.stats, accuracies[1], jnp.int32(0))
    return jax.tree.map(jnp.copy, best), accuracies


@partial(jax.jit, static_argnames="rule", donate_argnames=("state", "best"))
def train_epochs(
    net: FCNet,
    rule: UpdateRule,
    state: TrainState,
    best: Best,
    data: DeviceData,
    plans: Integer[Array | np.ndarray, "epochs iterations batch"],
    first_epoch: Integer[Array | np.ndarray, ""],
) -> tuple[TrainState, Best, Float[Array, "epochs iterations"], Float[Array, "epochs 2"]]:
    """Train some epochs, measuring both accuracies and keeping the best parameters after each.

    Args:
        net: the network.
        rule: the update rule.
        state: donated.
        best: donated.
        data: the data.
        plans: for each epoch, the training rows of each of its batches.
        first_epoch: the number of the first of them, from 1.

    Returns:
        The new state, the new best, the losses, and the accuracies on training sample and validation set.

    >>> from jaxfc.optim import sgd
    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> data = DeviceData(Normalizer(jnp.zeros(2), jnp.ones(())), x, y, jnp.arange(2), x_val=x, y_val=y)
    >>> net = FCNet(2, (), 2)
    >>> state = init_state(net, sgd, jax.random.key(0), learning_rate=1.0)
    >>> best, _ = first_best(net, state, data)
    >>> plans = jnp.tile(jnp.arange(2), (3, 5, 1))  # three epochs of five batches, each of both rows
    >>> state, best, losses, accuracies = train_epochs(net, sgd, state, best, data, plans, jnp.int32(1))
    >>> losses.shape, accuracies[-1].tolist()
    ((3, 5), [1.0, 1.0])
    """

    def iteration(state: TrainState, rows: Array) -> tuple[TrainState, Array]:
        return take_step(net, rule, state, data.x[rows], data.y[rows], data.normalizer)

    def epoch(carry: tuple, inputs: tuple) -> tuple[tuple, tuple]:
        state, best = carry
        number, plan = inputs
        state, losses = lax.scan(iteration, state, plan)
        accuracies = _accuracies(net, state.params, state.stats, data)
        candidate = Best(state.params, state.stats, accuracies[1], number)
        best = jax.tree.map(partial(jnp.where, accuracies[1] > best.val_acc), candidate, best)
        return (state, best), (losses, accuracies)

    numbers = first_epoch + jnp.arange(len(plans), dtype=jnp.int32)
    (state, best), (losses, accuracies) = lax.scan(epoch, (state, best), (numbers, plans))
    return state, best, losses, accuracies
