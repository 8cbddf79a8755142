"""Penalties: terms of the loss that hold parameters small."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxfc.layers.common import Number, Scalar, wide_type
from jaxfc.layers.vjp import differentiable


def l2_penalty_forward(w: Float[Array, "..."], reg: Number) -> tuple[Scalar, tuple]:
    r"""L2 regularization of strength $\lambda$, $L = \tfrac{\lambda}{2} \sum w^2$.

    >>> w = jnp.full((2, 2), 3.0)
    >>> loss, cache = l2_penalty_forward(w, 0.5)
    >>> print(loss, l2_penalty(w, 0.5))
    9.0 9.0
    """
    reg = jnp.asarray(reg, wide_type(w))
    out = 0.5 * reg * jnp.sum(jnp.square(w.astype(reg.dtype)))
    # The strength is made to wait for the sum: what an update overwrites has then been read, and is not copied first.
    return out, (w, reg + 0 * out)


def l2_penalty_backward(dout: Scalar, cache: tuple) -> Array:
    r"""$dw = \lambda w\, dL$; the factor one half is there for this.

    >>> _, cache = l2_penalty_forward(jnp.full((1, 2), 3.0), 0.5)
    >>> print(l2_penalty_backward(jnp.ones(()), cache))
    [[1.5 1.5]]
    """
    w, reg = cache
    return (dout * reg * w.astype(reg.dtype)).astype(w.dtype)


l2_penalty = differentiable(l2_penalty_forward, l2_penalty_backward)
