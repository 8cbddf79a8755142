r"""Losses of predicted numbers: means over the outputs of a row, then over the batch.

A row's loss is the mean over its $K$ outputs, so that a model of many outputs asks for the same learning
rates as a model of one: $L = \sum_i \frac{w_i}{W} \frac1K \sum_k \ell(o_{ik}, t_{ik})$ with $W = \sum_i w_i$.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from jaxfc.errors import check_number
from jaxfc.layers.common import Number, Scalar, Weights, check_weights, example_shares, wide_type
from jaxfc.layers.vjp import differentiable

Outputs = Float[Array, "batch outputs"]
Targets = Real[Array, "batch outputs"]
Quantiles = Float[Array, " quantiles"] | Sequence[Number]


def squared_loss_forward(outputs: Outputs, y: Targets, weights: Weights | None = None) -> tuple[Scalar, tuple]:
    r"""Mean squared error, $\ell(o, t) = (o - t)^2$; its best constant is the mean of the targets.

    Args:
        outputs: the numbers predicted.
        y: the targets, of the same shape.
        weights: $w$, one for each example, 1 by default; an example of weight 0 has no influence.

    Returns:
        The loss, in at least float32, and the cache.

    Raises:
        TypeError: targets that are not numbers.
        ValueError: shapes that do not fit.

    >>> outputs, y = jnp.array([[1.0], [5.0]]), jnp.array([[1.0], [2.0]])
    >>> loss, cache = squared_loss_forward(outputs, y)
    >>> print(loss, squared_loss(outputs, y))
    4.5 4.5
    """
    wide = wide_type(outputs)
    residuals = outputs.astype(wide) - y.astype(wide)
    shares = example_shares(weights, len(outputs), wide)
    return jnp.sum(shares * jnp.mean(jnp.square(residuals), axis=1)), (residuals, shares, outputs)


def squared_loss_backward(dout: Scalar, cache: tuple) -> Outputs:
    r"""VJP of the squared loss: twice the residual.

    $$do_{ik} = \frac{w_i}{W K}\, 2\, (o_{ik} - t_{ik})\, dL .$$

    >>> _, cache = squared_loss_forward(jnp.array([[1.0], [5.0]]), jnp.array([[1.0], [2.0]]))
    >>> print(squared_loss_backward(jnp.ones(()), cache).T)
    [[0. 3.]]
    """
    residuals, shares, outputs = cache
    return _spread(2 * residuals, shares, dout).astype(outputs.dtype)


def huber_loss_forward(
    outputs: Outputs, y: Targets, weights: Weights | None = None, delta: Number = 1.0
) -> tuple[Scalar, tuple]:
    r"""Huber's loss (Huber, 1964): a parabola near 0, straight lines further out, which outliers pull less at.

    $$\ell(o, t) = \begin{cases} \tfrac12 r^2 & |r| \le \delta \\
      \delta \left(|r| - \tfrac12 \delta\right) & \text{beyond} \end{cases}, \qquad r = o - t .$$

    With $c$ for $r$ clipped to $[-\delta, \delta]$, both cases are $c\, (r - \tfrac12 c)$.

    Args:
        outputs: the numbers predicted.
        y: the targets, of the same shape.
        weights: $w$, one for each example, 1 by default.
        delta: $\delta > 0$, the residual up to which the loss is quadratic.

    Returns:
        The loss, in at least float32, and the cache.

    Raises:
        TypeError: targets that are not numbers.
        ValueError: shapes that do not fit, or a `delta` that is not positive.

    >>> outputs, y = jnp.array([[1.0], [5.0]]), jnp.array([[0.0], [2.0]])
    >>> loss, cache = huber_loss_forward(outputs, y)
    >>> print(loss, huber_loss(outputs, y))
    1.5 1.5
    """
    wide = wide_type(outputs)
    delta = jnp.asarray(delta, wide)
    residuals = outputs.astype(wide) - y.astype(wide)
    clipped = jnp.clip(residuals, -delta, delta)
    shares = example_shares(weights, len(outputs), wide)
    return jnp.sum(shares * jnp.mean(clipped * (residuals - clipped / 2), axis=1)), (clipped, shares, outputs)


def huber_loss_backward(dout: Scalar, cache: tuple) -> Outputs:
    r"""VJP of Huber's loss: the clipped residual.

    The parabola's derivative is $r$, the lines' $\pm\delta$: together $c$. They meet at $|r| = \delta$ without a kink.

    $$do_{ik} = \frac{w_i}{W K}\, c_{ik}\, dL .$$

    >>> _, cache = huber_loss_forward(jnp.array([[0.5], [5.0]]), jnp.array([[0.0], [2.0]]))
    >>> print(huber_loss_backward(jnp.ones(()), cache).T)
    [[0.25 0.5 ]]
    """
    clipped, shares, outputs = cache
    return _spread(clipped, shares, dout).astype(outputs.dtype)


def quantile_loss_forward(
    outputs: Float[Array, "batch outputs"],
    y: Real[Array, "batch targets"],
    weights: Weights | None = None,
    quantiles: Quantiles = (0.5,),
) -> tuple[Scalar, tuple]:
    r"""Quantile or pinball loss (Koenker and Bassett, 1978); its best constant is the $q$-th quantile of the targets.

    $$\ell_q(o, t) = \max\left(q\, r,\; (q - 1)\, r\right), \qquad r = t - o :$$

    an output that is too low costs $q$ a unit, one that is too high $1 - q$. A row's loss is the mean over its
    targets and the quantiles asked of each.

    Args:
        outputs: the quantiles predicted, `(batch, targets * quantiles)`: all those of the first target come first.
        y: the targets, `(batch, targets)`.
        weights: $w$, one for each example, 1 by default.
        quantiles: the $q$'s, each in (0, 1).

    Returns:
        The loss, in at least float32, and the cache.

    Raises:
        TypeError: targets that are not numbers.
        ValueError: shapes that do not fit, or a quantile outside (0, 1).

    >>> outputs, y = jnp.array([[0.0, 3.0]]), jnp.array([[2.0]])
    >>> loss, cache = quantile_loss_forward(outputs, y, quantiles=(0.25, 0.75))
    >>> print(loss, quantile_loss(outputs, y, quantiles=(0.25, 0.75)))
    0.375 0.375
    """
    wide = wide_type(outputs)
    q = jnp.asarray(quantiles, wide)
    residuals = y.astype(wide)[:, :, None] - outputs.astype(wide).reshape(*y.shape, len(q))
    each = q[None, None, :]
    losses = jnp.maximum(each * residuals, (each - 1) * residuals)
    shares = example_shares(weights, len(outputs), wide)
    return jnp.sum(shares * jnp.mean(losses, axis=(1, 2))), (residuals, q, shares, outputs)


def quantile_loss_backward(dout: Scalar, cache: tuple) -> Float[Array, "batch outputs"]:
    r"""VJP of the quantile loss: the slopes of its two lines.

    With the sign that $r = t - o$ gives them, and $K$ outputs,

    $$do = \frac{w_i}{W K}\, dL \cdot \begin{cases} -q & o < t \\ 1 - q & o > t . \end{cases}$$

    At $o = t$, where any number between the two is a subgradient, 0 is taken: what is met exactly stays.

    >>> _, cache = quantile_loss_forward(jnp.array([[0.0, 3.0]]), jnp.array([[2.0]]), quantiles=(0.25, 0.75))
    >>> print(quantile_loss_backward(jnp.ones(()), cache))
    [[-0.125  0.125]]
    """
    residuals, q, shares, outputs = cache
    each = q[None, None, :]
    slopes = jnp.where(residuals > 0, -each, jnp.where(residuals < 0, 1 - each, 0))
    return _spread(slopes.reshape(outputs.shape), shares, dout).astype(outputs.dtype)


def _spread(slopes: Array, shares: Array, dout: Array) -> Array:
    """The gradient by the outputs, from the derivatives of their own terms: each has w_i / (W K) of the loss."""
    return slopes * (shares * dout / slopes.shape[1])[:, None]


def _check_numbers(outputs: Any, y: Any, weights: Any, *constants: Any) -> None:
    if jnp.ndim(outputs) != 2 or not outputs.size or jnp.shape(y) != outputs.shape:
        raise ValueError(
            f"loss: outputs {jnp.shape(outputs)}, y {jnp.shape(y)}; need (batch, outputs) for both, not empty: "
            "y[:, None] makes a column of a single target a row"
        )
    _check_kind(y)
    check_weights(weights, len(outputs))


def _check_kind(y: Any) -> None:
    if not (jnp.issubdtype(y.dtype, jnp.floating) or jnp.issubdtype(y.dtype, jnp.integer)):
        raise TypeError(f"loss: y has type {y.dtype}; targets must be numbers, as in y.astype(float)")


def _check_huber(outputs: Any, y: Any, weights: Any, delta: Any) -> None:
    _check_numbers(outputs, y, weights)
    check_number("delta", delta, low=0, exclude="low")


def _check_quantiles(outputs: Any, y: Any, weights: Any, quantiles: Any) -> None:
    if not any(isinstance(q, jax.core.Tracer) for q in jax.tree.leaves(quantiles)):
        values = np.asarray(quantiles)
        if values.ndim != 1 or not np.all((values > 0) & (values < 1)):
            raise ValueError(f"quantile_loss: quantiles={values.tolist()} must be numbers in (0, 1), as in (0.1, 0.9)")
    fits = jnp.ndim(outputs) == jnp.ndim(y) == 2 and outputs.shape == (len(y), y.shape[1] * len(quantiles))
    if not fits or not outputs.size:
        raise ValueError(
            f"quantile_loss: outputs {jnp.shape(outputs)}, y {jnp.shape(y)}, {len(quantiles)} quantiles; "
            "need (batch, targets * quantiles) and (batch, targets), not empty"
        )
    _check_kind(y)
    check_weights(weights, len(outputs))


squared_loss = differentiable(squared_loss_forward, squared_loss_backward, check=_check_numbers)
huber_loss = differentiable(huber_loss_forward, huber_loss_backward, check=_check_huber)
quantile_loss = differentiable(quantile_loss_forward, quantile_loss_backward, check=_check_quantiles)
