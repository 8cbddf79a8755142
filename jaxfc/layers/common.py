"""What the chapters share: names for shapes, the type to sum in, and how examples are weighted."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, DTypeLike, Float, Real

Batch = Float[Array, "batch features"]
Feature = Float[Array, " features"]
Weights = Float[Array, " batch"]
Scalar = Float[Array, ""]
Number = Real[ArrayLike, ""]


def wide_type(*arrays: Array) -> jnp.dtype:
    """The dtype to accumulate in: that of the arrays, but at least float32.

    >>> wide_type(jnp.ones(2, jnp.bfloat16))
    dtype('float32')
    """
    return wider(*(array.dtype for array in arrays))


def wider(*dtypes: DTypeLike) -> jnp.dtype:
    """The widest floating dtype of these, but at least float32; float64 only while JAX's 64-bit mode is on.

    JAX's own promotion says the same, but not where `jax_numpy_dtype_promotion` is `"strict"`.

    >>> wider("bfloat16", "uint8")
    dtype('float32')
    """
    floating = [dtype for dtype in map(jnp.dtype, dtypes) if jnp.issubdtype(dtype, jnp.floating)]
    return jax.dtypes.canonicalize_dtype(max([jnp.dtype("float32"), *floating], key=lambda dtype: dtype.itemsize))


def example_shares(weights: Weights | None, batch: int, dtype: DTypeLike) -> Weights:
    r"""Each example's share of the mean, $w_i / W$ with $W = \sum_i w_i$; zero where all weights are zero.

    >>> print(example_shares(jnp.array([1.0, 3.0]), 2, jnp.float32), example_shares(None, 2, jnp.float32))
    [0.25 0.75] [0.5 0.5]
    """
    if weights is None:
        return jnp.full(batch, 1 / batch, dtype)
    total = jnp.sum(weights, dtype=dtype)
    return weights.astype(dtype) / jnp.where(total == 0, 1, total)


def check_weights(weights: Any, batch: int) -> None:
    """Raise unless there is one weight for each example, or none at all.

    >>> check_weights(jnp.ones((4, 1)), 4)
    Traceback (most recent call last):
    ValueError: loss: weights (4, 1); need (4,), one for each example
    """
    if weights is not None and jnp.shape(weights) != (batch,):
        raise ValueError(f"loss: weights {jnp.shape(weights)}; need ({batch},), one for each example")
