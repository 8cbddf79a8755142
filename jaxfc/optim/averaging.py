"""The average of parameters over the course of training."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxfc.optim.contract import UpdateRule, hyper_names, learning_rate_of
from jaxfc.optim.hyper import Hyper, Number, numbers, on_device
from jaxfc.optim.leaves import Tree, wide


class AveragedState(NamedTuple):
    """State of an `Averaged` rule; `count` is the number of updates averaged.

    >>> from jaxfc.optim import sgd
    >>> state = Averaged(sgd).init({"w": jnp.ones(2)}, decay=0.999)
    >>> print(state.decay, state.count, state.average["w"])
    0.999 0 [1. 1.]
    """

    decay: Number
    count: Int[Array, ""]
    average: Tree
    inner: Any


@dataclass(frozen=True)
class Averaged:
    r"""A rule that keeps an exponential moving average of the parameters beside them.

    After the $n$-th update, counted from 0,

    $$\bar w \leftarrow d_n \bar w + (1 - d_n) w, \qquad d_n = \min\left(d, \frac{1 + n}{10 + n}\right) ,$$

    so that the average soon leaves the initial parameters behind: the warm-up of TensorFlow's
    `ExponentialMovingAverage(num_updates=...)`. The parameters themselves take the same course as
    without. `init` takes `decay` $d$ in [0, 1) as well, 0.999 by default; `averages` finds $\bar w$ in a state.

    >>> from jaxfc.optim import sgd
    >>> rule, params = Averaged(sgd), {"w": jnp.ones(2)}
    >>> state = rule.init(params, decay=0.99, learning_rate=1.0)
    >>> params, state = rule(params, {"w": jnp.ones(2)}, state)
    >>> print(params["w"], state.average["w"])
    [0. 0.] [0.1 0.1]
    """

    rule: UpdateRule

    @property
    def hyper(self) -> tuple[str, ...]:
        """The keywords of `init`."""
        return ("decay", *hyper_names(self.rule))

    @property
    def ignores_zeros(self) -> bool:
        """As the rule's."""
        return getattr(self.rule, "ignores_zeros", False)

    def init(self, params: Tree, *, decay: Hyper = 0.999, **hyper: Any) -> AveragedState:
        """Return the state to start from."""
        count = on_device(0, jnp.int32)
        return AveragedState(*numbers(decay=decay), count, _copied(params), self.rule.init(params, **hyper))

    def __call__(self, params: Tree, grads: Tree, state: AveragedState) -> tuple[Tree, AveragedState]:
        """Apply the rule, then average what it returns."""
        params, inner = self.rule(params, grads, state.inner)
        count = state.count.astype(state.decay.dtype)  # a quotient of integers would be float32
        decay = jnp.minimum(state.decay, (1 + count) / (10 + count))

        def blend(average: Array, p: Array) -> Array:
            d = decay.astype(average.dtype)
            return d * average + (1 - d) * p.astype(average.dtype)

        average = jax.tree.map(blend, state.average, params)
        return params, AveragedState(state.decay, state.count + 1, average, inner)

    def learning_rate(self, state: AveragedState, ago: int = 0) -> Number | None:
        """Return the inner rule's learning rate."""
        return learning_rate_of(self.rule, state.inner, ago)


@jax.jit
def _copied(params: Tree) -> Tree:
    """Copies: a step that is donated both parameters and state must not be given one array twice."""
    return jax.tree.map(lambda p: jnp.array(p, wide(p), copy=True), params)


def averages(state: Any) -> Tree | None:
    """Return the averaged parameters that a state keeps, at whatever depth, or None if it keeps none.

    Of rules side by side, those of all groups together, with None for a parameter of a group without.

    >>> from jaxfc.optim import Clipped, sgd
    >>> params = {"w": jnp.ones(2)}
    >>> print(averages(Clipped(Averaged(sgd)).init(params, max_norm=1.0))["w"], averages(sgd.init(params)))
    [1. 1.] None
    """
    found = [each.average for each in jax.tree.leaves(state, is_leaf=_is_averaged) if _is_averaged(each)]
    if len(found) < 2:
        return found[0] if found else None
    return jax.tree.map(_first_kept, *found, is_leaf=lambda leaf: leaf is None)


def _first_kept(*leaves: Array | None) -> Array | None:
    return next((leaf for leaf in leaves if leaf is not None), None)


def _is_averaged(state: Any) -> bool:
    return isinstance(state, AveragedState)
