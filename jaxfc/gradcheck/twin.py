"""The plain twin of a function: the same program, without the hand-written VJPs in it."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import Jaxpr, Literal
from jaxtyping import Array

from jaxfc.layers.vjp import plain_autodiff

_RULE = "custom_vjp_call["


def plain_twin(f: Callable, *args: Array) -> Callable | None:
    """Take every hand-written VJP out of a function, so that JAX differentiates what the function itself computes.

    Args:
        f: a function of arrays.
        *args: arrays of the shapes and types that the twin is for.

    Returns:
        A function from arrays like `args` to the list of the arrays that `f` returns. None if `f` has no hand-written
        VJP, or has one inside of control flow (`lax.scan`, `lax.cond`, `jax.checkpoint` …) that is not one of jaxfc's.

    >>> import jax.numpy as jnp
    >>> @jax.custom_vjp
    ... def square(x):
    ...     return x * x
    >>> square.defvjp(lambda x: (x * x, x), lambda x, dy: (3 * x * dy,))
    >>> twin = plain_twin(square, jnp.array(1.0))
    >>> [float(jax.grad(f)(5.0)) for f in (square, lambda x: twin(x)[0])]
    [15.0, 10.0]
    """
    if _RULE not in str(jax.make_jaxpr(f)(*args)):
        return None
    with plain_autodiff():
        program = jax.make_jaxpr(f)(*args)

    def twin(*args: Array) -> list[Array]:
        return _run(program.jaxpr, program.consts, args)

    return None if _RULE in str(jax.make_jaxpr(twin)(*args)) else twin


def _run(program: Jaxpr, consts: Sequence, args: Sequence) -> list:
    """Run a traced program with its calls inlined: of a function with a hand-written VJP, the function alone."""
    values = dict(zip([*program.constvars, *program.invars], [*consts, *args], strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for step in program.eqns:
        if step.primitive.name in ("custom_vjp_call", "jit", "pjit"):
            called = step.params["call_jaxpr" if "call_jaxpr" in step.params else "jaxpr"]
            results = _run(called.jaxpr, called.consts, [read(variable) for variable in step.invars])
        else:  # by JAX itself, as a program of one step
            inputs = [variable for variable in step.invars if not isinstance(variable, Literal)]
            alone = program.replace(constvars=[], invars=inputs, outvars=step.outvars, eqns=[step])
            results = jax.core.eval_jaxpr(alone, [], *(values[variable] for variable in inputs))
        values |= zip(step.outvars, results, strict=True)
    return [read(variable) for variable in program.outvars]
