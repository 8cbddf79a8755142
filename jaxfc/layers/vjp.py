"""Joins a layer's forward and backward function into one differentiable function."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_use_autodiff = jax.make_user_context(False)


def plain_autodiff() -> Any:
    """Within this context, layers are differentiated by JAX itself and not by their hand-written VJPs.

    A function with a custom VJP has no forward mode. Plain autodiff has, so `jax.jvp`, `jax.jacfwd`
    and `jax.hessian` work here; gradients are the same either way. The switch is part of the key of
    `jax.jit`'s cache: a function compiled outside is traced anew inside, and the reverse.

    >>> import jax, jax.numpy as jnp
    >>> from jaxfc.layers import tanh
    >>> with plain_autodiff():
    ...     print(jax.jvp(tanh, (jnp.zeros(2),), (jnp.ones(2),))[1])
    [1. 1.]
    """
    return _use_autodiff(True)


def differentiable(
    forward: Callable,
    backward: Callable,
    *,
    inputs: int = 1,
    static: int = 0,
    has_aux: bool = False,
    check: Callable | None = None,
) -> Callable:
    """Join `forward(*args) -> (out, cache)` and `backward(dout, cache) -> gradients` into `f(*args) -> out`.

    Args:
        forward: the layer's forward function.
        backward: its vector-Jacobian product: gradients in the order of the inputs, or the gradient
            itself where there is a single input.
        inputs: how many of `forward`'s first arguments are differentiated. The others (labels, keys,
            eps, keep ratio …) are constants: their gradient is zero.
        static: how many of `forward`'s last arguments are no arrays or numbers, but, say, a dtype. They reach
            `forward` as they are, and `backward` through the cache alone.
        has_aux: `forward` returns `((out, aux), cache)`; `aux` is a constant as well.
        check: called with `f`'s arguments before anything else, to raise on shapes that do not fit,
            and on bad values while they are still concrete.

    Returns:
        `f`, with `forward`'s signature, usable under `jit`, `grad`, `vmap` and `jax.checkpoint`, and
        differentiable again in reverse mode, because `backward` is itself made of JAX operations.

    >>> def cube_forward(x):
    ...     return x**3, (x,)
    >>> def cube_backward(dout, cache):
    ...     (x,) = cache
    ...     return dout * 3 * x**2
    >>> cube = differentiable(cube_forward, cube_backward)
    >>> print(cube(jnp.array(2.0)), jax.grad(cube)(jnp.array(2.0)))
    8.0 12.0
    """
    signature = inspect.signature(forward)
    traced = len(signature.parameters) - static

    def plain(*args: Any) -> Any:
        return forward(*args[:inputs], *lax.stop_gradient(args[inputs:traced]), *args[traced:])

    @functools.partial(jax.custom_vjp, nondiff_argnums=tuple(range(traced, traced + static)))
    def hand(*args: Any) -> Any:
        return plain(*args)[0]

    def forward_rule(*args: Any) -> Any:
        # The plain function, never `hand`: a second derivative then differentiates `forward` itself.
        return plain(*args)

    def backward_rule(*args: Any) -> tuple:
        cache, dout = args[static:]
        gradients = backward(jnp.asarray(dout[0] if has_aux else dout), cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        return gradients + (None,) * (traced - inputs)

    hand.defvjp(forward_rule, backward_rule)

    @functools.wraps(forward)
    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if check is not None:
            check(*bound.args)
        arrays = (jnp.asarray(arg) if hasattr(arg, "__array__") else arg for arg in bound.args[:traced])
        args = (*arrays, *bound.args[traced:])
        if not _use_autodiff.value:
            return hand(*args)
        out, _ = plain(*args)
        return (out[0], lax.stop_gradient(out[1])) if has_aux else out

    function.__name__ = function.__qualname__ = forward.__name__.removesuffix("_forward")
    function.__doc__ = (
        f"{forward.__doc__}\n\n    Differentiated by `{backward.__name__}`; returns `out` without the cache."
    )
    # `functools.wraps` would have type checkers hold this function to `forward`'s return value.
    del function.__wrapped__
    function.__annotations__ = {}
    function.__signature__ = signature.replace(return_annotation=inspect.Signature.empty)
    return function
