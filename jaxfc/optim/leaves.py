"""Trees of parameters, leaf by leaf."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxfc.layers.common import wider

Tree = PyTree[Float[Array, "..."]]
Predicate = Callable[[str, Any], bool]
"""Of a parameter's path, such as `"0.w"`, and the parameter."""


def path_of(keys: tuple[Any, ...]) -> str:
    """A leaf's path as text.

    >>> [(keys, _)] = jax.tree.leaves_with_path([{"w": 0.0}])
    >>> path_of(keys)
    '0.w'
    """
    return jax.tree_util.keystr(keys, simple=True, separator=".")


def matrices(path: str, leaf: Any) -> bool:
    """Whether a parameter is a matrix, not a bias or a scale: what weight decay is meant for.

    >>> matrices("0.w", jnp.ones((2, 3))), matrices("0.b", jnp.ones(3))
    (True, False)
    """
    return leaf.ndim >= 2


def everything(path: str, leaf: Any) -> bool:
    """True, of every parameter.

    >>> everything("0.b", jnp.ones(3))
    True
    """
    return True


def wide(leaf: Any) -> jnp.dtype:
    """The dtype of a parameter's slots and arithmetic: its own, or float32 if that is wider.

    >>> wide(jnp.ones(3, jnp.bfloat16)).name
    'float32'
    """
    return wider(leaf.dtype)


def zeros(params: Tree) -> Tree:
    """A slot for each parameter.

    >>> zeros({"w": jnp.ones(2, jnp.bfloat16)})
    {'w': Array([0., 0.], dtype=float32)}
    """

    def slot(p: Any) -> Array:
        if isinstance(p, jax.core.Tracer):  # a constant would be a part of the program
            return jnp.zeros(p.shape, wide(p))
        return jax.device_put(np.zeros(p.shape, wide(p)))  # `jnp.zeros` compiles a program for each shape

    return jax.tree.map(slot, params)


def each(
    update: Callable[..., tuple],
    params: Tree,
    grads: Tree,
    *slots: Tree,
    traits: dict[str, Callable[[str, Any], Any]] | None = None,
    **hyper: Array,
) -> tuple[Tree, ...]:
    """Apply `update(w, g, *slots, **hyper) -> (w, *slots)` to every leaf, and return the trees apart.

    Args:
        update: the update of one leaf; all that it is given has the leaf's wide dtype.
        params: the parameters; they keep their dtype.
        grads: the gradients.
        *slots: trees like the parameters, with None for a slot that a parameter does not have.
        traits: further keywords of `update`, by name: functions of path and parameter, called at trace time.
        **hyper: numbers, keywords of `update`.

    >>> each(lambda w, g, lr: (w - lr * g,), {"w": jnp.ones(2)}, {"w": jnp.ones(2)}, lr=jnp.array(0.5))
    ({'w': Array([0.5, 0.5], dtype=float32)},)
    """

    def leaf(keys: tuple, p: Array, g: Array, *slot: Array | None) -> tuple:
        numbers = {name: value.astype(wide(p)) for name, value in hyper.items()}
        known = {name: trait(path_of(keys), p) for name, trait in (traits or {}).items()}
        new, *slot = update(p.astype(wide(p)), g.astype(wide(p)), *slot, **numbers, **known)
        return (new.astype(p.dtype), *slot)

    tree = jax.tree.structure(params)
    results = tree.flatten_up_to(jax.tree.map_with_path(leaf, params, grads, *slots))
    return tuple(tree.unflatten([result[i] for result in results]) for i in range(1 + len(slots)))
