"""Gradient clipping by the global norm."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfc.layers.common import wider
from jaxfc.optim.contract import UpdateRule, hyper_names, learning_rate_of
from jaxfc.optim.hyper import Hyper, Number, numbers
from jaxfc.optim.leaves import Tree, wide


def global_norm(grads: Tree) -> Number:
    r"""The Euclidean norm of all entries of all leaves, $\|g\| = \sqrt{\sum_k \sum g_k^2}$.

    >>> print(global_norm([{"w": jnp.array([3.0])}, {"w": jnp.array([4.0])}]))
    5.0
    """
    leaves = jax.tree.leaves(grads)
    widest = wider(*(g.dtype for g in leaves))
    return jnp.sqrt(sum(jnp.sum(jnp.square(g.astype(wide(g)))).astype(widest) for g in leaves))


def clip_by_global_norm(grads: Tree, max_norm: Hyper) -> Tree:
    r"""Scale gradients down to a global norm of at most $c$, $g \min(1, c / \|g\|)$ (Pascanu et al., 2013).

    >>> print(clip_by_global_norm({"w": jnp.array([3.0, 4.0])}, 2.5)["w"])
    [1.5 2. ]
    """
    norm = global_norm(grads)
    max_norm = jnp.asarray(max_norm, norm.dtype)
    factor = jnp.where(norm > max_norm, max_norm / norm, 1)
    return jax.tree.map(lambda g: (g.astype(wide(g)) * factor.astype(wide(g))).astype(g.dtype), grads)


class ClippedState(NamedTuple):
    """State of a `Clipped` rule.

    >>> from jaxfc.optim import sgd
    >>> state = Clipped(sgd).init({"w": jnp.zeros(2)}, max_norm=1.0, learning_rate=0.5)
    >>> print(state.max_norm, state.inner.learning_rate)
    1.0 0.5
    """

    max_norm: Number
    inner: Any


@dataclass(frozen=True)
class Clipped:
    """A rule that is given gradients clipped by their global norm; `init` takes `max_norm` as well.

    >>> from jaxfc.optim import sgd
    >>> state = Clipped(sgd).init({"w": jnp.zeros(2)}, max_norm=1.0, learning_rate=0.1)
    """

    rule: UpdateRule

    @property
    def hyper(self) -> tuple[str, ...]:
        """The keywords of `init`."""
        return ("max_norm", *hyper_names(self.rule))

    @property
    def ignores_zeros(self) -> bool:
        """As the rule's."""
        return getattr(self.rule, "ignores_zeros", False)

    def init(self, params: Tree, *, max_norm: Hyper, **hyper: Any) -> ClippedState:
        """Return the state to start from."""
        return ClippedState(*numbers(max_norm=max_norm), self.rule.init(params, **hyper))

    def __call__(self, params: Tree, grads: Tree, state: ClippedState) -> tuple[Tree, ClippedState]:
        """Clip, then apply the rule."""
        params, inner = self.rule(params, clip_by_global_norm(grads, state.max_norm), state.inner)
        return params, state._replace(inner=inner)

    def learning_rate(self, state: ClippedState, ago: int = 0) -> Number | None:
        """Return the inner rule's learning rate."""
        return learning_rate_of(self.rule, state.inner, ago)
