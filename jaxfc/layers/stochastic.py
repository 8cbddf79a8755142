"""Layers that drop at random: entries in dropout, whole rows in stochastic depth."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Key

from jaxfc.layers.common import Batch, Number, Scalar, wide_type
from jaxfc.layers.threefry import bits16_below
from jaxfc.layers.vjp import differentiable

Noise = Key[Array, ""] | Bool[Array, "batch features"]
RowNoise = Key[Array, ""] | Bool[Array, " batch"]


def dropout_mask(
    keep_ratio: Number, noise: Noise, shape: tuple[int, int], dtype: DTypeLike = jnp.float32
) -> tuple[Bool[Array, "..."], Scalar]:
    """Return which entries are kept, and the factor, of type `dtype`, that they are scaled by.

    From a key, entries are kept where 16 random bits fall below a threshold: the ratio is rounded to
    a multiple of 1/65536 (and the factor is that ratio's, so that the expectation is exact). A mask
    given in place of a key is used as it is.

    >>> import jax
    >>> mask, scale = dropout_mask(0.5, jax.random.key(0), (2, 4))
    >>> mask.shape, float(scale)
    ((2, 4), 2.0)
    """
    keep_ratio = jnp.asarray(keep_ratio, dtype)
    if noise.dtype == jnp.bool_:
        return noise, 1 / keep_ratio
    threshold = jnp.clip(jnp.round(keep_ratio * 65536), 1, 65536)
    return bits16_below(noise, shape, threshold.astype(jnp.uint32)), 65536 / threshold


def dropout_forward(x: Batch, keep_ratio: Number, noise: Noise) -> tuple[Batch, tuple]:
    r"""Inverted dropout (Srivastava et al., 2014): $y = m \odot x / p$ with $m_{ij} \sim \mathrm{Bernoulli}(p)$.

    Division by $p$ keeps the expectation, so that nothing is to do at test time.

    Args:
        x: inputs.
        keep_ratio: $p$, the ratio of entries KEPT, in (0, 1]. (Elsewhere, a dropout "rate" is $1 - p$.)
        noise: a JAX key, from which the mask is drawn; or the mask itself, boolean, `(batch, features)`.

    Returns:
        The outputs, and the cache for `dropout_backward`: the mask, a byte for each entry, and its factor.

    Raises:
        ValueError: `keep_ratio` is a number outside (0, 1].

    >>> x, mask = jnp.ones((1, 3)), jnp.array([[True, False, True]])
    >>> out, cache = dropout_forward(x, 0.5, mask)
    >>> print(out, dropout(x, 0.5, mask))
    [[2. 0. 2.]] [[2. 0. 2.]]
    >>> import jax
    >>> print(dropout(x, 0.5, jax.random.key(0)).shape)
    (1, 3)
    """
    mask, scale = dropout_mask(keep_ratio, noise, x.shape, wide_type(x))
    return jnp.where(mask, x * scale.astype(x.dtype), 0), (mask, scale)


def dropout_backward(dout: Batch, cache: tuple) -> Batch:
    r"""$y$ is linear in $x$, so $dx = m \odot dy / p$, with the same mask.

    >>> _, cache = dropout_forward(jnp.ones((1, 3)), 0.5, jnp.array([[True, False, True]]))
    >>> print(dropout_backward(jnp.ones((1, 3)), cache))
    [[2. 0. 2.]]
    """
    mask, scale = cache
    return jnp.where(mask, dout * scale.astype(dout.dtype), 0)


def stochastic_depth_forward(x: Batch, keep_ratio: Number, noise: RowNoise) -> tuple[Batch, tuple]:
    r"""Stochastic depth (Huang et al., 2016, https://arxiv.org/abs/1603.09382): dropout of whole rows.

    $$y_i = \frac{m_i}{p}\, x_i, \qquad m_i \sim \mathrm{Bernoulli}(p) .$$

    On the branch of a residual block it leaves out the block for that example. The paper drops a block
    for a whole batch and scales by $p$ at test time; here every example has its own draw, and division
    by $p$ keeps the expectation.

    Args:
        x: what the branch computed.
        keep_ratio: $p$, the ratio of rows KEPT, in (0, 1].
        noise: a JAX key, from which the mask is drawn, a row's draw from the key and the row's number
            alone; or the mask itself, boolean, `(batch,)`.

    Returns:
        The outputs, and the cache for `stochastic_depth_backward`: the mask and its factor.

    Raises:
        ValueError: `keep_ratio` is a number outside (0, 1], or the mask is not `(batch,)`.

    >>> x, mask = jnp.ones((2, 3)), jnp.array([True, False])
    >>> out, cache = stochastic_depth_forward(x, 0.5, mask)
    >>> print(out, (stochastic_depth(x, 0.5, mask) == out).all())
    [[2. 2. 2.]
     [0. 0. 0.]] True
    """
    rows = noise[:, None] if noise.dtype == jnp.bool_ else noise
    mask, scale = dropout_mask(keep_ratio, rows, (len(x), 1), wide_type(x))
    return jnp.where(mask, x * scale.astype(x.dtype), 0), (mask, scale)


def stochastic_depth_backward(dout: Batch, cache: tuple) -> Batch:
    r"""$y$ is linear in $x$, so $dx_i = m_i\, dy_i / p$: a block left out gets no gradient from that example.

    >>> _, cache = stochastic_depth_forward(jnp.ones((2, 1)), 0.5, jnp.array([True, False]))
    >>> print(stochastic_depth_backward(jnp.ones((2, 1)), cache).T)
    [[2. 0.]]
    """
    return dropout_backward(dout, cache)


def _check_dropout(x: Any, keep_ratio: Any, noise: Any) -> None:
    _check_keep_ratio("dropout", keep_ratio)


def _check_stochastic_depth(x: Any, keep_ratio: Any, noise: Any) -> None:
    _check_keep_ratio("stochastic_depth", keep_ratio)
    if noise.dtype == jnp.bool_ and noise.shape != x.shape[:1]:
        raise ValueError(f"stochastic_depth: x {x.shape}, mask {noise.shape}; need (batch, features) and (batch,)")


def _check_keep_ratio(name: str, keep_ratio: Any) -> None:
    if isinstance(keep_ratio, float | int) and not 0 < keep_ratio <= 1:
        raise ValueError(f"{name}: keep_ratio={keep_ratio} must be in (0, 1]; it is the ratio kept")


dropout = differentiable(dropout_forward, dropout_backward, check=_check_dropout)
stochastic_depth = differentiable(stochastic_depth_forward, stochastic_depth_backward, check=_check_stochastic_depth)
