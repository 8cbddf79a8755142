"""Normalization, over the batch or over a row's own features."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from jaxfc.layers.common import Batch, Feature, Number, wide_type
from jaxfc.layers.products import column_sums
from jaxfc.layers.vjp import differentiable

Counted = Bool[Array, " features"] | None


def _check_features(*names: str) -> Callable[..., None]:
    """A check of shapes: what comes after `x`, by these names, is a number for each feature, or one number."""

    def check(x: Any, *arguments: Any) -> None:
        if jnp.ndim(x) != 2 or x.shape[0] == 0:
            raise ValueError(f"normalization: x has shape {jnp.shape(x)}; need (batch, features) with at least one row")
        for name, vector in zip(names, arguments, strict=False):
            if vector is not None and jnp.ndim(vector) and vector.shape != x.shape[1:]:
                raise ValueError(f"normalization: x has shape {x.shape} and {name} {vector.shape}; need {x.shape[1:]}")

    return check


def _kept(x: Batch, counted: Counted) -> Batch:
    """Activations, with zeros for features that do not count."""
    return x if counted is None else jnp.where(counted[None, :], x, 0)


def _row_mean(x: Batch, counted: Counted) -> Array:
    """The mean of each row, `(batch, 1)`, over the features that count; 0 where none does."""
    if counted is None:
        return jnp.mean(x, axis=1, keepdims=True)
    return jnp.sum(_kept(x, counted), axis=1, keepdims=True) / jnp.maximum(jnp.sum(counted, dtype=x.dtype), 1)


def batchnorm_forward(
    x: Batch,
    gamma: Feature,
    beta: Feature,
    running_mean: Feature,
    running_var: Feature,
    momentum: Number = 0.9,
    eps: Number = 1e-5,
) -> tuple[tuple[Batch, tuple[Feature, Feature]], tuple]:
    r"""Batch normalization, training mode (Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167).

    Each feature is centred and scaled by the batch's own mean and variance, then by learned ones:

    $$\mu = \tfrac1N \sum_i x_i, \quad v = \tfrac1N \sum_i (x_i - \mu)^2, \quad
      \hat x_i = \frac{x_i - \mu}{\sqrt{v + \epsilon}}, \quad y_i = \gamma \hat x_i + \beta .$$

    For test time, running averages follow the batches': $r \leftarrow m\, r + (1 - m)\, \mu$, and so
    for $v$. As in CS231n, $v$ divides by $N$ there too (PyTorch's running variance, by $N - 1$), and
    $m$ is the part kept.

    Returns:
        `(out, (running_mean, running_var)), cache`, the averages updated.

    Raises:
        ValueError: the shapes do not fit.

    >>> x, gamma, beta = jnp.array([[1.0], [3.0]]), jnp.ones(1), jnp.zeros(1)
    >>> (out, (mean, var)), cache = batchnorm_forward(x, gamma, beta, jnp.zeros(1), jnp.ones(1))
    >>> print(out.T.round(3), mean.round(3))
    [[-1.  1.]] [0.2]
    >>> out, (mean, var) = batchnorm(x, gamma, beta, jnp.zeros(1), jnp.ones(1))
    """
    wide = wide_type(x)
    mean = jnp.mean(x, axis=0, dtype=wide)
    centred = x.astype(wide) - mean[None, :]
    var = column_sums(centred * centred) * (1 / len(x))
    inv_std = lax.rsqrt(var + jnp.asarray(eps, wide))
    out = centred * inv_std[None, :] * gamma.astype(wide)[None, :] + beta.astype(wide)[None, :]
    momentum = jnp.asarray(momentum, running_mean.dtype)
    running = tuple(
        momentum * old + (1 - momentum) * new.astype(old.dtype)
        for old, new in ((running_mean, mean), (running_var, var))
    )
    return (out.astype(x.dtype), running), (x, mean, inv_std, gamma, beta)


def batchnorm_backward(dout: Batch, cache: tuple) -> tuple[Batch, Feature, Feature]:
    r"""VJP of training-mode batch normalization, in closed form.

    $\gamma$ and $\beta$ act like an affine layer on $\hat x$: $d\beta = \sum_i dy_i$,
    $d\gamma = \sum_i dy_i \hat x_i$, $d\hat x_i = \gamma\, dy_i$.

    $x_j$ reaches $\hat x_i$ in three ways: directly, through $\mu$, and through $v$. With
    $s = (v + \epsilon)^{-1/2}$, $\partial \mu / \partial x_j = 1/N$,
    $\partial v / \partial x_j = \tfrac2N (x_j - \mu)$ and $\partial s / \partial v = -\tfrac12 s^3$,

    $$\frac{\partial \hat x_i}{\partial x_j} = s \left(\delta_{ij} - \tfrac1N - \tfrac1N \hat x_i \hat x_j\right) .$$

    Summing $d\hat x_i$ times that over $i$, the two sums are $d\beta$ and $d\gamma$ again:

    $$dx_j = \frac{\gamma s}{N} \left(N\, dy_j - d\beta - \hat x_j\, d\gamma\right) .$$

    In words: take from $dy$ its mean and its component along $\hat x$, the two directions in which
    the normalized output cannot move.

    >>> x = jnp.array([[1.0], [3.0], [8.0]])
    >>> _, cache = batchnorm_forward(x, jnp.ones(1), jnp.zeros(1), jnp.zeros(1), jnp.ones(1))
    >>> dx, dgamma, dbeta = batchnorm_backward(jnp.array([[1.0], [0.0], [0.0]]), cache)
    >>> print(dbeta, jnp.abs(dx.sum(axis=0)) < 1e-6)
    [1.] [ True]
    """
    x, mean, inv_std, gamma, beta = cache
    wide = mean.dtype
    dout = dout.astype(wide)
    normalized = (x.astype(wide) - mean[None, :]) * inv_std[None, :]
    dbeta = jnp.sum(dout, axis=0)
    dgamma = jnp.sum(dout * normalized, axis=0)
    scale = (gamma.astype(wide) * inv_std)[None, :]
    dx = scale * (dout - (dbeta[None, :] + normalized * dgamma[None, :]) * (1 / len(x)))
    return dx.astype(x.dtype), dgamma.astype(gamma.dtype), dbeta.astype(beta.dtype)


_check_batchnorm = _check_features("gamma", "beta", "running_mean", "running_var")
batchnorm = differentiable(batchnorm_forward, batchnorm_backward, inputs=3, has_aux=True, check=_check_batchnorm)


def batchnorm_test_forward(
    x: Batch, gamma: Feature, beta: Feature, running_mean: Feature, running_var: Feature, eps: Number = 1e-5
) -> tuple[Batch, tuple]:
    r"""Batch normalization, test mode: with the running mean and variance, so that no row sees another.

    $$y = \gamma \hat x + \beta, \qquad \hat x = (x - r_\mu) / \sqrt{r_v + \epsilon} .$$

    >>> x, gamma, beta, mean, var = jnp.array([[5.0]]), jnp.ones(1), jnp.zeros(1), jnp.ones(1), jnp.array([4.0])
    >>> out, cache = batchnorm_test_forward(x, gamma, beta, mean, var)
    >>> print(out.round(3), bool((batchnorm_test(x, gamma, beta, mean, var) == out).all()))
    [[2.]] True
    """
    wide = wide_type(x)
    inv_std = lax.rsqrt(running_var.astype(wide) + jnp.asarray(eps, wide))
    normalized = (x.astype(wide) - running_mean.astype(wide)[None, :]) * inv_std[None, :]
    out = normalized * gamma.astype(wide)[None, :] + beta.astype(wide)[None, :]
    return out.astype(x.dtype), (x, running_mean, inv_std, gamma, beta)


def batchnorm_test_backward(dout: Batch, cache: tuple) -> tuple[Batch, Feature, Feature]:
    r"""VJP of test-mode batch normalization: the statistics are constants, so $dx = \gamma s\, dy$.

    >>> _, cache = batchnorm_test_forward(jnp.ones((1, 1)), jnp.ones(1), jnp.zeros(1), jnp.ones(1), jnp.array([4.0]))
    >>> dx, dgamma, dbeta = batchnorm_test_backward(jnp.ones((1, 1)), cache)
    >>> print(dx.round(3))
    [[0.5]]
    """
    x, mean, inv_std, gamma, beta = cache
    wide = inv_std.dtype
    dout = dout.astype(wide)
    dbeta = jnp.sum(dout, axis=0)
    dgamma = jnp.sum(dout * (x.astype(wide) - mean.astype(wide)[None, :]) * inv_std[None, :], axis=0)
    dx = dout * gamma.astype(wide)[None, :] * inv_std[None, :]
    return dx.astype(x.dtype), dgamma.astype(gamma.dtype), dbeta.astype(beta.dtype)


batchnorm_test = differentiable(batchnorm_test_forward, batchnorm_test_backward, inputs=3, check=_check_batchnorm)


def layernorm_forward(
    x: Batch, gamma: Feature, beta: Feature, eps: Number = 1e-5, counted: Counted = None
) -> tuple[Batch, tuple]:
    r"""Layer normalization (Ba, Kiros and Hinton, 2016, https://arxiv.org/abs/1607.06450).

    Batch normalization turned by a quarter: each row is centred and scaled by the mean and variance
    over its own $D$ features, the same in training and at test time:

    $$\hat x_i = \frac{x_i - \mu_i}{\sqrt{v_i + \epsilon}}, \qquad y_i = \gamma \hat x_i + \beta .$$

    Args:
        x: inputs.
        gamma: $\gamma$.
        beta: $\beta$.
        eps: $\epsilon$.
        counted: which features are the layer's, where it is padded: $D$ is their number, the sums run over them,
            and the others are 0 in the output. None: all.

    Raises:
        ValueError: the shapes do not fit.

    >>> x, gamma, beta = jnp.array([[1.0, 3.0]]), jnp.ones(2), jnp.zeros(2)
    >>> out, cache = layernorm_forward(x, gamma, beta)
    >>> print(out.round(3), bool((layernorm(x, gamma, beta) == out).all()))
    [[-1.  1.]] True
    >>> padded, counted = jnp.array([[1.0, 9.0, 3.0]]), jnp.array([True, False, True])
    >>> print(layernorm(padded, jnp.ones(3), jnp.zeros(3), 1e-5, counted).round(3))
    [[-1.  0.  1.]]
    """
    wide = wide_type(x)
    centred = _kept(x.astype(wide) - _row_mean(x.astype(wide), counted), counted)
    inv_std = lax.rsqrt(_row_mean(centred * centred, counted) + jnp.asarray(eps, wide))
    normalized = centred * inv_std
    out = _kept(normalized * gamma.astype(wide)[None, :] + beta.astype(wide)[None, :], counted)
    return out.astype(x.dtype), (normalized, inv_std, gamma, beta, counted)


def layernorm_backward(dout: Batch, cache: tuple) -> tuple[Batch, Feature, Feature]:
    r"""VJP of layer normalization.

    $\gamma$ and $\beta$ are shared by the rows, so their gradients are batch normalization's. For
    $dx$ the derivation there holds with the roles of the axes exchanged; as $\gamma$ now varies along
    the sum, it stays inside: with $d\hat x = \gamma\, dy$ and means over the features,

    $$dx = s \left(d\hat x - \overline{d\hat x} - \hat x\, \overline{d\hat x\, \hat x}\right) .$$

    A feature that does not count reaches nothing, and nothing reaches it: its $dy$ and $dx$ are 0, and the means
    are over those that count.

    >>> _, cache = layernorm_forward(jnp.array([[1.0, 3.0, 8.0]]), jnp.ones(3), jnp.zeros(3))
    >>> dx, dgamma, dbeta = layernorm_backward(jnp.array([[1.0, 0.0, 0.0]]), cache)
    >>> print(dbeta, jnp.abs(dx.sum(axis=1)) < 1e-6)
    [1. 0. 0.] [ True]
    """
    normalized, inv_std, gamma, beta, counted = cache
    dtype, dout = dout.dtype, _kept(dout.astype(normalized.dtype), counted)
    dbeta = jnp.sum(dout, axis=0)
    dgamma = jnp.sum(dout * normalized, axis=0)
    dnormalized = dout * gamma.astype(normalized.dtype)[None, :]
    along = _row_mean(dnormalized * normalized, counted)
    dx = _kept(inv_std * (dnormalized - _row_mean(dnormalized, counted) - normalized * along), counted)
    return dx.astype(dtype), dgamma.astype(gamma.dtype), dbeta.astype(beta.dtype)


_check_layernorm = _check_features("gamma", "beta", "eps", "counted")
layernorm = differentiable(layernorm_forward, layernorm_backward, inputs=3, check=_check_layernorm)


def rmsnorm_forward(x: Batch, gamma: Feature, eps: Number = 1e-5, counted: Counted = None) -> tuple[Batch, tuple]:
    r"""Root mean square normalization (Zhang and Sennrich, 2019, https://arxiv.org/abs/1910.07467).

    Layer normalization without its centring, and so without an offset: each row is scaled by the root of
    the mean square of its own $D$ features,

    $$\hat x_i = s_i\, x_i, \qquad s_i = \Big(\tfrac1D \sum_k x_{ik}^2 + \epsilon\Big)^{-1/2}, \qquad
      y_i = \gamma \hat x_i .$$

    Args:
        x: inputs.
        gamma: $\gamma$.
        eps: $\epsilon$.
        counted: which features are the layer's, where it is padded; see `layernorm_forward`.

    Raises:
        ValueError: the shapes do not fit.

    >>> x, gamma = jnp.array([[0.0, 0.0, 0.0, 6.0]]), jnp.ones(4)
    >>> out, cache = rmsnorm_forward(x, gamma)
    >>> print(out.round(3), bool((rmsnorm(x, gamma) == out).all()))
    [[0. 0. 0. 2.]] True
    """
    wide = wide_type(x)
    scale = lax.rsqrt(_row_mean(jnp.square(x.astype(wide)), counted) + jnp.asarray(eps, wide))
    out = _kept(x.astype(wide) * scale * gamma.astype(wide)[None, :], counted)
    return out.astype(x.dtype), (x, scale, gamma, counted)


def rmsnorm_backward(dout: Batch, cache: tuple) -> tuple[Batch, Feature]:
    r"""VJP of root mean square normalization.

    $d\gamma = \sum_i dy_i \hat x_i$ and $d\hat x = \gamma\, dy$, as in layer normalization. Within a row, $x_l$
    reaches $\hat x_k$ directly and through $s$; with $\partial s / \partial x_l = -\tfrac12 s^3 \tfrac2D x_l$,

    $$\frac{\partial \hat x_k}{\partial x_l} = s \left(\delta_{kl} - \tfrac1D \hat x_k \hat x_l\right), \qquad
      dx = s \left(d\hat x - \hat x\, \overline{d\hat x\, \hat x}\right) :$$

    layer normalization's, less the way through the mean; features that do not count are left out as there.

    >>> x = jnp.array([[0.0, 0.0, 0.0, 6.0]])
    >>> _, cache = rmsnorm_forward(x, jnp.ones(4))
    >>> dx, dgamma = rmsnorm_backward(jnp.array([[0.0, 0.0, 0.0, 1.0]]), cache)
    >>> print(dgamma.round(3), jnp.abs(dx * x).sum() < 1e-5)
    [0. 0. 0. 2.] True
    """
    x, scale, gamma, counted = cache
    dtype, dout = dout.dtype, _kept(dout.astype(scale.dtype), counted)
    normalized = x.astype(scale.dtype) * scale
    dgamma = jnp.sum(dout * normalized, axis=0)
    dnormalized = dout * gamma.astype(scale.dtype)[None, :]
    dx = _kept(scale * (dnormalized - normalized * _row_mean(dnormalized * normalized, counted)), counted)
    return dx.astype(dtype), dgamma.astype(gamma.dtype)


_check_rmsnorm = _check_features("gamma", "eps", "counted")
rmsnorm = differentiable(rmsnorm_forward, rmsnorm_backward, inputs=2, check=_check_rmsnorm)
