r"""The rules that need no more than a running sum: gradient descent, momentum, adagrad and rmsprop.

Below, $w$ is a parameter, $g$ its gradient, $\eta$ the learning rate.

Source: the CS231n notes, https://cs231n.github.io/neural-networks-3/#update.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from jaxfc.optim.contract import as_rule
from jaxfc.optim.hyper import Hyper, Number, numbers
from jaxfc.optim.leaves import Tree, each, zeros


class SGDState(NamedTuple):
    """State of `sgd`.

    >>> sgd.init({"w": jnp.ones(2)}, learning_rate=0.5)
    SGDState(learning_rate=Array(0.5, dtype=float32))
    """

    learning_rate: Number


def _sgd_init(params: Tree, learning_rate: Hyper = 1e-2) -> SGDState:
    return SGDState(*numbers(learning_rate=learning_rate))


@as_rule(_sgd_init, ignores_zeros=True)
def sgd(params: Tree, grads: Tree, state: SGDState) -> tuple[Tree, SGDState]:
    r"""Stochastic gradient descent, $w \leftarrow w - \eta g$.

    Hyper-parameters: `learning_rate` 1e-2.

    >>> params = {"w": jnp.array([1.0, 2.0])}
    >>> state = sgd.init(params, learning_rate=0.5)
    >>> params, state = sgd(params, {"w": jnp.array([1.0, -1.0])}, state)
    >>> print(params["w"])
    [0.5 2.5]
    """
    (params,) = each(lambda w, g, lr: (w - lr * g,), params, grads, lr=state.learning_rate)
    return params, state


class MomentumState(NamedTuple):
    """State of `sgd_momentum` and `nesterov`.

    >>> state = sgd_momentum.init({"w": jnp.ones(2)})
    >>> print(state.momentum, state.velocity["w"])
    0.9 [0. 0.]
    """

    learning_rate: Number
    momentum: Number
    velocity: Tree


def _momentum_init(params: Tree, learning_rate: Hyper = 1e-2, momentum: Hyper = 0.9) -> MomentumState:
    return MomentumState(*numbers(learning_rate=learning_rate, momentum=momentum), zeros(params))


@as_rule(_momentum_init, ignores_zeros=True)
def sgd_momentum(params: Tree, grads: Tree, state: MomentumState) -> tuple[Tree, MomentumState]:
    r"""SGD with momentum (Polyak, 1964): $v \leftarrow \mu v - \eta g, \quad w \leftarrow w + v$.

    Hyper-parameters: `learning_rate` 1e-2, `momentum` $\mu$ 0.9.

    >>> params, grads = {"w": jnp.array(1.0)}, {"w": jnp.array(1.0)}
    >>> state = sgd_momentum.init(params, learning_rate=0.5, momentum=0.5)
    >>> for _ in range(2):
    ...     params, state = sgd_momentum(params, grads, state)
    >>> print(params["w"], state.velocity["w"])
    -0.25 -0.75
    """

    def update(w: Array, g: Array, v: Array, lr: Array, mu: Array) -> tuple[Array, Array]:
        v = mu * v - lr * g
        return w + v, v

    params, velocity = each(update, params, grads, state.velocity, lr=state.learning_rate, mu=state.momentum)
    return params, state._replace(velocity=velocity)


@as_rule(_momentum_init, ignores_zeros=True)
def nesterov(params: Tree, grads: Tree, state: MomentumState) -> tuple[Tree, MomentumState]:
    r"""SGD with Nesterov momentum: $v \leftarrow \mu v - \eta g, \quad w \leftarrow w + \mu v - \eta g$.

    Written for the point looked ahead to, at which the gradient is taken (Bengio et al., 2012).

    Hyper-parameters: `learning_rate` 1e-2, `momentum` $\mu$ 0.9.

    >>> params, grads = {"w": jnp.array(1.0)}, {"w": jnp.array(1.0)}
    >>> params, state = nesterov(params, grads, nesterov.init(params, learning_rate=0.5, momentum=0.5))
    >>> print(params["w"])
    0.25
    """

    def update(w: Array, g: Array, v: Array, lr: Array, mu: Array) -> tuple[Array, Array]:
        v = mu * v - lr * g
        return w + mu * v - lr * g, v

    params, velocity = each(update, params, grads, state.velocity, lr=state.learning_rate, mu=state.momentum)
    return params, state._replace(velocity=velocity)


class AdagradState(NamedTuple):
    """State of `adagrad`.

    >>> print(adagrad.init({"w": jnp.ones(2)}).cache["w"])
    [0. 0.]
    """

    learning_rate: Number
    epsilon: Number
    cache: Tree


def _adagrad_init(params: Tree, learning_rate: Hyper = 1e-2, epsilon: Hyper = 1e-8) -> AdagradState:
    return AdagradState(*numbers(learning_rate=learning_rate, epsilon=epsilon), zeros(params))


@as_rule(_adagrad_init, ignores_zeros=True)
def adagrad(params: Tree, grads: Tree, state: AdagradState) -> tuple[Tree, AdagradState]:
    r"""Adagrad (Duchi, Hazan and Singer, 2011).

    $$c \leftarrow c + g^2, \qquad w \leftarrow w - \eta g / (\sqrt c + \epsilon) .$$

    The cache only grows, so steps only shrink.

    Hyper-parameters: `learning_rate` 1e-2, `epsilon` $\epsilon$ 1e-8.

    >>> params, grads = {"w": jnp.array(1.0)}, {"w": jnp.array(4.0)}
    >>> params, state = adagrad(params, grads, adagrad.init(params, learning_rate=0.5))
    >>> print(f"{params['w']:.3f}", state.cache["w"])
    0.500 16.0
    """

    def update(w: Array, g: Array, c: Array, lr: Array, eps: Array) -> tuple[Array, Array]:
        c = c + g * g
        return w - lr * g / (jnp.sqrt(c) + eps), c

    params, cache = each(update, params, grads, state.cache, lr=state.learning_rate, eps=state.epsilon)
    return params, state._replace(cache=cache)


class RMSPropState(NamedTuple):
    """State of `rmsprop`.

    >>> state = rmsprop.init({"w": jnp.ones(2)}, decay_rate=0.5)
    >>> print(state.decay_rate, state.cache["w"])
    0.5 [0. 0.]
    """

    learning_rate: Number
    decay_rate: Number
    epsilon: Number
    cache: Tree


def _rmsprop_init(
    params: Tree, learning_rate: Hyper = 1e-2, decay_rate: Hyper = 0.99, epsilon: Hyper = 1e-8
) -> RMSPropState:
    hyper = numbers(learning_rate=learning_rate, decay_rate=decay_rate, epsilon=epsilon)
    return RMSPropState(*hyper, zeros(params))


@as_rule(_rmsprop_init, ignores_zeros=True)
def rmsprop(params: Tree, grads: Tree, state: RMSPropState) -> tuple[Tree, RMSPropState]:
    r"""RMSProp (Tieleman and Hinton, 2012).

    $$c \leftarrow \rho c + (1 - \rho) g^2, \qquad w \leftarrow w - \eta g / (\sqrt c + \epsilon) .$$

    Hyper-parameters: `learning_rate` 1e-2, `decay_rate` $\rho$ 0.99, `epsilon` $\epsilon$ 1e-8.

    >>> params, grads = {"w": jnp.array(1.0)}, {"w": jnp.array(4.0)}
    >>> params, state = rmsprop(params, grads, rmsprop.init(params, learning_rate=0.5, decay_rate=0.75))
    >>> print(f"{abs(params['w']):.3f}", state.cache["w"])
    0.000 4.0
    """

    def update(w: Array, g: Array, c: Array, lr: Array, rho: Array, eps: Array) -> tuple[Array, Array]:
        c = rho * c + (1 - rho) * g * g
        return w - lr * g / (jnp.sqrt(c) + eps), c

    hyper = {"lr": state.learning_rate, "rho": state.decay_rate, "eps": state.epsilon}
    params, cache = each(update, params, grads, state.cache, **hyper)
    return params, state._replace(cache=cache)
