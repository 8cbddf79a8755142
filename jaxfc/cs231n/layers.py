"""The assignment's layer functions: each forward returns `(out, cache)`, each backward the gradients.

The derivations stand in `jaxfc.layers`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfc import layers as core
from jaxfc.cs231n.bridge import common, compiled, refuse, to_numpy

__all__ = [
    "affine_backward",
    "affine_forward",
    "batchnorm_backward",
    "batchnorm_backward_alt",
    "batchnorm_forward",
    "dropout_backward",
    "dropout_forward",
    "layernorm_backward",
    "layernorm_forward",
    "relu_backward",
    "relu_forward",
    "softmax_loss",
    "svm_loss",
]

Array = np.ndarray
__getattr__ = partial(refuse, __name__)

_pairs = {
    name: compiled(getattr(core, name))
    for layer in ("affine", "relu", "batchnorm", "batchnorm_test", "layernorm", "dropout")
    for name in (f"{layer}_forward", f"{layer}_backward")
}


def affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, tuple]:
    """`x` is `(N, d_1, …, d_k)`, `w` is `(D, M)` with D the product of the d's, `b` is `(M,)`; out is `(N, M)`.

    Raises:
        ValueError: the shapes do not fit.

    >>> x = np.ones((2, 3, 4))  # two rows of 3 × 4 features
    >>> out, cache = affine_forward(x, np.ones((12, 5)), np.zeros(5))
    >>> out.shape, float(out[0, 0])
    ((2, 5), 12.0)
    """
    rows = np.reshape(x, (len(x), -1))
    if rows.shape[1] != np.shape(w)[0] or np.shape(b) != np.shape(w)[1:]:
        raise ValueError(
            f"affine: x {np.shape(x)} is {rows.shape} as rows; w {np.shape(w)} and b {np.shape(b)} do not fit"
        )
    out, _ = _pairs["affine_forward"](*common(rows, w, b))
    return to_numpy(out), (x, w, b)


def affine_backward(dout: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """Return `dx` of x's shape, `dw`, `db`.

    >>> out, cache = affine_forward(np.ones((2, 3, 4)), np.ones((12, 5)), np.zeros(5))
    >>> dx, dw, db = affine_backward(np.ones((2, 5)), cache)
    >>> dx.shape, dw.shape, db.tolist()
    ((2, 3, 4), (12, 5), [2.0, 2.0, 2.0, 2.0, 2.0])
    """
    x, w, b = cache
    dout, rows, w, b = common(dout, np.reshape(x, (len(x), -1)), w, b)
    dx, dw, db = to_numpy(_pairs["affine_backward"](dout, (rows, w, b)))
    return dx.reshape(np.shape(x)), dw, db


def relu_forward(x: Array) -> tuple[Array, Array]:
    """Return `max(x, 0)`, and x as the cache.

    >>> out, cache = relu_forward(np.array([-1.0, 2.0]))
    >>> out
    array([0., 2.])
    """
    out, _ = _pairs["relu_forward"](x)
    return to_numpy(out), x


def relu_backward(dout: Array, cache: Array) -> Array:
    """Return `dx`.

    >>> out, cache = relu_forward(np.array([-1.0, 2.0]))
    >>> relu_backward(np.ones(2), cache)
    array([0., 1.])
    """
    return to_numpy(_pairs["relu_backward"](dout, (cache,)))


def batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict[str, Any]) -> tuple[Array, tuple]:
    """Normalize by the batch (mode "train") or by the running averages (mode "test").

    `bn_param` holds `mode`, and may hold `eps`, `momentum`, `running_mean`, `running_var`; the running
    averages, zeros at first, are written back into it.

    Raises:
        ValueError: another mode.

    >>> bn_param = {"mode": "train"}
    >>> out, cache = batchnorm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), bn_param)
    >>> out.round(3).tolist(), bn_param["running_mean"].round(3)
    ([[-1.0], [1.0]], array([0.2]))
    """
    mode, eps = bn_param["mode"], bn_param.get("eps", 1e-5)
    x, gamma, beta = common(x, gamma, beta)
    mean = np.asarray(bn_param.get("running_mean", np.zeros(x.shape[1], x.dtype)))
    var = np.asarray(bn_param.get("running_var", np.zeros(x.shape[1], x.dtype)))
    if mode == "train":
        momentum = bn_param.get("momentum", 0.9)
        (out, (mean, var)), cache = _pairs["batchnorm_forward"](x, gamma, beta, mean, var, momentum, eps)
    elif mode == "test":
        out, cache = _pairs["batchnorm_test_forward"](x, gamma, beta, mean, var, eps)
    else:
        raise ValueError(f'Invalid forward batchnorm mode "{mode}"')
    bn_param["running_mean"], bn_param["running_var"] = to_numpy((mean, var))
    return to_numpy(out), (mode, cache, eps)


def batchnorm_backward(dout: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """Return `dx, dgamma, dbeta`, node by node through the graph of the forward function, as JAX differentiates it.

    The closed form of `batchnorm_backward_alt` is what networks use. Of both, the first call for a shape
    compiles: a notebook that times one call of each compares that as well.

    >>> out, cache = batchnorm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), {"mode": "train"})
    >>> dx, dgamma, dbeta = batchnorm_backward(np.ones((2, 1)), cache)
    >>> dbeta
    array([2.])
    """
    mode, cache, eps = cache
    if mode == "test":
        return to_numpy(_pairs["batchnorm_test_backward"](dout, cache))
    x, _, _, gamma, beta = cache
    return to_numpy(_through_the_graph(dout, x, gamma, beta, eps))


@compiled
def _through_the_graph(dout: Any, x: Any, gamma: Any, beta: Any, eps: Any) -> tuple:
    def forward(x: Any, gamma: Any, beta: Any) -> Any:
        (out, _), _ = core.batchnorm_forward(x, gamma, beta, jnp.zeros_like(beta), jnp.zeros_like(beta), 0.9, eps)
        return out

    _, backward = jax.vjp(forward, x, gamma, beta)
    return backward(dout)


def batchnorm_backward_alt(dout: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """Return `dx, dgamma, dbeta` by the closed form, whose derivation stands in `jaxfc.layers`.

    >>> out, cache = batchnorm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), {"mode": "train"})
    >>> dx, dgamma, dbeta = batchnorm_backward_alt(np.ones((2, 1)), cache)
    >>> dbeta
    array([2.])
    """
    mode, cache, _ = cache
    return to_numpy(_pairs["batchnorm_backward" if mode == "train" else "batchnorm_test_backward"](dout, cache))


def layernorm_forward(x: Array, gamma: Array, beta: Array, ln_param: dict[str, Any]) -> tuple[Array, tuple]:
    """Normalize each row; `ln_param` may hold `eps`.

    >>> out, cache = layernorm_forward(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), {})
    >>> out.round(3)
    array([[-1.,  1.]])
    """
    out, cache = _pairs["layernorm_forward"](*common(x, gamma, beta), ln_param.get("eps", 1e-5))
    return to_numpy(out), cache


def layernorm_backward(dout: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """Return `dx, dgamma, dbeta`.

    >>> out, cache = layernorm_forward(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), {})
    >>> dx, dgamma, dbeta = layernorm_backward(np.ones((1, 2)), cache)
    >>> dbeta
    array([1., 1.])
    """
    return to_numpy(_pairs["layernorm_backward"](dout, cache))


def dropout_forward(x: Array, dropout_param: dict[str, Any]) -> tuple[Array, tuple]:
    """Inverted dropout; `dropout_param` holds `mode`, `p`, the probability to KEEP, and perhaps `seed`.

    In the assignments of 2016 and 2017 `p` was the probability to drop: give `1 - p` here.

    >>> out, cache = dropout_forward(np.ones((100, 100)), {"mode": "train", "p": 0.25, "seed": 0})
    >>> sorted(set(out.ravel().tolist())), abs(float(out.mean()) - 1) < 0.1
    ([0.0, 4.0], True)
    """
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])
    if dropout_param["mode"] != "train":
        return x, (dropout_param, None)
    mask = np.random.rand(*np.shape(x)) < dropout_param["p"]
    return _drop(x, dropout_param["p"], mask), (dropout_param, mask)


def dropout_backward(dout: Array, cache: tuple) -> Array:
    """Return `dx`.

    >>> out, cache = dropout_forward(np.ones((2, 3)), {"mode": "train", "p": 0.5, "seed": 0})
    >>> bool((dropout_backward(np.ones((2, 3)), cache) == out).all())
    True
    """
    dropout_param, mask = cache
    return dout if mask is None else _drop(dout, dropout_param["p"], mask)


def _drop(x: Array, p: float, mask: Array) -> Array:
    """Dropout is linear and elementwise: forward and backward are one; the core's takes rows."""
    rows, kept = (np.reshape(array, (len(array), -1)) for array in (x, mask))
    out, _ = _pairs["dropout_forward"](rows, p, kept)
    return to_numpy(out).reshape(np.shape(x))


@compiled
def _softmax(x: Any, y: Any) -> tuple:
    loss, cache = core.softmax_loss_forward(x, y)
    return loss, core.softmax_loss_backward(jnp.ones((), loss.dtype), cache)


@compiled
def _svm(x: Any, y: Any) -> tuple:
    loss, cache = core.svm_loss_forward(x, y)
    return loss, core.svm_loss_backward(jnp.ones((), loss.dtype), cache)


def softmax_loss(x: Array, y: Array) -> tuple[float, Array]:
    """Return the mean cross-entropy of scores `x` `(N, C)` and labels `y` `(N,)`, and its gradient by x.

    >>> loss, dx = softmax_loss(np.zeros((1, 4)), np.array([1]))
    >>> round(loss, 4), dx
    (1.3863, array([[ 0.25, -0.75,  0.25,  0.25]]))
    """
    return _loss(_softmax, x, y)


def svm_loss(x: Array, y: Array) -> tuple[float, Array]:
    """Return the mean multiclass hinge loss of scores `x` `(N, C)` and labels `y` `(N,)`, and its gradient by x.

    >>> svm_loss(np.zeros((1, 4)), np.array([1]))
    (3.0, array([[ 1., -3.,  1.,  1.]]))
    """
    return _loss(_svm, x, y)


def _loss(function: Any, x: Array, y: Array) -> tuple[float, Array]:
    check_labels(x, y)
    loss, dx = function(x, y)
    return float(loss), to_numpy(dx)


def check_labels(x: Array, y: Array) -> None:
    """Raise unless `y` holds an integer for each row of `x`.

    Raises:
        ValueError: another shape.
        TypeError: labels that are not integers.
    """
    if np.shape(y) != (len(x),):
        raise ValueError(f"y has shape {np.shape(y)} where X has shape {np.shape(x)}; y must be ({len(x)},)")
    if not np.issubdtype(np.asarray(y).dtype, np.integer):
        raise TypeError(f"y has type {np.asarray(y).dtype}; labels must be integers, as in y.astype(int)")
