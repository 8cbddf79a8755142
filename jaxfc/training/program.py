"""The compiled programs of training: epochs of one network, or of a population of them.

An epoch is a scan over a plan, an `(iterations, batch)` matrix of row indices; then the network is measured
and the best parameters kept. A population is the same program under `jax.vmap`: over the leaves of networks,
tasks and rules' states, and over seeds. Its members see the same rows at the same time, so a batch is
gathered, augmented and normalized once for all, and the first layers' products are one large product.

Data are arguments: an array that a compiled function closes over would be baked into the program. Nothing
in here waits for the device.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Integer, PyTree

from jaxfc.data.augment import augment
from jaxfc.layers.common import wider
from jaxfc.networks import Network
from jaxfc.networks.contract import Params, Stats, dtype
from jaxfc.optim import UpdateRule
from jaxfc.tasks import Task
from jaxfc.training.measuring import DeviceData, Measures, kept_params, measure
from jaxfc.training.step import TrainState, take_step

NEVER = 2**30  # epochs of patience, where there is no early stopping
STEPS = "steps"  # the name of an epoch's loop in a compiled program, for who reads that


class Recipe(NamedTuple):
    """What is static of a training, beside the structure of its arguments.

    >>> from jaxfc.optim import adam
    >>> Recipe(adam).accumulate
    1
    """

    rule: UpdateRule
    augmentations: tuple = ()
    accumulate: int = 1


class Best(NamedTuple):
    """The parameters of the best epoch so far, by the task's metric; of equals, that of the least loss.

    Where a rule keeps averages of parameters, `params` are these, and `raw` those that it trains; else `raw` is ().

    >>> best = Best([], (), (), score=jnp.float32(0.9), loss=jnp.float32(0.4), epoch=jnp.int32(3))
    >>> print(best.score, best.epoch)
    0.9 3
    """

    params: Params
    stats: Stats
    raw: Any
    score: Float[Array, "*members"]
    loss: Float[Array, "*members"]
    epoch: Int[Array, "*members"]


class Progress(NamedTuple):
    """A training between two programs; of a population, leaves have a leading axis.

    `failed_at` is the iteration, from 1, whose loss was not finite; 0 for a healthy training.

    >>> from jaxfc import FCNet
    >>> from jaxfc.optim import sgd
    >>> from jaxfc.training.step import init_state
    >>> print(begin(init_state(FCNet(2, (), 2), sgd, jax.random.key(0))).failed_at)
    0
    """

    state: TrainState
    best: Best
    failed_at: Int[Array, "*members"]


def begin(state: TrainState) -> Progress:
    """A training before its first epoch. No epoch is worse than none: the first becomes the best.

    >>> from jaxfc import FCNet
    >>> from jaxfc.optim import sgd
    >>> from jaxfc.training.step import init_state
    >>> print(begin(init_state(FCNet(2, (), 2), sgd, jax.random.key(0))).best.score)
    -inf
    """
    worst = jnp.float32(-jnp.inf)
    params, *raw = kept_params(state)
    best = Best(params, state.stats, raw[0] if raw else (), worst, -worst, jnp.int32(0))
    # Copied: both the state and the best are donated later.
    return Progress(state, jax.tree.map(jnp.copy, best), jnp.int32(0))


@jax.jit
def begin_measured(net: Network, task: Task, state: TrainState, data: DeviceData) -> tuple[Progress, Measures]:
    """`begin`, and what is measured before the first epoch.

    >>> from jaxfc.data import Normalizer
    >>> from jaxfc import Classification, FCNet, init_state
    >>> from jaxfc.optim import sgd
    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> data = DeviceData(Normalizer(jnp.zeros(2), jnp.ones(())), x, y, None, x, y, None, None, jax.random.key(0))
    >>> net = FCNet(2, (), 2, weight_scale=0.0)
    >>> _, measures = begin_measured(net, Classification(), init_state(net, sgd, jax.random.key(0)), data)
    >>> print(measures.val)
    0.5
    """
    return begin(state), measure(net, task, state, data)


def _better(task: Task, measures: Measures, best: Best) -> Bool[Array, "*members"]:
    score = _ranked(task, measures)
    return (score > best.score) | ((score == best.score) & (measures.val_loss < best.loss))


def _ranked(task: Task, measures: Measures) -> Float[Array, "*members"]:
    """The score as a number of which more is better; what is undefined is worst."""
    score = measures.val if task.higher else -measures.val
    return jnp.where(jnp.isnan(score), -jnp.inf, score)


# ---------------------------------------------------------------------------------------------------
# Epochs
# ---------------------------------------------------------------------------------------------------


def train_epochs(
    recipe: Recipe,
    net: Network,
    task: Task,
    progress: Progress,
    data: DeviceData,
    plans: Integer[Array | np.ndarray, "epochs iterations batch"],
    first_epoch: Int[Array | np.ndarray, ""],
    num_epochs: Int[Array | np.ndarray, ""],
    patience: Int[Array | np.ndarray, ""],
    *,
    population: bool = False,
) -> tuple[Progress, Float[Array, "epochs iterations *members"], Measures]:
    """Train for some epochs, measuring and keeping the best parameters after each.

    A training whose loss is not finite, or whose score has not improved for `patience` epochs, stays as it is
    from then on.

    Args:
        recipe: what is static.
        net: the network; of a population, its leaves have a leading axis.
        task: the task; likewise.
        progress: the training so far; likewise.
        data: the data, the same for all members.
        plans: for each epoch, the training rows of each of its batches.
        first_epoch: the number of the first of them, from 1.
        num_epochs: how many of the plans to run: data, so that all lengths share a program.
        patience: see above; `NEVER` for no early stopping.
        population: whether there is a leading axis of members.

    Returns:
        The training; the losses; and what was measured. 0 for epochs that were not run: how many were, the training's
        `step` says. (No NaN: under `jax_debug_nans` a program that returns one raises.)

    >>> from jaxfc.data import Normalizer
    >>> from jaxfc import FCNet
    >>> from jaxfc.optim import sgd
    >>> from jaxfc.training.step import init_state
    >>> from jaxfc.tasks import Classification
    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> data = DeviceData(Normalizer(jnp.zeros(2), jnp.ones(())), x, y, None, x, y, None, None, jax.random.key(0))
    >>> net = FCNet(2, (), 2)
    >>> run = begin(init_state(net, sgd, jax.random.key(0), learning_rate=1.0))
    >>> plans = jnp.tile(jnp.arange(2), (3, 5, 1))  # three epochs of five batches, each of both rows
    >>> numbers = map(jnp.int32, (1, 3, NEVER))
    >>> run, losses, measures = train_epochs(Recipe(sgd), net, Classification(), run, data, plans, *numbers)
    >>> losses.shape, measures.val.tolist()
    ((3, 5), [1.0, 1.0, 1.0])
    """
    iterations = plans.shape[1]
    members = progress.failed_at.shape

    def epoch(i: Array, carry: tuple) -> tuple:
        progress, losses, measures = carry
        number = first_epoch + i
        active = (progress.failed_at == 0) & (number - 1 - progress.best.epoch < patience)

        def run(progress: Progress) -> tuple[Progress, Array, Measures]:
            done = (number - 1) * iterations
            state, history = take_steps(recipe, net, task, progress.state, data, plans[i], done, population)
            one = partial(measure, data=data)
            measured = (jax.vmap(one) if population else one)(net, task, state)
            trained, measured = end_epoch(task, progress, state, history, measured, number)
            # A single training that has ended does not come here.
            return _choose(active, trained, progress) if population else trained, history, measured

        def skip(progress: Progress) -> tuple[Progress, Array, Measures]:
            blank = jnp.zeros((iterations, *members), losses.dtype)
            return progress, blank, jax.tree.map(lambda leaf: jnp.zeros(members, leaf.dtype), measures)

        # Where every member has stopped, this saves their time; where some have, the others' takes as long.
        progress, history, measured = lax.cond(jnp.any(active), run, skip, progress)
        history, measured = jax.tree.map(
            lambda each: jnp.where(jnp.broadcast_to(active, each.shape), each, 0), (history, measured)
        )
        measures = jax.tree.map(lambda all, new: all.at[i].set(new), measures, measured)
        return progress, losses.at[i].set(history), measures

    losses = jnp.zeros((*plans.shape[:2], *members), wider(dtype(net)))
    one = partial(measure, data=data)
    forms = jax.eval_shape(jax.vmap(one) if population else one, net, task, progress.state)
    measures = jax.tree.map(lambda form: jnp.zeros((len(plans), *form.shape), form.dtype), forms)
    return lax.fori_loop(0, num_epochs, epoch, (progress, losses, measures))


train_program = jax.jit(train_epochs, static_argnames=("recipe", "population"), donate_argnames="progress")


def end_epoch(
    task: Task, before: Progress, state: TrainState, history: Array, measures: Measures, number: Any
) -> tuple[Progress, Measures]:
    """The training after an epoch, and what was measured: NaN if it failed.

    >>> from jaxfc import Classification, FCNet, init_state
    >>> from jaxfc.optim import sgd
    >>> state = init_state(FCNet(2, (), 2), sgd, jax.random.key(0))
    >>> after, _ = end_epoch(Classification(), begin(state), state, jnp.ones(5), Measures(*jnp.ones(4)), 1)
    >>> print(after.best.epoch)
    1
    """
    bad = ~jnp.isfinite(history)
    failed = jnp.any(bad, axis=0)
    failed_at = jnp.where(failed, (number - 1) * len(history) + jnp.argmax(bad, axis=0).astype(jnp.int32) + 1, 0)
    params, *raw = kept_params(state)
    epoch = jnp.broadcast_to(number, failed.shape).astype(jnp.int32)
    latest = Best(params, state.stats, raw[0] if raw else (), _ranked(task, measures), measures.val_loss, epoch)
    best = _choose(~failed & _better(task, measures, before.best), latest, before.best)
    measures = jax.tree.map(lambda each: jnp.where(failed, jnp.nan, each), measures)
    return Progress(state, best, failed_at.astype(jnp.int32)), measures


def take_steps(
    recipe: Recipe,
    net: Network,
    task: Task,
    states: TrainState,
    data: DeviceData,
    plan: Integer[Array, "iterations batch"],
    done: Any,
    population: bool = False,
) -> tuple[TrainState, Float[Array, "iterations *members"]]:
    """Steps on the batches of a plan, the first of which is the iteration after `done`.

    >>> from jaxfc.data import Normalizer
    >>> from jaxfc import Classification, FCNet, init_state
    >>> from jaxfc.optim import sgd
    >>> x, y = jnp.eye(2), jnp.array([0, 1])
    >>> data = DeviceData(Normalizer(jnp.zeros(2), jnp.ones(())), x, y, None, x, y, None, None, jax.random.key(0))
    >>> net, plan = FCNet(2, (), 2), jnp.array([[0, 1]] * 3)
    >>> take_steps(Recipe(sgd), net, Classification(), init_state(net, sgd, data.key), data, plan, 0)[1].shape
    (3,)
    """
    axes = _member_axes(net, states) if population else None

    def iteration(states: TrainState, inputs: tuple) -> tuple[TrainState, Array]:
        rows, count = inputs
        x, y, weights = _batch(recipe, net, task, data, rows, count)

        def step(net: Network, task: Task, state: TrainState) -> tuple[TrainState, Array]:
            return take_step(net, recipe.rule, state, x, y, weights=weights, task=task, accumulate=recipe.accumulate)

        return (jax.vmap(step, (0, 0, axes), (axes, 0)) if population else step)(net, task, states)

    counts = done + jnp.arange(len(plan), dtype=jnp.int32)
    if not population:
        with jax.named_scope(STEPS):
            return lax.scan(iteration, states, (plan, counts))
    states = jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, 0, axis), states, axes)
    with jax.named_scope(STEPS):
        states, losses = lax.scan(iteration, states, (plan, counts))
    return jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, axis, 0), states, axes), losses


def _batch(recipe: Recipe, net: Network, task: Task, data: DeviceData, rows: Array, count: Array) -> tuple:
    """A batch's inputs, augmented and normalized, its targets and weights."""
    x, y = data.x[rows], data.y[rows]
    weights = None if data.weights is None else data.weights[rows]
    if not recipe.augmentations:
        return data.normalizer(x, dtype(net)), y, weights
    x, y = augment(
        recipe.augmentations,
        jax.random.fold_in(data.key, count),
        x,
        y,
        normalize=lambda x: data.normalizer(x, dtype(net)),
        soften=lambda y: task.soft(y, net.output_dim),
    )
    return x, y, weights


def _member_axes(net: Network, states: TrainState) -> TrainState:
    """Where a step has the members' axis: second in what has the shape of the first weights, else first.

    As `(in, members, out)` the first weights are, without being copied, the one matrix that the batch,
    which all members share, is multiplied by.
    """
    first = getattr(net, "first_shape", None)
    return jax.tree.map(lambda leaf: int(leaf.shape[1:] == first), states)


def _choose(which: Array, ours: PyTree, theirs: PyTree) -> PyTree:
    """Leaf by leaf, one or the other for each member."""

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(which.reshape(which.shape + (1,) * (a.ndim - which.ndim)), a, b)

    return jax.tree.map(choose, ours, theirs)
