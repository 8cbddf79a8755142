r"""Layers as pairs of plain functions, and the differentiable functions made of them.

Backpropagation in one paragraph. Let $L$ be the loss, a number. For every array $x$ on the way to it,
write $dx$ for $\partial L / \partial x$, an array of $x$'s shape. A layer $y = f(x)$ that is handed
$dy$ can compute $dx$ from it by the chain rule, $dx_i = \sum_j dy_j \, \partial y_j / \partial x_i$:
a vector-Jacobian product (VJP). Running the layers' VJPs from last to first turns $dL = 1$ into the
gradient of everything.

So each layer here is a pair:

- `<name>_forward(*inputs, *constants) -> (out, cache)`: the output, and whatever the VJP will need;
- `<name>_backward(dout, cache) -> gradients`, in the order of the inputs, each of its input's shape;

and `<name>(*inputs, *constants) -> out`, which `differentiable` makes of the pair, is what a network
calls; JAX differentiates it by the hand-written VJP. Constants (labels, keys, eps, keep ratios …) get
no gradient. `plain_autodiff` replaces all hand-written VJPs by JAX's own differentiation.

Conventions: arrays are batch-first, `x` is `(batch, features)`, $N$ is the batch size, `w` is
`(in, out)`, all sums over the batch are written $\sum_i$. Arithmetic runs in the dtype of `x`; sums,
means, variances and losses in at least float32. `<name>` checks shapes when it is
traced; the pair itself does not.

Sources: the CS231n notes (https://cs231n.github.io/optimization-2 and neural-networks-2), and the
papers named with the layers.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, DTypeLike, Float, Integer, Key, Real

from jaxfc.threefry import bits16
from jaxfc.vjp import differentiable, plain_autodiff

__all__ = [
    "ACTIVATIONS", "affine", "affine_backward", "affine_forward", "batchnorm", "batchnorm_backward",
    "batchnorm_forward", "batchnorm_test", "batchnorm_test_backward", "batchnorm_test_forward", "dropout",
    "dropout_backward", "dropout_forward", "dropout_mask", "gelu", "gelu_backward", "gelu_forward", "l2_penalty",
    "l2_penalty_backward", "l2_penalty_forward", "layernorm", "layernorm_backward", "layernorm_forward", "leaky_relu",
    "leaky_relu_backward", "leaky_relu_forward", "plain_autodiff", "relu", "relu_backward", "relu_forward", "sigmoid",
    "sigmoid_backward", "sigmoid_forward", "silu", "silu_backward", "silu_forward", "softmax_loss",
    "softmax_loss_backward", "softmax_loss_forward", "svm_loss", "svm_loss_backward", "svm_loss_forward", "tanh",
    "tanh_backward", "tanh_forward",
]  # fmt: skip

Batch = Float[Array, "batch features"]
Feature = Float[Array, " features"]
Scores = Float[Array, "batch classes"]
Labels = Integer[Array, " batch"]
Scalar = Float[Array, ""]
Number = Real[ArrayLike, ""]


def _wide(*arrays: Array) -> jnp.dtype:
    """The dtype to accumulate in: that of the arrays, but at least float32."""
    return jnp.result_type(jnp.float32, *arrays)


# ---------------------------------------------------------------------------------------------------
# Affine
# ---------------------------------------------------------------------------------------------------


def affine_forward(
    x: Float[Array, "batch in"], w: Float[Array, "in out"], b: Float[Array, " out"]
) -> tuple[Float[Array, "batch out"], tuple]:
    r"""Affine layer, $y = x w + b$.

    Args:
        x: inputs.
        w: weights; cast to the dtype of `x` for the product, while their gradient keeps their own.
        b: biases.

    Returns:
        The outputs, and the cache for `affine_backward`.

    Raises:
        ValueError: the shapes do not fit.

    >>> x, w, b = jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]]), jnp.array([0.5])
    >>> out, cache = affine_forward(x, w, b)
    >>> print(out, affine(x, w, b))
    [[11.5]] [[11.5]]
    """
    wide = _wide(x)
    out = jnp.matmul(x, w.astype(x.dtype), preferred_element_type=wide) + b.astype(wide)
    return out.astype(x.dtype), (x, w, b)


def affine_backward(dout: Float[Array, "batch out"], cache: tuple) -> tuple[Array, Array, Array]:
    r"""VJP of the affine layer.

    $y_{ij} = \sum_k x_{ik} w_{kj} + b_j$, hence $\partial y_{ij} / \partial x_{ik} = w_{kj}$ and so on:

    $$dx = dy\, w^T, \qquad dw = x^T dy, \qquad db = \sum_i dy_i .$$

    A check that needs no calculus: each product is the only one of $dy$ and the other factor whose
    shape is right.

    >>> _, cache = affine_forward(jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]]), jnp.array([0.5]))
    >>> dx, dw, db = affine_backward(jnp.ones((1, 1)), cache)
    >>> print(dx, dw.T, db)
    [[3. 4.]] [[1. 2.]] [1.]
    """
    x, w, b = cache
    dx = jnp.matmul(dout, w.astype(dout.dtype).T, preferred_element_type=_wide(x)).astype(x.dtype)
    dw = jnp.matmul(_transposed(x), dout, preferred_element_type=_wide(x, w)).astype(w.dtype)
    db = jnp.sum(dout, axis=0, dtype=_wide(dout)).astype(b.dtype)
    return dx, dw, db


def _transposed(x: Array) -> Array:
    """x^T; on a CPU, as an array in memory of its own.

    XLA would fold the transposition into the product, and its fast product for CPUs takes none on the
    left: kept apart, a step of a `[100] * 5` network at batch 100 is a fifth faster.
    """
    return lax.platform_dependent(x, cpu=lambda x: lax.optimization_barrier(x.T), default=jnp.transpose)


def _check_affine(x: Any, w: Any, b: Any) -> None:
    if jnp.ndim(x) != 2 or jnp.ndim(w) != 2 or x.shape[1] != w.shape[0] or b.shape != w.shape[1:]:
        raise ValueError(f"affine: x {x.shape}, w {w.shape}, b {b.shape}; need (batch, in), (in, out), (out,)")


affine = differentiable(affine_forward, affine_backward, inputs=3, check=_check_affine)


# ---------------------------------------------------------------------------------------------------
# Activations: elementwise, dx = dy * f'(x)
# ---------------------------------------------------------------------------------------------------


def relu_forward(x: Float[Array, "..."]) -> tuple[Float[Array, "..."], tuple]:
    r"""Rectified linear unit, $y = \max(x, 0)$ (Nair and Hinton, 2010).

    >>> x = jnp.array([-1.0, 2.0])
    >>> out, cache = relu_forward(x)
    >>> print(out, relu(x))
    [0. 2.] [0. 2.]
    """
    return jnp.maximum(x, 0), (x,)


def relu_backward(dout: Float[Array, "..."], cache: tuple) -> Array:
    r"""$dx = dy \cdot [x > 0]$. At the kink, where no derivative exists, it is taken to be 0.

    >>> _, cache = relu_forward(jnp.array([-1.0, 2.0]))
    >>> print(relu_backward(jnp.ones(2), cache))
    [0. 1.]
    """
    (x,) = cache
    return jnp.where(x > 0, dout, 0)


def leaky_relu_forward(x: Float[Array, "..."], slope: Number = 0.01) -> tuple[Float[Array, "..."], tuple]:
    r"""Leaky ReLU, $y = x$ for $x > 0$ and $s x$ elsewhere (Maas, Hannun and Ng, 2013).

    >>> x = jnp.array([-1.0, 2.0])
    >>> out, cache = leaky_relu_forward(x, slope=0.5)
    >>> print(out, leaky_relu(x, slope=0.5))
    [-0.5  2. ] [-0.5  2. ]
    """
    slope = jnp.asarray(slope, x.dtype)
    return jnp.where(x > 0, x, slope * x), (x, slope)


def leaky_relu_backward(dout: Float[Array, "..."], cache: tuple) -> Array:
    r"""$dx = dy$ for $x > 0$ and $s\, dy$ elsewhere, at the kink too.

    >>> _, cache = leaky_relu_forward(jnp.array([-1.0, 2.0]), slope=0.5)
    >>> print(leaky_relu_backward(jnp.ones(2), cache))
    [0.5 1. ]
    """
    x, slope = cache
    return jnp.where(x > 0, dout, slope * dout)


def tanh_forward(x: Float[Array, "..."]) -> tuple[Float[Array, "..."], tuple]:
    r"""Hyperbolic tangent, $y = \tanh x$.

    >>> x = jnp.array([0.0, 100.0])
    >>> out, cache = tanh_forward(x)
    >>> print(out, tanh(x))
    [0. 1.] [0. 1.]
    """
    out = jnp.tanh(x)
    return out, (out,)


def tanh_backward(dout: Float[Array, "..."], cache: tuple) -> Array:
    r"""$\tanh' = 1 - \tanh^2$, so the output is all that is kept: $dx = dy (1 - y^2)$.

    >>> _, cache = tanh_forward(jnp.zeros(2))
    >>> print(tanh_backward(jnp.array([1.0, 2.0]), cache))
    [1. 2.]
    """
    (out,) = cache
    return dout * (1 - out * out)


def sigmoid_forward(x: Float[Array, "..."]) -> tuple[Float[Array, "..."], tuple]:
    r"""Logistic function, $y = \sigma(x) = 1 / (1 + e^{-x})$, computed without overflow.

    >>> x = jnp.array([0.0, 100.0])
    >>> out, cache = sigmoid_forward(x)
    >>> print(out, sigmoid(x))
    [0.5 1. ] [0.5 1. ]
    """
    out = jax.nn.sigmoid(x)
    return out, (out,)


def sigmoid_backward(dout: Float[Array, "..."], cache: tuple) -> Array:
    r"""$\sigma' = \sigma (1 - \sigma)$, hence $dx = dy \, y (1 - y)$.

    >>> _, cache = sigmoid_forward(jnp.zeros(2))
    >>> print(sigmoid_backward(jnp.array([1.0, 2.0]), cache))
    [0.25 0.5 ]
    """
    (out,) = cache
    return dout * out * (1 - out)


def silu_forward(x: Float[Array, "..."]) -> tuple[Float[Array, "..."], tuple]:
    r"""Sigmoid-weighted linear unit or swish, $y = x\, \sigma(x)$ (Elfwing, Uchibe and Doya, 2017).

    >>> x = jnp.array([0.0, 100.0])
    >>> out, cache = silu_forward(x)
    >>> print(out, silu(x))
    [  0. 100.] [  0. 100.]
    """
    return x * jax.nn.sigmoid(x), (x,)


def silu_backward(dout: Float[Array, "..."], cache: tuple) -> Array:
    r"""By the product rule, $dx = dy\, \sigma(x) \left(1 + x (1 - \sigma(x))\right)$.

    >>> _, cache = silu_forward(jnp.zeros(2))
    >>> print(silu_backward(jnp.array([1.0, 2.0]), cache))
    [0.5 1. ]
    """
    (x,) = cache
    gate = jax.nn.sigmoid(x)
    return dout * gate * (1 + x * (1 - gate))


def gelu_forward(x: Float[Array, "..."]) -> tuple[Float[Array, "..."], tuple]:
    r"""Gaussian error linear unit, $y = x\, \Phi(x)$ with the normal CDF $\Phi$ (Hendrycks and Gimpel, 2016).

    The exact function, with erf; not its approximation by tanh.

    >>> x = jnp.array([0.0, 100.0])
    >>> out, cache = gelu_forward(x)
    >>> print(out, gelu(x))
    [  0. 100.] [  0. 100.]
    """
    return x * _normal_cdf(x), (x,)


def gelu_backward(dout: Float[Array, "..."], cache: tuple) -> Array:
    r"""$\Phi' = \varphi$, the normal density, hence $dx = dy \left(\Phi(x) + x\, \varphi(x)\right)$.

    >>> _, cache = gelu_forward(jnp.zeros(2))
    >>> print(gelu_backward(jnp.array([1.0, 2.0]), cache))
    [0.5 1. ]
    """
    (x,) = cache
    density = jnp.exp(-0.5 * x * x) * (2 * jnp.pi) ** -0.5
    return dout * (_normal_cdf(x) + x * density)


def _normal_cdf(x: Array) -> Array:
    return 0.5 * lax.erfc(-x * 0.5**0.5)


relu = differentiable(relu_forward, relu_backward)
leaky_relu = differentiable(leaky_relu_forward, leaky_relu_backward)
tanh = differentiable(tanh_forward, tanh_backward)
sigmoid = differentiable(sigmoid_forward, sigmoid_backward)
silu = differentiable(silu_forward, silu_backward)
gelu = differentiable(gelu_forward, gelu_backward)

ACTIVATIONS = {"relu": relu, "leaky_relu": leaky_relu, "tanh": tanh, "sigmoid": sigmoid, "silu": silu, "gelu": gelu}


# ---------------------------------------------------------------------------------------------------
# Normalization
# ---------------------------------------------------------------------------------------------------


def _check_features(x: Any, *arguments: Any) -> None:
    """Check shapes: after `x` come gamma, beta and running statistics, one number a feature, then scalars."""
    if jnp.ndim(x) != 2 or not len(x):
        raise ValueError(f"normalization: x has shape {jnp.shape(x)}; need (batch, features) with at least one row")
    for name, vector in zip(("gamma", "beta", "running_mean", "running_var"), arguments, strict=False):
        if jnp.ndim(vector) and vector.shape != x.shape[1:]:
            raise ValueError(f"normalization: x has shape {x.shape} and {name} {vector.shape}; need {x.shape[1:]}")


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
    >>> print(np.asarray(out).T.round(3), np.asarray(mean).round(3))
    [[-1.  1.]] [0.2]
    >>> out, (mean, var) = batchnorm(x, gamma, beta, jnp.zeros(1), jnp.ones(1))
    """
    wide = _wide(x)
    mean = jnp.mean(x, axis=0, dtype=wide)
    centred = x.astype(wide) - mean
    var = jnp.mean(centred * centred, axis=0)
    inv_std = lax.rsqrt(var + jnp.asarray(eps, wide))
    out = centred * inv_std * gamma.astype(wide) + beta.astype(wide)
    momentum = jnp.asarray(momentum, running_mean.dtype)
    running = tuple(
        (momentum * old + (1 - momentum) * new).astype(old.dtype)
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
    normalized = (x.astype(wide) - mean) * inv_std
    dbeta = jnp.sum(dout, axis=0)
    dgamma = jnp.sum(dout * normalized, axis=0)
    dx = gamma.astype(wide) * inv_std * (dout - (dbeta + normalized * dgamma) * (1 / len(x)))
    return dx.astype(x.dtype), dgamma.astype(gamma.dtype), dbeta.astype(beta.dtype)


batchnorm = differentiable(batchnorm_forward, batchnorm_backward, inputs=3, has_aux=True, check=_check_features)


def batchnorm_test_forward(
    x: Batch, gamma: Feature, beta: Feature, running_mean: Feature, running_var: Feature, eps: Number = 1e-5
) -> tuple[Batch, tuple]:
    r"""Batch normalization, test mode: with the running mean and variance, so that no row sees another.

    $$y = \gamma \hat x + \beta, \qquad \hat x = (x - r_\mu) / \sqrt{r_v + \epsilon} .$$

    >>> x, gamma, beta, mean, var = jnp.array([[5.0]]), jnp.ones(1), jnp.zeros(1), jnp.ones(1), jnp.array([4.0])
    >>> out, cache = batchnorm_test_forward(x, gamma, beta, mean, var)
    >>> print(np.asarray(out).round(3), bool((batchnorm_test(x, gamma, beta, mean, var) == out).all()))
    [[2.]] True
    """
    wide = _wide(x)
    inv_std = lax.rsqrt(running_var.astype(wide) + jnp.asarray(eps, wide))
    normalized = (x.astype(wide) - running_mean.astype(wide)) * inv_std
    out = normalized * gamma.astype(wide) + beta.astype(wide)
    return out.astype(x.dtype), (x, running_mean, inv_std, gamma, beta)


def batchnorm_test_backward(dout: Batch, cache: tuple) -> tuple[Batch, Feature, Feature]:
    r"""VJP of test-mode batch normalization: the statistics are constants, so $dx = \gamma s\, dy$.

    >>> _, cache = batchnorm_test_forward(jnp.ones((1, 1)), jnp.ones(1), jnp.zeros(1), jnp.ones(1), jnp.array([4.0]))
    >>> dx, dgamma, dbeta = batchnorm_test_backward(jnp.ones((1, 1)), cache)
    >>> print(np.asarray(dx).round(3))
    [[0.5]]
    """
    x, mean, inv_std, gamma, beta = cache
    wide = inv_std.dtype
    dout = dout.astype(wide)
    dbeta = jnp.sum(dout, axis=0)
    dgamma = jnp.sum(dout * (x.astype(wide) - mean.astype(wide)) * inv_std, axis=0)
    return (dout * gamma * inv_std).astype(x.dtype), dgamma.astype(gamma.dtype), dbeta.astype(beta.dtype)


batchnorm_test = differentiable(batchnorm_test_forward, batchnorm_test_backward, inputs=3, check=_check_features)


def layernorm_forward(x: Batch, gamma: Feature, beta: Feature, eps: Number = 1e-5) -> tuple[Batch, tuple]:
    r"""Layer normalization (Ba, Kiros and Hinton, 2016, https://arxiv.org/abs/1607.06450).

    Batch normalization turned by a quarter: each row is centred and scaled by the mean and variance
    over its own $D$ features, the same in training and at test time:

    $$\hat x_i = \frac{x_i - \mu_i}{\sqrt{v_i + \epsilon}}, \qquad y_i = \gamma \hat x_i + \beta .$$

    Raises:
        ValueError: the shapes do not fit.

    >>> x, gamma, beta = jnp.array([[1.0, 3.0]]), jnp.ones(2), jnp.zeros(2)
    >>> out, cache = layernorm_forward(x, gamma, beta)
    >>> print(np.asarray(out).round(3), bool((layernorm(x, gamma, beta) == out).all()))
    [[-1.  1.]] True
    """
    wide = _wide(x)
    centred = x.astype(wide) - jnp.mean(x, axis=1, keepdims=True, dtype=wide)
    inv_std = lax.rsqrt(jnp.mean(centred * centred, axis=1, keepdims=True) + jnp.asarray(eps, wide))
    normalized = centred * inv_std
    out = normalized * gamma.astype(wide) + beta.astype(wide)
    return out.astype(x.dtype), (normalized, inv_std, gamma, beta)


def layernorm_backward(dout: Batch, cache: tuple) -> tuple[Batch, Feature, Feature]:
    r"""VJP of layer normalization.

    $\gamma$ and $\beta$ are shared by the rows, so their gradients are batch normalization's. For
    $dx$ the derivation there holds with the roles of the axes exchanged; as $\gamma$ now varies along
    the sum, it stays inside: with $d\hat x = \gamma\, dy$ and means over the features,

    $$dx = s \left(d\hat x - \overline{d\hat x} - \hat x\, \overline{d\hat x\, \hat x}\right) .$$

    >>> _, cache = layernorm_forward(jnp.array([[1.0, 3.0, 8.0]]), jnp.ones(3), jnp.zeros(3))
    >>> dx, dgamma, dbeta = layernorm_backward(jnp.array([[1.0, 0.0, 0.0]]), cache)
    >>> print(dbeta, jnp.abs(dx.sum(axis=1)) < 1e-6)
    [1. 0. 0.] [ True]
    """
    normalized, inv_std, gamma, beta = cache
    dtype, dout = dout.dtype, dout.astype(normalized.dtype)
    dbeta = jnp.sum(dout, axis=0)
    dgamma = jnp.sum(dout * normalized, axis=0)
    dnormalized = dout * gamma.astype(normalized.dtype)
    along = jnp.mean(dnormalized * normalized, axis=1, keepdims=True)
    dx = inv_std * (dnormalized - jnp.mean(dnormalized, axis=1, keepdims=True) - normalized * along)
    return dx.astype(dtype), dgamma.astype(gamma.dtype), dbeta.astype(beta.dtype)


layernorm = differentiable(layernorm_forward, layernorm_backward, inputs=3, check=_check_features)


# ---------------------------------------------------------------------------------------------------
# Dropout
# ---------------------------------------------------------------------------------------------------

Noise = Key[Array, ""] | Bool[Array, "batch features"]


def dropout_mask(
    keep_ratio: Number, noise: Noise, shape: tuple[int, int], dtype: DTypeLike = jnp.float32
) -> tuple[Bool[Array, "..."], Scalar]:
    """Return which entries are kept, and the factor, of type `dtype`, that they are scaled by.

    From a key, entries are kept where 16 random bits fall below a threshold: the ratio is rounded to
    a multiple of 1/65536 (and the factor is that ratio's, so that the expectation is exact). A mask
    given in place of a key is used as it is.

    >>> mask, scale = dropout_mask(0.5, jax.random.key(0), (2, 4))
    >>> mask.shape, float(scale)
    ((2, 4), 2.0)
    """
    keep_ratio = jnp.asarray(keep_ratio, dtype)
    if noise.dtype == jnp.bool_:
        return noise, 1 / keep_ratio
    threshold = jnp.clip(jnp.round(keep_ratio * 65536), 1, 65536)
    return bits16(noise, shape).astype(jnp.uint32) < threshold.astype(jnp.uint32), 65536 / threshold


def dropout_forward(x: Batch, keep_ratio: Number, noise: Noise) -> tuple[Batch, tuple]:
    r"""Inverted dropout (Srivastava et al., 2014): $y = m \odot x / p$ with $m_{ij} \sim \mathrm{Bernoulli}(p)$.

    Division by $p$ keeps the expectation, so that nothing is to do at test time.

    Args:
        x: inputs.
        keep_ratio: $p$, the ratio of entries KEPT, in (0, 1]. (Elsewhere, a dropout "rate" is $1 - p$.)
        noise: a JAX key, from which the mask is drawn; or the mask itself, boolean, `(batch, features)`.

    Returns:
        The outputs, and the cache for `dropout_backward`: the key, not the mask.

    Raises:
        ValueError: `keep_ratio` is a number outside (0, 1].

    >>> x, mask = jnp.ones((1, 3)), jnp.array([[True, False, True]])
    >>> out, cache = dropout_forward(x, 0.5, mask)
    >>> print(out, dropout(x, 0.5, mask))
    [[2. 0. 2.]] [[2. 0. 2.]]
    >>> print(dropout(x, 0.5, jax.random.key(0)).shape)
    (1, 3)
    """
    return _dropout(x, keep_ratio, noise), (keep_ratio, noise)


def dropout_backward(dout: Batch, cache: tuple) -> Batch:
    r"""$y$ is linear in $x$, so $dx = m \odot dy / p$, with the same mask: drawn again, from the same key.

    Drawing twice costs less than writing the mask to memory and reading it back.

    >>> _, cache = dropout_forward(jnp.ones((1, 3)), 0.5, jnp.array([[True, False, True]]))
    >>> print(dropout_backward(jnp.ones((1, 3)), cache))
    [[2. 0. 2.]]
    """
    return _dropout(dout, *cache)


def _dropout(x: Array, keep_ratio: Number, noise: Noise) -> Array:
    mask, scale = dropout_mask(keep_ratio, noise, x.shape, _wide(x))
    return jnp.where(mask, x * scale.astype(x.dtype), 0)


def _check_keep_ratio(x: Any, keep_ratio: Any, noise: Any) -> None:
    if isinstance(keep_ratio, float | int) and not 0 < keep_ratio <= 1:
        raise ValueError(f"dropout: keep_ratio={keep_ratio} must be in (0, 1]; it is the ratio of entries kept")


dropout = differentiable(dropout_forward, dropout_backward, check=_check_keep_ratio)


# ---------------------------------------------------------------------------------------------------
# Losses
# ---------------------------------------------------------------------------------------------------


def softmax_loss_forward(
    scores: Scores, y: Labels, weights: Float[Array, " batch"] | None = None, label_smoothing: Number = 0.0
) -> tuple[Scalar, tuple]:
    r"""Cross-entropy of the softmax of the scores $s$, averaged over the batch.

    $$p_{ic} = \frac{e^{s_{ic}}}{\sum_k e^{s_{ik}}}, \quad
      t_{ic} = (1 - \alpha) [c = y_i] + \tfrac{\alpha}{C}, \quad
      L = -\frac{1}{W} \sum_i w_i \sum_c t_{ic} \log p_{ic}, \quad W = \sum_i w_i .$$

    $\log p$ is $s$ less its log-sum-exp, taken after subtracting the row's maximum: it never overflows.

    Args:
        scores: the unnormalized log-probabilities (logits).
        y: the correct classes, integers in `[0, classes)`.
        weights: $w$, one for each example, 1 by default; an example of weight 0 has no influence.
        label_smoothing: $\alpha$ in [0, 1) (Szegedy et al., 2015).

    Returns:
        The loss, in at least float32, and the cache.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that do not fit, or (outside of `jit`) a label out of range.

    >>> scores, y = jnp.zeros((2, 10)), jnp.array([3, 7])
    >>> loss, cache = softmax_loss_forward(scores, y)
    >>> print(f"{loss:.4f} {softmax_loss(scores, y):.4f}")
    2.3026 2.3026
    """
    wide = _wide(scores)
    shifted = scores.astype(wide) - lax.stop_gradient(jnp.max(scores, axis=1, keepdims=True)).astype(wide)
    log_p = shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=1, keepdims=True))
    targets = _targets(y, scores.shape[1], label_smoothing, wide)
    shares = _shares(weights, len(scores), wide)
    loss = -jnp.sum(shares * jnp.sum(targets * log_p, axis=1))
    return loss, (log_p, y, shares, label_smoothing, scores)


def softmax_loss_backward(dout: Scalar, cache: tuple) -> Scores:
    r"""VJP of the softmax loss: probabilities less targets.

    For one example, $L = \log \sum_k e^{s_k} - \sum_c t_c s_c$ because $\sum_c t_c = 1$. The first
    term's derivative by $s_c$ is $p_c$, the second's is $t_c$; hence

    $$ds_{ic} = \frac{w_i}{W} (p_{ic} - t_{ic})\, dL .$$

    >>> _, cache = softmax_loss_forward(jnp.zeros((1, 4)), jnp.array([1]))
    >>> print(np.asarray(softmax_loss_backward(jnp.ones(()), cache)).round(3))
    [[ 0.25 -0.75  0.25  0.25]]
    """
    log_p, y, shares, label_smoothing, scores = cache
    targets = _targets(y, log_p.shape[1], label_smoothing, log_p.dtype)
    return ((jnp.exp(log_p) - targets) * (shares * dout)[:, None]).astype(scores.dtype)


def svm_loss_forward(scores: Scores, y: Labels, weights: Float[Array, " batch"] | None = None) -> tuple[Scalar, tuple]:
    r"""Multiclass hinge loss (Weston and Watkins, 1999; the CS231n notes on linear classification).

    Every wrong class should score at least 1 below the right one:

    $$L = \frac{1}{W} \sum_i w_i \sum_{c \ne y_i} \max(0,\; s_{ic} - s_{i y_i} + 1) .$$

    Arguments, results and errors are those of `softmax_loss_forward`, without smoothing.

    >>> scores, y = jnp.zeros((2, 10)), jnp.array([3, 7])
    >>> loss, cache = svm_loss_forward(scores, y)
    >>> print(loss, svm_loss(scores, y))
    9.0 9.0
    """
    wide = _wide(scores)
    right = _one_hot(y, scores.shape[1])
    score_of_right = jnp.sum(jnp.where(right, scores, 0).astype(wide), axis=1, keepdims=True)
    margins = jnp.where(right, 0, scores.astype(wide) - score_of_right + 1)
    shares = _shares(weights, len(scores), wide)
    return jnp.sum(shares * jnp.sum(jnp.maximum(margins, 0), axis=1)), (margins, y, shares, scores)


def svm_loss_backward(dout: Scalar, cache: tuple) -> Scores:
    r"""VJP of the hinge loss.

    Each violated margin (a positive term) has derivative 1 by its own score and -1 by the right
    class's; so the right class gets minus the number of violations.

    >>> _, cache = svm_loss_forward(jnp.zeros((1, 4)), jnp.array([1]))
    >>> print(svm_loss_backward(jnp.ones(()), cache))
    [[ 1. -3.  1.  1.]]
    """
    margins, y, shares, scores = cache
    violated = (margins > 0).astype(margins.dtype)
    count = jnp.sum(violated, axis=1, keepdims=True)
    dscores = violated - jnp.where(_one_hot(y, margins.shape[1]), count, 0)
    return (dscores * (shares * dout)[:, None]).astype(scores.dtype)


def l2_penalty_forward(w: Float[Array, "..."], reg: Number) -> tuple[Scalar, tuple]:
    r"""L2 regularization of strength $\lambda$, $L = \tfrac{\lambda}{2} \sum w^2$.

    >>> w = jnp.full((2, 2), 3.0)
    >>> loss, cache = l2_penalty_forward(w, 0.5)
    >>> print(loss, l2_penalty(w, 0.5))
    9.0 9.0
    """
    reg = jnp.asarray(reg, _wide(w))
    return 0.5 * reg * jnp.sum(jnp.square(w.astype(reg.dtype))), (w, reg)


def l2_penalty_backward(dout: Scalar, cache: tuple) -> Array:
    r"""$dw = \lambda w\, dL$; the factor one half is there for this.

    >>> _, cache = l2_penalty_forward(jnp.full((1, 2), 3.0), 0.5)
    >>> print(l2_penalty_backward(jnp.ones(()), cache))
    [[1.5 1.5]]
    """
    w, reg = cache
    return (dout * reg * w).astype(w.dtype)


def _one_hot(y: Array, classes: int) -> Array:
    return y[:, None] == jnp.arange(classes, dtype=y.dtype)


def _targets(y: Array, classes: int, label_smoothing: Number, dtype: jnp.dtype) -> Array:
    smoothing = jnp.asarray(label_smoothing, dtype)
    return (1 - smoothing) * _one_hot(y, classes) + smoothing / classes


def _shares(weights: Array | None, batch: int, dtype: jnp.dtype) -> Array:
    """Each example's share of the mean, w_i / W; zero where all weights are zero."""
    if weights is None:
        return jnp.full(batch, 1 / batch, dtype)
    total = jnp.sum(weights, dtype=dtype)
    return weights.astype(dtype) / jnp.where(total == 0, 1, total)


def _check_labels(scores: Any, y: Any, *constants: Any) -> None:
    if jnp.ndim(scores) != 2 or not scores.size or jnp.shape(y) != scores.shape[:1]:
        raise ValueError(
            f"loss: scores {jnp.shape(scores)}, y {jnp.shape(y)}; need (batch, classes) and (batch,), not empty"
        )
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(f"loss: y has type {y.dtype}; labels must be integers, as in y.astype(int)")
    if isinstance(y, jax.core.Tracer):
        return  # values are unknown while tracing; `Dataset` has checked them
    values = np.asarray(y)  # in NumPy: JAX would trace the minimum under `jit`, though `y` itself is concrete
    low, high, allowed = values.min(), values.max(), scores.shape[1] - 1
    if low < 0 or high > allowed:
        raise ValueError(
            f"label {low if low < 0 else high} is out of range: scores {scores.shape} allow 0 to {allowed}"
        )


softmax_loss = differentiable(softmax_loss_forward, softmax_loss_backward, check=_check_labels)
svm_loss = differentiable(svm_loss_forward, svm_loss_backward, check=_check_labels)
l2_penalty = differentiable(l2_penalty_forward, l2_penalty_backward)
