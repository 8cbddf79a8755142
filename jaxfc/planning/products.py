"""How many operations the matrix products of a step are, counted in the program as JAX traces it."""

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import partial_eval


def product_flops(traced: Any, scope: str) -> float:
    """Operations of the products in one round of a program's loop, or in all of a program without it.

    What nothing comes of is left out, as the compiler leaves it out: the gradient of a first layer's inputs.

    Args:
        traced: a program, as `jax.jit(f).trace(...)` returns it.
        scope: the `jax.named_scope` in which the loop was made.

    >>> import jax.numpy as jnp
    >>> def one(x, _):
    ...     return x @ x, None
    >>> def three(x):
    ...     with jax.named_scope("rounds"):
    ...         return jax.lax.scan(one, x, length=3)[0]
    >>> product_flops(jax.jit(three).trace(jnp.ones((2, 2))), "rounds")
    16.0
    """
    whole = traced.jaxpr.jaxpr
    loop = next((eqn for eqn in _equations(whole) if _is_loop(eqn, scope)), None)
    return _flops(_needed(whole if loop is None else loop.params["jaxpr"].jaxpr))


def _is_loop(eqn: core.JaxprEqn, scope: str) -> bool:
    return eqn.primitive.name == "scan" and str(eqn.source_info.name_stack).split("/")[-1] == scope


def _needed(jaxpr: core.Jaxpr) -> core.Jaxpr:
    return partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]


def _equations(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in _inside(eqn):
            yield from _equations(inner)


def _inside(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
    """The programs that an equation is made of."""
    leaves = jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda each: hasattr(each, "eqns"))
    return [getattr(each, "jaxpr", each) for each in leaves if hasattr(each, "eqns")]


def _flops(jaxpr: core.Jaxpr) -> float:
    total = 0.0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            left = eqn.invars[0].aval.shape
            total += 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
        inside = [_flops(inner) for inner in _inside(eqn)]
        if eqn.params.get("branches_platforms"):  # the same by other means: a TPU adds up by a product, say
            total += min(inside)
        elif eqn.primitive.name == "cond":
            total += max(inside)
        else:
            total += sum(inside) * (eqn.params["length"] if eqn.primitive.name == "scan" else 1)
    return total
