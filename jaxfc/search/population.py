"""A population: the programs of `jaxfc.training.program`, for many candidates at once."""

import threading
from collections import defaultdict
from collections.abc import Hashable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Integer

from jaxfc.networks.contract import Params, Stats
from jaxfc.parallel import shapes_of
from jaxfc.search.candidates import Candidates
from jaxfc.training import program
from jaxfc.training.measuring import DeviceData
from jaxfc.training.program import Best, Progress, Recipe
from jaxfc.training.step import TrainState, init_state


class Member(NamedTuple):
    """All that training changes of one candidate on one fold; in a population, leaves have a leading axis.

    A `Progress` as a plain tree of numbers, ready to be kept in a file: the key is derived from the seed again.
    """

    params: Params
    stats: Stats
    opt_state: Any
    step: Int[Array, "*members"]
    best: Best
    failed_at: Int[Array, "*members"]


def begin(recipe: Recipe, candidates: Candidates) -> Member:
    """Draw initial parameters: those that `jaxfc.fit` draws for the same network and seed."""

    def one(candidate: Candidates) -> Member:
        state = init_state(candidate.net, recipe.rule, jax.random.key(candidate.seed), **candidate.hyper)
        return _member(program.begin(state))

    # One after another: random numbers for all at once would take a program three times as long to compile.
    return lax.map(one, candidates)


def train(
    recipe: Recipe,
    candidates: Candidates,
    members: Member,
    data: DeviceData,
    plans: Integer[Array, "epochs iterations batch"],
    first_epoch: Int[Array, ""],
    num_epochs: Int[Array, ""],
    patience: Int[Array, ""],
) -> tuple[Member, Float[Array, "epochs members"], Float[Array, "epochs members"], Float[Array, "epochs members"]]:
    """Train the members for some epochs; see `jaxfc.training.program.train_epochs`.

    Returns:
        The members; and for each epoch and member the mean loss, the validation score and the validation loss, 0
        for epochs that were not run.
    """
    keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed))[1])(candidates.seed)
    state = TrainState(members.params, members.stats, members.opt_state, keys, members.step)
    progress, losses, measures = program.train_epochs(
        recipe,
        candidates.net,
        candidates.task,
        Progress(state, members.best, members.failed_at),
        data,
        plans,
        first_epoch,
        num_epochs,
        patience,
        population=True,
    )
    return _member(progress), jnp.mean(losses, axis=1), measures.val, measures.val_loss


def _member(progress: Progress) -> Member:
    state = progress.state
    return Member(state.params, state.stats, state.opt_state, state.step, progress.best, progress.failed_at)


class Programs:
    """The two programs of candidates that share a recipe, compiled once in a process for arguments of the same shapes.

    Args:
        recipe: what is static of the candidates' training.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._begin = jax.jit(partial(begin, recipe))
        self._train = jax.jit(partial(train, recipe), donate_argnums=1)
        self._compiled: dict[Hashable, Any] = {}
        self._locks: dict[Hashable, threading.Lock] = defaultdict(threading.Lock)

    def begin(self, device: jax.Device, candidates: Candidates) -> Any:
        """The program `begin`, for so many candidates."""
        return self._once(self._begin, device, candidates)

    def train(self, device: jax.Device, candidates: Candidates, data: DeviceData, plans: Any) -> Any:
        """The program `train`, for so many candidates, and data and plans of these shapes."""
        number = jax.ShapeDtypeStruct((), jnp.int32)
        members = self._begin.eval_shape(candidates)
        return self._once(self._train, device, candidates, members, data, plans, number, number, number)

    def _once(self, function: Any, device: jax.Device, *args: Any) -> Any:
        if jax.config.jax_disable_jit:  # step by step, for whoever looks for an error; a program would be one long line
            return lambda *args: function(*jax.device_put(args, device))
        shapes = shapes_of(args, jax.sharding.SingleDeviceSharding(device))
        leaves, structure = jax.tree.flatten(shapes)
        key = (function, structure, *leaves)
        # A jitted function that two threads call for the first time would be compiled by both.
        with self._locks[key]:
            if key not in self._compiled:
                self._compiled[key] = function.lower(*shapes).compile()
            return self._compiled[key]


programs_of = cache(Programs)


def member_shape(recipe: Recipe, candidate: Candidates) -> Member:
    """The shapes of one member."""
    leaves, structure = jax.tree.flatten(candidate)
    forms = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return _member_shape(recipe, structure, forms, jax.config.jax_enable_x64)


@cache
def _member_shape(recipe: Recipe, structure: Any, forms: tuple, x64: bool) -> Member:
    one = structure.unflatten(jax.ShapeDtypeStruct((1, *shape), dtype) for shape, dtype in forms)
    shapes = jax.eval_shape(partial(begin, recipe), one)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), shapes)
