"""The affine layer."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from jaxfc.layers.common import wide_type
from jaxfc.layers.products import column_sums, product, product_nt, product_tn
from jaxfc.layers.vjp import differentiable


def affine_forward(
    x: Float[Array, "batch in"], w: Float[Array, "in out"], b: Float[Array, " out"], dtype: DTypeLike | None = None
) -> tuple[Float[Array, "batch out"], tuple]:
    r"""Affine layer, $y = x w + b$.

    Args:
        x: inputs.
        w: weights; cast to the dtype of `x` for the product, while their gradient keeps their own.
        b: biases.
        dtype: the type of the outputs, by default that of `x`. A network that computes in bfloat16 asks for float32
            in its last layer: sums are made in float32 anyway, and scores rounded to bfloat16 tie.

    Returns:
        The outputs, and the cache for `affine_backward`.

    Raises:
        ValueError: the shapes do not fit.

    >>> x, w, b = jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]]), jnp.array([0.5])
    >>> out, cache = affine_forward(x, w, b)
    >>> print(out, affine(x, w, b))
    [[11.5]] [[11.5]]
    """
    out = product(x, w.astype(x.dtype)) + b.astype(wide_type(x))[None, :]
    return out.astype(x.dtype if dtype is None else dtype), (x, w, b)


def affine_backward(dout: Float[Array, "batch out"], cache: tuple) -> tuple[Array, Array, Array]:
    r"""VJP of the affine layer.

    $y_{ij} = \sum_k x_{ik} w_{kj} + b_j$, hence $\partial y_{ij} / \partial x_{ik} = w_{kj}$ and so on:

    $$dx = dy\, w^T, \qquad dw = x^T dy, \qquad db = \sum_i dy_i .$$

    A check that needs no calculus: each product is the only one of $dy$ and the other factor whose
    shape is right.

    Both products run in the dtype of `x`, to which a wider $dy$ is rounded; $db$ is the sum of $dy$ as it came.

    >>> _, cache = affine_forward(jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]]), jnp.array([0.5]))
    >>> dx, dw, db = affine_backward(jnp.ones((1, 1)), cache)
    >>> print(dx, dw.T, db)
    [[3. 4.]] [[1. 2.]] [1.]
    """
    x, w, b = cache
    dy = dout.astype(x.dtype)
    dx = product_nt(dy, w.astype(x.dtype)).astype(x.dtype)
    dw = product_tn(x, dy, wide_type(x, w)).astype(w.dtype)
    db = column_sums(dout).astype(b.dtype)
    return dx, dw, db


def _check_affine(x: Any, w: Any, b: Any, dtype: Any) -> None:
    if jnp.ndim(x) != 2 or jnp.ndim(w) != 2 or x.shape[1] != w.shape[0] or b.shape != w.shape[1:]:
        raise ValueError(f"affine: x {x.shape}, w {w.shape}, b {b.shape}; need (batch, in), (in, out), (out,)")


affine = differentiable(affine_forward, affine_backward, inputs=3, static=1, check=_check_affine)
