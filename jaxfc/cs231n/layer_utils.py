"""The assignment's sandwich layers."""

from functools import partial

import numpy as np

from jaxfc.cs231n.bridge import refuse
from jaxfc.cs231n.layers import affine_backward, affine_forward, relu_backward, relu_forward

__all__ = ["affine_relu_backward", "affine_relu_forward"]

Array = np.ndarray
__getattr__ = partial(refuse, __name__)


def affine_relu_forward(x: Array, w: Array, b: Array) -> tuple[Array, tuple]:
    """An affine layer, then a ReLU; the cache is `(fc_cache, relu_cache)`.

    >>> out, cache = affine_relu_forward(np.ones((1, 2)), np.array([[1.0, -1.0], [1.0, -1.0]]), np.zeros(2))
    >>> out
    array([[2., 0.]])
    """
    a, fc_cache = affine_forward(x, w, b)
    out, relu_cache = relu_forward(a)
    return out, (fc_cache, relu_cache)


def affine_relu_backward(dout: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """Return `dx, dw, db`.

    >>> out, cache = affine_relu_forward(np.ones((1, 2)), np.array([[1.0, -1.0], [1.0, -1.0]]), np.zeros(2))
    >>> dx, dw, db = affine_relu_backward(np.ones((1, 2)), cache)
    >>> dx, db
    (array([[1., 1.]]), array([1., 0.]))
    """
    fc_cache, relu_cache = cache
    return affine_backward(relu_backward(dout, relu_cache), fc_cache)
