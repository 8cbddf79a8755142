r"""Update rules and gradient clipping.

A rule is a pure function `(params, grads, state) -> (params, state)` with an `init(params, **hyper) ->
state`. Its hyper-parameters are leaves of its state: replacing one compiles nothing, `jax.vmap` runs
over them, and a checkpoint keeps them. `Clipped` here and `Scheduled` in
`jaxfc.schedules` wrap a rule into another rule.

Below, $w$ is a parameter, $g$ its gradient, $\eta$ the learning rate. Slots and arithmetic are at
least float32; parameters keep their dtype.

Source of the common rules: the CS231n notes, https://cs231n.github.io/neural-networks-3/#update.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PyTree, Real

from jaxfc.errors import check_number, unknown_name

Tree = PyTree[Float[Array, "..."]]
Number = Real[Array, ""]
Hyper = Real[ArrayLike, ""]


@runtime_checkable
class UpdateRule(Protocol):
    """What every rule offers. Rules are hashable: they are static arguments of a compiled program.

    >>> isinstance(adam, UpdateRule), isinstance(Clipped(adam), UpdateRule)
    (True, True)
    """

    def init(self, params: Tree, **hyper: float) -> Any:
        """Return the state to start from, with hyper-parameters other than the defaults by keyword."""

    def __call__(self, params: Tree, grads: Tree, state: Any) -> tuple[Tree, Any]:
        """Return updated parameters and state."""

    def learning_rate(self, state: Any, ago: int = 0) -> Number:
        """Return the learning rate of the coming update, or of the one `ago` updates before that."""


@dataclass(frozen=True)
class Rule:
    """A named update rule; see `UpdateRule`.

    >>> params = {"w": jnp.ones(2)}
    >>> state = sgd.init(params, learning_rate=0.5)
    >>> params, state = sgd(params, {"w": jnp.ones(2)}, state)
    >>> params["w"]
    Array([0.5, 0.5], dtype=float32)
    """

    name: str
    init: Callable[..., Any]
    update: Callable[[Tree, Tree, Any], tuple[Tree, Any]]

    @property
    def hyper(self) -> tuple[str, ...]:
        """The names of its hyper-parameters."""
        return tuple(inspect.signature(self.init).parameters)[1:]

    def __call__(self, params: Tree, grads: Tree, state: Any) -> tuple[Tree, Any]:
        """Apply the rule once."""
        return self.update(params, grads, state)

    def learning_rate(self, state: Any, ago: int = 0) -> Number:
        """Return the learning rate of the coming update; a schedule alone makes it differ from earlier ones."""
        return state.learning_rate


def _rule(init: Callable) -> Callable[[Callable], Rule]:
    """Make a `Rule` of an update function, keeping its name and docstring."""

    def join(update: Callable) -> Rule:
        rule = Rule(update.__name__, init, update)
        object.__setattr__(rule, "__doc__", update.__doc__)
        return rule

    return join


# Numbers in (low, high] or [low, high) as a rule needs them; all must be finite.
_RANGES: dict[str, dict] = {
    "learning_rate": {"low": 0},
    "momentum": {"low": 0, "high": 1, "exclude": "high"},
    "decay_rate": {"low": 0, "high": 1, "exclude": "high"},
    "beta1": {"low": 0, "high": 1, "exclude": "high"},
    "beta2": {"low": 0, "high": 1, "exclude": "high"},
    "epsilon": {"low": 0},
    "weight_decay": {"low": 0},
    "max_norm": {"low": 0, "exclude": "low"},
}


def _numbers(**hyper: Any) -> list[Array]:
    """Check hyper-parameters and return them as arrays, so that every call of a program sees one type."""
    for name, value in hyper.items():
        check_number(name, value, **_RANGES[name])
    wide = jnp.result_type(float)
    return [jnp.asarray(value, wide) for value in hyper.values()]


def _zeros(params: Tree) -> Tree:
    return jax.tree.map(lambda p: jnp.zeros(p.shape, _wide(p)), params)


def _wide(p: Array) -> jnp.dtype:
    return jnp.promote_types(p.dtype, jnp.float32)


def _each(update: Callable, params: Tree, grads: Tree, *slots: Tree, **hyper: Array) -> tuple[Tree, ...]:
    """Apply `update(w, g, *slots, **hyper) -> (w, *slots)` to every leaf, and return the trees apart."""

    def leaf(p: Array, g: Array, *slot: Array) -> tuple[Array, ...]:
        wide = _wide(p)
        numbers = {name: value.astype(wide) for name, value in hyper.items()}
        new, *slot = update(p.astype(wide), g.astype(wide), *slot, **numbers)
        return (new.astype(p.dtype), *slot)

    results = jax.tree.map(leaf, params, grads, *slots)
    return jax.tree.transpose(jax.tree.structure(params), jax.tree.structure((0,) * (1 + len(slots))), results)


# ---------------------------------------------------------------------------------------------------
# Rules
# ---------------------------------------------------------------------------------------------------


class SGDState(NamedTuple):
    """State of `sgd`.

    >>> sgd.init({"w": jnp.ones(2)}, learning_rate=0.5)
    SGDState(learning_rate=Array(0.5, dtype=float32))
    """

    learning_rate: Number


def _sgd_init(params: Tree, learning_rate: Hyper = 1e-2) -> SGDState:
    return SGDState(*_numbers(learning_rate=learning_rate))


@_rule(_sgd_init)
def sgd(params: Tree, grads: Tree, state: SGDState) -> tuple[Tree, SGDState]:
    r"""Stochastic gradient descent, $w \leftarrow w - \eta g$.

    Hyper-parameters: `learning_rate` 1e-2.

    >>> params = {"w": jnp.array([1.0, 2.0])}
    >>> state = sgd.init(params, learning_rate=0.5)
    >>> params, state = sgd(params, {"w": jnp.array([1.0, -1.0])}, state)
    >>> print(params["w"])
    [0.5 2.5]
    """
    (params,) = _each(lambda w, g, lr: (w - lr * g,), params, grads, lr=state.learning_rate)
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
    return MomentumState(*_numbers(learning_rate=learning_rate, momentum=momentum), _zeros(params))


@_rule(_momentum_init)
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

    params, velocity = _each(update, params, grads, state.velocity, lr=state.learning_rate, mu=state.momentum)
    return params, state._replace(velocity=velocity)


@_rule(_momentum_init)
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

    params, velocity = _each(update, params, grads, state.velocity, lr=state.learning_rate, mu=state.momentum)
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
    return AdagradState(*_numbers(learning_rate=learning_rate, epsilon=epsilon), _zeros(params))


@_rule(_adagrad_init)
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

    params, cache = _each(update, params, grads, state.cache, lr=state.learning_rate, eps=state.epsilon)
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
    hyper = _numbers(learning_rate=learning_rate, decay_rate=decay_rate, epsilon=epsilon)
    return RMSPropState(*hyper, _zeros(params))


@_rule(_rmsprop_init)
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
    params, cache = _each(update, params, grads, state.cache, **hyper)
    return params, state._replace(cache=cache)


class AdamState(NamedTuple):
    """State of `adam` and `adamw`; `weight_decay` is 0 in the former.

    >>> state = adam.init({"w": jnp.ones(2)}, learning_rate=0.5)
    >>> state = state._replace(learning_rate=state.learning_rate / 2)
    >>> print(state.learning_rate, state.step, state.m["w"])
    0.25 0 [0. 0.]
    """

    learning_rate: Number
    beta1: Number
    beta2: Number
    epsilon: Number
    weight_decay: Number
    step: Int[Array, ""]
    m: Tree
    v: Tree


def _adamw_init(
    params: Tree,
    learning_rate: Hyper = 1e-3,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 1e-2,
) -> AdamState:
    hyper = _numbers(learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay)
    return AdamState(*hyper, jnp.int32(0), _zeros(params), _zeros(params))


def _adam_init(
    params: Tree, learning_rate: Hyper = 1e-3, beta1: Hyper = 0.9, beta2: Hyper = 0.999, epsilon: Hyper = 1e-8
) -> AdamState:
    return _adamw_init(params, learning_rate, beta1, beta2, epsilon, weight_decay=0.0)


def _adam_update(params: Tree, grads: Tree, state: AdamState, *, decay: bool) -> tuple[Tree, AdamState]:
    step = state.step + 1
    wide = state.beta1.dtype
    # Both bias corrections in two scalars: a division less for each entry.
    lr = state.learning_rate / (1 - state.beta1 ** step.astype(wide))
    rescale = 1 / (1 - state.beta2 ** step.astype(wide))
    shrink = state.learning_rate * state.weight_decay

    def update(w, g, m, v, lr, b1, b2, eps, rescale, shrink):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        new = w - lr * m / (jnp.sqrt(v * rescale) + eps)
        return new - shrink * w if decay else new, m, v

    hyper = {"lr": lr, "b1": state.beta1, "b2": state.beta2, "eps": state.epsilon, "rescale": rescale, "shrink": shrink}
    params, m, v = _each(update, params, grads, state.m, state.v, **hyper)
    return params, state._replace(step=step, m=m, v=v)


@_rule(_adam_init)
def adam(params: Tree, grads: Tree, state: AdamState) -> tuple[Tree, AdamState]:
    r"""Adam with bias correction (Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980).

    $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
      w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} .$$

    Hyper-parameters: `learning_rate` 1e-3, `beta1` 0.9, `beta2` 0.999, `epsilon` $\epsilon$ 1e-8.

    >>> params, grads = {"w": jnp.array(1.0)}, {"w": jnp.array(4.0)}
    >>> params, state = adam(params, grads, adam.init(params, learning_rate=0.5))
    >>> print(f"{params['w']:.3f}", state.step)
    0.500 1
    """
    return _adam_update(params, grads, state, decay=False)


@_rule(_adamw_init)
def adamw(params: Tree, grads: Tree, state: AdamState) -> tuple[Tree, AdamState]:
    r"""Adam with decoupled weight decay $\lambda$ (Loshchilov and Hutter, 2017, https://arxiv.org/abs/1711.05101).

    Adam's update, and $-\eta \lambda w$ beside it, on every parameter.

    Hyper-parameters: those of `adam`, and `weight_decay` $\lambda$ 1e-2.

    >>> params, grads = {"w": jnp.array(1.0)}, {"w": jnp.array(0.0)}
    >>> params, state = adamw(params, grads, adamw.init(params, learning_rate=0.5, weight_decay=0.5))
    >>> print(params["w"])
    0.75
    """
    return _adam_update(params, grads, state, decay=True)


class LionState(NamedTuple):
    """State of `lion`.

    >>> print(lion.init({"w": jnp.ones(2)}).m["w"])
    [0. 0.]
    """

    learning_rate: Number
    beta1: Number
    beta2: Number
    weight_decay: Number
    m: Tree


def _lion_init(
    params: Tree, learning_rate: Hyper = 1e-4, beta1: Hyper = 0.9, beta2: Hyper = 0.99, weight_decay: Hyper = 1e-3
) -> LionState:
    hyper = _numbers(learning_rate=learning_rate, beta1=beta1, beta2=beta2, weight_decay=weight_decay)
    return LionState(*hyper, _zeros(params))


@_rule(_lion_init)
def lion(params: Tree, grads: Tree, state: LionState) -> tuple[Tree, LionState]:
    r"""Lion (Chen et al., 2023, https://arxiv.org/abs/2302.06675): steps of one size, by the sign alone.

    $$w \leftarrow w - \eta \left(\mathrm{sign}(\beta_1 m + (1 - \beta_1) g) + \lambda w\right), \quad
      m \leftarrow \beta_2 m + (1 - \beta_2) g .$$

    Hyper-parameters: `learning_rate` 1e-4, `beta1` 0.9, `beta2` 0.99, `weight_decay` $\lambda$ 1e-3.

    >>> params, grads = {"w": jnp.array([1.0, 1.0])}, {"w": jnp.array([4.0, -0.1])}
    >>> params, state = lion(params, grads, lion.init(params, learning_rate=0.5, weight_decay=0.0))
    >>> print(params["w"])
    [0.5 1.5]
    """

    def update(w, g, m, lr, b1, b2, decay):
        direction = jnp.sign(b1 * m + (1 - b1) * g)
        return w - lr * (direction + decay * w), b2 * m + (1 - b2) * g

    hyper = {"lr": state.learning_rate, "b1": state.beta1, "b2": state.beta2, "decay": state.weight_decay}
    params, m = _each(update, params, grads, state.m, **hyper)
    return params, state._replace(m=m)


RULES: dict[str, Rule] = {
    rule.name: rule for rule in (sgd, sgd_momentum, nesterov, adagrad, rmsprop, adam, adamw, lion)
}


def rule(name: str) -> Rule:
    """Return the rule of that name.

    Raises:
        ValueError: there is none; the nearest name is given.

    >>> rule("adam") is adam, rule("adam").hyper
    (True, ('learning_rate', 'beta1', 'beta2', 'epsilon'))
    """
    if name not in RULES:
        raise unknown_name("update rule", name, RULES)
    return RULES[name]


# ---------------------------------------------------------------------------------------------------
# Clipping
# ---------------------------------------------------------------------------------------------------


def global_norm(grads: Tree) -> Number:
    r"""The Euclidean norm of all entries of all leaves, $\|g\| = \sqrt{\sum_k \sum g_k^2}$.

    >>> print(global_norm([{"w": jnp.array([3.0])}, {"w": jnp.array([4.0])}]))
    5.0
    """
    return jnp.sqrt(sum(jnp.sum(jnp.square(g.astype(_wide(g)))) for g in jax.tree.leaves(grads)))


def clip_by_global_norm(grads: Tree, max_norm: Hyper) -> Tree:
    r"""Scale gradients down to a global norm of at most $c$, $g \min(1, c / \|g\|)$ (Pascanu et al., 2013).

    >>> print(clip_by_global_norm({"w": jnp.array([3.0, 4.0])}, 2.5)["w"])
    [1.5 2. ]
    """
    norm = global_norm(grads)
    factor = jnp.where(norm > max_norm, max_norm / norm, 1)
    return jax.tree.map(lambda g: (g * factor).astype(g.dtype), grads)


class ClippedState(NamedTuple):
    """State of a `Clipped` rule.

    >>> state = Clipped(sgd).init({"w": jnp.zeros(2)}, max_norm=1.0, learning_rate=0.5)
    >>> print(state.max_norm, state.inner.learning_rate)
    1.0 0.5
    """

    max_norm: Number
    inner: Any


@dataclass(frozen=True)
class Clipped:
    """A rule that is given gradients clipped by their global norm; `init` takes `max_norm` as well.

    >>> state = Clipped(sgd).init({"w": jnp.zeros(2)}, max_norm=1.0, learning_rate=0.1)
    """

    rule: UpdateRule

    def init(self, params: Tree, *, max_norm: Hyper, **hyper: Any) -> ClippedState:
        """Return the state to start from."""
        return ClippedState(*_numbers(max_norm=max_norm), self.rule.init(params, **hyper))

    def __call__(self, params: Tree, grads: Tree, state: ClippedState) -> tuple[Tree, ClippedState]:
        """Clip, then apply the rule."""
        params, inner = self.rule(params, clip_by_global_norm(grads, state.max_norm), state.inner)
        return params, state._replace(inner=inner)

    def learning_rate(self, state: ClippedState, ago: int = 0) -> Number:
        """Return the inner rule's learning rate."""
        return self.rule.learning_rate(state.inner, ago)
