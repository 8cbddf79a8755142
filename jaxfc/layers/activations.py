r"""Activations, entry by entry: $dx = dy\, f'(x)$."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxfc.layers.common import Number
from jaxfc.layers.vjp import differentiable


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
