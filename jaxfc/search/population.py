"""The compiled programs of a search: many networks of one shape, initialized and trained at once.

A population is the training of `jaxfc.step` under `jax.vmap`: over the leaves of the network, over the
leaves of the rule's state, over the seeds. All members see the same rows at the same time, so a batch is
gathered and normalized once for all, and their first layers' products are one large product.
"""

import threading
from collections import defaultdict
from collections.abc import Hashable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Integer, Num, PyTree

from jaxfc.data import Normalizer
from jaxfc.network import FCNet, Params, Stats
from jaxfc.optim import UpdateRule
from jaxfc.step import Best, TrainState, init_state, num_correct, take_step


class Member(NamedTuple):
    """All that training changes of one candidate on one fold; in a population, leaves have a leading axis.

    A plain tree of numbers, ready to be kept in a file: the key is derived from the seed again.
    `failed_at` is the iteration, from 1, whose loss was not finite; 0 for a healthy member.
    """

    params: Params
    stats: Stats
    opt_state: Any
    step: Int[Array, "*members"]
    best: Best
    failed_at: Int[Array, "*members"]


class Candidates(NamedTuple):
    """What sets the members of one program apart: numbers of the network and of the rule, and seeds."""

    net: FCNet
    hyper: PyTree
    seed: Int[Array, "*members"]


class FoldData(NamedTuple):
    """Data on the device: rows to train on, by the plan's indices, and rows to measure on."""

    normalizer: Normalizer
    x: Num[Array, "rows features"]
    y: Integer[Array, " rows"]
    x_val: Num[Array, "val features"]
    y_val: Integer[Array, " val"]


def begin(rule: UpdateRule, candidates: Candidates) -> Member:
    """Draw initial parameters: those that `jaxfc.fit` draws for the same network and seed."""

    def one(candidate: Candidates) -> Member:
        state = init_state(candidate.net, rule, jax.random.key(candidate.seed), **candidate.hyper)
        best = Best(state.params, state.stats, jnp.float32(-1), jnp.int32(0))
        return Member(state.params, state.stats, state.opt_state, state.step, best, jnp.int32(0))

    # One after another: random numbers for all at once would take a program three times as long to compile.
    return lax.map(one, candidates)


def train(
    rule: UpdateRule,
    candidates: Candidates,
    members: Member,
    data: FoldData,
    plans: Integer[Array, "epochs iterations batch"],
    first_epoch: Int[Array, ""],
    num_epochs: Int[Array, ""],
    patience: Int[Array, ""],
) -> tuple[Member, Float[Array, "epochs members"], Float[Array, "epochs members"]]:
    """Train the members for some epochs, measuring them on the validation rows after each.

    A member whose loss is not finite, or whose validation accuracy has not risen for `patience` epochs,
    stays as it is from then on.

    Args:
        rule: the update rule.
        candidates: the members' numbers and seeds.
        members: the members.
        data: the data.
        plans: for each epoch, the training rows of each of its batches.
        first_epoch: the number of the first of them, from 1.
        num_epochs: how many of the plans to run: data, so that rungs of all lengths share a program.
        patience: see above.

    Returns:
        The members; and for each epoch and member the mean loss and the validation accuracy, NaN for
        epochs that were not run.
    """
    count, iterations = len(members.step), plans.shape[1]

    def epoch(i: Array, carry: tuple) -> tuple:
        members, losses, accuracies = carry
        number = first_epoch + i
        active = (members.failed_at == 0) & (number - 1 - members.best.epoch < patience)

        def run(members: Member) -> tuple[Member, Array, Array]:
            states, history = _epoch(rule, candidates, members, data, plans[i])
            accuracy = _accuracies(candidates.net, states, data)
            bad = ~jnp.isfinite(history)
            failed = jnp.any(bad, axis=0)
            failed_at = jnp.where(failed, (number - 1) * iterations + jnp.argmax(bad, axis=0) + 1, 0)
            latest = Best(states.params, states.stats, accuracy, jnp.full(count, number, jnp.int32))
            best = _choose(~failed & (accuracy > members.best.val_acc), latest, members.best)
            trained = Member(
                states.params, states.stats, states.opt_state, states.step, best, failed_at.astype(jnp.int32)
            )
            return _choose(active, trained, members), jnp.mean(history, axis=0), accuracy

        def skip(members: Member) -> tuple[Member, Array, Array]:
            return members, jnp.zeros(count, losses.dtype), jnp.zeros(count, accuracies.dtype)

        # Where every member has stopped, this saves their time; where some have, the others' takes as long.
        members, loss, accuracy = lax.cond(jnp.any(active), run, skip, members)
        loss, accuracy = (jnp.where(active, value, jnp.nan) for value in (loss, accuracy))
        accuracy = jnp.where(members.failed_at == 0, accuracy, jnp.nan)
        return members, losses.at[i].set(loss), accuracies.at[i].set(accuracy)

    shape = (len(plans), count)
    blank = jnp.full(shape, jnp.nan, _loss_dtype(candidates.net)), jnp.full(shape, jnp.nan, jnp.float32)
    return lax.fori_loop(0, num_epochs, epoch, (members, *blank))


def _epoch(
    rule: UpdateRule, candidates: Candidates, members: Member, data: FoldData, plan: Integer[Array, "iterations batch"]
) -> tuple[TrainState, Float[Array, "iterations members"]]:
    """One epoch of all members."""
    net = candidates.net
    keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed))[1])(candidates.seed)
    states = TrainState(members.params, members.stats, members.opt_state, keys, members.step)

    axes = _member_axes(net, states)

    def iteration(states: TrainState, rows: Array) -> tuple[TrainState, Array]:
        x, y = data.normalizer(data.x[rows], net.dtype), data.y[rows]
        step = jax.vmap(lambda net, state: take_step(net, rule, state, x, y), (0, axes), (axes, 0))
        return step(net, states)

    states = jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, 0, axis), states, axes)
    states, losses = lax.scan(iteration, states, plan)
    return jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, axis, 0), states, axes), losses


def _member_axes(net: FCNet, states: TrainState) -> TrainState:
    """Where a step has the members' axis: second in what has the shape of the first weights, else first.

    As `(in, members, out)` the first weights are, without being copied, the one matrix that the batch,
    which all members share, is multiplied by.
    """
    first = net.dims[:2]
    return jax.tree.map(lambda leaf: int(leaf.shape[1:] == first), states)


def _accuracies(net: FCNet, states: TrainState, data: FoldData) -> Float[Array, " members"]:
    """The members' accuracies on the validation rows."""

    def one(net: FCNet, params: Params, stats: Stats) -> Array:
        return num_correct(net, params, stats, data.normalizer, data.x_val, data.y_val) / len(data.x_val)

    return jax.vmap(one)(net, states.params, states.stats).astype(jnp.float32)


def _choose(which: Array, ours: PyTree, theirs: PyTree) -> PyTree:
    """Leaf by leaf, one or the other for each member."""
    return jax.tree.map(lambda a, b: jnp.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b), ours, theirs)


def _loss_dtype(net: FCNet) -> jnp.dtype:
    return jnp.promote_types(net.dtype, jnp.float32)


class Programs:
    """The two programs of candidates that share a rule, compiled once in a process for arguments of the same shapes.

    Args:
        rule: the candidates' update rule.
    """

    def __init__(self, rule: UpdateRule) -> None:
        self._begin = jax.jit(partial(begin, rule))
        self._train = jax.jit(partial(train, rule), donate_argnums=1)
        self._compiled: dict[Hashable, Any] = {}
        self._locks: dict[Hashable, threading.Lock] = defaultdict(threading.Lock)

    def begin(self, device: jax.Device, candidates: Candidates) -> Any:
        """The program `begin`, for so many candidates."""
        return self._once(self._begin, device, candidates)

    def train(self, device: jax.Device, candidates: Candidates, data: FoldData, plans: Any) -> Any:
        """The program `train`, for so many candidates, and data and plans of these shapes."""
        number = jax.ShapeDtypeStruct((), jnp.int32)
        members = self._begin.eval_shape(candidates)
        return self._once(self._train, device, candidates, members, data, plans, number, number, number)

    def _once(self, function: Any, device: jax.Device, *args: Any) -> Any:
        shapes = _on(device, args)
        leaves, structure = jax.tree.flatten(shapes)
        key = (function, structure, *leaves)
        # A jitted function that two threads call for the first time would be compiled by both.
        with self._locks[key]:
            if key not in self._compiled:
                self._compiled[key] = function.lower(*shapes).compile()
            return self._compiled[key]


programs_of = cache(Programs)


def _on(device: jax.Device, tree: PyTree) -> PyTree:
    """The shapes of a tree's arrays, on a device."""
    sharding = jax.sharding.SingleDeviceSharding(device)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def stack(trees: list[PyTree]) -> PyTree:
    """Join trees of arrays or numbers along a new first axis, on the host."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def unstack(tree: PyTree, count: int) -> list[PyTree]:
    """The trees that `stack` joined."""
    leaves, structure = jax.tree.flatten(tree)
    return [jax.tree.unflatten(structure, [leaf[i] for leaf in leaves]) for i in range(count)]
